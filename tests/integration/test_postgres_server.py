import time

from sqlalchemy import text

from gateway.runtime.storage.database import Database, Transaction, open_database
from tests.postgres import PostgresServer, binaries, postgres
from tests.services import missing


async def version(database: Database) -> str:
    async def query(tx: Transaction) -> str:
        return str((await tx.execute(text("SHOW fsync"))).scalar_one())

    return await database.read(query)


async def test_the_server_is_real_durable_and_gives_every_test_a_database_of_its_own() -> None:
    server = postgres()

    first, second = server.fresh_url(), server.fresh_url()
    database = open_database(first)

    assert first != second
    assert await version(database) == "on"
    await database.close()


def test_a_stopped_server_leaves_neither_process_nor_folder() -> None:
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")

    began = time.monotonic()
    server = PostgresServer.start(programs, ["fsync=off"])
    took = time.monotonic() - began
    server.stop()

    assert server.process.poll() is not None
    assert not server.folder.exists()
    assert took < 20
