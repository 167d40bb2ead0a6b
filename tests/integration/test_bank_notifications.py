"""A bank's rows stand alone: what is valid is booked, every other one is a break, and the cursor moves on."""

from dataclasses import replace
from functools import partial

import pytest

from gateway.protocol.errors import MalformedInputError, UnavailableError
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.runtime.storage.database import Transaction
from settlement import break_store, store
from settlement.actions import Deps, booking
from settlement.actions.booking import take_notifications, take_page
from settlement.batch import State
from settlement.breaks import OPERATOR
from settlement.channels import CHANNELS
from settlement.health import PATIENCE, measure, why_not_ready
from settlement.obligation import State as ObligationState
from settlement.ports import Notifications
from tests.bank_notifications import Row, a_notification, details, ids
from tests.conftest import MakeDatabase
from tests.settlement_builders import HOSPITAL_ACCOUNT, PAYER_ACCOUNT, an_obligation
from tests.shared_cases import shared_case
from tests.treasury import Treasury

HOSPITAL = f"<Othr><Id>{HOSPITAL_ACCOUNT}</Id></Othr>"
PAYER = f"<Othr><Id>{PAYER_ACCOUNT}</Id></Othr>"
HOSPITAL_SUSPENSE = "suspense/SZH-1/CNY"

hospital_page = partial(a_notification, account=HOSPITAL)
A_ROW = Row(amount="50.00")


@pytest.fixture
async def treasury(make_database: MakeDatabase) -> Treasury:
    return Treasury.over(make_database())


async def test_a_row_in_another_currency_waits_as_a_break_and_the_others_are_booked(treasury: Treasury) -> None:
    await treasury.take(shared_case("bank-04-one-row-in-another-currency.camt054.xml"), "1")

    [entry] = await treasury.entries()
    unknown, unreadable = sorted(await treasury.breaks(), key=lambda row: str(row.kind))
    assert '"amount":"60.00"' in entry.document
    assert (unreadable.kind, unreadable.reason, unreadable.owner) == ("unreadable", "iso20022.currency", "SZH-1")
    assert (unknown.kind, unknown.amount_minor) == ("unknown", 6_000)
    assert await treasury.cursor() == "1"
    assert await treasury.open_items() == {HOSPITAL_SUSPENSE: 6_000}


@pytest.mark.parametrize(
    "bad",
    [
        Row(currency="USD"),
        Row(amount="1.005"),
        Row(amount=""),
        Row(side="BOTH"),
        Row(status=""),
        Row(value_date="<Dt>2026-02-30</Dt>"),
        Row(reversal="<RvslInd>perhaps</RvslInd>"),
        Row(details=details(ids("E2EX"), ids("E2EY"))),
    ],
)
async def test_one_bad_row_blocks_no_money_after_it(treasury: Treasury, bad: Row) -> None:
    batch = await treasury.send(an_obligation())
    good = Row(amount="1200.00", details=details(ids(batch.end_to_end_id, batch.uetr)))

    await treasury.take(hospital_page(bad, good), "1")
    await treasury.take(a_notification(Row(amount="1200.00", side="DBIT", details=good.details), account=PAYER), "2")

    assert (await treasury.batch(batch.batch_id)).state is State.RECONCILED
    [held] = await treasury.breaks()
    assert (held.owner, held.since) == ("SZH-1", "2026-03-02T01:00:00.000Z")
    assert held.reason.startswith("iso20022.")
    assert await treasury.cursor() == "2"
    await treasury.journal()


@pytest.mark.parametrize(
    ("refs", "amount"),
    [
        ("<EndToEndId>{e2e}</EndToEndId>", "1200"),
        ("<InstrId>{e2e}</InstrId>", "1200."),
        ("<PmtInfId>{msg}</PmtInfId>", "1200.000"),
        ("<MsgId>{msg}</MsgId><EndToEndId>NOTPROVIDED</EndToEndId>", "01200.00"),
        ("<UETR>{UETR}</UETR>", "+1200.0"),
    ],
)
async def test_any_one_reference_finds_the_payment(treasury: Treasury, refs: str, amount: str) -> None:
    batch = await treasury.send(an_obligation())
    names = {"e2e": batch.end_to_end_id, "msg": batch.message_id, "UETR": batch.uetr.upper()}
    breakdown = f'<AmtDtls><TxAmt><Amt Ccy="CNY">{amount}</Amt></TxAmt></AmtDtls>'
    row = Row(amount=amount, details=details(f"<Refs>{refs.format(**names)}</Refs>{breakdown}"))

    await treasury.take(hospital_page(row), "1")

    assert (await treasury.batch(batch.batch_id)).state is State.CREDITED
    assert await treasury.breaks() == []


@pytest.mark.parametrize(
    "refs",
    [
        "<PmtInfId>{msg}</PmtInfId><EndToEndId>E2EOTHER</EndToEndId>",
        "<InstrId>{e2e}</InstrId><EndToEndId>E2EOTHER</EndToEndId>",
        "<MsgId>{msg}</MsgId><PmtInfId>MSGOTHER</PmtInfId>",
    ],
)
async def test_references_that_contradict_each_other_are_left_to_a_person(treasury: Treasury, refs: str) -> None:
    batch = await treasury.send(an_obligation())
    names = {"e2e": batch.end_to_end_id, "msg": batch.message_id}
    row = Row(amount="1200.00", details=details(f"<Refs>{refs.format(**names)}</Refs>"))

    await treasury.take(hospital_page(row), "1")

    assert [row.kind for row in await treasury.breaks()] == ["unknown"]
    assert (await treasury.batch(batch.batch_id)).credit is None


async def test_what_details_leave_of_a_row_is_a_break_of_its_own(treasury: Treasury) -> None:
    batch = await treasury.send(an_obligation())
    own = f'{ids(batch.end_to_end_id, batch.uetr)}<Amt Ccy="CNY">1200.00</Amt>'

    await treasury.take(hospital_page(Row(amount="1190.00", details=details(own))), "1")

    [held] = await treasury.breaks()
    assert (held.kind, held.amount_minor) == ("unknown", -1_000)
    assert (await treasury.batch(batch.batch_id)).state is State.CREDITED


async def test_a_row_on_an_unknown_account_is_the_operators(treasury: Treasury) -> None:
    await treasury.take(a_notification(Row(), account="<Othr><Id>QQ-STRANGER</Id></Othr>"), "1")
    await treasury.take(a_notification(Row(), account=""), "2")

    owners = {row.kind: row.owner for row in await treasury.breaks()}
    assert owners == {"unknown": OPERATOR, "unreadable": OPERATOR}
    assert await treasury.open_items() == {}


async def test_the_page_of_a_break_is_kept_and_one_without_is_not(treasury: Treasury) -> None:
    batch = await treasury.send(an_obligation())
    good = hospital_page(Row(amount="1200.00", details=details(ids(batch.end_to_end_id, batch.uetr))))
    bad = hospital_page(Row(currency="USD"), notification_id="N2")

    await treasury.take(good, "1")
    await treasury.take(bad, "2")

    [page], [held] = await treasury.pages(), await treasury.breaks()
    assert held.page_sha256 == page.page_sha256
    load = partial(break_store.load_page, page_sha256=page.page_sha256)
    assert await treasury.database.read(load) == bad
    assert b"synthetic-secret" not in bad


async def test_a_break_is_told_to_the_log_by_our_own_words_only(treasury: Treasury) -> None:
    row = Row(details=details("<Refs><EndToEndId>Wang Xiaoming</EndToEndId></Refs>"))

    await treasury.take(hospital_page(row), "1")

    [held], [told] = await treasury.breaks(), await treasury.records("payment.break")
    assert told == {"break_id": held.break_id, "kind": "unknown"}


async def test_a_page_that_was_cut_short_is_read_again_and_books_each_row_once(treasury: Treasury) -> None:
    page = hospital_page(A_ROW, Row(currency="USD"), notification_id="N1")

    read = CHANNELS["iso20022_http"].read_notifications(Incoming(200, {"Next-Cursor": "1"}, page), "")

    async def cut_short(tx: Transaction) -> None:
        await take_page(tx, treasury.deps, "SANDBOX-BANK", read)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await treasury.database.write(cut_short)
    assert await treasury.entries() == []

    await treasury.take(page, "1")

    assert len(await treasury.entries()) == 1
    assert len(await treasury.breaks()) == 2


async def test_a_long_page_is_booked_in_parts_and_each_row_once_though_it_is_cut_between_them(
    treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booking, "ROWS_A_WORK", 2)
    page = hospital_page(Row(currency="USD"), *(Row(amount=f"{number}.00") for number in range(1, 6)))
    taken = []

    async def cut(tx: Transaction, deps: Deps, bank: str, page: Notifications) -> None:
        taken.append(len(page.entries) + len(page.unreadable))
        if len(taken) == 3:
            raise UnavailableError("test.died")
        await take_page(tx, deps, bank, page)

    with monkeypatch.context() as dying:
        dying.setattr(booking, "take_page", cut)
        with pytest.raises(UnavailableError):
            await treasury.take(page, "1")
    at_the_cut = (len(await treasury.entries()), await treasury.cursor())
    await treasury.take(page, "1")

    assert taken == [1, 2, 2]
    assert at_the_cut == (2, "")
    assert (len(await treasury.entries()), len(await treasury.breaks()), len(await treasury.pages())) == (5, 6, 1)
    assert await treasury.cursor() == "1"
    assert await treasury.open_items() == {HOSPITAL_SUSPENSE: 1_500}


async def test_rows_of_a_page_whose_cursor_stands_still_are_booked(treasury: Treasury) -> None:
    await treasury.take(hospital_page(A_ROW), "1")
    await treasury.take(hospital_page(Row(amount="3.00"), notification_id="N2"), "1")

    assert len(await treasury.entries()) == 2


async def test_a_page_that_is_no_notification_is_named_by_readiness_metric_and_kept(treasury: Treasury) -> None:
    with pytest.raises(MalformedInputError):
        await treasury.take(b"<html>down for maintenance</html>", "1")
    treasury.later(minutes=5)
    with pytest.raises(MalformedInputError):
        await treasury.take(b"<html>down for maintenance</html>", "1")

    reason = await why_not_ready(treasury.deps)
    assert reason == "notifications of SANDBOX-BANK are not read since 2026-03-02T01:00:00.000Z: iso20022.other-message"
    values = {one.gauge: one.value for one in await measure(treasury.deps)}
    assert values["cursor_stuck"] == 300
    [page] = await treasury.pages()
    load = partial(break_store.load_page, page_sha256=page.page_sha256)
    assert await treasury.database.read(load) == b"<html>down for maintenance</html>"

    await treasury.take(hospital_page(A_ROW), "1")
    assert await why_not_ready(treasury.deps) is None
    assert {one.gauge: one.value for one in await measure(treasury.deps)}["cursor_stuck"] == 0


async def test_a_bank_that_is_away_makes_core_unready_after_a_minute_and_not_before(treasury: Treasury) -> None:
    async def away(_: Outgoing) -> Incoming:
        raise UnavailableError("outgoing.unavailable")

    object.__setattr__(treasury.deps, "send", away)
    with pytest.raises(UnavailableError):
        await take_notifications(treasury.deps)
    assert await why_not_ready(treasury.deps) is None

    treasury.clock.advance(PATIENCE * 2)
    assert "SANDBOX-BANK" in (await why_not_ready(treasury.deps) or "")

    object.__setattr__(treasury.deps, "send", treasury.bank.send)
    await take_notifications(treasury.deps)
    assert await why_not_ready(treasury.deps) is None


async def test_open_breaks_and_the_oldest_ones_age_are_measured(treasury: Treasury) -> None:
    await treasury.take(hospital_page(Row(amount="1.00"), Row(currency="USD")), "1")
    treasury.later(hours=30)

    values = {one.gauge: one.value for one in await measure(treasury.deps)}

    assert (values["breaks_open"], values["breaks_oldest"]) == (2, 30 * 3600)


async def test_an_entry_that_the_state_of_its_payment_does_not_take_holds_up_no_other(treasury: Treasury) -> None:
    obligation = an_obligation()
    batch = await treasury.send(obligation)

    async def out_of_step(tx: Transaction) -> None:
        stored = await store.load_obligation(tx, obligation.obligation_id)
        moved = replace(stored.reject("AC04"), batch_id=batch.batch_id)
        await store.save_obligation(tx, moved, seen=ObligationState.INSTRUCTED)

    await treasury.database.write(out_of_step)
    row = Row(amount="1200.00", details=details(ids(batch.end_to_end_id, batch.uetr)))

    await treasury.take(hospital_page(row, Row(amount="1.00")), "1")

    kinds = {held.kind: held.reason for held in await treasury.breaks()}
    assert kinds == {"not_taken": "obligation.wrong-state", "unknown": None}


async def test_only_the_first_of_many_unreadable_pages_is_kept(treasury: Treasury) -> None:
    for number in range(3):
        with pytest.raises(MalformedInputError):
            await treasury.take(f"<html>{number}</html>".encode(), "1")

    assert len(await treasury.pages()) == 1


async def test_breaks_are_listed_page_by_page_oldest_first_and_resolved_ones_on_request(treasury: Treasury) -> None:
    for number in range(3):
        await treasury.take(hospital_page(Row(amount=f"{number + 1}.00"), notification_id=f"N{number}"), str(number))
        treasury.later(seconds=1)
    first, *_ = await treasury.breaks()
    await treasury.two_persons("resolve-break", break_id=first.break_id, reason="test", ticket="OPS-1")

    async def listed(*after: str, resolved: bool = False) -> list[int]:
        wanted = partial(break_store.list_breaks, after=after, limit=2, resolved=resolved)
        return [row["amount_minor"] for row in await treasury.database.read(wanted)]

    assert await listed() == [200, 300]
    assert await listed(resolved=True) == [100, 200]
    assert await listed(first.since, first.break_id, resolved=True) == [200, 300]
