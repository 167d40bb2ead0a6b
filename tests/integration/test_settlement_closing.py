"""What two operators do about money that nobody else moves on, over a real database, with the books balanced."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import column, insert, select, table, update
from sqlalchemy.exc import IntegrityError

import settlement.migrations
from gateway.protocol.errors import ConflictError, ForbiddenError, GatewayError, IllegalTransitionError, NotFoundError
from gateway.runtime.component import Measured
from gateway.runtime.signals.observability import COMPONENT_GAUGES
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.schema import drift, migrate
from gateway.runtime.web.auth import Caller
from settlement import store
from settlement.actions.closing import DECISIONS, TWO_PERSON_ACTIONS
from settlement.batch import Batch, State
from settlement.health import measure
from settlement.ledger import balances
from settlement.obligation import Actor, Obligation
from settlement.obligation import State as ObligationState
from settlement.operator_routes import WAITING_BATCHES, WAITING_OBLIGATIONS
from settlement.tables import METADATA, breaks, obligations
from tests.bank_notifications import Row, a_notification, details, ids
from tests.conftest import MakeDatabase
from tests.settlement_builders import HOSPITAL_ACCOUNT, PAYER_ACCOUNT, a_batch, an_obligation, cny
from tests.treasury import FIRST, Treasury

TICKET = "OPS-17"
HOSPITAL_SUSPENSE, PAYER_SUSPENSE = "suspense/SZH-1/CNY", "suspense/HKINS-A/CNY"


@pytest.fixture
async def treasury(make_database: MakeDatabase) -> Treasury:
    return Treasury.over(make_database())


def shown(batch: Batch, side: str, amount: str = "1200.00", name: str = "N1") -> bytes:
    account = PAYER_ACCOUNT if side == "DBIT" else HOSPITAL_ACCOUNT
    row = Row(amount=amount, side=side, details=details(ids(batch.end_to_end_id, batch.uetr)))
    return a_notification(row, account=f"<Othr><Id>{account}</Id></Othr>", notification_id=name)


async def close(treasury: Treasury, obligation: Obligation, reason: str = "waived") -> Any:
    form = {"obligation_id": obligation.obligation_id, "reason": reason, "ticket": TICKET}
    return await treasury.two_persons("close-obligation", **form)


async def decide(treasury: Treasury, batch: Batch, reason: str) -> Any:
    return await treasury.two_persons("decide-batch", batch_id=batch.batch_id, reason=reason, ticket=TICKET)


async def resolve(treasury: Treasury, break_id: str, reason: str) -> Any:
    return await treasury.two_persons("resolve-break", break_id=break_id, reason=reason, ticket=TICKET)


async def test_a_held_obligation_is_closed_by_two_persons_and_core_hears_that_it_is_voided(
    treasury: Treasury,
) -> None:
    opened = an_obligation(payer="HKINS-Z")
    await treasury.open(opened)
    await treasury_makes_batches(treasury)
    assert (await treasury.obligation(opened)).state is ObligationState.HELD

    await close(treasury, opened, "cannot-be-paid")

    ended = await treasury.obligation(opened)
    assert (ended.state, ended.reason_code) == (ObligationState.CLOSED, "cannot-be-paid")
    assert await treasury.outcomes() == ["voided"]
    [closed] = await treasury.records("obligation.closed")
    assert (closed["reason_code"], closed["ticket"]) == ("cannot-be-paid", TICKET)
    steps = [(one["step"], one["client_id"]) for one in await treasury.records("core.operator_acted")]
    assert steps == [("asked", "op-1"), ("confirmed", "op-2")]
    assert await treasury.open_items() == {}


async def treasury_makes_batches(treasury: Treasury) -> None:
    job = next(one for one in treasury.component.jobs if one.name == "settlement.make-batches")
    await job.run(treasury.deps)


async def test_a_held_obligation_is_released_into_the_next_batch(treasury: Treasury) -> None:
    opened = an_obligation()

    async def held(tx: Transaction) -> None:
        await store.add_obligation(
            tx, opened.hold("account.unknown", by=Actor.JOB), "a.decision", "2026-03-02T01:00:00Z"
        )

    await treasury.database.write(held)
    await treasury.two_persons("release-obligation", obligation_id=opened.obligation_id, ticket=TICKET)
    await treasury_makes_batches(treasury)

    assert (await treasury.obligation(opened)).state is ObligationState.BATCHED
    assert len(await treasury.records("obligation.released")) == 1


async def test_a_refund_request_is_closed(treasury: Treasury) -> None:
    refund = an_obligation(amount="-5.00")
    await treasury.open(refund)

    await close(treasury, refund, "refunded-outside")

    assert (await treasury.obligation(refund)).state is ObligationState.CLOSED
    assert (await treasury.outcomes(), await treasury.open_items()) == (["voided"], {})


async def test_what_treasurers_never_approve_is_closed_and_its_batch_withdrawn(treasury: Treasury) -> None:
    first, second = an_obligation(), an_obligation("claim_2")
    batch = await treasury.draft(first, second)

    await close(treasury, first)
    assert (await treasury.batch(batch.batch_id)).state is State.DRAFT
    await close(treasury, second)

    assert (await treasury.batch(batch.batch_id)).state is State.WITHDRAWN
    assert await treasury.outcomes() == ["voided", "voided"]


async def test_money_at_the_bank_cannot_be_closed(treasury: Treasury) -> None:
    opened = an_obligation()
    await treasury.send(opened)

    with pytest.raises(IllegalTransitionError, match=r"obligation\.wrong-state"):
        await close(treasury, opened)


async def test_a_void_that_crosses_a_close_is_answered_once(treasury: Treasury) -> None:
    opened = an_obligation()
    await treasury.open(opened)

    await close(treasury, opened)
    await treasury.void(opened)
    await treasury.void(opened)

    assert await treasury.outcomes() == ["voided"]
    assert (await treasury.obligation(opened)).state is ObligationState.CLOSED


async def test_a_refund_request_is_voided_in_time_since_no_money_moved(treasury: Treasury) -> None:
    refund = an_obligation(amount="-5.00")
    await treasury.open(refund)

    await treasury.void(refund)

    assert await treasury.outcomes() == ["voided"]


async def test_a_bank_that_never_answers_is_overruled_by_its_written_denial(treasury: Treasury) -> None:
    opened = an_obligation()
    batch = await treasury.send(opened)

    await decide(treasury, batch, "not-executed")

    again = await treasury.obligation(opened)
    assert (again.state, again.reason_code) == (ObligationState.OPEN, "not-executed")
    assert (await treasury.batch(batch.batch_id)).state is State.REJECTED
    await close(treasury, opened)
    assert await treasury.outcomes() == ["returned_to_open", "voided"]
    assert await treasury.open_items() == {}


async def test_money_that_moves_after_a_denial_is_a_break_and_moves_nothing(treasury: Treasury) -> None:
    opened = an_obligation()
    batch = await treasury.send(opened)
    await decide(treasury, batch, "not-executed")

    await treasury.take(shown(batch, "DBIT"), "1")

    [held] = await treasury.breaks()
    assert (held.kind, held.batch_id, held.amount_minor) == ("not_expected", batch.batch_id, -120_000)
    assert (await treasury.obligation(opened)).state is ObligationState.OPEN


@pytest.mark.parametrize("seen", [(), ("DBIT",), ("CRDT",)], ids=str)
async def test_the_banks_written_word_settles_a_batch_and_rows_that_come_later_clear_suspense(
    treasury: Treasury, seen: tuple[str, ...]
) -> None:
    opened = an_obligation()
    batch = await treasury.send(opened)
    for number, side in enumerate(seen):
        await treasury.take(shown(batch, side, name=f"N{number}"), str(number))

    await decide(treasury, batch, "executed")

    assert (await treasury.obligation(opened)).state is ObligationState.RECONCILED
    assert (await treasury.batch(batch.batch_id)).state is State.RECONCILED
    told = {(): ["received", "reconciled"], ("DBIT",): ["sent", "received", "reconciled"]}
    assert await treasury.outcomes() == told.get(seen, ["received", "reconciled"])
    for side in {"DBIT", "CRDT"} - set(seen):
        await treasury.take(shown(batch, side, name=f"late {side}"), f"late-{side}")
    assert await treasury.open_items() == {}


async def test_a_debit_that_came_back_is_payable_again_and_its_return_clears_suspense(treasury: Treasury) -> None:
    opened = an_obligation()
    batch = await treasury.send(opened)
    await treasury.take(shown(batch, "DBIT"), "1")

    await decide(treasury, batch, "returned")
    back = a_notification(Row(amount="1200.00"), account=f"<Othr><Id>{PAYER_ACCOUNT}</Id></Othr>", notification_id="N9")
    await treasury.take(back, "2")

    assert (await treasury.obligation(opened)).state is ObligationState.OPEN
    assert await treasury.outcomes() == ["sent", "returned_to_open"]
    assert PAYER_SUSPENSE not in await treasury.open_items()


async def test_an_explained_short_credit_settles_its_batch_and_stays_in_suspense(treasury: Treasury) -> None:
    opened = an_obligation()
    batch = await treasury.send(opened)
    await treasury.take(shown(batch, "DBIT"), "1")
    await treasury.take(shown(batch, "CRDT", "1190.00", "N2"), "2")
    [held] = await treasury.breaks()
    assert (held.kind, held.owner) == ("short", "SZH-1")

    answer = await resolve(treasury, held.break_id, "bank-fee")

    assert answer["batch_state"] == "reconciled"
    assert (await treasury.obligation(opened)).state is ObligationState.RECONCILED
    assert await treasury.open_items() == {HOSPITAL_SUSPENSE: -1_000}
    [resolved] = await treasury.records("break.resolved")
    assert (resolved["break_id"], resolved["reason"], resolved["ticket"]) == (held.break_id, "bank-fee", TICKET)


async def test_a_row_that_was_shown_twice_leaves_suspense_by_its_opposite(treasury: Treasury) -> None:
    batch = await treasury.send(an_obligation())
    row = Row(amount="1200.00", details=details(f"<Refs><EndToEndId>{batch.end_to_end_id}</EndToEndId></Refs>"))
    for name in ("N1", "N2"):
        page = a_notification(row, account=f"<Othr><Id>{HOSPITAL_ACCOUNT}</Id></Othr>", notification_id=name)
        await treasury.take(page, name)
    [held] = await treasury.breaks()
    before = await treasury.open_items()

    await resolve(treasury, held.break_id, "repeated-by-bank")

    assert before[HOSPITAL_SUSPENSE] == 120_000
    assert HOSPITAL_SUSPENSE not in await treasury.open_items()
    assert next(one.reverses for one in await treasury.journal() if one.cause == "resolved") == held.posting


@pytest.mark.parametrize("amount", ["1190.00", "1210.00"])
async def test_a_row_that_is_a_payments_own_was_not_shown_twice_and_stays_in_the_books(
    treasury: Treasury, amount: str
) -> None:
    batch = await treasury.send(an_obligation())
    await treasury.take(shown(batch, "CRDT", amount), "1")
    [held] = await treasury.breaks()

    with pytest.raises(ConflictError, match=r"break\.row-was-taken"):
        await resolve(treasury, held.break_id, "repeated-by-bank")

    mirror = {account.code: minor for account, minor in balances(await treasury.journal()).items()}
    assert mirror["bank-mirror/SZH-1/CNY"] == -cny(amount).amount_minor


def test_what_operators_are_offered_of_money_that_waits_is_what_they_can_ask_for() -> None:
    asked_for = {name.removesuffix("-obligation") for name in TWO_PERSON_ACTIONS if name.endswith("-obligation")}

    offered = {
        event
        for state in WAITING_OBLIGATIONS
        for event in replace(an_obligation(), state=state).allowed_actions(Actor.OPERATOR)
    }
    of_batches = {
        event for state in WAITING_BATCHES for event in replace(a_batch(), state=state).allowed_actions(Actor.OPERATOR)
    }

    assert offered == asked_for
    assert of_batches == set(DECISIONS.values())


async def test_a_break_is_resolved_once_and_stays_visible(treasury: Treasury) -> None:
    page = a_notification(Row(currency="USD"))
    await treasury.take(page, "1")
    [held] = await treasury.breaks()

    await resolve(treasury, held.break_id, "test")

    with pytest.raises(ConflictError, match=r"break\.resolved-already"):
        await resolve(treasury, held.break_id, "test")
    [kept] = await treasury.all(select(breaks))
    assert (kept.resolution, kept.asked_by, kept.confirmed_by) == ("test", "op-1", "op-2")
    assert (await measure(treasury.deps))[0] == Measured("breaks_open", 0)


async def test_one_person_alone_or_a_program_does_nothing(treasury: Treasury) -> None:
    opened = an_obligation()
    await treasury.open(opened)
    form: dict[str, Any] = {"obligation_id": opened.obligation_id, "reason": "waived", "ticket": TICKET}
    program = Caller("op", "op-tool", None, frozenset({"operate"}))

    asked = await treasury.ask("close-obligation", **form)
    for caller in (FIRST, program):

        async def confirm(tx: Transaction, caller: Caller = caller) -> None:
            await treasury.operations.confirm(tx, asked, caller)

        with pytest.raises(ForbiddenError, match=r"operator\.two-persons"):
            await treasury.database.write(confirm)
    with pytest.raises(ForbiddenError, match=r"operator\.two-persons"):
        await treasury.ask("close-obligation", caller=program, **form)

    assert (await treasury.obligation(opened)).state is ObligationState.OPEN
    assert await treasury.outcomes() == []


@pytest.mark.parametrize(
    ("action", "form", "error"),
    [
        ("close-obligation", {"obligation_id": "obl_" + "0" * 32, "reason": "waived", "ticket": "T"}, NotFoundError),
        ("resolve-break", {"break_id": "brk_" + "0" * 32, "reason": "test", "ticket": "T"}, NotFoundError),
        ("decide-batch", {"batch_id": "bat_" + "0" * 32, "reason": "executed", "ticket": "T"}, NotFoundError),
        ("decide-batch", {"batch_id": "bat_" + "0" * 32, "reason": "perhaps", "ticket": "T"}, GatewayError),
        ("resolve-break", {"break_id": "brk_1", "reason": "test", "ticket": "T"}, GatewayError),
        ("resolve-break", {"break_id": "brk_" + "0" * 32, "reason": "test", "ticket": "no blanks"}, GatewayError),
        ("no-such-action", {}, NotFoundError),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused_when_it_is_asked(
    treasury: Treasury, action: str, form: dict[str, Any], error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        await treasury.ask(action, **form)


def test_every_gauge_that_settlement_measures_is_there() -> None:
    assert set(COMPONENT_GAUGES) == {"breaks_open", "breaks_oldest", "cursor_stuck"}


@pytest.fixture
def first_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that holds settlement's first migration alone, as version 0.1.0 had it at first."""
    folder = tmp_path / "settlement_of_old"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(Path(settlement.migrations.__path__[0]) / "m0001_first.py", folder)
    monkeypatch.syspath_prepend(tmp_path)
    for module in [one for one in sys.modules if one.startswith(folder.name)]:
        monkeypatch.delitem(sys.modules, module)
    return folder.name


async def test_a_database_of_the_first_schema_is_migrated_with_its_breaks_and_keys(
    make_database: MakeDatabase, first_schema: str
) -> None:
    database = make_database()
    migrate(database, "settlement", first_schema)
    document = '{"account":"QQ-HOSPITAL-001","side":"debit","amount":"12.50","currency":"CNY"}'
    key = "a" * 64 + "-1"
    leg = {"entry_id": f"break:{key}", "party": "SZH-1", "currency": "CNY", "counterparty": ""}
    held = {
        "obligation_id": "obl_1",
        "case_id": "c",
        "claim_id": "k",
        "decision_version": 1,
        "payer": "P",
        "payee": "H",
    }
    held |= {"amount_minor": 5, "currency": "CNY", "state": "held", "attempt": 0, "decision": "d", "at": "2026-01-05"}
    entry_of_old = {"entry_key": key, "outcome": "break", "kind": "unknown", "document": document, "at": "2026-01-05"}

    async def stored(tx: Transaction) -> None:
        for name, row in (
            ("bank_entry", entry_of_old),
            ("leg", leg | {"number": 1, "kind": "suspense", "amount_minor": -1_250}),
            ("leg", leg | {"number": 2, "kind": "bank-mirror", "amount_minor": 1_250}),
            ("cursor", {"bank": "SANDBOX-BANK", "cursor": "41"}),
            ("obligation", held),
        ):
            await tx.execute(insert(table(f"settlement_{name}", *map(column, row))).values(row))

    await database.write(stored)
    treasury = Treasury.over(database)

    assert drift(database, METADATA) == []
    [open_break], [entry] = await treasury.breaks(), await treasury.entries()
    assert (open_break.owner, open_break.amount_minor, open_break.posting) == ("SZH-1", -1_250, f"break:{key}")
    assert (entry.fingerprint, entry.origin, await treasury.cursor()) == ("a" * 64, None, "41")

    async def set_state(tx: Transaction, state: str) -> None:
        await tx.execute(update(obligations).values(state=state))

    await database.write(lambda tx: set_state(tx, "closed"))
    with pytest.raises(IntegrityError):
        await database.write(lambda tx: set_state(tx, "nonsense"))
