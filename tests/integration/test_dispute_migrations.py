"""What disputes need at edges and desk: migrations lead to exactly the tables, on both databases."""

import importlib

import pytest

from gateway.runtime.storage.schema import drift, migrate
from tests.conftest import MakeDatabase

COMPONENTS = {"sz": "adapters.sz", "edge": "adapters.hk.edge", "desk": "adapters.hk.desk"}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_s_migrations_lead_to_exactly_its_tables(make_database: MakeDatabase, name: str) -> None:
    database, room = make_database(), COMPONENTS[name]

    migrate(database, name, f"{room}.migrations")

    assert drift(database, importlib.import_module(f"{room}.tables").METADATA) == []
