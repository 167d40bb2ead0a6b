"""What a work or a query sees of the database, and how a batch of works tells its callers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import CursorResult, Executable, Row

from gateway.protocol.errors import UnavailableError

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

BATCH_MAX = 64


class Transaction(Protocol):
    """What a work or query sees."""

    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[Any]:
        """Run one statement inside this work's savepoint."""

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` run on the event loop once the batch is durable; never if the work or the commit fails."""


Work = Callable[[Transaction], Awaitable[T]]


class DatabaseAwayError(UnavailableError):
    """The database does not answer, or broke off while it committed: what was asked may or may not have happened."""

    def __init__(self) -> None:
        super().__init__("database.unavailable", retry_after_s=5)


async def one(tx: Transaction, statement: Executable) -> Row[Any] | None:
    return (await tx.execute(statement)).one_or_none()


async def rows(tx: Transaction, statement: Executable) -> Sequence[Row[Any]]:
    return (await tx.execute(statement)).all()


@dataclass(eq=False)
class Queued(Generic[T]):
    work: Work[T]
    future: "asyncio.Future[T]"
    calls: list[Callable[[], None]] = field(default_factory=list)
    value: T | None = None
    error: BaseException | None = None


def resolve(batch: Sequence[Queued[Any]], failure: BaseException | None) -> None:
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
