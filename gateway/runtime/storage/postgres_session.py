"""One connection to PostgreSQL inside one transaction, as a work or a query sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import Executable, Row
from sqlalchemy.exc import DBAPIError, IntegrityError, MultipleResultsFound
from sqlalchemy.sql.dml import UpdateBase

from gateway.runtime.storage.postgres_statements import Prepared, combine, prepare, tables_of
from gateway.runtime.storage.transaction import Parameters, Values

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What asyncpg raises when a server refuses or is gone."""
_BROKEN = (asyncpg.InternalClientError, OSError, TimeoutError)
"""After these a connection is of no use: a server that ends an idle session may leave the client in between."""
_AWAY = {"57P01", "57P02", "57P03", "53300"}
"""SQLSTATE admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections."""
_CROSSED = {"40001", "40P01", "55P03"}
"""SQLSTATE serialization_failure, deadlock_detected, lock_not_available."""


class LostError(Exception):
    """The connection ended, or nothing came within the time limit: whether the statement ran is not known."""


class CrossedError(Exception):
    """Two transactions waited for each other, or one too long, or the schema changed: nothing of this one happened."""


@dataclass(slots=True)
class _Result:
    """What came of a statement; rows only where it returns some."""

    found: Sequence[Row[Any]]
    rowcount: int
    returns_rows: bool = False

    def all(self) -> Sequence[Row[Any]]:
        return self.found

    def one_or_none(self) -> Row[Any] | None:
        if len(self.found) > 1:
            raise MultipleResultsFound("more than one row where at most one was expected")
        return self.found[0] if self.found else None

    def scalar_one(self) -> Any:
        [row] = self.found
        return row[0]


@cache  # what is written later are the code's own statements, made once
def _tables(statement: UpdateBase) -> frozenset[str]:
    return tables_of(statement)


@dataclass(slots=True)
class Later:
    """What the works of one batch, or one work in its savepoint, want written at the end."""

    rows: dict[UpdateBase, list[Values]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)

    def add(self, statement: UpdateBase, values: Sequence[Values]) -> None:
        if statement not in self.rows:
            self.rows[statement] = []
            self.tables |= _tables(statement)
        self.rows[statement].extend(values)

    def take(self, touched: frozenset[str] | None) -> list[Prepared]:
        """Take out what writes to `touched` (None: everything), in the order it came up first."""
        wanted = [one for one in self.rows if touched is None or touched & _tables(one)]
        taken = [prepare(statement, self.rows.pop(statement)) for statement in wanted]
        self.tables = set().union(*map(_tables, self.rows))
        return taken


@dataclass(slots=True)
class Session:
    """What PostgreSQL gives as a `Transaction`. `waiting` may be shared by the works of a batch."""

    connection: asyncpg.Connection
    waiting: Later = field(default_factory=Later)
    calls: list[Callable[[], None]] = field(default_factory=list)

    async def execute(self, statement: Executable, parameters: Parameters = None) -> _Result:
        prepared = prepare(statement, parameters)
        await self._flush_touched(prepared)
        return await run(self.connection, prepared)

    async def execute_all(self, *steps: tuple[Executable, Values]) -> list[int]:
        parts = [prepare(statement, values) for statement, values in steps]
        await self._flush_touched(*parts)
        if len(parts) == 1:
            return [(await run(self.connection, parts[0])).rowcount]
        [counts] = (await run(self.connection, combine(parts))).all()
        return list(counts)

    async def later(self, statement: UpdateBase, *values: Values) -> None:
        self.waiting.add(statement, values)

    def after_commit(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    async def _flush_touched(self, *parts: Prepared) -> None:
        if self.waiting.tables and any(self.waiting.tables & part.tables for part in parts):
            await self.flush(frozenset().union(*(part.tables for part in parts)))

    async def flush(self, touched: frozenset[str] | None = None) -> None:
        """Write what waits: statements that are to run equally often, on tables of their own, go as one."""
        together: dict[int, list[Prepared]] = {}
        for part in self.waiting.take(touched):
            same = together.setdefault(len(part.arguments), [])
            if any(part.tables & other.tables for other in same):
                await run(self.connection, combine(same))
                same.clear()
            same.append(part)
        for same in together.values():
            await run(self.connection, combine(same))


async def run(connection: asyncpg.Connection, prepared: Prepared) -> _Result:
    """Run a statement as often as it has arguments."""
    sql, arguments = prepared.sql, prepared.arguments
    try:
        if not prepared.shape.returns_rows:
            if len(arguments) == 1:
                status: str = await connection.execute(sql, *arguments[0])
                return _Result((), int(status.rpartition(" ")[2]))
            await connection.executemany(sql, arguments)
            return _Result((), len(arguments))
        if len(arguments) == 1:
            records = await connection.fetch(sql, *arguments[0])
        else:
            records = await connection.fetchmany(sql, arguments)
        return _Result(prepared.rows(records), len(records), returns_rows=True)
    except FAILURES as error:
        raise _understood(connection, error) from None


async def say(connection: asyncpg.Connection, words: str) -> None:
    """Begin, end or divide a transaction."""
    try:
        await connection.execute(words)
    except FAILURES as error:
        raise _understood(connection, error) from None


def _understood(connection: asyncpg.Connection, error: Exception) -> Exception:
    """Say in our words, or SQLAlchemy's, what a statement failed by; without the values."""
    state = getattr(error, "sqlstate", None) or ""
    if connection.is_closed() or isinstance(error, _BROKEN) or state in _AWAY or state[:2] == "08":
        return LostError()
    if state in _CROSSED or isinstance(error, asyncpg.InvalidCachedStatementError):
        return CrossedError()
    kind = IntegrityError if isinstance(error, asyncpg.IntegrityConstraintViolationError) else DBAPIError
    return kind(None, None, error)
