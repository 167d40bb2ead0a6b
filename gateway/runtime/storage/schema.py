"""Schema of a role's database: Alembic per component, each with a version table of its own, without an `env.py`.

A component's migrations are modules `m0001_first`, `m0002_…` in one package, linear and forward only; the module's
name is its revision. `migrate` reads one row when there is nothing to do. A change of `tables.py` is drafted with

    python -m gateway.runtime.storage.schema <component> <module of tables> <package of migrations> <title>

e.g. `… runtime gateway.runtime.storage.tables gateway.runtime.storage.migrations first`; read, correct, format and
commit it. `drift` finds what was forgotten.
"""

import argparse
import importlib
import pkgutil
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, MetaData, create_engine, inspect, text

from gateway.runtime.storage.database import Database

log = structlog.get_logger("schema")

LOCK_S_MAX = 10.0
REVISION_CHARACTERS_MAX = 32
"""Alembic's version column is VARCHAR(32)."""

_NAME = re.compile(r"m[0-9]{4}_[a-z0-9_]+")


class SchemaError(Exception):
    """The database cannot be brought to the schema of this program: the role refuses to start."""


def migrate(database: Database, component_name: str, migrations_package: str, lock_s_max: float = LOCK_S_MAX) -> None:
    """Bring a component's tables to the newest revision, in one transaction; before anything else runs.

    On PostgreSQL a lock that another session does not let go of within `lock_s_max` seconds ends it with an error:
    waiting for it would hold up everybody who comes after.
    """
    database.run_sync(lambda connection: _migrate(connection, component_name, migrations_package, lock_s_max))


def drift(database: Database, metadata: MetaData) -> list[Any]:
    """Return every difference between the tables of `metadata` and the database; other tables are ignored."""
    return database.run_sync(lambda connection: _drift(connection, metadata))


def draft(component_name: str, metadata: MetaData, migrations_package: str, title: str) -> Path | None:
    """Write the migration that leads from the newest revision to `metadata`; None if nothing changed."""
    known = _revisions(migrations_package)
    revision = f"m{len(known) + 1:04d}_{title}"
    if not _NAME.fullmatch(revision) or len(revision) > REVISION_CHARACTERS_MAX:
        raise SchemaError("a title is lower case, with underscores, at most 26 characters")
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        _migrate(connection, component_name, migrations_package)
        context = _context(connection, component_name, metadata)
        operations = produce_migrations(context, metadata).upgrade_ops
        if operations is None or operations.is_empty():
            return None
        body = render_python_code(operations, render_as_batch=True, migration_context=context)
    engine.dispose()
    path = _folder(migrations_package) / f"{revision}.py"
    lines = [line for line in body.splitlines() if not line.strip().startswith("# ###")]
    former = known[-1] if known else None
    path.write_text(_TEMPLATE.format(revision=revision, former=former, body="\n".join(lines).strip()))
    return path


_TEMPLATE = '''"""Drafted by gateway.runtime.storage.schema; read before it was committed."""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {former!r}


def upgrade() -> None:
    {body}
'''


def _folder(package: str) -> Path:
    return Path(next(iter(importlib.import_module(package).__path__)))


def _revisions(package: str) -> list[str]:
    names = [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    return sorted(name for name in names if _NAME.fullmatch(name))


def _version_table(component_name: str) -> str:
    return f"alembic_{component_name.replace('.', '_')}"


def _context(connection: Connection, component_name: str, metadata: MetaData | None = None) -> MigrationContext:
    options: dict[str, Any] = {"version_table": _version_table(component_name)}
    if metadata is not None:
        options |= {"target_metadata": metadata, "compare_type": True, "include_name": _only(metadata)}
    return MigrationContext.configure(connection, opts=options)


def _only(metadata: MetaData) -> Any:
    """Keep Alembic from reading the tables of other components."""

    def include(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name in metadata.tables

    return include


def _migrate(connection: Connection, component_name: str, package: str, lock_s_max: float = LOCK_S_MAX) -> None:
    revisions = _revisions(package)
    at = _current(connection, component_name)
    if not revisions or at == revisions[-1]:
        return
    if at is not None and at not in revisions:
        raise SchemaError(f"the tables of {component_name} are newer than this program")
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = {int(lock_s_max * 1000)}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x53414C})
        at = _current(connection, component_name)
    script = ScriptDirectory(str(_folder(package)), version_locations=[str(_folder(package))])
    context = _context(connection, component_name)
    for revision in revisions[revisions.index(at) + 1 if at else 0 :]:
        with Operations.context(context):
            importlib.import_module(f"{package}.{revision}").upgrade()
        context.stamp(script, revision)
    log.info("schema.migrated", component=component_name, version=revisions[-1])


def _current(connection: Connection, component_name: str) -> str | None:
    table = _version_table(component_name)
    if not inspect(connection).has_table(table):
        return None
    return connection.execute(text(f'SELECT version_num FROM "{table}"')).scalar_one_or_none()  # noqa: S608 our name


def _drift(connection: Connection, metadata: MetaData) -> list[Any]:
    context = _context(connection, "drift", metadata)
    return [*compare_metadata(context, metadata), *_key_and_check_drift(connection, metadata)]


def _key_and_check_drift(connection: Connection, metadata: MetaData) -> list[tuple[str, str]]:
    """Compare what Alembic does not: primary keys and the names of CHECK constraints."""
    found = inspect(connection)
    differences = []
    for table in metadata.tables.values():
        if not found.has_table(table.name):
            continue
        if found.get_pk_constraint(table.name)["constrained_columns"] != [one.name for one in table.primary_key]:
            differences.append(("primary_key", table.name))
        checks = {check["name"] for check in found.get_check_constraints(table.name)}
        if checks != {str(one.name) for one in table.constraints if isinstance(one, CheckConstraint)}:
            differences.append(("check_constraint", table.name))
    return differences


def main(arguments: Sequence[str] | None = None) -> int:
    """Draft a migration; 0 if one was written, 1 if there was nothing to write."""
    parser = argparse.ArgumentParser(prog="python -m gateway.runtime.storage.schema", description="Draft a migration.")
    for name in ("component", "tables", "package", "title"):
        parser.add_argument(name)
    given = parser.parse_args(arguments)
    metadata = importlib.import_module(given.tables).METADATA
    path = draft(given.component, metadata, given.package, given.title)
    sys.stdout.write(f"{path}\n" if path else "no change\n")
    return 0 if path else 1


if __name__ == "__main__":
    sys.exit(main())
