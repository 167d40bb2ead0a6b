"""A worker of core's with one component that notes what it applied, in order: run alone, or in a process to be killed.

`python -m tests.kafka.noting FOLDER` is such a process; `Place.write` says beforehand where its brokers, database and
trust are.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, insert, select

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import GatewayError
from gateway.protocol.exchange import parse_message
from gateway.protocol.jose import PrivateKey
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.registry import SignedRelease, Trust
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.bus.kafka_config import KafkaAccess
from gateway.runtime.bus.port import Bus, BusRecord
from gateway.runtime.component import Component, Delivery, Subscription, on
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.delivery.outbox import Admission, Outbox, Sender
from gateway.runtime.delivery.worker import Worker
from gateway.runtime.storage.database import Database, Transaction, open_database, rows
from gateway.runtime.storage.tables import METADATA as RUNTIME
from tests.parties import NOW, a_submitted, an_exchange, world

LIMITS = KafkaLimits(session=6, heartbeat=1, rebalance=5, request=7, start=15)
METADATA = MetaData()
notes = Table(
    "notes",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("seq", Integer, nullable=False),
)
"""Nothing here is unique: an effect that happened twice stands here twice."""


def open_notes(url: str) -> Database:
    database = open_database(url)
    for metadata in (RUNTIME, METADATA):
        database.run_sync(metadata.create_all)
    return database


async def noted(database: Database) -> list[tuple[str, int]]:
    async def query(tx: Transaction) -> list[tuple[str, int]]:
        return [(row.key, row.seq) for row in await rows(tx, select(notes).order_by(notes.c.id))]

    return await database.read(query)


def a_record(key: str, seq: int) -> BusRecord:
    """Build a message of the Shenzhen edge as it lies on the topic."""
    manifest = a_submitted(case_id=key, msg_id=f"msg_{key}_{seq}")
    exchange = an_exchange(manifest, key=key, seq=seq, eid=f"ev_{key}_{seq}")
    return BusRecord(key, exchange.encode())


def a_worker(database: Database, bus: Bus, trust: TrustHolder) -> Worker:
    clock = VirtualClock(NOW)
    key = PrivateKey.generate("core/stamp/1", "Ed25519")
    sender = Sender("core", "hosted", key, Vault(bytes(range(32))), trust, clock)
    subscription = Subscription(HOSPITAL_REQUESTS, (on(SubmittedManifest, _note),), _refused)
    component = Component("noting", None, METADATA, "", (subscription,))
    return Worker(component, "core", database, bus, Outbox(sender, Admission(1_000_000, 1 << 40)), trust, clock)


async def _note(tx: Transaction, deps: None, delivery: Delivery, manifest: SubmittedManifest) -> None:
    del deps, manifest
    await tx.execute(insert(notes), {"key": delivery.stamp.key, "seq": delivery.stamp.seq})


async def _refused(tx: Transaction, deps: None, delivery: Delivery, error: GatewayError) -> None:
    del tx, deps, delivery
    raise error


def trusting(trust: Trust, signed: SignedRelease) -> TrustHolder:
    holder = TrustHolder(trust)
    holder.install(signed, holder.verify(signed))
    return holder


@dataclass(frozen=True)
class Place:
    """What a member's process needs to know of the test's world."""

    servers: str
    prefix: str
    database_url: str
    trust: dict[str, Any]
    release: str

    @classmethod
    def of(cls, access: KafkaAccess, database_url: str) -> "Place":
        trust = world().trust.model_dump(mode="json")
        return cls(access.servers, access.prefix, database_url, trust, world().signed.encode().decode())

    def write(self, folder: Path) -> None:
        (folder / "place.json").write_bytes(compact(asdict(self)))


async def main(arguments: Sequence[str]) -> None:
    """Be one member of the group until killed."""
    place = Place(**read_json_object((Path(arguments[0]) / "place.json").read_bytes()))
    holder = trusting(parse_message(Trust, place.trust), SignedRelease.decode(place.release.encode()))
    bus = KafkaBus(KafkaAccess(place.servers, place.prefix), "member", LIMITS)
    await a_worker(open_database(place.database_url), bus, holder).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
