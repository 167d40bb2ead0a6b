"""Data folders of before source epochs: every row is kept, and is of the first epoch."""

from functools import partial

import pytest
from sqlalchemy import Connection, text

import audit.tables
from gateway.runtime.storage import schema, tables
from gateway.runtime.storage.schema import drift, migrate
from tests.conftest import MakeDatabase

ROWS = (
    "INSERT INTO streams (topic, key, seq) VALUES ('t', 'k', 7)",
    "INSERT INTO inbox (consumer, role, topic, key, last_seq) VALUES ('c', 'sz', 't', 'k', 5)",
    (
        "INSERT INTO outbox (topic, key, shard, seq, type, msg_id, stamp, kid, bytes, created_at)"
        " VALUES ('t', 'k', 1, 7, 'submitted', 'm', '{}', 'sz/stamp/1', 2, '2026-01-01T00:00:00Z')"
    ),
    "INSERT INTO audit_rows (eid, type, at, clear, sq) VALUES ('e', 'x', '2026-01-01T00:00:00Z', '{}', 3)",
)
ENTRY = ("INSERT INTO audit_entry (log, idx, eid, src, sq, typ, entry) VALUES ('l', 0, 'e', 'sz', 1, 'x', 'raw')",)


def test_a_roles_rows_are_kept_and_are_of_the_first_epoch(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, package = make_database(), "gateway.runtime.storage.migrations"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_revisions", lambda _: ["m0001_first", "m0002_operator_requests"])
        migrate(database, "runtime", package)
    database.run_sync(lambda connection: _run(connection, *ROWS))

    migrate(database, "runtime", package)

    assert drift(database, tables.METADATA) == []
    for name, number in (("streams", "seq"), ("inbox", "last_seq"), ("outbox", "seq"), ("audit_rows", "sq")):
        [(epoch, kept)] = database.run_sync(partial(_read, name=name, number=number))
        assert (epoch, kept > 0) == (1, True), name


def test_the_logs_entries_are_kept_and_are_of_the_first_epoch(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, package = make_database(), "audit.migrations"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_revisions", lambda _: ["m0001_first"])
        migrate(database, "audit", package)
    database.run_sync(lambda connection: _run(connection, *ENTRY))

    migrate(database, "audit", package)

    assert drift(database, audit.tables.METADATA) == []
    assert database.run_sync(lambda one: one.execute(text("SELECT ep, sq FROM audit_entry")).all()) == [(1, 1)]


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


def _read(connection: Connection, *, name: str, number: str) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in connection.execute(text(f"SELECT epoch, {number} FROM {name}"))]  # noqa: S608
