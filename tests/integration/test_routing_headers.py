"""What a foreign consumer reads beside the value: CloudEvents 1.0 headers and the trace, on records of every kind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from gateway.participants import actions
from gateway.participants.actions import Deps
from gateway.participants.tables import METADATA as PARTICIPANTS
from gateway.protocol.clock import VirtualClock, rfc3339
from gateway.protocol.topics import AUDIT_RECORDS, INSURER_DELIVERIES, REGISTRY_RELEASES
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.audit_relay import AuditRelay
from gateway.runtime.delivery.relay import Relay
from gateway.runtime.signals import tracing
from gateway.runtime.storage.database import Database, Transaction, open_database
from gateway.runtime.storage.tables import METADATA
from tests.kafka.clusters import fresh_access, shared_broker
from tests.outboxes import VAULT, a_post, an_outbox
from tests.parties import key_of, world
from tests.role_services import role_services

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
WAIT_S_MAX = 15


@pytest.fixture
async def bus() -> AsyncIterator[KafkaBus]:
    made = KafkaBus(fresh_access(shared_broker()), "test")
    yield made
    await made.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = open_database(f"sqlite:///{tmp_path / 'core.db'}")
    for metadata in (METADATA, PARTICIPANTS):
        made.run_sync(metadata.create_all)
    yield made
    await made.close()


def _first_headers(bus: KafkaBus, topic: str) -> dict[str, str]:
    """Read one record as a tool of somebody else's would."""
    options = {"bootstrap.servers": bus.access.servers, "group.id": "foreign", "auto.offset.reset": "earliest"}
    consumer = Consumer(options)
    consumer.subscribe([bus.access.prefix + topic])
    found = consumer.poll(WAIT_S_MAX)
    consumer.close()
    assert found is not None
    assert found.error() is None
    return {name: value.decode() for name, value in found.headers()}


async def test_every_kind_of_record_says_what_it_is_to_a_foreign_consumer(
    database: Database, bus: KafkaBus, tmp_path: Path
) -> None:
    (tmp_path / "release-1.json").write_bytes(world().signed.encode())
    (tmp_path / "accounts.json").write_text('{"accounts": []}')
    clock = VirtualClock()
    sending = an_outbox(clock=clock)
    key = key_of("core/stamp/1")
    post = a_post("case_1", 7)

    async def work(tx: Transaction) -> None:
        await sending.add(tx, post)

    with tracing.following(f"00-{TRACE_ID}-b7ad6b7169203331-01"):
        await database.write(work)
    await Relay(database, bus, Keyring({key.kid: key}, bytes(32)), sending).step()
    await AuditRelay("core", key, database, bus, VAULT, clock, sending).step()
    services = role_services(database, "core", clock, trust=TrustHolder(world().trust), outbox=sending)
    authority = Deps(services, bus, tmp_path)
    await actions.start(authority)
    await actions.publish(authority)

    places = (INSURER_DELIVERIES, AUDIT_RECORDS, REGISTRY_RELEASES)
    message, record, release = [await asyncio.to_thread(_first_headers, bus, topic) for topic in places]

    common = {"ce_specversion": "1.0", "ce_source": "core", "ce_time": rfc3339(clock.now())}
    assert message.items() >= {**common, "ce_id": "msg_7", "ce_type": "submitted"}.items()
    assert record.items() >= {**common, "ce_id": post.record.eid, "ce_type": "claim.received"}.items()
    assert release.items() >= {**common, "ce_id": "release-1", "ce_type": "registry.released"}.items()
    assert [found["content-type"] for found in (message, record, release)] == [
        "application/json",
        "text/plain; charset=utf-8",
        "application/json",
    ]
    assert message["traceparent"].split("-")[1] == record["traceparent"].split("-")[1] == TRACE_ID
    assert tracing.next_step(release["traceparent"])[:35] == release["traceparent"][:35]
