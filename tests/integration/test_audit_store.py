"""The audit component's store: dense indexes, and work per batch that does not grow with the log."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Executable
from sqlalchemy.engine import Connection

from audit import store
from audit.actions import Deps, run_rules
from audit.leaf import parse_leaf
from audit.proof import split_entry
from audit.sequencer import Sequencer
from audit.tables import METADATA
from gateway.protocol.clock import VirtualClock
from gateway.runtime.storage.database import Database, Transaction, open_database
from gateway.runtime.storage.tables import METADATA as RUNTIME
from gateway.runtime.storage.transaction import Parameters, Result
from tests.conftest import MakeDatabase
from tests.outboxes import an_outbox
from tests.role_services import role_services
from tests.unit.audit_logs import entries_of

ORIGIN = "log.example/szhk-audit/2026"


@dataclass
class Counted:
    """A transaction that notes what is asked of it."""

    tx: Transaction
    statements: list[Executable] = field(default_factory=list)

    async def execute(self, statement: Executable, parameters: Parameters = None) -> Result:
        self.statements.append(statement)
        return await self.tx.execute(statement, parameters)


@dataclass
class CountingDatabase:
    """A database whose works and queries are counted by statement."""

    database: Database
    statements: list[Executable] = field(default_factory=list)

    async def write(self, work: Any, *, key: str = "") -> Any:
        return await self.database.write(lambda tx: work(Counted(tx, self.statements)), key=key)

    async def read(self, query: Any) -> Any:
        return await self.database.read(lambda tx: query(Counted(tx, self.statements)))


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(RUNTIME, METADATA)


async def add(database: Database, entries: list[bytes]) -> None:
    leaves = [(parse_leaf(split_entry(raw)[0]), raw) for raw in entries]

    async def work(tx: Transaction) -> None:
        await store.add_entries(tx, ORIGIN, await store.next_index(tx, ORIGIN), leaves)

    await database.write(work)


async def test_indexes_are_dense_over_batches_and_logs(database: Database) -> None:
    entries = entries_of(30)

    for start in range(0, 30, 7):
        await add(database, entries[start : start + 7])

    assert await database.read(partial(store.next_index, log=ORIGIN)) == 30
    assert await database.read(partial(store.next_index, log="log.example/szhk-audit/2027")) == 0
    assert await database.read(partial(store.list_entries, log=ORIGIN, start=0, limit=100)) == entries


QUERIES_OF_A_BATCH: dict[str, Callable[[Transaction], Awaitable[Any]]] = {
    "next index": partial(store.next_index, log=ORIGIN),
    "last entry of a source": partial(store.load_last, src="szhk/sz"),
    "what waits behind a gap": partial(store.list_waiting, src="szhk/sz", epoch=1, limit=10),
    "why a source stopped": partial(store.load_stop, src="szhk/sz"),
    "claims that changed": partial(store.list_claims_after, log=ORIGIN, after=5, limit=10),
    "entries to hash": partial(store.list_entries, log=ORIGIN, start=5, limit=10),
    "known events": partial(store.list_known, eids=["szhk/sz-1", "szhk/sz-2"]),
}


@pytest.mark.parametrize("name", QUERIES_OF_A_BATCH)
async def test_what_each_batch_asks_is_read_from_an_index_and_never_counted(tmp_path: Path, name: str) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'plan.db'}")
    database.run_sync(METADATA.create_all)
    counting = CountingDatabase(database)
    await counting.read(QUERIES_OF_A_BATCH[name])

    [asked] = counting.statements
    plan = database.run_sync(lambda connection: _plan(connection, asked))

    assert "SCAN" not in plan
    assert "count(" not in str(asked)
    await database.close()


def _plan(connection: Connection, asked: Executable) -> str:
    compiled = asked.compile(connection, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
    return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))


@pytest.mark.parametrize("claims", [2, 20])
async def test_the_rules_read_a_batch_in_one_query_however_many_claims_it_has(database: Database, claims: int) -> None:
    await add(database, entries_of(60, claims=claims))
    counting = CountingDatabase(database)
    sequencer = Sequencer(database, VirtualClock(), ORIGIN, Path("unused"), None, None, None, list, None)  # type: ignore[arg-type]

    services = role_services(cast("Database", counting), "audit", VirtualClock(), outbox=an_outbox())
    await run_rules(Deps(services, sequencer))

    asked = map(str, counting.statements)
    reads = [statement for statement in asked if statement.startswith("SELECT") and "audit_entry" in statement]
    assert len(reads) == 2
    assert await database.read(partial(store.load_rule_progress, log=ORIGIN)) == 59
