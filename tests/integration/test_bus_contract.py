"""What every bus keeps, parametrised by the implementations there are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.protocol.clock import VirtualClock
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS, TOPICS, VALUE_BYTES_MAX
from gateway.runtime.bus.embedded import EmbeddedBus
from gateway.runtime.bus.headers import routing_headers
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.bus.kafka_config import KafkaAccess
from gateway.runtime.bus.port import Bus, BusRecord, Consumer, Fetched, RefusedRecordError, partition_of
from tests.faulty_broker import faulty_broker
from tests.kafka.clusters import fresh_access, shared_broker

SILENCE_S_MAX = 20
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

QUICK = KafkaLimits(session=6, heartbeat=1, rebalance=5, request=7, start=15)
"""The mock broker waits for a member that has left until its session is over."""

OpenBus = Callable[[], Awaitable[Bus]]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["embedded", "mock", "kafka"])
async def access(request: pytest.FixtureRequest) -> AsyncIterator[KafkaAccess | None]:
    """Where the brokers are: librdkafka's mock, or a real one; None for the embedded bus."""
    if request.param == "mock":
        async with faulty_broker(*((name, topic.partitions) for name, topic in TOPICS.items())) as broker:
            yield KafkaAccess(broker.direct)
    else:
        yield fresh_access(shared_broker()) if request.param == "kafka" else None


@pytest.fixture
async def open_bus(access: KafkaAccess | None, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[OpenBus]:
    """Open a client of one and the same bus, again and again: what a restarted process would do."""
    opened: list[Bus] = []

    async def open_one() -> Bus:
        if access:
            bus: Bus = KafkaBus(access, "test", QUICK)
        else:
            bus = await EmbeddedBus.open(f"sqlite:///{tmp_path / 'bus.db'}", clock)
        opened.append(bus)
        return bus

    yield open_one
    for bus in opened:
        await bus.close()


def _records(key: str, count: int, first: int = 0) -> list[BusRecord]:
    return [BusRecord(key, f"{key} {number}".encode()) for number in range(first, first + count)]


async def _read(consumer: Consumer, wanted: int) -> list[Fetched]:
    found: list[Fetched] = []
    async with asyncio.timeout(SILENCE_S_MAX):
        while len(found) < wanted:
            found += await consumer.fetch(7, 0.2)
    return found


async def test_records_of_one_key_come_in_the_order_they_were_published(open_bus: OpenBus) -> None:
    bus = await open_bus()
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    for first in range(0, 30, 10):
        for key in ("a", "b", "c"):
            assert await bus.publish(HOSPITAL_REQUESTS, _records(key, 10, first)) == 10

    found = await _read(consumer, 90)

    for key in ("a", "b", "c"):
        assert [one.value for one in found if one.key == key] == [f"{key} {number}".encode() for number in range(30)]


async def test_what_was_not_committed_comes_again_after_a_restart(open_bus: OpenBus) -> None:
    bus = await open_bus()
    await bus.publish(HOSPITAL_REQUESTS, _records("a", 5))
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    first = await _read(consumer, 5)
    await consumer.commit({(first[1].topic, first[1].partition): first[1].offset + 1})
    await bus.close()

    again = await (await open_bus()).subscribe("group", [HOSPITAL_REQUESTS])

    assert [one.value for one in await _read(again, 3)] == [b"a 2", b"a 3", b"a 4"]


async def test_a_published_record_survives_a_restart(open_bus: OpenBus) -> None:
    bus = await open_bus()
    await bus.publish(HOSPITAL_REQUESTS, _records("a", 1))
    await bus.close()

    reopened = await open_bus()
    await reopened.publish(HOSPITAL_REQUESTS, _records("a", 1, 1))
    found = await _read(await reopened.subscribe("group", [HOSPITAL_REQUESTS]), 2)

    assert [(one.offset, one.value) for one in found] == [(0, b"a 0"), (1, b"a 1")]


def _place(one: Fetched) -> tuple[str, int, int]:
    return one.topic, one.partition, one.offset


async def test_routing_headers_travel_with_a_record(open_bus: OpenBus) -> None:
    bus = await open_bus()
    headers = routing_headers("msg_1", "submitted", source="sz", at="2026-03-02T01:00:00Z", trace=TRACE)

    await bus.publish(HOSPITAL_REQUESTS, [BusRecord("a", b"{}", headers)])
    [found] = await _read(await bus.subscribe("group", [HOSPITAL_REQUESTS]), 1)

    assert (found.headers, found.trace) == (headers, TRACE)


async def test_records_before_one_that_is_too_large_are_durable_and_the_large_one_is_refused(
    open_bus: OpenBus,
) -> None:
    bus = await open_bus()
    large = BusRecord("b", b"x" * (VALUE_BYTES_MAX + 1))

    with pytest.raises(RefusedRecordError) as caught:
        await bus.publish(HOSPITAL_REQUESTS, [*_records("a", 2), large, *_records("c", 1)])

    assert (caught.value.durable, caught.value.code) == (2, "MESSAGE_TOO_LARGE")
    found = await _read(await bus.subscribe("group", [HOSPITAL_REQUESTS]), 2)
    assert [one.value for one in found] == [b"a 0", b"a 1"]
    assert await bus.publish(HOSPITAL_REQUESTS, _records("c", 1)) == 1


async def test_groups_do_not_take_from_each_other(open_bus: OpenBus) -> None:
    bus = await open_bus()
    await bus.publish(HOSPITAL_REQUESTS, _records("a", 3))

    one = await _read(await bus.subscribe("one", [HOSPITAL_REQUESTS]), 3)
    other = await _read(await bus.subscribe("other", [HOSPITAL_REQUESTS]), 3)

    assert sorted(one, key=_place) == sorted(other, key=_place)


async def test_a_waiting_consumer_wakes_for_any_of_its_topics(open_bus: OpenBus) -> None:
    bus = await open_bus()
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS])
    assert await consumer.fetch(10, 0.01) == []

    await bus.publish(SETTLEMENT_REQUESTS, _records("claim", 1))

    assert [one.topic for one in await _read(consumer, 1)] == [SETTLEMENT_REQUESTS]


async def test_lag_counts_what_is_published_and_not_committed(open_bus: OpenBus) -> None:
    bus = await open_bus()
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await bus.publish(HOSPITAL_REQUESTS, _records("a", 4))
    before = sum((await consumer.lag()).values())
    found = await _read(consumer, 4)

    await consumer.commit({(found[-1].topic, found[-1].partition): found[-1].offset + 1})

    assert (before, sum((await consumer.lag()).values())) == (4, 0)


@pytest.mark.parametrize("topic", [HOSPITAL_REQUESTS, AUDIT_RECORDS])
def test_a_key_always_lies_in_one_partition_of_the_table(topic: str) -> None:
    partitions = {partition_of(topic, f"case_{number}") for number in range(500)}

    assert partitions == set(range(TOPICS[topic].partitions))


async def test_pruning_drops_only_what_is_old_and_passed_by_every_group(tmp_path: Path, clock: VirtualClock) -> None:
    bus = await EmbeddedBus.open(f"sqlite:///{tmp_path / 'bus.db'}", clock)
    await bus.publish(HOSPITAL_REQUESTS, _records("a", 5))
    fast = await bus.subscribe("fast", [HOSPITAL_REQUESTS])
    slow = await bus.subscribe("slow", [HOSPITAL_REQUESTS])
    found = await _read(fast, 5)
    place = (HOSPITAL_REQUESTS, found[0].partition)
    await fast.commit({place: 5})
    await slow.commit({place: 2})
    clock.advance(timedelta(days=8))

    await bus.prune(kept_ms=7 * 86_400_000)
    left = await (await bus.subscribe("new", [HOSPITAL_REQUESTS])).fetch(10, 0.2)

    assert [one.offset for one in left] == [2, 3, 4]
    await bus.close()
