"""Fixtures that every level shares; keep it small."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from gateway.runtime.storage.database import Database, open_database
from tests.postgres import postgres

MakeDatabase = Callable[..., Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; the test runs once on each."""
    if request.param == "postgresql":
        return postgres().fresh_url()
    return f"sqlite:///{tmp_path / 'role.db'}"


@pytest.fixture
async def make_database(database_url: str) -> AsyncIterator[MakeDatabase]:
    """`make_database(*metadatas)`: the test's database with those tables; closed at the end."""
    opened: list[Database] = []

    def make(*metadatas: MetaData) -> Database:
        database = open_database(database_url)
        opened.append(database)
        for metadata in metadatas:
            database.run_sync(metadata.create_all)
        return database

    yield make
    for database in opened:
        await database.close()
