"""What Kafka does in practice, against a real broker of the test's own: it dies, freezes, forgets, brings rubbish."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from confluent_kafka import Producer

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.broker import BrokerAdmin, apply
from gateway.runtime.bus import BusRecord, Fetched
from gateway.runtime.kafka import KafkaBus, KafkaConsumer
from gateway.runtime.kafka_access import KafkaAccess
from gateway.runtime.supervised import KafkaLimits
from tests.kafka.broker import Broker
from tests.walk import until

QUICK = KafkaLimits(
    send=3,
    request=7,
    session=6,
    heartbeat=1,
    rebalance=5,
    start=5,
    stop=1,
    probe_every=0.5,
    probe=1,
    unready_after=2,
    rebuild_after=4,
    back_off=(0.2, 1.0),
)
"""An outage of seconds is to these limits what one of five minutes is to the usual ones."""

HEALED_S_MAX = 40


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    made = Broker.create()
    yield made
    made.remove()


@pytest.fixture
async def bus(broker: Broker, request: pytest.FixtureRequest) -> AsyncIterator[KafkaBus]:
    """A bus under topics of this test's own."""
    access = KafkaAccess(broker.servers, f"{abs(hash(request.node.name))}.")
    apply(BrokerAdmin.connect(broker.servers, prefix=access.prefix))
    made = KafkaBus(access, "test", QUICK)
    yield made
    await made.close()


def _records(count: int, first: int = 0) -> list[BusRecord]:
    return [BusRecord("case_a", f"{number}".encode()) for number in range(first, first + count)]


async def _publish_until_known(bus: KafkaBus, records: list[BusRecord]) -> int:
    """Do as the relay does: send what is not known to be there, again and again; returns how often it failed."""
    failures = 0
    async with asyncio.timeout(HEALED_S_MAX):
        while records:
            try:
                records = records[await bus.publish(HOSPITAL_REQUESTS, records) :]
            except UnavailableError:
                failures += 1
                await asyncio.sleep(0.2)
    return failures


async def _read_all(consumer: KafkaConsumer, wanted: set[bytes]) -> list[Fetched]:
    found: list[Fetched] = []
    async with asyncio.timeout(HEALED_S_MAX):
        while wanted - {one.value for one in found}:
            found += await consumer.fetch(100, 0.3)
    return found


def _firsts(found: list[Fetched]) -> list[int]:
    """Give the values in the order of their first arrival: what the inbox would apply."""
    return list(dict.fromkeys(int(one.value) for one in found))


async def test_a_broker_that_loses_power_loses_nothing_and_order_holds(broker: Broker, bus: KafkaBus) -> None:
    await _publish_until_known(bus, _records(50))
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    first = await _read_all(consumer, {b"49"})

    broker.kill()
    sending = asyncio.create_task(_publish_until_known(bus, _records(50, 50)))
    await asyncio.to_thread(broker.start)

    assert await sending >= 0
    rest = await _read_all(consumer, {f"{number}".encode() for number in range(50, 100)})
    assert _firsts(first + rest) == list(range(100))


async def test_a_publish_without_a_broker_ends_by_its_deadline_and_readiness_says_so(
    broker: Broker, bus: KafkaBus
) -> None:
    await _publish_until_known(bus, _records(1))
    broker.kill()
    try:
        with pytest.raises(UnavailableError, match=r"bus\.unavailable"):
            async with asyncio.timeout(HEALED_S_MAX):
                await bus.publish(HOSPITAL_REQUESTS, _records(1, 1))
        await until(bus.why_unready, "unreadiness", within_s=HEALED_S_MAX)
    finally:
        await asyncio.to_thread(broker.start)

    await _publish_until_known(bus, _records(1, 1))

    async def ready() -> bool:
        return await bus.why_unready() is None

    await until(ready, "readiness", within_s=HEALED_S_MAX)


async def test_a_frozen_broker_is_waited_out(broker: Broker, bus: KafkaBus) -> None:
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await _publish_until_known(bus, _records(5))
    await _read_all(consumer, {b"4"})

    broker.signal("STOP")
    sending = asyncio.create_task(_publish_until_known(bus, _records(5, 5)))
    await asyncio.sleep(QUICK.rebuild_after + 2)
    broker.signal("CONT")
    await sending

    rest = await _read_all(consumer, {b"5", b"6", b"7", b"8", b"9"})
    assert [number for number in _firsts(rest) if number > 4] == [5, 6, 7, 8, 9]


async def test_a_broker_whose_disk_is_lost_is_filled_again(broker: Broker, bus: KafkaBus) -> None:
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await _publish_until_known(bus, _records(5))
    found = await _read_all(consumer, {b"4"})
    await consumer.commit({(found[-1].topic, found[-1].partition): found[-1].offset + 1})

    broker.kill()
    broker.wipe()
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(apply, BrokerAdmin.connect(broker.servers, prefix=bus.access.prefix))

    await _publish_until_known(bus, _records(8))
    assert _firsts(await _read_all(consumer, {b"7"})) == list(range(8))


async def test_rubbish_on_a_topic_reaches_the_worker_as_bytes(broker: Broker, bus: KafkaBus) -> None:
    topic = bus.access.prefix + HOSPITAL_REQUESTS
    stranger = Producer({"bootstrap.servers": broker.servers, "message.max.bytes": 2_000_000})
    stranger.produce(topic, b"\xff\xfe", b"\xff\x00key", headers=[("ce_id", b"\xff\xff")], partition=0)
    stranger.produce(topic, None, None, headers=[("ce_type", None)], partition=0)
    stranger.produce(topic, b"x" * 1_000_000, b"big", partition=0)
    stranger.produce(topic, b"true", b"case_a", partition=0)
    assert stranger.flush(10) == 0

    values = {b"\xff\xfe", b"", b"x" * 1_000_000, b"true"}
    found = await _read_all(await bus.subscribe("group", [HOSPITAL_REQUESTS]), values)

    assert {one.key: len(one.value) for one in found} == {"\\xff\\x00key": 2, "": 0, "big": 1_000_000, "case_a": 4}


async def test_members_that_come_and_go_leave_nothing_unread(bus: KafkaBus) -> None:
    await _publish_until_known(bus, [BusRecord(f"case_{n}", f"{n}".encode()) for n in range(60)])
    seen: set[bytes] = set()

    async def member(turns: int) -> None:
        consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
        for _ in range(turns):
            found = await consumer.fetch(5, 0.3)
            seen.update(one.value for one in found)
            await consumer.commit({(one.topic, one.partition): one.offset + 1 for one in found})
        await consumer.close()

    async with asyncio.timeout(HEALED_S_MAX):
        await asyncio.gather(*(member(turns) for turns in (2, 4, 6)))
        while len(seen) < 60:
            await member(8)

    assert len(seen) == 60


async def test_a_commit_of_partitions_that_were_taken_away_is_no_error(bus: KafkaBus) -> None:
    consumer = await bus.subscribe("group", [HOSPITAL_REQUESTS])
    await _publish_until_known(bus, _records(1))
    found = await _read_all(consumer, {b"0"})
    await consumer.supervised.close()

    await consumer.commit({(found[0].topic, found[0].partition): 1})


async def test_a_member_that_is_behind_and_is_brought_nothing_is_built_anew(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = await bus.subscribe("quiet", [HOSPITAL_REQUESTS])
    await bus.publish(HOSPITAL_REQUESTS, _records(1))
    await _read_all(consumer, {b"0"})
    silent = consumer.supervised.running()
    assert silent is not None

    async def nothing(**_: object) -> dict[object, object]:
        await asyncio.sleep(0.1)
        return {}

    monkeypatch.setattr(
        silent, "getmany", nothing
    )  # as after a broker's restart: probes succeed, fetches bring nothing
    await bus.publish(HOSPITAL_REQUESTS, _records(1, first=1))

    await _read_all(consumer, {b"1"})
    assert consumer.supervised.running() is not silent
