"""Registry releases on a real database: verified before they count, newest in force, published once, false noted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.participants import actions, store
from gateway.participants.actions import Deps
from gateway.participants.handlers import take_releases
from gateway.participants.tables import METADATA
from gateway.protocol.canonical import pretty
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import BadSignatureError, NotFoundError
from gateway.protocol.jose import PrivateKey
from gateway.protocol.registry import SignedRelease, certify_registry_key
from gateway.protocol.topics import REGISTRY_RELEASES
from gateway.runtime.bus.port import BusRecord, Fetched
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA as RUNTIME
from gateway.runtime.storage.tables import audit_rows
from tests.conftest import MakeDatabase
from tests.parties import NOW, world
from tests.role_services import role_services


@dataclass
class PublishedBus:
    """Keeps what was published; these actions only publish."""

    published: list[bytes] = field(default_factory=list)

    async def publish(self, topic: str, records: Sequence[BusRecord]) -> None:
        assert topic == REGISTRY_RELEASES
        self.published += [record.value for record in records]


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(RUNTIME, METADATA)


def deps_over(database: Database, source: Path | None = None) -> Deps:
    bus: Any = PublishedBus()
    services = role_services(database, "core", VirtualClock(NOW), trust=TrustHolder(world().trust))
    return Deps(services, bus, source)


def fetched(signed: SignedRelease) -> Fetched:
    return Fetched(REGISTRY_RELEASES, 0, 0, "participants", signed.encode())


async def recorded(database: Database) -> list[str]:
    async def query(tx: Transaction) -> list[str]:
        return [row.type for row in await rows(tx, select(audit_rows.c.type))]

    return sorted(await database.read(query))


async def test_the_authority_publishes_each_release_of_its_folder_once(database: Database, tmp_path: Path) -> None:
    (tmp_path / "release-1.json").write_bytes(world().signed.encode())
    (tmp_path / "release-2.json").write_bytes(world().sign_release(number=2).encode())
    account = {"party": "hosp-nanshan", "currency": "CNY", "account": "QQ-1"}
    (tmp_path / "accounts.json").write_text(pretty({"accounts": [account]}), encoding="utf-8")
    deps = deps_over(database, tmp_path)
    bus: Any = deps.bus

    await actions.start(deps)
    for _ in range(2):
        await actions.publish(deps)

    assert deps.trust.number == 2
    assert [SignedRelease.decode(raw) for raw in bus.published] == [world().signed, deps.trust.signed]
    assert await recorded(database) == ["registry.published"] * 2

    async def query(tx: Transaction) -> Any:
        with pytest.raises(NotFoundError, match=r"account\.unknown"):
            await store.load_account(tx, "hosp-nanshan", "HKD")
        return await store.load_account(tx, "hosp-nanshan", "CNY")

    assert await database.read(query) == account


async def test_a_restarted_role_believes_what_it_held_and_says_nothing_twice(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "release-1.json").write_bytes(world().signed.encode())
    await actions.start(deps_over(database, tmp_path))
    restarted = deps_over(database, tmp_path)

    await actions.start(restarted)

    assert restarted.trust.number == 1
    assert await recorded(database) == ["registry.published"]


async def test_a_replica_takes_releases_in_any_order_and_keeps_the_newest(database: Database) -> None:
    deps = deps_over(database)
    newer = world().sign_release(number=3)

    await take_releases(deps, [fetched(newer), fetched(world().signed), fetched(newer)])

    assert (deps.trust.number, deps.trust.signed) == (3, newer)
    assert await recorded(database) == []


async def test_a_false_release_is_noted_and_does_not_stop_the_next(database: Database) -> None:
    deps = deps_over(database)
    stranger = PrivateKey.generate("root/1", "Ed25519")
    false = SignedRelease(world().signed.release, certify_registry_key(world().registry_key.public, stranger))
    with pytest.raises(BadSignatureError):
        await actions.hold(deps, false)

    broken = Fetched(REGISTRY_RELEASES, 0, 0, "participants", b"no release")
    await take_releases(deps, [fetched(false), broken, fetched(world().signed)])

    assert deps.trust.number == 1
    assert await recorded(database) == ["core.message_refused"] * 2
