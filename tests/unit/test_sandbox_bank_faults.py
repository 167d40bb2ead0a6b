import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.protocol.canonical import pretty, read_json
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import InvalidInputError, MalformedInputError
from gateway.sandbox.bank import create_bank
from gateway.sandbox.bank_journal import BankAccount, Fault, Journal
from gateway.sandbox.bank_messages import read_order
from settlement.iso20022.pain001 import write_pain001
from settlement.payment import PaymentInstruction
from tests.sandbox_bank_driver import TOKEN, Bank, a_bank_profile, entries_of
from tests.settlement_builders import (
    HOSPITAL_ACCOUNT,
    OTHER_UETR,
    PAYER_ACCOUNT,
    an_instructed_batch,
    an_obligation,
)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path, a_bank_profile())


@pytest.fixture
def payment() -> PaymentInstruction:
    return an_instructed_batch().instruction()


async def test_a_scripted_refusal_is_used_up(bank: Bank, payment: PaymentInstruction) -> None:
    await bank.script(kind="reject", reason="RR04", times=1)
    second = an_instructed_batch(an_obligation("claim_2", "1.00"), uetr=OTHER_UETR).instruction()

    assert await bank.pay(payment) == ("RJCT", ("RR04",))
    assert await bank.pay(second) == ("ACCP", ())


async def test_an_error_after_the_debit_leaves_the_outcome_to_be_asked(bank: Bank, payment: PaymentInstruction) -> None:
    await bank.script(kind="fail_after_debit")
    raw = write_pain001(payment, None)

    failed = await bank.client.post("/v1/payments", content=raw)

    assert (failed.status_code, failed.content) == (500, b"")
    assert await bank.status(payment) == ("ACCC", ())
    assert bank.said(await bank.client.post("/v1/payments", content=raw), payment) == ("ACCP", ())
    assert len(await bank.movements()) == 2


async def test_a_bank_that_is_away_takes_nothing_and_the_status_says_so(
    bank: Bank, payment: PaymentInstruction
) -> None:
    await bank.script(kind="unavailable")

    away = await bank.client.post("/v1/payments", content=write_pain001(payment, None))
    status = await bank.client.get(f"/v1/payments/{payment.message_id}")

    assert (away.status_code, status.status_code) == (503, 404)
    assert await bank.movements() == []
    assert await bank.pay(payment) == ("ACCP", ())


async def test_a_late_answer_comes_after_the_debit(bank: Bank, payment: PaymentInstruction) -> None:
    await bank.script(kind="late", delay_ms=60_000)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await bank.pay(payment)

    assert await bank.status(payment) == ("ACCC", ())
    assert len(await bank.movements()) == 2


async def test_a_short_credit_leaves_the_difference_with_the_bank(bank: Bank, payment: PaymentInstruction) -> None:
    await bank.script(kind="short_credit", amount_minor=1_500)

    await bank.pay(payment)

    assert await bank.movements() == [
        (PAYER_ACCOUNT, "DBIT", 120_000),
        (HOSPITAL_ACCOUNT, "CRDT", 118_500),
        ("FEES-CNY", "CRDT", 1_500),
    ]
    entries = entries_of(await bank.client.get("/v1/notifications"))
    assert [entry.account for entry in entries] == [PAYER_ACCOUNT, HOSPITAL_ACCOUNT]


async def test_faults_of_the_profile_are_entered_once(tmp_path: Path, payment: PaymentInstruction) -> None:
    bank = Bank(tmp_path, a_bank_profile(faults=[{"kind": "reject", "reason": "RR04"}]))
    second = an_instructed_batch(an_obligation("claim_2", "1.00"), uetr=OTHER_UETR).instruction()

    assert await bank.pay(payment) == ("RJCT", ("RR04",))
    bank.restart()

    assert await bank.pay(second) == ("ACCP", ())


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "explode"},
        {"kind": "reject"},
        {"kind": "late", "reason": "AC04"},
        {"kind": "late", "delay_ms": 10**9},
        {"kind": "late", "times": 0},
        {"kind": "late", "times": "2"},
        {"kind": "late", "surprise": 1},
        {"kind": ["late"]},
    ],
)
async def test_a_fault_that_is_not_as_described_is_refused(bank: Bank, fault: dict[str, object]) -> None:
    answer = await bank.client.post("/v1/control/faults", json=fault)

    assert answer.status_code == 422
    assert read_json(answer.content)["code"] == "bank.fault"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/payments"),
        ("GET", "/v1/payments/MSG1"),
        ("GET", "/v1/notifications"),
        ("GET", "/v1/journal"),
        ("POST", "/v1/control/faults"),
    ],
)
@pytest.mark.parametrize(
    "headers", [{"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}]
)
async def test_nobody_without_the_token_asks_anything(
    bank: Bank, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await bank.client.request(method, path, headers=headers)

    assert answer.status_code == 401
    assert TOKEN not in answer.text


@pytest.mark.parametrize("cursor", ["-1", "x", "1.0", "9" * 16, "\uff11"])
async def test_a_cursor_that_the_bank_never_gave_is_refused(bank: Bank, cursor: str) -> None:
    answer = await bank.client.get("/v1/notifications", params={"after": cursor})

    assert answer.status_code == 400
    assert read_json(answer.content)["code"] == "bank.cursor"


BROKEN: list[bytes] = [b"", b"<", b"<Document/>", b"{}", b"\xff" * 100]


@pytest.mark.parametrize("raw", BROKEN)
async def test_bytes_that_are_no_order_are_refused_and_moves_nothing(bank: Bank, raw: bytes) -> None:
    answer = await bank.client.post("/v1/payments", content=raw)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert await bank.movements() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<Document ", b'<!DOCTYPE d [<!ENTITY a "b">]><Document '),
        (b"pain.001.001.09", b"pain.001.001.12"),
        (b"<NbOfTxs>1</NbOfTxs><CtrlSum>", b"<NbOfTxs>2</NbOfTxs><CtrlSum>"),
        (b">1200.00</InstdAmt>", b">1200.001</InstdAmt>"),
        (b">1200.00</InstdAmt>", b">-1200.00</InstdAmt>"),
        (b"<Dt>2026-03-02</Dt>", b"<Dt>2026-02-30</Dt>"),
        (b"<UETR>0", b"<UETR>X"),
        (b"<EndToEndId>", b"<EndToEndId>\xe5\xbc\xa0"),
    ],
)
def test_an_order_that_cannot_be_read_raises_the_one_error(payment: PaymentInstruction, old: bytes, new: bytes) -> None:
    raw = write_pain001(payment, None).replace(b"<?xml version='1.0' encoding='UTF-8'?>\n", b"")
    assert old in raw

    with pytest.raises(MalformedInputError) as refusal:
        read_order(raw.replace(old, new, 1))

    assert refusal.value.code == "bank.pain001"


async def test_an_order_over_the_limit_is_not_read(bank: Bank) -> None:
    answer = await bank.client.post("/v1/payments", content=b" " * ((1 << 20) + 1))

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "profile", [{}, {"token": "t", "fee_account": "F", "accounts": [{"account": "x"}], "faults": []}]
)
def test_a_profile_that_is_not_as_described_is_refused(tmp_path: Path, profile: dict[str, Any]) -> None:
    (tmp_path / "bank.json").write_text(pretty(profile), encoding="utf-8")

    with pytest.raises(InvalidInputError) as refusal:
        create_bank(tmp_path, VirtualClock())

    assert refusal.value.code == "bank.profile"


def test_an_order_and_its_movements_are_one_transaction(tmp_path: Path, payment: PaymentInstruction) -> None:
    profile = a_bank_profile()
    journal = Journal(tmp_path / "bank.db", VirtualClock(), "FEES")
    journal.open([BankAccount(**found) for found in profile["accounts"]], [Fault("short_credit", amount_minor=1)])
    with closing(sqlite3.connect(tmp_path / "bank.db")) as db:
        db.execute(
            "CREATE TRIGGER die BEFORE INSERT ON movement WHEN NEW.side = 'CRDT' BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
        db.commit()
    raw = write_pain001(payment, None)

    with pytest.raises(sqlite3.IntegrityError):
        journal.receive(read_order(raw), raw)

    report = journal.report()
    assert (report["payments"], report["movements"]) == ([], [])
