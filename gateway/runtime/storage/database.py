"""One role's database: `write(work)` and `read(query)`, the same on SQLite and PostgreSQL.

One delivery stands or falls alone, one batch is one commit. A *work* is an async function `work(tx) -> T` of SQL and
pure code only. Whatever queued while the last commit flushed (at most 64 works) is written together; a failing work
loses only itself; callers hear back after the commit. `tx` has no commit, so nobody else can.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Row

from gateway.runtime.storage.postgres import PostgresDatabase
from gateway.runtime.storage.sqlite import SqliteDatabase
from gateway.runtime.storage.transaction import (
    BATCH_MAX,
    DatabaseAwayError,
    OneStatement,
    Parameters,
    Transaction,
    Work,
    one,
    rows,
)

__all__ = [
    "BATCH_MAX",
    "Database",
    "DatabaseAwayError",
    "OneStatement",
    "Parameters",
    "PostgresDatabase",
    "SqliteDatabase",
    "Transaction",
    "Work",
    "one",
    "open_database",
    "rows",
]

T = TypeVar("T")


class Database(Protocol):
    """The port that components get."""

    async def write(self, work: Work[T], *, key: str = "") -> T:
        """Run `work` in the next batch; return its value after the commit. `key` orders works among each other."""

    async def read(self, query: Work[T]) -> T:
        """Run `query` on a read-only snapshot: several statements that see one moment."""

    async def fetch(self, statement: Executable, parameters: Parameters = None) -> Sequence[Row[Any]]:
        """Run one reading statement, which is a snapshot by itself, and return its rows."""

    def run_sync(self, call: Callable[[Connection], T]) -> T:
        """Run `call` on a connection of its own in a transaction: migrations, before anything else runs."""

    async def close(self) -> None:
        """Finish what is queued, then let go of every connection."""


def open_database(url: str, *, writers: int = 2, readers: int = 4, statement_s: float = 10.0) -> "Database":
    """Open `sqlite:///path` or `postgresql+asyncpg://…`; the bounds are PostgreSQL's."""
    if url.startswith("sqlite:"):
        return SqliteDatabase(url)
    return PostgresDatabase(url, writers=writers, readers=readers, statement_s=statement_s)
