"""Migrations lead to exactly the tables of `tables.py`, on both databases; a role keeps to its own database."""

import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint, Column, Index, Integer, MetaData, Table, Text, inspect

from gateway.runtime.settings import SettingsError, claim_database
from gateway.runtime.storage.schema import SchemaError, draft, drift, migrate
from gateway.runtime.storage.tables import METADATA
from tests.conftest import MakeDatabase

RUNTIME = ("runtime", "gateway.runtime.storage.migrations")


def notes(*more: Column[str] | CheckConstraint | Index) -> MetaData:
    metadata = MetaData()
    Table("notes", metadata, Column("id", Integer, primary_key=True), Column("text", Text, nullable=False), *more)
    return metadata


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty package of migrations, importable for the length of a test."""
    name = f"migrations_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    for module in [one for one in sys.modules if one.startswith(name)]:
        del sys.modules[module]


def test_the_runtimes_migrations_produce_exactly_its_tables(make_database: MakeDatabase) -> None:
    database = make_database()

    migrate(database, *RUNTIME)

    assert drift(database, METADATA) == []


def test_drafted_migrations_lead_from_each_state_to_the_next(make_database: MakeDatabase, package: str) -> None:
    database = make_database()
    second = notes(Column("at", Text), CheckConstraint("length(text) < 9", name="short"), Index("notes_at", "at"))

    first_file = draft("notes", notes(), package, "first")
    importlib.invalidate_caches()
    migrate(database, "notes", package)
    after_first = drift(database, notes())
    second_file = draft("notes", notes(Column("at", Text), Index("notes_at", "at")), package, "times")
    importlib.invalidate_caches()
    migrate(database, "notes", package)

    assert first_file is not None
    assert second_file is not None
    assert (first_file.name, second_file.name) == ("m0001_first.py", "m0002_times.py")
    assert after_first == []
    assert drift(database, notes(Column("at", Text), Index("notes_at", "at"))) == []
    assert drift(database, second) == [("check_constraint", "notes")]


def test_nothing_changed_is_nothing_drafted(package: str) -> None:
    draft("notes", notes(), package, "first")
    importlib.invalidate_caches()

    assert draft("notes", notes(), package, "again") is None


def test_drift_sees_columns_keys_and_checks(make_database: MakeDatabase) -> None:
    database = make_database(notes())
    keyed = MetaData()
    Table("notes", keyed, Column("id", Integer), Column("text", Text, primary_key=True))

    assert [one[0] for one in drift(database, notes(Column("at", Text)))] == ["add_column"]
    assert ("primary_key", "notes") in drift(database, keyed)
    assert drift(database, notes(CheckConstraint("id > 0", name="positive"))) == [("check_constraint", "notes")]
    assert [one[0] for one in drift(database, METADATA)].count("add_table") == len(METADATA.tables)


def test_components_keep_versions_of_their_own(make_database: MakeDatabase, package: str) -> None:
    draft("adapters.notes", notes(), package, "first")
    importlib.invalidate_caches()
    database = make_database()

    migrate(database, *RUNTIME)
    migrate(database, "adapters.notes", package)

    names = database.run_sync(lambda connection: inspect(connection).get_table_names())
    assert {"alembic_runtime", "alembic_adapters_notes", "notes", "outbox"} <= set(names)


def test_tables_newer_than_the_program_stop_the_start(make_database: MakeDatabase, package: str) -> None:
    path = draft("notes", notes(), package, "first")
    importlib.invalidate_caches()
    database = make_database()
    migrate(database, "notes", package)
    assert path is not None
    path.rename(path.with_name("m0001_other.py"))
    importlib.invalidate_caches()

    with pytest.raises(SchemaError, match="newer than this program"):
        migrate(database, "notes", package)


def test_two_processes_may_migrate_at_once(make_database: MakeDatabase) -> None:
    first, second = make_database(), make_database()

    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda database: migrate(database, *RUNTIME), (first, second)))

    assert drift(first, METADATA) == []


def test_a_title_that_is_no_name_is_refused(package: str) -> None:
    with pytest.raises(SchemaError):
        draft("notes", notes(), package, "Add a column")


def test_a_role_refuses_anothers_database(make_database: MakeDatabase) -> None:
    database = make_database(METADATA)
    claim_database(database, "core")

    claim_database(database, "core")
    with pytest.raises(SettingsError, match="belongs to another role"):
        claim_database(database, "hk")


def test_a_database_without_the_runtimes_tables_is_not_claimed(make_database: MakeDatabase) -> None:
    with pytest.raises(SettingsError, match="migrate it first"):
        claim_database(make_database(), "core")
