"""PostgreSQL: n writers, each with a queue and a connection of its own, chosen by crc32(key); readers from a pool.

A batch is written without savepoints, since few works fail; if one of several does, all again, each in a savepoint.
A batch that meets a deadlock is run again work by work, a commit each: works take their own locks in one order, so
alone they cannot cross. Whether a connection still lives is not asked beforehand, which would cost an exchange each
time: what was lost before its commit was sent is done again on another one.
"""

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import structlog
from sqlalchemy import Connection, Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from gateway.runtime.storage.postgres_session import FAILURES, CrossedError, Later, LostError, Session, run, say
from gateway.runtime.storage.postgres_statements import connect_options, prepare
from gateway.runtime.storage.transaction import (
    BATCH_MAX,
    DatabaseAwayError,
    OneStatement,
    Parameters,
    Queued,
    Work,
    resolve,
)

T = TypeVar("T")

RETRIES_MAX = 3
STATEMENTS_KEPT = 500
"""Prepared statements kept a connection: more than a role has."""
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

log = structlog.get_logger("database")


class PostgresDatabase:
    """`writers` and `readers` bound the connections; neither can take the other's. A statement takes `statement_s`."""

    def __init__(self, url: str, *, writers: int = 2, readers: int = 4, statement_s: float = 10.0) -> None:
        self._url = url
        self._queues: list[asyncio.Queue[Queued[Any] | None]] = [asyncio.Queue() for _ in range(writers)]
        self._tasks: list[asyncio.Task[None]] = []
        self._readers = readers
        self._pool: asyncpg.Pool | None = None
        self._options: Mapping[str, Any] = {
            **connect_options(url),
            "timeout": statement_s,
            "command_timeout": statement_s,
            "statement_cache_size": STATEMENTS_KEPT,
            "max_cacheable_statement_size": 0,
            "max_cached_statement_lifetime": 0,
            "server_settings": {"lock_timeout": f"{int(statement_s * 800)}ms", "application_name": "claims-gateway"},
        }

    async def write(self, work: Work[T], *, key: str = "") -> T:
        if not self._tasks:
            self._tasks = [asyncio.create_task(_Writer(self._options, queue).run()) for queue in self._queues]
        job: Queued[T] = Queued(work, asyncio.get_running_loop().create_future())
        self._queues[zlib.crc32(key.encode()) % len(self._queues)].put_nowait(job)
        return await asyncio.shield(job.future)

    async def read(self, query: Work[T]) -> T:
        async def on_a_snapshot(connection: asyncpg.Connection) -> T:
            await say(connection, _SNAPSHOT)
            try:
                return await query(Session(connection))
            finally:
                if not connection.is_closed():
                    await say(connection, "ROLLBACK")

        return await self._reading(on_a_snapshot)

    async def fetch(self, statement: Executable, parameters: Parameters = None) -> Sequence[Row[Any]]:
        async def once(connection: asyncpg.Connection) -> Sequence[Row[Any]]:
            return (await run(connection, prepare(statement, parameters))).all()

        return await self._reading(once)

    async def _reading(self, query: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Read on a pooled connection, once more on a fresh one if it was lost or outdated meanwhile."""
        for attempt in (1, 2):
            try:
                async with self._reader() as connection:
                    return await query(connection)
            except (LostError, CrossedError):
                if attempt == 2 or self._pool is None:
                    raise DatabaseAwayError from None
                await self._pool.expire_connections()
        raise AssertionError("the last attempt returns or raises")

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            if self._pool is None:
                settings = {**self._options["server_settings"], "default_transaction_read_only": "on"}
                options = {**self._options, "server_settings": settings}
                self._pool = asyncpg.create_pool(min_size=0, max_size=self._readers, reset=_leave, **options)
            await self._pool
            connection = await self._pool.acquire(timeout=self._options["timeout"])
        except FAILURES as error:
            raise _refused(error) from None
        try:
            yield connection
        except LostError:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection)

    def run_sync(self, call: Callable[[Connection], T]) -> T:
        async def alone() -> T:
            engine = create_async_engine(self._url, poolclass=NullPool)
            async with engine.begin() as connection:
                value = await connection.run_sync(call)
            await engine.dispose()
            return value

        with ThreadPoolExecutor(1) as lone:
            return lone.submit(asyncio.run, alone()).result()

    async def close(self) -> None:
        for waiting in self._queues:
            waiting.put_nowait(None)
        await asyncio.gather(*self._tasks)
        if self._pool is not None:
            await self._pool.close()


async def _leave(_connection: asyncpg.Connection) -> None:
    """Leave a connection as it is when it goes back to the pool: our queries set nothing that outlives them."""


def _refused(error: Exception) -> DatabaseAwayError:
    """Say that there is no connection to be had: not tried again here, since callers know how long they can wait."""
    log.warning("database.refuses", error=type(error).__name__)
    return DatabaseAwayError()


@dataclass(slots=True)
class _Writer:
    """The only owner of one queue and one connection."""

    options: Mapping[str, Any]
    jobs: "asyncio.Queue[Queued[Any] | None]"
    connection: asyncpg.Connection | None = None
    begun: bool = False
    """Whether the transaction of the next batch was begun with the commit of the last one."""
    committing: bool = False
    """Whether what was sent last ends a transaction: if its answer is lost, nobody knows what happened."""

    async def run(self) -> None:
        """Write batches until the closing `None`."""
        closing = False
        while not closing:
            batch = [await self.jobs.get()]
            while len(batch) < BATCH_MAX and not self.jobs.empty():
                batch.append(self.jobs.get_nowait())
            closing = None in batch
            works = [job for job in batch if job is not None]
            if works:
                await self._write(works)
        if self.connection is not None and not self.connection.is_closed():
            with contextlib.suppress(*FAILURES):
                await self.connection.close(timeout=self.options["timeout"])

    async def _write(self, batch: Sequence[Queued[Any]]) -> None:
        """Write a batch and tell its callers; after a deadlock, each of its works alone."""
        failure = await self._commit(batch)
        if len(batch) > 1 and isinstance(failure, CrossedError):
            for job in batch:
                await self._write([job])
        else:
            resolve(batch, DatabaseAwayError() if isinstance(failure, CrossedError) else failure)

    async def _commit(self, batch: Sequence[Queued[Any]]) -> BaseException | None:
        """Write works in one transaction; return what all of them failed by, if anything."""
        failure: Exception | None = None
        for attempt in range(RETRIES_MAX + 1):
            try:
                await self._transact(batch)
            except CrossedError as error:
                failure = error
                await self._undo()
                if len(batch) > 1:
                    break
            except LostError:
                log.warning("database.lost-in-commit" if self.committing else "database.lost")
                failure = DatabaseAwayError()
                self._drop()
                if self.committing:
                    break
            except DatabaseAwayError as error:
                return error
            except Exception as error:  # noqa: BLE001 whatever broke the commit is every caller's to hear
                await self._undo()
                return error
            else:
                return None
            await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 jitter
        return failure

    async def _transact(self, batch: Sequence[Queued[Any]]) -> None:
        lone = len(batch) == 1 and isinstance(batch[0].work, OneStatement) and not self.begun
        self.committing = lone
        connection = await self._connected()
        if lone:
            await _run(connection, batch[0], alone=True)
            return
        if not self.begun:
            await say(connection, "BEGIN")
        self.begun = False
        self.committing = await _run_all(connection, batch)
        await self._end(connection, "COMMIT" if self.committing else "ROLLBACK")

    async def _end(self, connection: asyncpg.Connection, words: str) -> None:
        """End a batch; where works wait already, theirs is begun in the same exchange."""
        going_on = not self.jobs.empty()
        await say(connection, f"{words}; BEGIN" if going_on else words)
        self.begun = going_on

    async def _undo(self) -> None:
        """Leave the connection fit for the next batch."""
        self.begun = False
        try:
            if self.connection is not None:
                await say(self.connection, "ROLLBACK")
        except Exception:  # noqa: BLE001 then a new one
            self._drop()

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.terminate()
        self.connection, self.begun = None, False

    async def _connected(self) -> asyncpg.Connection:
        if self.connection is None or self.connection.is_closed():
            self.connection, self.begun = None, False
            try:
                self.connection = await asyncpg.connect(**self.options)
            except FAILURES as error:
                raise _refused(error) from None
        return self.connection


async def _run_all(connection: asyncpg.Connection, batch: Sequence[Queued[Any]]) -> bool:
    """Run a batch's works; False if its only work failed, so that there is nothing to commit."""
    if len(batch) == 1:
        await _run(connection, batch[0], alone=True)
        return batch[0].error is None
    if not await _run_together(connection, batch):
        await say(connection, "ROLLBACK; BEGIN")
        for job in batch:
            await say(connection, "SAVEPOINT work")
            await _run(connection, job, alone=True)
            await say(connection, "RELEASE work" if job.error is None else "ROLLBACK TO work; RELEASE work")
    return True


async def _run_together(connection: asyncpg.Connection, batch: Sequence[Queued[Any]]) -> bool:
    """Run works one after the other without savepoints; False if one failed and took the others with it."""
    together = Later()
    for job in batch:
        await _run(connection, job, later=together)
        if job.error is not None:
            return False
    try:
        await Session(connection, together).flush()
    except DBAPIError:
        return False
    return True


async def _run(
    connection: asyncpg.Connection, job: Queued[Any], *, later: Later | None = None, alone: bool = False
) -> None:
    """Run one work; keep what it raised unless that is about the whole batch."""
    job.error, session = None, Session(connection, later or Later())
    try:
        job.value = await job.work(session)
        if alone:
            await session.flush()
    except (LostError, CrossedError):
        raise
    except Exception as error:  # noqa: BLE001 a failing work loses only itself
        job.error = error
    job.calls = session.calls
