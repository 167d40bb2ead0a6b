from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.protocol.clock import VirtualClock
from gateway.sandbox.bank_journal import BankAccount, Journal
from gateway.sandbox.bank_messages import read_order
from settlement.batch import Batch
from settlement.iso20022.pain001 import write_pain001
from settlement.matching import Matched, match
from settlement.payment import AccountHolder, Agent, PaymentInstruction
from tests.iso20022_schemas import any_schema, external_codes, shared_schema, verdicts
from tests.sandbox_bank_driver import Bank, a_bank_profile, entries_of
from tests.settlement_builders import (
    HOSPITAL_ACCOUNT,
    OTHER_UETR,
    PAYER_ACCOUNT,
    TODAY,
    a_cnaps,
    an_entry,
    an_instructed_batch,
    an_obligation,
    cny,
)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path, a_bank_profile())


@pytest.fixture
def payment() -> PaymentInstruction:
    return an_instructed_batch().instruction()


async def test_a_payment_is_one_debit_and_one_credit(bank: Bank, payment: PaymentInstruction) -> None:
    assert await bank.pay(payment) == ("ACCP", ())

    assert await bank.movements() == [(PAYER_ACCOUNT, "DBIT", 120_000), (HOSPITAL_ACCOUNT, "CRDT", 120_000)]
    assert await bank.status(payment) == ("ACCC", ())


async def test_the_same_bytes_again_get_the_same_answer_and_one_debit(bank: Bank, payment: PaymentInstruction) -> None:
    raw = write_pain001(payment, None)
    first = await bank.client.post("/v1/payments", content=raw)
    bank.clock.advance(timedelta(hours=3))
    bank.restart()

    again = await bank.client.post("/v1/payments", content=raw)

    assert again.content == first.content
    assert len(await bank.movements()) == 2
    assert (await bank.journal())["payments"][0]["submissions"] == 2


async def test_other_bytes_under_the_same_message_id_are_a_duplicate(bank: Bank, payment: PaymentInstruction) -> None:
    await bank.pay(payment)

    changed = replace(payment, charge_bearer="DEBT")

    assert await bank.pay(changed) == ("RJCT", ("DUPL",))
    assert len(await bank.movements()) == 2
    assert await bank.status(payment) == ("ACCC", ())


async def test_another_message_with_a_used_uetr_or_end_to_end_id_is_refused(
    bank: Bank, payment: PaymentInstruction
) -> None:
    await bank.pay(payment)

    same_uetr = replace(payment, message_id="MSGA", end_to_end_id="E2EA")
    same_id = replace(payment, message_id="MSGB", uetr=OTHER_UETR)

    assert await bank.pay(same_uetr) == ("RJCT", ("AM05",))
    assert await bank.pay(same_id) == ("RJCT", ("AM05",))
    assert len(await bank.movements()) == 2


def test_eight_twins_at_once_are_one_debit(tmp_path: Path, payment: PaymentInstruction) -> None:
    profile = a_bank_profile()
    accounts = [BankAccount(**found) for found in profile["accounts"]]
    journal = Journal(tmp_path / "bank.db", VirtualClock(), "FEES")
    journal.open(accounts, [])
    raw = write_pain001(payment, None)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: journal.receive(read_order(raw), raw).answer, range(8)))

    assert len(set(answers)) == 1
    assert len(journal.report()["movements"]) == 2


def holder(found: AccountHolder, **changes: Any) -> AccountHolder:
    return replace(found, **changes)


REFUSALS = {
    "AC02": lambda one: replace(one, debtor=holder(one.debtor, account="QQ-NOBODY")),
    "AC03": lambda one: replace(one, creditor=holder(one.creditor, account="QQ-NOBODY")),
    "RC03": lambda one: replace(one, debtor=holder(one.debtor, agent=Agent("HKNCC", "998"))),
    "RC04": lambda one: replace(one, creditor=holder(one.creditor, agent=Agent("CNAPS", a_cnaps("10358401234")))),
    "BE01": lambda one: replace(one, creditor=holder(one.creditor, name="Shenzhen Other Hospital")),
    "AM03": lambda one: replace(
        one,
        debtor=holder(one.debtor, currency="HKD"),
        creditor=holder(one.creditor, currency="HKD"),
        amount=replace(one.amount, currency="HKD"),
        lines=tuple(replace(line, amount=replace(line.amount, currency="HKD")) for line in one.lines),
    ),
    "DT01": lambda one: replace(one, value_date=TODAY - timedelta(days=1)),
    "AM04": lambda one: replace(
        one, amount=cny("10000.01"), lines=tuple(replace(line, amount=cny("10000.01")) for line in one.lines)
    ),
}


@pytest.mark.parametrize("reason", list(REFUSALS))
async def test_what_cannot_be_paid_is_refused_with_its_reason_and_moves_nothing(
    bank: Bank, payment: PaymentInstruction, reason: str
) -> None:
    wrong = REFUSALS[reason](payment)

    assert await bank.pay(wrong) == ("RJCT", (reason,))
    assert await bank.status(wrong) == ("RJCT", (reason,))
    assert await bank.movements() == []
    assert reason in external_codes("ExternalStatusReason1Code")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"<CtrlSum>1200.00</CtrlSum><InitgPty>", b"<CtrlSum>1200.01</CtrlSum><InitgPty>", "AM10"),
        (b"<TwnNm>Shenzhen</TwnNm>", b"", "BE04"),
        (b"1200.00", b"0.00", "AM01"),
    ],
)
async def test_what_our_writer_never_writes_is_refused_too(
    bank: Bank, payment: PaymentInstruction, old: bytes, new: bytes, reason: str
) -> None:
    raw = write_pain001(payment, None)
    assert old in raw

    answer = await bank.client.post("/v1/payments", content=raw.replace(old, new))

    assert bank.said(answer, payment) == ("RJCT", (reason,))


async def test_the_last_fen_may_be_spent_and_not_one_more(bank: Bank) -> None:
    whole = an_instructed_batch(an_obligation(amount="10000.00")).instruction()
    more = an_instructed_batch(an_obligation("claim_2", "0.01"), uetr=OTHER_UETR).instruction()

    assert await bank.pay(whole) == ("ACCP", ())
    assert await bank.pay(more) == ("RJCT", ("AM04",))


async def test_a_payment_of_a_later_day_is_executed_on_that_day(bank: Bank, payment: PaymentInstruction) -> None:
    later = replace(payment, value_date=TODAY + timedelta(days=1))

    assert await bank.pay(later) == ("ACCP", ())
    assert await bank.movements() == []
    assert await bank.status(later) == ("ACCP", ())
    bank.clock.advance(timedelta(days=1))

    assert len(await bank.movements()) == 2
    assert await bank.status(later) == ("ACCC", ())


async def test_a_later_payment_without_cover_on_its_day_is_refused_then(
    bank: Bank, payment: PaymentInstruction
) -> None:
    later = replace(payment, value_date=TODAY + timedelta(days=1))
    spender = an_instructed_batch(an_obligation("claim_2", "9000.00"), uetr=OTHER_UETR).instruction()
    await bank.pay(later)
    await bank.pay(spender)

    bank.clock.advance(timedelta(days=1))

    assert await bank.status(later) == ("RJCT", ("AM04",))
    assert len(await bank.movements()) == 2


async def test_notifications_go_on_from_the_cursor_and_repeat_byte_for_byte(bank: Bank) -> None:
    for number, uetr in enumerate((an_entry(an_instructed_batch()).uetr or "", OTHER_UETR)):
        await bank.pay(an_instructed_batch(an_obligation(f"claim_{number}", "1.00"), uetr=uetr).instruction())

    first = await bank.client.get("/v1/notifications")
    again = await bank.client.get("/v1/notifications?after=0")
    rest = await bank.client.get("/v1/notifications?after=2")
    done = await bank.client.get("/v1/notifications?after=4")

    assert first.content == again.content
    assert [first.headers["Next-Cursor"], rest.headers["Next-Cursor"]] == ["4", "4"]
    assert done.status_code == 204
    assert len({entry.key for entry in entries_of(first)}) == 4
    assert {entry.key for entry in entries_of(rest)} < {entry.key for entry in entries_of(first)}


async def test_a_page_of_notifications_is_bounded_and_none_is_lost(tmp_path: Path) -> None:
    bank = Bank(tmp_path, a_bank_profile())
    raw = write_pain001(an_instructed_batch(an_obligation(amount="0.01")).instruction(), None)
    order = read_order(raw)
    journal = Journal(tmp_path / "bank.db", bank.clock, "FEES")
    for number in range(60):
        one = replace(order, message_id=f"M{number}", end_to_end_id=f"E{number}", uetr=f"{number:08d}{order.uetr[8:]}")
        journal.receive(one, raw)

    pages, cursor = [], "0"
    while (answer := await bank.client.get(f"/v1/notifications?after={cursor}")).status_code == 200:
        pages.append(entries_of(answer))
        cursor = answer.headers["Next-Cursor"]

    assert [len(page) for page in pages] == [100, 20]


async def test_both_sides_of_a_payment_are_notified_and_match_it(bank: Bank) -> None:
    batch: Batch = an_instructed_batch()
    await bank.pay(batch.instruction())

    entries = entries_of(await bank.client.get("/v1/notifications"))

    outcomes = [match(entry, [batch]) for entry in entries]
    assert all(isinstance(outcome, Matched) for outcome in outcomes)
    assert [entry.account for entry in entries] == [PAYER_ACCOUNT, HOSPITAL_ACCOUNT]
    assert {entry.reference for entry in entries} == {batch.remittance_id}


async def test_every_document_of_the_bank_is_valid_by_the_official_schemas(
    bank: Bank, payment: PaymentInstruction
) -> None:
    accepted = await bank.client.post("/v1/payments", content=write_pain001(payment, None))
    refused = await bank.client.post(
        "/v1/payments", content=write_pain001(replace(payment, charge_bearer="DEBT"), None)
    )
    settled = await bank.client.get(f"/v1/payments/{payment.message_id}")
    notified = await bank.client.get("/v1/notifications")

    assert verdicts(notified.content, any_schema("camt.054.001.08")) == (True, True)
    assert verdicts(notified.content, shared_schema("camt.054.001.08")) == (True, True)
    for answer in (accepted, refused, settled):
        assert verdicts(answer.content, shared_schema("pain.002.001.10")) == (True, True)


async def test_every_status_and_entry_code_is_in_the_external_code_sets(
    bank: Bank, payment: PaymentInstruction
) -> None:
    await bank.pay(payment)
    wrong = replace(payment, charge_bearer="DEBT")

    found = {(await bank.pay(wrong))[0], (await bank.status(payment))[0], "ACCP"}

    notified = etree.fromstring((await bank.client.get("/v1/notifications")).content)
    states = {node.text for node in notified.iter("{*}Sts") for node in node}
    assert found <= external_codes("ExternalPaymentTransactionStatus1Code")
    assert found <= external_codes("ExternalPaymentGroupStatus1Code")
    assert states <= external_codes("ExternalEntryStatus1Code")
