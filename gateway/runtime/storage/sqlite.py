"""SQLite: one writer thread owns one connection and drives each work itself, since its SQL never suspends: a work that
awaits anything else is an error. Readers are `query_only`.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Engine, Executable, Row, create_engine, event, make_url
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import UpdateBase

from gateway.runtime.storage.transaction import BATCH_MAX, Parameters, Queued, Transaction, Values, Work, resolve

T = TypeVar("T")

WAL_ATTEMPTS = 100
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; it gives a new one the mode of the database itself."""


@dataclass
class _SyncTransaction:
    connection: Connection
    calls: list[Callable[[], None]] = field(default_factory=list)

    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[Any]:
        return self.connection.execute(statement, parameters)

    async def execute_all(self, *steps: tuple[Executable, Values]) -> list[int]:
        results = [self.connection.execute(statement, values) for statement, values in steps]
        return [len(one.all()) if one.returns_rows else one.rowcount for one in results]

    async def later(self, statement: UpdateBase, *values: Values) -> None:
        self.connection.execute(statement, list(values))  # at once: there is no exchange to save

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


def keep_private(path: Path) -> None:
    """Make a database file that only its owner may read (mode 0600), or take from an existing one what is more."""
    with contextlib.suppress(OSError):  # a folder that is missing or not ours: opening it says so
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for present in (path, *(path.with_name(path.name + suffix) for suffix in BESIDE)):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if present.stat().st_mode & 0o077:
                present.chmod(0o600)


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
        name = make_url(url).database
        if name and name != ":memory:":
            keep_private(Path(name))
        self._engine = _sqlite_engine(url, read_only=False)
        self._read_engine = _sqlite_engine(url, read_only=True)
        self._jobs: queue.SimpleQueue[Queued[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def write(self, work: Work[T], *, key: str = "") -> T:
        del key  # one writer: every work is ordered
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._loop = loop
            self._thread = threading.Thread(target=self._write_batches, name="sqlite-write", daemon=True)
            self._thread.start()
        job: Queued[T] = Queued(work, loop.create_future())
        self._jobs.put(job)
        return await asyncio.shield(job.future)

    async def read(self, query: Work[T]) -> T:
        return self._read(query)

    async def fetch(self, statement: Executable, parameters: Parameters = None) -> Sequence[Row[Any]]:
        with self._read_engine.connect() as connection:
            return connection.execute(statement, parameters).all()

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
                cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(resolve, works, failure)

    def _write_batch(self, batch: Sequence[Queued[Any]]) -> BaseException | None:
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

    def _write_one(self, connection: Connection, job: Queued[Any]) -> None:
        connection.exec_driver_sql("SAVEPOINT work")
        tx = _SyncTransaction(connection)
        try:
            job.value = _drive(job.work, tx)
        except Exception as error:  # noqa: BLE001 a failing work loses only its savepoint
            job.error = error
            connection.exec_driver_sql("ROLLBACK TO work")
        job.calls = tx.calls
        connection.exec_driver_sql("RELEASE work")
