"""The relays against a bus that refuses or fails here and there: what waits, what goes on, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_NOTICES, INSURER_DELIVERIES
from gateway.runtime.bus.port import BusRecord, Consumer, RefusedRecordError
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.delivery.audit_relay import AuditRelay
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.delivery.relay import Relay
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA, audit_rows, outbox
from tests.conftest import MakeDatabase
from tests.outboxes import VAULT, a_post, an_outbox
from tests.parties import key_of


@dataclass
class PickyBus:
    """Keeps what it takes; refuses keys and topics for good, or fails a topic as if its brokers were away."""

    keys: set[str] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    taken: list[tuple[str, BusRecord]] = field(default_factory=list)
    asked: int = 0

    async def publish(self, topic: str, records: Sequence[BusRecord]) -> int:
        self.asked += 1
        if topic in self.away:
            raise UnavailableError("bus.unavailable", retry_after_s=5)
        if topic in self.topics:
            raise RefusedRecordError(0, "TOPIC_AUTHORIZATION_FAILED", whole_topic=True)
        for place, record in enumerate(records):
            if record.key in self.keys:
                raise RefusedRecordError(place, "MESSAGE_TOO_LARGE", whole_topic=False)
            self.taken.append((topic, record))
        return len(records)

    async def subscribe(self, group: str, topics: Sequence[str]) -> Consumer:
        raise NotImplementedError

    async def why_unready(self) -> str | None:
        return None

    async def prune(self, kept_ms: int) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@dataclass
class Sending:
    """Core's outbox over one database, with what its relay does to a picky bus."""

    database: Database
    outbox: Outbox
    bus: PickyBus
    clock: VirtualClock
    relay: Relay

    async def post(self, *posted: tuple[str, str, int]) -> None:
        async def work(tx: Transaction) -> None:
            for topic, key, number in posted:
                await self.outbox.add(tx, a_post(key, number, topic))

        await self.database.write(work)

    async def column(self, table: Any, name: str) -> list[Any]:
        async def query(tx: Transaction) -> list[Any]:
            published = select(table).where(table.c.published_at.is_not(None)).order_by(table.c.id)
            return [getattr(row, name) for row in await rows(tx, published)]

        return await self.database.read(query)

    @property
    def sent(self) -> list[str]:
        return [record.headers["ce_id"] for _, record in self.bus.taken]


@pytest.fixture
def sending(make_database: MakeDatabase) -> Sending:
    clock, bus, database = VirtualClock(), PickyBus(), make_database(METADATA)
    sender = an_outbox(clock=clock)
    stamp_key = key_of("core/stamp/1")
    relay = Relay(database, bus, Keyring({stamp_key.kid: stamp_key}, bytes(32)), sender)
    return Sending(database, sender, bus, clock, relay)


def _held(relay: str) -> float | None:
    return REGISTRY.get_sample_value("gateway_relay_held", {"role": "core", "relay": relay})


async def test_a_topic_that_fails_leaves_what_the_others_took_marked(sending: Sending) -> None:
    await sending.post((HOSPITAL_NOTICES, "a", 1), (INSURER_DELIVERIES, "a", 2), (HOSPITAL_NOTICES, "b", 3))
    sending.bus.away = {HOSPITAL_NOTICES}

    with pytest.raises(UnavailableError):
        await sending.relay.step()

    assert await sending.column(outbox, "msg_id") == ["msg_2"]
    sending.bus.away = set()
    assert await sending.relay.step() == 2
    assert sending.sent == ["msg_2", "msg_1", "msg_3"]


async def test_a_record_that_is_refused_for_good_holds_its_key_back_and_no_other(sending: Sending) -> None:
    await sending.post(*((INSURER_DELIVERIES, key, number) for number, key in enumerate(["a", "big", "b", "big", "a"])))
    sending.bus.keys = {"big"}

    await sending.relay.step()
    await sending.relay.step()
    asked = sending.bus.asked
    moved = await sending.relay.step()

    assert sending.sent == ["msg_0", "msg_2", "msg_4"]
    assert (moved, sending.bus.asked) == (0, asked)
    assert _held("messages") == 1


async def test_a_key_that_was_held_is_tried_again_after_a_while_and_keeps_its_order(sending: Sending) -> None:
    await sending.post((INSURER_DELIVERIES, "big", 1), (INSURER_DELIVERIES, "big", 2))
    sending.bus.keys = {"big"}
    await sending.relay.step()
    sending.bus.keys = set()
    await sending.post((INSURER_DELIVERIES, "big", 3))

    waiting = await sending.relay.step()
    sending.clock.advance(timedelta(minutes=11))
    moved = await sending.relay.step()

    assert (waiting, moved, sending.sent) == (0, 3, ["msg_1", "msg_2", "msg_3"])
    assert _held("messages") == 0


async def test_a_topic_that_is_refused_as_a_whole_waits_alone(sending: Sending) -> None:
    await sending.post((HOSPITAL_NOTICES, "a", 1), (HOSPITAL_NOTICES, "b", 2), (INSURER_DELIVERIES, "a", 3))
    sending.bus.topics = {HOSPITAL_NOTICES}

    await sending.relay.step()
    asked = sending.bus.asked
    await sending.relay.step()

    assert (sending.sent, sending.bus.asked, _held("messages")) == (["msg_3"], asked, 1)
    sending.bus.topics = set()
    sending.clock.advance(timedelta(minutes=2))
    assert await sending.relay.step() == 2


async def test_records_that_are_refused_wait_and_are_not_tried_without_end(sending: Sending) -> None:
    await sending.post((INSURER_DELIVERIES, "a", 1), (INSURER_DELIVERIES, "a", 2))
    key = key_of("core/stamp/1")
    relay = AuditRelay("core", key, sending.database, sending.bus, VAULT, sending.clock, sending.outbox)
    sending.bus.topics = {AUDIT_RECORDS}

    moved = [await relay.step() for _ in range(3)]

    assert (moved, sending.bus.asked, _held("records")) == ([0, 0, 0], 1, 1)
    sending.bus.topics = set()
    sending.clock.advance(timedelta(minutes=2))
    assert await relay.step() == 2
    assert await sending.column(audit_rows, "sq") == [1, 2]
