"""The promise of `database.write` and `database.read`, on SQLite and on a real PostgreSQL."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, event, func, insert, select, text, update
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.exc import DBAPIError, OperationalError

from gateway.runtime.storage.database import Database, PostgresDatabase, SqliteDatabase, Transaction, open_database
from gateway.runtime.storage.tables import BIG
from tests.conftest import MakeDatabase
from tests.postgres import postgres

METADATA = MetaData()
counters = Table("counters", METADATA, Column("id", Integer, primary_key=True), Column("n", Integer, nullable=False))
notes = Table("notes", METADATA, Column("id", BIG, primary_key=True), Column("word", Text, nullable=False))
ADD_COUNTER = insert(counters)
ADD_COUNTER_ONCE = postgresql_dialect.insert(counters).on_conflict_do_nothing()
ADD_NOTE = insert(notes)


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(METADATA)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'role.db'}")
    database.run_sync(METADATA.create_all)
    yield database
    await database.close()


@pytest.fixture
async def postgresql() -> AsyncIterator[Database]:
    database = open_database(postgres().fresh_url())
    database.run_sync(METADATA.create_all)
    yield database
    await database.close()


def put(number: int) -> Any:
    async def work(tx: Transaction) -> int:
        await tx.execute(insert(counters), [{"id": number, "n": 0}])
        return number

    return work


async def add_one(tx: Transaction) -> None:
    found = (await tx.execute(select(counters.c.n).where(counters.c.id == 1).with_for_update())).scalar_one()
    await tx.execute(update(counters).where(counters.c.id == 1).values(n=found + 1))


async def count(tx: Transaction) -> int:
    return int((await tx.execute(select(func.count()).select_from(counters))).scalar_one())


async def test_a_failing_work_loses_only_itself(database: Database) -> None:
    async def fail(tx: Transaction) -> None:
        await put(100)(tx)
        raise ValueError("mine alone")

    results = await asyncio.gather(
        database.write(put(1)), database.write(fail), database.write(put(2)), return_exceptions=True
    )

    assert [results[0], results[2]] == [1, 2]
    assert isinstance(results[1], ValueError)
    assert await database.read(count) == 2


async def test_a_work_that_breaks_a_constraint_loses_only_itself(database: Database) -> None:
    results = await asyncio.gather(*(database.write(put(n)) for n in (1, 1, 2)), return_exceptions=True)

    assert sorted(type(one).__name__ for one in results) == ["IntegrityError", "int", "int"]
    assert await database.read(count) == 2


async def test_works_that_queue_up_share_commits(database: Database) -> None:
    commits = 0

    def executed(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    if isinstance(database, SqliteDatabase):
        event.listen(database._engine, "before_cursor_execute", executed)

    await asyncio.gather(*(database.write(put(n)) for n in range(256)))

    assert await database.read(count) == 256
    if isinstance(database, PostgresDatabase):  # each transaction leaves its number on the rows it wrote
        commits = (await database.fetch(text("SELECT count(DISTINCT xmin::text) FROM counters")))[0][0]
    assert commits <= 16


async def test_nothing_is_answered_before_it_can_be_read(database: Database) -> None:
    for number in range(20):
        await database.write(put(number), key=str(number))

        assert await database.read(count) == number + 1


async def test_concurrent_changes_of_one_row_are_never_lost(database: Database) -> None:
    await database.write(put(1))

    await asyncio.gather(*(database.write(add_one, key=str(n)) for n in range(200)))

    async def value(tx: Transaction) -> int:
        return int((await tx.execute(select(counters.c.n))).scalar_one())

    assert await database.read(value) == 200


async def test_works_with_the_same_key_keep_their_order(database: Database) -> None:
    order: list[int] = []

    def noting(number: int) -> Any:
        async def work(tx: Transaction) -> None:
            await put(number)(tx)
            tx.after_commit(lambda: order.append(number))

        return work

    await asyncio.gather(*(database.write(noting(n), key="case_1") for n in range(150)))

    assert order == list(range(150))


async def test_reads_never_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.read(put(1))

    assert await database.read(count) == 0


async def test_a_read_on_sqlite_sees_one_moment(sqlite: Database, tmp_path: Path) -> None:
    async def twice(tx: Transaction) -> tuple[int, int]:
        before = await count(tx)
        with contextlib.closing(sqlite3.connect(tmp_path / "role.db")) as other, other:
            other.execute("INSERT INTO counters VALUES (1, 0)")
        return before, await count(tx)

    assert await sqlite.read(twice) == (0, 0)
    assert await sqlite.read(count) == 1


async def test_a_read_on_postgresql_sees_one_moment(postgresql: Database) -> None:
    first_look, written = asyncio.Event(), asyncio.Event()

    async def twice(tx: Transaction) -> tuple[int, int]:
        before = await count(tx)
        first_look.set()
        await written.wait()
        return before, await count(tx)

    reading = asyncio.create_task(postgresql.read(twice))
    await first_look.wait()
    await postgresql.write(put(1))
    written.set()

    assert await reading == (0, 0)


async def test_a_work_on_sqlite_may_await_nothing_but_its_transaction(sqlite: Database) -> None:
    async def dawdle(tx: Transaction) -> None:
        await put(1)(tx)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="not its transaction"):
        await sqlite.write(dawdle)

    assert await sqlite.read(count) == 0


async def test_what_follows_a_commit_does_not_follow_a_failure(database: Database) -> None:
    called: list[str] = []

    async def good(tx: Transaction) -> None:
        tx.after_commit(lambda: called.append("good"))

    async def bad(tx: Transaction) -> None:
        tx.after_commit(lambda: called.append("bad"))
        raise ValueError("no")

    await asyncio.gather(database.write(good), database.write(bad), return_exceptions=True)

    assert called == ["good"]


async def test_a_caller_that_gives_up_does_not_undo_its_work(database: Database) -> None:
    writing = asyncio.create_task(database.write(put(1)))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    await database.write(put(2))

    assert await database.read(count) == 2


async def test_closing_finishes_what_is_queued(make_database: MakeDatabase) -> None:
    database = make_database(METADATA)
    writing = [asyncio.create_task(database.write(put(n))) for n in range(100)]
    await asyncio.sleep(0)

    await database.close()

    assert sorted(await asyncio.gather(*writing)) == list(range(100))


async def test_a_deadlock_is_run_again_and_both_works_happen(postgresql: Database) -> None:
    database = postgresql
    await asyncio.gather(database.write(put(1)), database.write(put(2)))
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    def crossing(first: int, second: int, mine: str, other: str) -> Any:
        async def work(tx: Transaction) -> None:
            await tx.execute(update(counters).where(counters.c.id == first).values(n=counters.c.n + 1))
            gates[mine].set()
            await gates[other].wait()
            await tx.execute(update(counters).where(counters.c.id == second).values(n=counters.c.n + 1))

        return work

    await asyncio.gather(
        database.write(crossing(1, 2, "a", "b"), key="0"), database.write(crossing(2, 1, "b", "a"), key="4")
    )

    async def values(tx: Transaction) -> list[int]:
        return [row.n for row in (await tx.execute(select(counters.c.n))).all()]

    assert await database.read(values) == [2, 2]


async def test_a_database_that_cannot_be_opened_answers_every_writer(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'absent' / 'role.db'}")

    async def work(tx: Transaction) -> None:
        await tx.execute(text("SELECT 1"))

    for _ in range(2):
        with pytest.raises(OperationalError):
            async with asyncio.timeout(5):
                await database.write(work)
    await database.close()


async def test_sqlite_is_durable_and_guarded(sqlite: Database) -> None:
    async def pragmas(tx: Transaction) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "query_only")
        return [(await tx.execute(text(f"PRAGMA {name}"))).scalar_one() for name in names]

    assert await sqlite.write(pragmas) == ["wal", 2, 1, 0]
    assert await sqlite.read(pragmas) == ["wal", 2, 1, 1]


async def test_what_is_to_be_written_later_is_there_in_order_once_the_work_is_done(database: Database) -> None:
    def note(first: int) -> Any:
        async def work(tx: Transaction) -> None:
            await tx.later(ADD_NOTE, {"word": f"{first}"}, {"word": f"{first + 1}"})
            await tx.later(ADD_COUNTER, {"id": first, "n": 0})

        return work

    await asyncio.gather(*(database.write(note(number)) for number in range(0, 60, 2)))

    found = await database.fetch(select(notes.c.word).order_by(notes.c.id))
    assert [row.word for row in found] == [str(number) for number in range(60)]
    assert await database.read(count) == 30


async def test_a_work_sees_what_it_and_others_of_its_batch_wanted_written_later(database: Database) -> None:
    async def add(tx: Transaction) -> int:
        before = await count(tx)
        await tx.later(ADD_COUNTER, {"id": before, "n": 0})
        await tx.later(ADD_NOTE, {"word": "beside"})
        return await count(tx) - before

    added = await asyncio.gather(*(database.write(add) for _ in range(10)))

    assert added == [1] * 10
    assert len(await database.fetch(select(notes.c.id))) == 10


async def test_a_row_that_cannot_be_written_later_loses_only_its_work(database: Database) -> None:
    def later(number: int) -> Any:
        async def work(tx: Transaction) -> int:
            await tx.later(ADD_COUNTER, {"id": number, "n": 0})
            await tx.later(ADD_NOTE, {"word": str(number)})
            return number

        return work

    results = await asyncio.gather(*(database.write(later(n)) for n in (1, 2, 2, 3)), return_exceptions=True)

    assert sorted(type(one).__name__ for one in results) == ["IntegrityError", "int", "int", "int"]
    assert sorted(row.word for row in await database.fetch(select(notes.c.word))) == ["1", "2", "3"]


async def test_statements_that_run_at_once_tell_how_many_rows_each_touched(database: Database) -> None:
    await database.write(put(1))

    async def work(tx: Transaction) -> list[int]:
        return await tx.execute_all(
            (ADD_COUNTER_ONCE, {"id": 1, "n": 5}),
            (ADD_NOTE, {"word": "first"}),
            (ADD_COUNTER_ONCE, {"id": 2, "n": 5}),
            (select(notes.c.id).where(notes.c.word == bindparam("wanted")), {"wanted": "absent"}),
        )

    assert await database.write(work) == [0, 1, 1, 0]
    assert await database.read(count) == 2


async def test_a_lone_statement_that_reads_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.fetch(text("INSERT INTO counters VALUES (1, 0)"))

    assert await database.fetch(select(counters.c.id)) == []


async def test_a_database_file_and_what_lies_beside_it_are_for_their_owner_only(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    for path in (old, tmp_path / "old.db-wal"):
        path.touch(mode=0o644)
        path.chmod(0o644)
    former = os.umask(0o022)
    try:
        for name in ("new.db", "old.db"):
            database = open_database(f"sqlite:///{tmp_path / name}")
            database.run_sync(lambda connection: connection.exec_driver_sql("CREATE TABLE t (n INTEGER)"))
            await database.fetch(select(func.count()).select_from(text("t")))

            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob(f"{name}*")}
            assert {f"{name}-wal", f"{name}-shm", name} <= modes.keys()
            assert set(modes.values()) == {0o600}
            await database.close()
    finally:
        os.umask(former)
