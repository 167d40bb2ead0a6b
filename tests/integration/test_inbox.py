"""The inbox as a store: duplicates fall, gaps wait, forged bytes advance nothing."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from gateway.protocol.clock import VirtualClock, rfc3339
from gateway.protocol.exchange import Stamp
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.bus.port import Fetched
from gateway.runtime.delivery.inbox import Admitted, admit, park, put_in_quarantine, unpark
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA, inbox, parked, quarantine
from tests.conftest import MakeDatabase

NOW = VirtualClock().now()
CONSUMER = "core.claims"


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(METADATA)


def a_stamp(seq: int, key: str = "case_1", role: str = "sz") -> Stamp:
    return Stamp(
        eid=f"ev_{seq}",
        role=role,
        custody="hosted",
        topic=HOSPITAL_REQUESTS,
        key=key,
        seq=seq,
        type="submitted",
        received_at=NOW,
        expires=NOW + timedelta(days=30),
        registry_release=1,
    )


def fetched(offset: int, key: str = "case_1", value: bytes = b"{}") -> Fetched:
    return Fetched(HOSPITAL_REQUESTS, 0, offset, key, value)


async def take(database: Database, stamp: Stamp, consumer: str = CONSUMER, writer: str = "") -> Admitted:
    async def work(tx: Transaction) -> Admitted:
        return await admit(tx, consumer, stamp)

    return await database.write(work, key=writer)


async def wait(database: Database, offset: int, *, why: str = "retry", now: datetime = NOW) -> None:
    async def work(tx: Transaction) -> None:
        await park(tx, CONSUMER, fetched(offset), a_stamp(9), why=why, code="key.unknown", now=now)

    await database.write(work)


async def everything(database: Database, table: Any) -> list[Any]:
    async def query(tx: Transaction) -> list[Any]:
        return list(await rows(tx, select(table)))

    return await database.read(query)


async def test_the_next_message_applies_an_old_one_falls_and_a_later_one_waits(database: Database) -> None:
    assert await take(database, a_stamp(1)) is Admitted.APPLY
    assert await take(database, a_stamp(1)) is Admitted.DUPLICATE
    assert await take(database, a_stamp(3)) is Admitted.GAP
    assert await take(database, a_stamp(2)) is Admitted.APPLY
    assert await take(database, a_stamp(3)) is Admitted.APPLY
    assert [row.last_seq for row in await everything(database, inbox)] == [3]


async def test_streams_and_consumers_advance_apart(database: Database) -> None:
    assert await take(database, a_stamp(1)) is Admitted.APPLY

    assert await take(database, a_stamp(1, key="case_2")) is Admitted.APPLY
    assert await take(database, a_stamp(1, role="sz-other")) is Admitted.APPLY
    assert await take(database, a_stamp(1), consumer="core.settlement") is Admitted.APPLY
    assert await take(database, a_stamp(2)) is Admitted.APPLY


async def test_a_work_that_fails_does_not_advance_its_stream(database: Database) -> None:
    async def fail(tx: Transaction) -> None:
        assert await admit(tx, CONSUMER, a_stamp(1)) is Admitted.APPLY
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(fail)

    assert await take(database, a_stamp(1)) is Admitted.APPLY


async def test_of_eight_equal_deliveries_at_once_one_applies(database: Database) -> None:
    assert await take(database, a_stamp(1)) is Admitted.APPLY

    results = await asyncio.gather(*(take(database, a_stamp(2), writer=str(n)) for n in range(8)))

    assert results.count(Admitted.APPLY) == 1
    assert results.count(Admitted.DUPLICATE) == 7


async def test_a_parked_message_waits_longer_each_time_and_keeps_its_first_hour(database: Database) -> None:
    await wait(database, 5)
    await wait(database, 5, now=NOW + timedelta(seconds=1))

    (row,) = await everything(database, parked)
    assert (row.attempts, row.since, row.key, row.seq) == (2, rfc3339(NOW), "case_1", 9)
    assert row.next_at == rfc3339(NOW + timedelta(seconds=2))


@pytest.mark.parametrize("why", ["held", "halt"])
async def test_what_an_operator_must_decide_is_never_due(database: Database, why: str) -> None:
    await wait(database, 5, why=why)

    (row,) = await everything(database, parked)
    assert (row.next_at, row.why) == (None, why)


async def test_a_message_that_was_taken_is_forgotten_and_its_neighbour_is_not(database: Database) -> None:
    await wait(database, 5)
    await wait(database, 6)

    async def work(tx: Transaction) -> None:
        await unpark(tx, CONSUMER, fetched(5))

    await database.write(work)

    assert [row.offset for row in await everything(database, parked)] == [6]


async def test_forged_bytes_are_kept_once_and_advance_nothing(database: Database) -> None:
    async def work(tx: Transaction) -> bool:
        return await put_in_quarantine(tx, CONSUMER, fetched(7, value=b"forged"), "stamp.role", NOW)

    first, second = await database.write(work), await database.write(work)

    assert (first, second) == (True, False)
    assert [bytes(row.value) for row in await everything(database, quarantine)] == [b"forged"]
    assert await everything(database, inbox) == []
    assert await take(database, a_stamp(1)) is Admitted.APPLY


async def test_a_later_epoch_begins_at_one_and_what_its_sender_has_left_is_never_applied(database: Database) -> None:
    first = a_stamp

    def second(seq: int) -> Stamp:
        return a_stamp(seq).model_copy(update={"epoch": 2})

    assert [await take(database, first(seq)) for seq in (1, 2)] == [Admitted.APPLY] * 2

    assert await take(database, second(2)) is Admitted.GAP
    assert await take(database, second(1)) is Admitted.APPLY
    assert await take(database, second(2)) is Admitted.APPLY

    assert await take(database, second(2)) is Admitted.DUPLICATE
    assert await take(database, first(2)) is Admitted.DUPLICATE
    assert await take(database, first(3)) is Admitted.LEFT
    assert await take(database, first(9)) is Admitted.LEFT
    assert {(row.epoch, row.last_seq) for row in await everything(database, inbox)} == {(1, 2), (2, 2)}


async def test_a_stream_that_was_only_seen_in_a_later_epoch_takes_nothing_of_an_earlier_one(database: Database) -> None:
    assert await take(database, a_stamp(1).model_copy(update={"epoch": 3})) is Admitted.APPLY

    assert await take(database, a_stamp(1)) is Admitted.LEFT
    assert await take(database, a_stamp(1).model_copy(update={"epoch": 2})) is Admitted.LEFT
    assert await take(database, a_stamp(1, key="case_2")) is Admitted.APPLY
    assert await take(database, a_stamp(1), consumer="core.settlement") is Admitted.APPLY
