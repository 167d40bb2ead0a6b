"""One role's database: `write(work)` and `read(query)`, the same on SQLite and PostgreSQL.

One delivery stands or falls alone, one batch is one commit. A *work* is an async function `work(tx) -> T` of SQL and
pure code only. Whatever queued while the last commit flushed (at most 64 works) is written together; a failing work
loses only itself; callers hear back after the commit. `tx` has no commit, so nobody else can.

SQLite: one writer thread owns one connection and drives each work itself, since its SQL never suspends: a work that
awaits anything else is an error. Readers are `query_only`. PostgreSQL: n writers, chosen by crc32(key), on asyncpg.
"""

import asyncio
import contextlib
import queue
import random
import sqlite3
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Engine, Executable, Row, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

BATCH_MAX = 64
RETRIES_MAX = 3
WAL_ATTEMPTS = 100
_RETRYABLE = {"40001", "40P01"}
"""SQLSTATE serialization_failure and deadlock_detected: the batch is run again, work by work."""


class Transaction(Protocol):
    """What a work or query sees."""

    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[Any]:
        """Run one statement inside this work's savepoint."""

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` run on the event loop once the batch is durable; never if the work or the commit fails."""


Work = Callable[[Transaction], Awaitable[T]]


async def one(tx: Transaction, statement: Executable) -> Row[Any] | None:
    return (await tx.execute(statement)).one_or_none()


async def rows(tx: Transaction, statement: Executable) -> Sequence[Row[Any]]:
    return (await tx.execute(statement)).all()


@dataclass(eq=False)
class _Job(Generic[T]):
    work: Work[T]
    future: "asyncio.Future[T]"
    calls: list[Callable[[], None]] = field(default_factory=list)
    value: T | None = None
    error: BaseException | None = None


class Database(Protocol):
    """The port that components get."""

    async def write(self, work: Work[T], *, key: str = "") -> T:
        """Run `work` in the next batch; return its value after the commit. `key` orders works among each other."""

    async def read(self, query: Work[T]) -> T:
        """Run `query` on a read-only snapshot."""

    def run_sync(self, call: Callable[[Connection], T]) -> T:
        """Run `call` on a connection of its own in a transaction: migrations, before anything else runs."""

    async def close(self) -> None:
        """Finish what is queued, then let go of every connection."""


def open_database(url: str, *, writers: int = 4, readers: int = 4) -> "Database":
    """Open `sqlite:///path` or `postgresql+asyncpg://…`; `writers` and `readers` bound the connections."""
    if url.startswith("sqlite:"):
        return SqliteDatabase(url)
    return PostgresDatabase(url, writers=writers, readers=readers)


def _resolve(batch: Sequence[_Job[Any]], failure: BaseException | None) -> None:
    for job in batch:
        if job.future.cancelled():
            continue
        error = failure or job.error
        if error is not None:
            job.future.set_exception(error)
            continue
        for call in job.calls:
            call()
        job.future.set_result(job.value)


# SQLite


@dataclass
class _SyncTransaction:
    connection: Connection
    calls: list[Callable[[], None]] = field(default_factory=list)

    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[Any]:
        return self.connection.execute(statement, parameters)

    def after_commit(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


def _drive(work: Work[T], tx: Transaction) -> T:
    """Run an async work to its end without a loop; it may only await `tx`."""
    steps = work(tx).__await__()
    try:
        next(steps)
    except StopIteration as end:
        return cast("T", end.value)
    raise RuntimeError("a work awaited something that is not its transaction")


def _switch_to_wal(connection: Any) -> None:
    """Turn the write-ahead log on; SQLite's own waiting does not cover two processes that do so at once."""
    for attempt in range(WAL_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if attempt == WAL_ATTEMPTS - 1:
                raise
            time.sleep(0.02)
        else:
            return


def _sqlite_engine(url: str, *, read_only: bool) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=QueuePool,
        pool_size=8,
        connect_args={"check_same_thread": False, "timeout": 10.0, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        _switch_to_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")

    return engine


class SqliteDatabase:
    """One writer thread (`BEGIN IMMEDIATE`, WAL, `synchronous=FULL`), `query_only` readers, one file.

    Reads run where they are called: under WAL they wait for nobody, and a hop to another thread costs more than a
    bounded query. Long walks over a table belong to PostgreSQL or to a copy.
    """

    def __init__(self, url: str) -> None:
        self._engine = _sqlite_engine(url, read_only=False)
        self._read_engine = _sqlite_engine(url, read_only=True)
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def write(self, work: Work[T], *, key: str = "") -> T:
        del key  # one writer: every work is ordered
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._loop = loop
            self._thread = threading.Thread(target=self._write_batches, name="sqlite-write", daemon=True)
            self._thread.start()
        job: _Job[T] = _Job(work, loop.create_future())
        self._jobs.put(job)
        return await asyncio.shield(job.future)

    async def read(self, query: Work[T]) -> T:
        return self._read(query)

    def run_sync(self, call: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                value = call(connection)
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")
            return value

    async def close(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._engine.dispose()
        self._read_engine.dispose()

    def _read(self, query: Work[T]) -> T:
        with self._read_engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                return _drive(query, _SyncTransaction(connection))
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def _write_batches(self) -> None:
        """Run on the writer thread, its only owner, until the closing `None`."""
        closing = False
        while not closing:
            batch = [self._jobs.get()]
            while batch[-1] is not None and len(batch) < BATCH_MAX and not self._jobs.empty():
                batch.append(self._jobs.get())
            closing = batch[-1] is None
            works = [job for job in batch if job is not None]
            if works:
                failure = self._write_batch(works)
                cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(_resolve, works, failure)

    def _write_batch(self, batch: Sequence[_Job[Any]]) -> BaseException | None:
        """Write on the pool's one connection of this thread; a database that cannot be opened is an answer too."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    for job in batch:
                        self._write_one(connection, job)
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    with contextlib.suppress(Exception):
                        connection.exec_driver_sql("ROLLBACK")
                    raise
        except Exception as failure:  # noqa: BLE001 whatever broke the commit is every caller's to hear
            return failure
        return None

    def _write_one(self, connection: Connection, job: _Job[Any]) -> None:
        connection.exec_driver_sql("SAVEPOINT work")
        tx = _SyncTransaction(connection)
        try:
            job.value = _drive(job.work, tx)
        except Exception as error:  # noqa: BLE001 a failing work loses only its savepoint
            job.error = error
            connection.exec_driver_sql("ROLLBACK TO work")
        job.calls = tx.calls
        connection.exec_driver_sql("RELEASE work")


# PostgreSQL


@dataclass
class _AsyncTransaction:
    connection: AsyncConnection
    calls: list[Callable[[], None]] = field(default_factory=list)

    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[Any]:
        return await self.connection.execute(statement, parameters)

    def after_commit(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


class _WorkFailedError(Exception):
    """A work of a batch without savepoints failed, and took the others with it."""


class PostgresDatabase:
    """n writers, each with a queue and a connection of its own, chosen by crc32(key); readers from a pool.

    Whether a pooled connection still lives is not asked beforehand, which would cost three exchanges each time: what
    was lost before its commit was sent is done again on another one.
    """

    def __init__(self, url: str, *, writers: int = 4, readers: int = 4) -> None:
        self._url = url
        self._engine: AsyncEngine = create_async_engine(
            url, pool_size=writers + readers, max_overflow=0, pool_timeout=10
        )
        self._readers = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._queues: list[asyncio.Queue[_Job[Any] | None]] = [asyncio.Queue() for _ in range(writers)]
        self._tasks: list[asyncio.Task[None]] = []

    async def write(self, work: Work[T], *, key: str = "") -> T:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._write_batches(queue)) for queue in self._queues]
        job: _Job[T] = _Job(work, asyncio.get_running_loop().create_future())
        self._queues[zlib.crc32(key.encode()) % len(self._queues)].put_nowait(job)
        return await asyncio.shield(job.future)

    async def read(self, query: Work[T]) -> T:
        for attempt in range(RETRIES_MAX + 1):
            try:
                async with self._readers.connect() as connection:
                    return await query(_AsyncTransaction(connection))
            except DBAPIError as failure:
                if attempt == RETRIES_MAX or not _is_lost(failure):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def run_sync(self, call: Callable[[Connection], T]) -> T:
        async def run() -> T:
            engine = create_async_engine(self._url, poolclass=NullPool)
            async with engine.begin() as connection:
                value = await connection.run_sync(call)
            await engine.dispose()
            return value

        with ThreadPoolExecutor(1) as lone:
            return lone.submit(asyncio.run, run()).result()

    async def close(self) -> None:
        for waiting in self._queues:
            waiting.put_nowait(None)
        await asyncio.gather(*self._tasks)
        await self._engine.dispose()

    async def _write_batches(self, jobs: "asyncio.Queue[_Job[Any] | None]") -> None:
        """Run as one writer, the only owner of its queue, until the closing `None`."""
        closing = False
        while not closing:
            batch = [await jobs.get()]
            while len(batch) < BATCH_MAX and not jobs.empty():
                batch.append(jobs.get_nowait())
            closing = None in batch
            works = [job for job in batch if job is not None]
            if works:
                _resolve(works, await self._write_batch(works))

    async def _write_batch(self, batch: Sequence[_Job[Any]]) -> BaseException | None:
        """Write without savepoints, since few works fail; if one of several does, all again with them."""
        write = _write_plainly
        for attempt in range(RETRIES_MAX + 1):
            committing = False
            try:
                async with self._engine.connect() as connection:
                    try:
                        await write(connection, batch)
                    except _WorkFailedError:
                        await connection.rollback()
                        if len(batch) == 1:
                            return None
                        write = _write_in_savepoints
                        await write(connection, batch)
                    committing = True
                    await connection.commit()
            except Exception as failure:  # noqa: BLE001 whatever broke the commit is every caller's to hear
                again = _retryable(failure) or (_is_lost(failure) and not committing)
                if attempt == RETRIES_MAX or not again:
                    return failure
                await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 jitter
            else:
                return None
        return None


async def _write_plainly(connection: AsyncConnection, batch: Sequence[_Job[Any]]) -> None:
    for job in batch:
        await _run(connection, job)
        if job.error is not None:
            raise _WorkFailedError from job.error


async def _write_in_savepoints(connection: AsyncConnection, batch: Sequence[_Job[Any]]) -> None:
    for job in batch:
        savepoint = await connection.begin_nested()
        await _run(connection, job)
        await (savepoint.commit() if job.error is None else savepoint.rollback())


async def _run(connection: AsyncConnection, job: _Job[Any]) -> None:
    """Run one work; keep what it raised unless that is about the whole batch."""
    job.error, tx = None, _AsyncTransaction(connection)
    try:
        job.value = await job.work(tx)
    except Exception as error:
        if _retryable(error) or _is_lost(error):
            raise
        job.error = error
    job.calls = tx.calls


def _is_lost(error: BaseException) -> bool:
    """Say whether the connection ended under this error."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _retryable(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _RETRYABLE
