"""PostgreSQL: n writers, chosen by crc32(key), on asyncpg; readers from a pool."""

import asyncio
import random
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.runtime.transaction import BATCH_MAX, Parameters, Queued, Work, resolve

T = TypeVar("T")

RETRIES_MAX = 3
_RETRYABLE = {"40001", "40P01"}
"""SQLSTATE serialization_failure and deadlock_detected: the batch is run again, work by work."""


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
        self._queues: list[asyncio.Queue[Queued[Any] | None]] = [asyncio.Queue() for _ in range(writers)]
        self._tasks: list[asyncio.Task[None]] = []

    async def write(self, work: Work[T], *, key: str = "") -> T:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._write_batches(queue)) for queue in self._queues]
        job: Queued[T] = Queued(work, asyncio.get_running_loop().create_future())
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

    async def _write_batches(self, jobs: "asyncio.Queue[Queued[Any] | None]") -> None:
        """Run as one writer, the only owner of its queue, until the closing `None`."""
        closing = False
        while not closing:
            batch = [await jobs.get()]
            while len(batch) < BATCH_MAX and not jobs.empty():
                batch.append(jobs.get_nowait())
            closing = None in batch
            works = [job for job in batch if job is not None]
            if works:
                resolve(works, await self._write_batch(works))

    async def _write_batch(self, batch: Sequence[Queued[Any]]) -> BaseException | None:
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


async def _write_plainly(connection: AsyncConnection, batch: Sequence[Queued[Any]]) -> None:
    for job in batch:
        await _run(connection, job)
        if job.error is not None:
            raise _WorkFailedError from job.error


async def _write_in_savepoints(connection: AsyncConnection, batch: Sequence[Queued[Any]]) -> None:
    for job in batch:
        savepoint = await connection.begin_nested()
        await _run(connection, job)
        await (savepoint.commit() if job.error is None else savepoint.rollback())


async def _run(connection: AsyncConnection, job: Queued[Any]) -> None:
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
