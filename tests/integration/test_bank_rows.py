"""Which row of a bank is which: no genuine credit disappears, and no row counts twice, in whichever page it stands."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import update

from gateway.runtime.storage.database import Transaction
from settlement.batch import State
from settlement.tables import bank_entries
from tests.bank_notifications import Row, a_notification, a_page, details, ids, notification
from tests.conftest import MakeDatabase
from tests.settlement_builders import HOSPITAL_ACCOUNT, PAYER_ACCOUNT, an_obligation
from tests.treasury import Treasury

HOSPITAL = f"<Othr><Id>{HOSPITAL_ACCOUNT}</Id></Othr>"
PAYER = f"<Othr><Id>{PAYER_ACCOUNT}</Id></Othr>"
HOSPITAL_SUSPENSE = "suspense/SZH-1/CNY"

hospital_page = partial(a_notification, account=HOSPITAL)
ALIKE = Row(amount="50.00")


@pytest.fixture
async def treasury(make_database: MakeDatabase) -> Treasury:
    return Treasury.over(make_database())


async def test_two_notifications_with_rows_that_look_alike_are_two_entries_and_the_second_is_suspected(
    treasury: Treasury,
) -> None:
    await treasury.take(hospital_page(ALIKE, notification_id="N1"), "1")
    await treasury.take(hospital_page(ALIKE, notification_id="N2"), "2")

    assert len(await treasury.entries()) == 2
    assert sorted(row.kind for row in await treasury.breaks()) == ["duplicate_suspected", "unknown"]
    assert await treasury.open_items() == {HOSPITAL_SUSPENSE: 10_000}


async def test_a_second_credit_for_our_payment_without_ids_of_the_bank_is_held(treasury: Treasury) -> None:
    batch = await treasury.send(an_obligation())
    row = Row(amount="1200.00", details=details(f"<Refs><EndToEndId>{batch.end_to_end_id}</EndToEndId></Refs>"))

    await treasury.take(hospital_page(row, notification_id="N1"), "1")
    await treasury.take(hospital_page(row, notification_id="N2"), "2")

    assert len(await treasury.entries()) == 2
    [held] = await treasury.breaks()
    assert (held.kind, held.batch_id, held.amount_minor) == ("duplicate_suspected", batch.batch_id, 120_000)


async def test_a_notification_that_is_delivered_again_stays_one_entry(treasury: Treasury) -> None:
    page = hospital_page(ALIKE, Row(currency="USD"), notification_id="N1")

    for cursor in ("1", "2", "3"):
        await treasury.take(page, cursor)

    assert len(await treasury.entries()) == 1
    assert len(await treasury.breaks()) == 2
    assert await treasury.cursor() == "3"


async def test_a_notification_that_is_shown_again_among_others_stays_one_entry(treasury: Treasury) -> None:
    first, second = (notification([ALIKE], HOSPITAL, name) for name in ("N1", "N2"))

    await treasury.take(a_page(first), "1")
    await treasury.take(a_page(first, second, first), "2")

    assert len(await treasury.entries()) == 2


async def test_the_same_notification_id_with_other_bytes_is_another_notification(treasury: Treasury) -> None:
    await treasury.take(hospital_page(ALIKE, notification_id="N1"), "1")
    await treasury.take(hospital_page(ALIKE, Row(amount="7.00"), notification_id="N1"), "2")

    assert len(await treasury.entries()) == 3
    assert "duplicate_suspected" in {row.kind for row in await treasury.breaks()}


async def test_without_a_notification_id_only_the_same_page_is_the_same(treasury: Treasury) -> None:
    own = notification([ALIKE], HOSPITAL, "")

    await treasury.take(a_page(own), "1")
    await treasury.take(a_page(own), "2")
    assert len(await treasury.entries()) == 1

    await treasury.take(a_page(own, notification([Row(amount="1.00")], HOSPITAL, "N9")), "3")
    assert sorted(row.kind for row in await treasury.breaks()) == ["duplicate_suspected", "unknown", "unknown"]


async def test_a_row_that_the_bank_gave_an_id_is_one_entry_in_whichever_notification_it_stands(
    treasury: Treasury,
) -> None:
    row = Row(amount="50.00", more="<AcctSvcrRef>BK77</AcctSvcrRef>")

    await treasury.take(hospital_page(row, notification_id="N1"), "1")
    await treasury.take(hospital_page(Row(amount="1.00"), row, notification_id="N2"), "2")

    assert len(await treasury.entries()) == 2
    assert {row.kind for row in await treasury.breaks()} == {"unknown"}


async def test_a_reference_that_says_that_there_is_none_is_no_id(treasury: Treasury) -> None:
    row = Row(amount="50.00", more="<AcctSvcrRef>NONREF</AcctSvcrRef>")

    await treasury.take(hospital_page(row, notification_id="N1"), "1")
    await treasury.take(hospital_page(row, notification_id="N2"), "2")

    assert len(await treasury.entries()) == 2


@pytest.mark.parametrize(
    ("name", "more", "uetr"),
    [
        ("NOTPROVIDED", "", ""),
        ("NotProvided", "", ""),
        ("N", "<AcctSvcrRef>nonref</AcctSvcrRef>", ""),
        ("N", "<AcctSvcrRef>NOT PROVIDED</AcctSvcrRef>", ""),
        ("N", "", "00000000-0000-0000-0000-000000000000"),
        ("N", "", "NOTPROVIDED"),
    ],
)
async def test_what_stands_for_no_id_makes_no_second_credit_disappear(
    treasury: Treasury, name: str, more: str, uetr: str
) -> None:
    row = Row(amount="60.00", more=more, details=details(f"<Refs><UETR>{uetr}</UETR></Refs>") if uetr else "")
    for number in "12":
        # where the notification has an id, the second one is another by its own
        own = f"{name}{number}" if name == "N" else name
        await treasury.take(a_page(notification([row], HOSPITAL, own)) + b"\n" * int(number), number)

    assert [entry.outcome for entry in await treasury.entries()] == ["break", "break"]
    assert sorted(held.kind for held in await treasury.breaks()) == ["duplicate_suspected", "unknown"]
    assert await treasury.open_items() == {HOSPITAL_SUSPENSE: 12_000}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        ("<AcctSvcrRef>B1</AcctSvcrRef>", "<AcctSvcrRef>B2</AcctSvcrRef>"),
        ("<AcctSvcrRef>B1</AcctSvcrRef>",) * 2,
    ],
)
async def test_a_payment_that_one_notification_books_twice_is_held_though_both_rows_have_its_uetr(
    treasury: Treasury, first: str, second: str
) -> None:
    batch = await treasury.send(an_obligation())
    of_payment = details(ids(batch.end_to_end_id, batch.uetr))
    twice = [Row(amount="1200.00", details=of_payment, more=more) for more in (first, second)]

    await treasury.take(hospital_page(*twice), "1")

    [held] = await treasury.breaks()
    assert (held.kind, held.batch_id, held.amount_minor) == ("duplicate_suspected", batch.batch_id, 120_000)
    assert (await treasury.open_items())[HOSPITAL_SUSPENSE] == 120_000


async def test_a_second_row_with_an_id_of_its_own_is_held_though_its_uetr_is_the_payments(treasury: Treasury) -> None:
    batch = await treasury.send(an_obligation())
    of_payment = details(ids(batch.end_to_end_id, batch.uetr))
    for name in ("B1", "B2"):
        row = Row(amount="1200.00", details=of_payment, more=f"<AcctSvcrRef>{name}</AcctSvcrRef>")
        await treasury.take(hospital_page(row, notification_id=name), name)

    [held] = await treasury.breaks()
    assert (held.kind, held.batch_id) == ("duplicate_suspected", batch.batch_id)


async def test_a_payment_that_a_later_notification_shows_once_more_is_one_entry(treasury: Treasury) -> None:
    batch = await treasury.send(an_obligation())
    row = Row(amount="1200.00", details=details(ids(batch.end_to_end_id, batch.uetr)))
    await treasury.take(hospital_page(row, notification_id="N1"), "1")

    await treasury.take(hospital_page(replace(row, value_date="<Dt>2026-03-03</Dt>"), notification_id="N2"), "2")

    assert await treasury.breaks() == []
    assert HOSPITAL_SUSPENSE not in await treasury.open_items()


@pytest.mark.parametrize("amount", ["0", "0.00", "000.000"])
@pytest.mark.parametrize("of_ours", [True, False])
async def test_a_row_of_nothing_moves_no_payment_and_is_a_break(
    treasury: Treasury, amount: str, *, of_ours: bool
) -> None:
    batch = await treasury.send(an_obligation())
    row = Row(amount=amount, details=details(ids(batch.end_to_end_id, batch.uetr)) if of_ours else "")

    await treasury.take(hospital_page(row), "1")

    [held] = await treasury.breaks()
    assert (held.kind, held.reason, held.amount_minor) == ("unclear", "iso20022.amount-zero", 0)
    assert await treasury.outcomes() == []
    assert (await treasury.batch(batch.batch_id)).state is State.INSTRUCTED


async def test_two_rows_that_look_alike_in_one_notification_are_two_rows(treasury: Treasury) -> None:
    await treasury.take(hospital_page(ALIKE, ALIKE), "1")

    assert len(await treasury.entries()) == 2
    assert [row.kind for row in await treasury.breaks()] == ["unknown", "unknown"]


async def test_an_entry_that_an_older_version_stored_is_recognised_and_another_one_is_not_swallowed(
    treasury: Treasury,
) -> None:
    await treasury.take(hospital_page(ALIKE, notification_id="N1"), "1")
    [stored] = await treasury.entries()
    plain_key = f"{stored.fingerprint}-1"

    async def as_of_old(tx: Transaction) -> None:
        await tx.execute(update(bank_entries).values(entry_key=plain_key, origin=None))

    await treasury.database.write(as_of_old)

    await treasury.take(hospital_page(ALIKE, notification_id="N1"), "2")
    await treasury.take(hospital_page(ALIKE, notification_id="N1"), "3")
    assert [row.entry_key for row in await treasury.entries()] == [plain_key]

    await treasury.take(hospital_page(ALIKE, notification_id="N2"), "4")
    assert len(await treasury.entries()) == 2
