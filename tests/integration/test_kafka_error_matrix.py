"""Every error code of produce, commit and heartbeat, each once before and once after the broker has acted.

The broker is librdkafka's mock behind a wire that fails one request (`faulty_broker.py`). It keeps no producer
sequences, so a batch sent twice lies there twice; what a real broker makes of that is in `test_kafka_faults.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import REGISTRY

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import HOSPITAL_REQUESTS, TOPICS
from gateway.runtime.bus.kafka import KafkaBus, KafkaConsumer
from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.bus.kafka_config import KafkaAccess
from gateway.runtime.bus.port import Fetched, partition_of
from tests.faulty_broker import Api, Effect, Fault, FaultyBroker, Loss, faulty_broker
from tests.kafka.traffic import HEALED_S_MAX, KEY, firsts, numbered, publish_until_known, read_until

PLACE = (HOSPITAL_REQUESTS, partition_of(HOSPITAL_REQUESTS, KEY))
QUICK = KafkaLimits(
    send=1.0,
    request=3,
    session=1,
    heartbeat=0.1,
    rebalance=2,
    start=3,
    stop=0.5,
    probe_every=0.5,
    probe=0.5,
    unready_after=2,
    rebuild_after=3,
    back_off=(0.05, 0.2),
)

PRODUCE = {
    -1: "UNKNOWN_SERVER_ERROR",
    2: "CORRUPT_MESSAGE",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    5: "LEADER_NOT_AVAILABLE",
    6: "NOT_LEADER_OR_FOLLOWER",
    7: "REQUEST_TIMED_OUT",
    10: "MESSAGE_TOO_LARGE",
    13: "NETWORK_EXCEPTION",
    17: "INVALID_TOPIC_EXCEPTION",
    18: "RECORD_LIST_TOO_LARGE",
    19: "NOT_ENOUGH_REPLICAS",
    20: "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    21: "INVALID_REQUIRED_ACKS",
    29: "TOPIC_AUTHORIZATION_FAILED",
    31: "CLUSTER_AUTHORIZATION_FAILED",
    32: "INVALID_TIMESTAMP",
    45: "OUT_OF_ORDER_SEQUENCE_NUMBER",
    46: "DUPLICATE_SEQUENCE_NUMBER",
    47: "INVALID_PRODUCER_EPOCH",
    56: "KAFKA_STORAGE_ERROR",
    59: "UNKNOWN_PRODUCER_ID",
    74: "FENCED_LEADER_EPOCH",
    87: "INVALID_RECORD",
    89: "THROTTLING_QUOTA_EXCEEDED",
}
COMMIT = {
    -1: "UNKNOWN_SERVER_ERROR",
    3: "UNKNOWN_TOPIC_OR_PARTITION",
    7: "REQUEST_TIMED_OUT",
    12: "OFFSET_METADATA_TOO_LARGE",
    14: "COORDINATOR_LOAD_IN_PROGRESS",
    15: "COORDINATOR_NOT_AVAILABLE",
    16: "NOT_COORDINATOR",
    22: "ILLEGAL_GENERATION",
    25: "UNKNOWN_MEMBER_ID",
    27: "REBALANCE_IN_PROGRESS",
    28: "INVALID_COMMIT_OFFSET_SIZE",
    29: "TOPIC_AUTHORIZATION_FAILED",
    30: "GROUP_AUTHORIZATION_FAILED",
    82: "FENCED_INSTANCE_ID",
}
HEARTBEAT = {
    -1: "UNKNOWN_SERVER_ERROR",
    14: "COORDINATOR_LOAD_IN_PROGRESS",
    15: "COORDINATOR_NOT_AVAILABLE",
    16: "NOT_COORDINATOR",
    22: "ILLEGAL_GENERATION",
    25: "UNKNOWN_MEMBER_ID",
    27: "REBALANCE_IN_PROGRESS",
    30: "GROUP_AUTHORIZATION_FAILED",
    82: "FENCED_INSTANCE_ID",
}
UNKNOWN: set[Fault] = {-1, 2, 13, 21, 31, 45, 47, 59, 74, Loss.SILENCE}
"""What aiokafka does not send again by itself, or nobody answered: each of the three records may be there or not."""
REFUSED_WITH_TOPIC: set[Fault] = {17, 29, 32}
"""A definite no to whatever we would write. Refused alone (10, 18, 87), a record is tried once more by itself, and the
broker of this test takes it then."""
NEVER_BEFORE = {46: "a broker that has a sequence already has done it"}


def _cells(codes: Mapping[int, str]) -> list[Any]:
    faults: list[tuple[Fault, str]] = [*codes.items(), *((loss, loss.value) for loss in Loss)]
    return [
        pytest.param(fault, effect, id=f"{name} {effect.value}")
        for effect in Effect
        for fault, name in faults
        if not (effect is Effect.BEFORE and fault in NEVER_BEFORE)
    ]


@dataclass
class Case:
    """One broker, one bus, and what a worker has settled so far."""

    broker: FaultyBroker
    bus: KafkaBus
    observer: Consumer

    async def committed(self) -> int:
        """Ask the broker itself, past the wire, where the group goes on."""
        topic, number = PLACE
        found = await asyncio.to_thread(self.observer.committed, [TopicPartition(topic, number)], 5)
        return max(0, int(found[0].offset))


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    topics = [(name, topic.partitions) for name, topic in TOPICS.items()]
    async with faulty_broker(*topics) as broker:
        bus = KafkaBus(KafkaAccess(broker.servers), "test", QUICK)
        observer = Consumer({"bootstrap.servers": broker.direct, "group.id": "group"})
        try:
            yield Case(broker, bus, observer)
        finally:
            await bus.close()
            await asyncio.to_thread(observer.close)


def _unknown() -> float:
    return REGISTRY.get_sample_value("gateway_bus_unknown_sends_total") or 0.0


@pytest.mark.parametrize(("fault", "effect"), _cells(PRODUCE))
async def test_a_produce_that_goes_wrong_loses_nothing_keeps_order_and_only_the_unknown_is_unknown(
    case: Case, fault: Fault, effect: Effect
) -> None:
    await publish_until_known(case.bus, numbered(0, 3))
    before = _unknown()
    case.broker.fail_next(Api.PRODUCE, fault, effect)

    refused = await publish_until_known(case.bus, numbered(3, 6))
    await publish_until_known(case.bus, numbered(6, 9))

    found: list[Fetched] = []
    await read_until(await case.bus.subscribe("group", [HOSPITAL_REQUESTS]), 8, found=found)
    assert case.broker.met == 1
    assert firsts(found) == list(range(9))
    assert _unknown() - before == (3 if fault in UNKNOWN else 0)
    assert refused == (fault in REFUSED_WITH_TOPIC)


@pytest.mark.parametrize("effect", Effect)
async def test_a_produce_without_an_answer_is_counted_as_unknown_and_sent_again(case: Case, effect: Effect) -> None:
    await publish_until_known(case.bus, numbered(0, 1))
    before = _unknown()
    case.broker.fail_next(Api.PRODUCE, Loss.SILENCE, effect)

    with pytest.raises(UnavailableError, match=r"bus\.unavailable"):
        await case.bus.publish(HOSPITAL_REQUESTS, numbered(1, 4))

    assert _unknown() - before == 3
    await publish_until_known(case.bus, numbered(1, 4))
    found: list[Fetched] = []
    await read_until(await case.bus.subscribe("group", [HOSPITAL_REQUESTS]), 3, found=found)
    there_twice = 3 if effect is Effect.AFTER else 0
    _, end = await asyncio.to_thread(case.observer.get_watermark_offsets, TopicPartition(*PLACE), 5)
    assert (firsts(found), end) == ([0, 1, 2, 3], 4 + there_twice)


@pytest.mark.parametrize(("fault", "effect"), _cells(COMMIT))
async def test_a_commit_that_goes_wrong_never_passes_what_was_settled(case: Case, fault: Fault, effect: Effect) -> None:
    consumer = await case.bus.subscribe("group", [HOSPITAL_REQUESTS])
    found: list[Fetched] = []
    await publish_until_known(case.bus, numbered(0, 3))
    await read_until(consumer, 2, found=found)
    await consumer.commit({PLACE: 3})
    await publish_until_known(case.bus, numbered(3, 9))
    await read_until(consumer, 8, found=found)

    case.broker.fail_next(Api.OFFSET_COMMIT, fault, effect)
    await consumer.commit({PLACE: 6})

    assert case.broker.met == 1
    assert await case.committed() in {3, 6}
    if effect is Effect.AFTER:
        assert await case.committed() == 6
    await publish_until_known(case.bus, numbered(9, 12))
    await read_until(consumer, 11, found=found)
    assert firsts(found) == list(range(12))
    assert await case.committed() <= 6
    await _settles_in_the_end(case, consumer)


async def _settles_in_the_end(case: Case, consumer: KafkaConsumer) -> None:
    """Whatever went wrong, a later commit arrives."""
    async with asyncio.timeout(HEALED_S_MAX):
        while await case.committed() != 12:
            await consumer.fetch(100, 0.1)
            await consumer.commit({PLACE: 12})


@pytest.mark.parametrize(("fault", "effect"), _cells(HEARTBEAT))
async def test_a_heartbeat_that_goes_wrong_never_moves_the_group_past_what_was_settled(
    case: Case, fault: Fault, effect: Effect
) -> None:
    consumer = await case.bus.subscribe("group", [HOSPITAL_REQUESTS])
    found: list[Fetched] = []
    await publish_until_known(case.bus, numbered(0, 9))
    await read_until(consumer, 8, found=found)
    await consumer.commit({PLACE: 3})

    case.broker.fail_next(Api.HEARTBEAT, fault, effect)
    async with asyncio.timeout(HEALED_S_MAX):
        while not case.broker.met:
            await consumer.fetch(100, 0.1)

    assert await case.committed() == 3
    await publish_until_known(case.bus, numbered(9, 12))
    await read_until(consumer, 11, found=found)
    assert firsts(found) == list(range(12))
    assert await case.committed() == 3
    await _settles_in_the_end(case, consumer)
