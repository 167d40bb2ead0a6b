"""What Kafka does in practice, against a real broker of the test's own: it dies, freezes, forgets, brings rubbish."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.kafka_admin import BrokerAdmin, apply
from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.bus.kafka_config import KafkaAccess
from gateway.runtime.bus.port import BusRecord, Consumer, Fetched, RefusedRecordError, partition_of
from tests.kafka.broker import Broker
from tests.kafka.clusters import fresh_access
from tests.kafka.strange_headers import produce_unreadable
from tests.kafka.traffic import HEALED_S_MAX, KEY, firsts, next_offsets, numbered, publish_until_known, read_until
from tests.walk import until

QUICK = KafkaLimits(
    send=3,
    request=7,
    session=6,
    heartbeat=1,
    rebalance=5,
    start=15,
    stop=1,
    probe_every=0.5,
    probe=1,
    unready_after=2,
    rebuild_after=4,
    back_off=(0.2, 1.0),
)
"""An outage of seconds is to these limits what one of five minutes is to the usual ones."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    made = Broker.create()
    yield made
    made.remove()


@pytest.fixture
async def bus(broker: Broker) -> AsyncIterator[KafkaBus]:
    """A bus under topics of this test's own."""
    made = KafkaBus(fresh_access(broker), "test", QUICK)
    yield made
    await made.close()


async def test_a_broker_that_loses_power_loses_nothing_and_order_holds(broker: Broker, bus: KafkaBus) -> None:
    await publish_until_known(bus, numbered(0, 50))
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    first = await read_until(consumer, 49)

    broker.kill()
    sending = asyncio.create_task(publish_until_known(bus, numbered(50, 100)))
    await asyncio.to_thread(broker.start)

    await sending
    rest = await read_until(consumer, *range(50, 100))
    assert firsts(first + rest) == list(range(100))


async def test_a_publish_without_a_broker_ends_by_its_deadline_and_readiness_says_so(
    broker: Broker, bus: KafkaBus
) -> None:
    await publish_until_known(bus, numbered(0, 1))
    broker.kill()
    try:
        with pytest.raises(UnavailableError, match=r"bus\.unavailable"):
            async with asyncio.timeout(HEALED_S_MAX):
                await bus.publish(HOSPITAL_REQUESTS, numbered(1, 2))
        await until(bus.why_unready, "unreadiness", within_s=HEALED_S_MAX)
    finally:
        await asyncio.to_thread(broker.start)

    await publish_until_known(bus, numbered(1, 2))

    async def ready() -> bool:
        return await bus.why_unready() is None

    await until(ready, "readiness", within_s=HEALED_S_MAX)


async def test_a_frozen_broker_is_waited_out(broker: Broker, bus: KafkaBus) -> None:
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await publish_until_known(bus, numbered(0, 5))
    await read_until(consumer, 4)

    broker.signal("STOP")
    sending = asyncio.create_task(publish_until_known(bus, numbered(5, 10)))
    await asyncio.sleep(QUICK.rebuild_after + 2)
    broker.signal("CONT")
    await sending

    rest = await read_until(consumer, *range(5, 10))
    assert [number for number in firsts(rest) if number > 4] == [5, 6, 7, 8, 9]


async def test_a_broker_whose_disk_is_lost_is_filled_again(broker: Broker, bus: KafkaBus) -> None:
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await publish_until_known(bus, numbered(0, 5))
    found = await read_until(consumer, 4)
    await consumer.commit({(found[-1].topic, found[-1].partition): found[-1].offset + 1})

    broker.kill()
    broker.wipe()
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(apply, BrokerAdmin.connect(broker.servers, prefix=bus.access.prefix))

    await publish_until_known(bus, numbered(0, 8))
    assert firsts(await read_until(consumer, 7)) == list(range(8))


async def test_rubbish_on_a_topic_reaches_the_worker_as_bytes(broker: Broker, bus: KafkaBus) -> None:
    topic = bus.access.prefix + HOSPITAL_REQUESTS
    stranger = Producer({"bootstrap.servers": broker.servers, "message.max.bytes": 2_000_000})
    stranger.produce(topic, b"\xff\xfe", b"\xff\x00key", headers=[("ce_id", b"\xff\xff")], partition=0)
    stranger.produce(topic, None, None, headers=[("ce_type", None)], partition=0)
    stranger.produce(topic, b"x" * 1_000_000, b"big", partition=0)
    stranger.produce(topic, b"true", b"case_a", partition=0)
    assert stranger.flush(10) == 0

    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    found = [one for _ in range(4) for one in await _next(consumer, 1)]

    assert {one.key: len(one.value) for one in found} == {"\\xff\\x00key": 2, "": 0, "big": 1_000_000, "case_a": 4}


async def test_a_record_that_the_client_cannot_take_apart_is_passed_on_by_its_place_and_holds_nothing_up(
    broker: Broker, bus: KafkaBus
) -> None:
    topic = bus.access.prefix + HOSPITAL_REQUESTS
    await publish_until_known(bus, [*numbered(0, 3), *numbered(10, 13, "case_b")])
    await produce_unreadable(broker.servers, topic, partition_of(HOSPITAL_REQUESTS, KEY), b"4")
    await publish_until_known(bus, [*numbered(5, 8), *numbered(13, 16, "case_b")])

    found = await _next(await bus.subscribe("group", [HOSPITAL_REQUESTS]), 13)

    assert [one.value for one in found if one.partition == partition_of(HOSPITAL_REQUESTS, KEY)] == [
        b"0",
        b"1",
        b"2",
        b"",
        b"5",
        b"6",
        b"7",
    ]
    assert firsts([one for one in found if one.key == "case_b"]) == list(range(10, 16))


async def _next(consumer: Consumer, count: int) -> list[Fetched]:
    """Fetch and commit, as a worker does, until so many records have come."""
    found: list[Fetched] = []
    async with asyncio.timeout(HEALED_S_MAX):
        while len(found) < count:
            taken = await consumer.fetch(count - len(found), 0.3)
            await consumer.commit(next_offsets(taken))
            found += taken
    return found


async def test_members_that_come_and_go_leave_nothing_unread(bus: KafkaBus) -> None:
    await publish_until_known(bus, [BusRecord(f"case_{n}", f"{n}".encode()) for n in range(60)])
    seen: set[bytes] = set()

    async def member(turns: int) -> None:
        consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
        for _ in range(turns):
            found = await consumer.fetch(5, 0.3)
            seen.update(one.value for one in found)
            await consumer.commit(next_offsets(found))
        await consumer.close()

    async with asyncio.timeout(HEALED_S_MAX):
        await asyncio.gather(*(member(turns) for turns in (2, 4, 6)))
        while len(seen) < 60:
            await member(8)

    assert len(seen) == 60


async def test_a_commit_of_partitions_that_were_taken_away_is_no_error(bus: KafkaBus) -> None:
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await publish_until_known(bus, numbered(0, 1))
    found = await read_until(consumer, 0)
    await consumer.supervised.close()

    await consumer.commit({(found[0].topic, found[0].partition): 1})


async def test_a_member_that_is_behind_and_is_brought_nothing_is_built_anew(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = await bus.subscribe("quiet", [HOSPITAL_REQUESTS])
    await bus.publish(HOSPITAL_REQUESTS, numbered(0, 1))
    await read_until(consumer, 0)
    silent = consumer.supervised.running()
    assert silent is not None

    async def nothing(**_: object) -> dict[object, object]:
        await asyncio.sleep(0.1)
        return {}

    monkeypatch.setattr(
        silent, "getmany", nothing
    )  # as after a broker's restart: probes succeed, fetches bring nothing
    await bus.publish(HOSPITAL_REQUESTS, numbered(1, 2))

    await read_until(consumer, 1)
    assert consumer.supervised.running() is not silent


async def test_a_member_whose_database_is_long_away_leaves_its_group_and_loses_nothing_when_it_comes_back(
    broker: Broker,
) -> None:
    made = KafkaBus(fresh_access(broker), "test", replace(QUICK, poll=1.5))
    consumer = await made.subscribe("group", [HOSPITAL_REQUESTS])
    await publish_until_known(made, numbered(0, 3))
    taken = await read_until(consumer, 2)

    async def left() -> bool:
        return not await asyncio.to_thread(_members, made.access)

    await until(left, "the member's leave", within_s=HEALED_S_MAX)
    await consumer.commit(next_offsets(taken))
    await publish_until_known(made, numbered(3, 6))

    again = await read_until(consumer, 5)
    await consumer.commit(next_offsets(again))
    assert firsts([*taken, *again]) == list(range(6))
    assert not any((await consumer.lag()).values())
    await made.close()


def _members(access: KafkaAccess) -> list[Any]:
    client = BrokerAdmin.connect(access.servers).client
    [found] = client.describe_consumer_groups([f"{access.prefix}group"]).values()
    return list(found.result().members)


async def test_of_a_batch_that_the_broker_refuses_only_the_record_to_blame_is_refused(bus: KafkaBus) -> None:
    await asyncio.to_thread(_lower_limit, bus.access, 2000)

    async def lowered() -> bool:
        try:
            await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_other", b"9" * 3000)])
        except RefusedRecordError:
            return True
        return False

    await until(lowered, "the broker's lower limit", within_s=HEALED_S_MAX)
    neighbour = next(f"case_{n}" for n in range(100) if _same_place(f"case_{n}", KEY))
    to_blame = BusRecord(neighbour, b"9" * 3000)

    with pytest.raises(RefusedRecordError) as caught:
        await bus.publish(HOSPITAL_REQUESTS, [*numbered(0, 2), to_blame, *numbered(2, 4)])
    assert (caught.value.durable, caught.value.code) == (2, "MESSAGE_TOO_LARGE")
    await publish_until_known(bus, numbered(2, 4))

    found = await read_until(await bus.subscribe("group", [HOSPITAL_REQUESTS]), 3)
    assert [one.value for one in found if one.key in {KEY, neighbour}] == [b"0", b"1", b"2", b"3"]


def _same_place(key: str, other: str) -> bool:
    return partition_of(HOSPITAL_REQUESTS, key) == partition_of(HOSPITAL_REQUESTS, other)


def _lower_limit(access: KafkaAccess, bytes_max: int) -> None:
    """Have the broker take less than we send, as an operator may by mistake."""
    limit = ConfigEntry("max.message.bytes", str(bytes_max), incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, access.prefix + HOSPITAL_REQUESTS, incremental_configs=[limit])
    admin = BrokerAdmin.connect(access.servers)
    for changed in admin.client.incremental_alter_configs([topic]).values():
        changed.result(HEALED_S_MAX)
