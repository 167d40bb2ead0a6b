"""PostgreSQL as users run it: sessions end, the server crashes, a lock is held; nothing acknowledged is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from zlib import crc32

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, select, text
from sqlalchemy.exc import DBAPIError

from gateway.runtime.storage.database import Database, DatabaseAwayError, Transaction, open_database, rows
from gateway.runtime.storage.schema import migrate
from tests.postgres import PostgresServer, binaries
from tests.services import missing

METADATA = MetaData()
NOTED = Table("noted", METADATA, Column("number", Integer, primary_key=True), Column("key", Text, nullable=False))
WRITERS = 12
TOGETHER_S_MAX = 60
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = '{}'"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")
    started = PostgresServer.start(programs)
    yield started
    started.stop()


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    opened = open_database(server.fresh_url())
    opened.run_sync(METADATA.create_all)
    yield opened
    await opened.close()


async def _load(database: Database, stop: asyncio.Event) -> tuple[set[int], int]:
    """Note numbers from many tasks until told to stop; return what was acknowledged, and how many attempts failed."""
    acknowledged: set[int] = set()
    failures = 0

    async def note(first: int) -> None:
        nonlocal failures
        number = first
        while not stop.is_set():
            row = {"number": number, "key": f"case_{first}"}

            async def work(tx: Transaction, row: dict[str, object] = row) -> None:
                await tx.execute(NOTED.insert(), [row])

            try:
                await database.write(work, key=f"case_{first}")
            except Exception:  # noqa: BLE001 what a fault raises is the caller's to try again; here it is counted
                failures += 1
                await asyncio.sleep(0.05)
            else:
                acknowledged.add(number)
            number += WRITERS

    await asyncio.gather(*(note(first) for first in range(WRITERS)))
    return acknowledged, failures


async def _stored(database: Database) -> list[int]:
    return await database.read(_numbers)


async def _load_through(database: Database, fault: Callable[[], None]) -> tuple[set[int], int]:
    stop = asyncio.Event()
    async with asyncio.timeout(TOGETHER_S_MAX):
        loading = asyncio.create_task(_load(database, stop))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(fault)
        await asyncio.sleep(1)
        stop.set()
        return await loading


async def _assert_all_there(database: Database, acknowledged: set[int]) -> None:
    stored = await _stored(database)
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))


async def _sessions(database: Database) -> set[int]:
    activity = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")

    async def query(tx: Transaction) -> set[int]:
        return {row.pid for row in await rows(tx, activity)}

    return await database.read(query)


def _end_sessions(server: PostgresServer, database: Database) -> Callable[[], None]:
    name = str(database.run_sync(lambda connection: connection.scalar(text("SELECT current_database()"))))
    return lambda: server.execute(END_SESSIONS.format(name))


async def test_sessions_that_are_ended_in_mid_load_lose_nothing(server: PostgresServer, database: Database) -> None:
    end_all = _end_sessions(server, database)

    def end_three_times() -> None:
        for _ in range(3):
            end_all()

    await _load_through(database, lambda: None)
    ended = await _sessions(database)
    await database.write(_forget)
    acknowledged, _ = await _load_through(database, end_three_times)

    assert ended.isdisjoint(await _sessions(database)), "the fault hit nobody"
    await _assert_all_there(database, acknowledged)


async def _forget(tx: Transaction) -> None:
    await tx.execute(NOTED.delete())


async def test_a_session_that_ended_while_idle_is_noticed_by_nobody(server: PostgresServer, database: Database) -> None:
    end_all = _end_sessions(server, database)
    await database.write(_forget)

    await asyncio.to_thread(end_all)
    await database.write(_forget)
    await asyncio.to_thread(end_all)

    assert await _stored(database) == []


async def test_a_server_that_crashes_in_mid_load_loses_nothing(server: PostgresServer, database: Database) -> None:
    def crash() -> None:
        server.crash()
        server.revive()

    acknowledged, failures = await _load_through(database, crash)

    assert failures > 0, "the fault hit nobody"
    await _assert_all_there(database, acknowledged)


async def test_a_migration_gives_up_on_a_lock_that_nobody_lets_go_of(server: PostgresServer) -> None:
    holder, migrated = open_database(url := server.fresh_url()), open_database(url)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x53414C})
        held.set()
        await let_go.wait()

    holding = asyncio.create_task(holder.write(hold))
    await held.wait()
    with pytest.raises(DBAPIError, match="lock timeout"):
        await asyncio.to_thread(migrate, migrated, "runtime", "gateway.runtime.storage.migrations", 0.2)
    let_go.set()
    await holding

    migrate(migrated, "runtime", "gateway.runtime.storage.migrations", 5)
    await holder.close()
    await migrated.close()


async def test_readers_that_hold_every_connection_of_theirs_stop_no_writer(database: Database) -> None:
    reading, let_go = asyncio.Semaphore(0), asyncio.Event()

    async def dawdle(tx: Transaction) -> None:
        await rows(tx, select(NOTED.c.number))
        reading.release()
        await let_go.wait()

    readers = [asyncio.create_task(database.read(dawdle)) for _ in range(20)]
    await reading.acquire()
    async with asyncio.timeout(TOGETHER_S_MAX):
        for number in range(20):
            await database.write(_note(number), key=str(number))
    let_go.set()
    await asyncio.gather(*readers)

    assert sorted(await _stored(database)) == list(range(20))


async def test_batches_that_wait_for_each_other_are_written_work_by_work(database: Database) -> None:
    """Two writers lock rows 1 and 2 in opposite orders, a row a work: only their batches cross."""
    await asyncio.gather(database.write(_note(1)), database.write(_note(2)))
    meeting = asyncio.Barrier(2)
    met: set[str] = set()

    def touch(number: int, key: str, *, meet: bool) -> Callable[[Transaction], Awaitable[None]]:
        async def work(tx: Transaction) -> None:
            await tx.execute(NOTED.update().where(NOTED.c.number == number).values(key=NOTED.c.key + key))
            if meet and key not in met:
                met.add(key)
                await meeting.wait()

        return work

    order = {"0": (1, 2), "4": (2, 1)}
    assert len({crc32(key.encode()) % 2 for key in order}) == 2, "the keys need writers of their own"
    async with asyncio.timeout(TOGETHER_S_MAX):
        await asyncio.gather(
            *(
                database.write(touch(number, key, meet=number == numbers[0]), key=key)
                for key, numbers in order.items()
                for number in numbers
            )
        )

    found = await database.fetch(select(NOTED.c.key))
    assert ["".join(sorted(row.key.removeprefix("case_"))) for row in found] == ["04", "04"]


async def test_a_server_that_stands_still_is_away_not_waited_for(server: PostgresServer) -> None:
    database = open_database(server.fresh_url(), statement_s=0.5)
    database.run_sync(METADATA.create_all)
    await database.write(_note(1))

    server.freeze()
    async with asyncio.timeout(TOGETHER_S_MAX):
        with pytest.raises(DatabaseAwayError):
            await database.write(_note(2))
        with pytest.raises(DatabaseAwayError):
            await database.fetch(select(NOTED.c.number))
    server.thaw()
    await _until_written(database, 3)

    assert {1, 3} <= set(await _stored(database))
    await database.close()


async def test_a_column_that_was_widened_under_a_running_role_is_noticed_by_nobody(database: Database) -> None:
    await database.write(_note(1))
    assert await database.write(_numbers) == await database.read(_numbers) == [1]

    database.run_sync(lambda connection: connection.execute(text("ALTER TABLE noted ALTER COLUMN number TYPE bigint")))

    assert await database.write(_numbers) == await database.read(_numbers) == [1]
    assert [row.number for row in await database.fetch(select(NOTED.c.number))] == [1]


async def _numbers(tx: Transaction) -> list[int]:
    return [row.number for row in await rows(tx, select(NOTED.c.number))]


async def _until_written(database: Database, number: int) -> None:
    async with asyncio.timeout(TOGETHER_S_MAX):
        while True:
            try:
                return await database.write(_note(number))
            except DatabaseAwayError:
                await asyncio.sleep(0.1)


def _note(number: int) -> Callable[[Transaction], Awaitable[None]]:
    async def work(tx: Transaction) -> None:
        await tx.execute(NOTED.insert(), [{"number": number, "key": "case_"}])

    return work
