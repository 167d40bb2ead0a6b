"""What a work or a query sees of the database, and how a batch of works tells its callers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Executable, Row
from sqlalchemy.sql.dml import UpdateBase

from gateway.protocol.errors import UnavailableError
from gateway.runtime.signals.tracing import carried

T = TypeVar("T")
Values = Mapping[str, Any]
Parameters = Values | Sequence[Values] | None

BATCH_MAX = 64


class Result(Protocol):
    """What came of one statement: its rows, and how many rows it changed or returned."""

    @property
    def rowcount(self) -> int: ...

    @property
    def returns_rows(self) -> bool: ...

    def all(self) -> Sequence[Row[Any]]: ...

    def one_or_none(self) -> Row[Any] | None: ...

    def scalar_one(self) -> Any: ...


class Transaction(Protocol):
    """What a work or query sees."""

    async def execute(self, statement: Executable, parameters: Parameters = None) -> Result:
        """Run one statement inside this work's savepoint; several sets of parameters run it as often."""

    async def execute_all(self, *steps: tuple[Executable, Values]) -> list[int]:
        """Run statements on tables of their own, in one exchange; return how many rows each changed or found.

        None of them may depend on what another one does.
        """

    async def later(self, statement: UpdateBase, *values: Values) -> None:
        """Run a statement whose result nobody asks for, at the latest at the end of the batch.

        There it goes together with the same statement of other works: one exchange for all of them. A statement that
        touches the same table runs after it, so nobody can tell the difference, but for where an error appears.
        """

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` run on the event loop once the batch is durable; never if the work or the commit fails."""


Work = Callable[[Transaction], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class OneStatement:
    """A work of one statement, which is a transaction by itself: alone in its batch, it is one exchange."""

    statement: Executable
    parameters: Parameters = None
    after: Callable[[], None] | None = None
    """Runs once it is durable."""

    async def __call__(self, tx: Transaction) -> Sequence[Row[Any]]:
        if self.after is not None:
            tx.after_commit(self.after)
        result = await tx.execute(self.statement, self.parameters)
        return result.all() if result.returns_rows else ()


class DatabaseAwayError(UnavailableError):
    """The database does not answer, or broke off while it committed: what was asked may or may not have happened."""

    def __init__(self) -> None:
        super().__init__("database.unavailable", retry_after_s=5)


async def one(tx: Transaction, statement: Executable, parameters: Parameters = None) -> Row[Any] | None:
    return (await tx.execute(statement, parameters)).one_or_none()


async def rows(tx: Transaction, statement: Executable, parameters: Parameters = None) -> Sequence[Row[Any]]:
    return (await tx.execute(statement, parameters)).all()


@dataclass(eq=False)
class Queued(Generic[T]):
    """A work that waits for its batch, then what came of it."""

    work: Work[T]
    future: "asyncio.Future[T]"
    calls: list[Callable[[], None]] = field(default_factory=list)
    value: T | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.work = carried(self.work)


def resolve(batch: Sequence[Queued[Any]], failure: BaseException | None) -> None:
    """Tell every caller of a batch what came of its work; `failure` is the whole batch's."""
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
