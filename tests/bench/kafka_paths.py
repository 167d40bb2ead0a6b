"""The two ways to and from the broker, alone: the relay's rows, and the bus' consumer beside the bare library."""

import shutil
import time

from aiokafka import AIOKafkaConsumer  # noqa: TID251 the bare library is what the consumer is compared with
from aiokafka.structs import OffsetAndMetadata  # noqa: TID251 the same

from gateway.protocol.topics import HOSPITAL_REQUESTS, TOPICS
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.port import BusRecord
from tests.bench.rows import Row
from tests.kafka.clusters import fresh_access, shared_broker

MESSAGES = 20_000
VALUE = b"x" * 4096


async def measure_consumers() -> list[Row]:
    """Read the same messages with the library alone and through the bus, three times each in turn; the best counts."""
    if shutil.which("java") is None:
        return []
    access = fresh_access(shared_broker())
    bus = KafkaBus(access, "bench")
    started = time.perf_counter()
    for first in range(0, MESSAGES, 500):
        records = [BusRecord(f"case_{number}", VALUE) for number in range(first, first + 500)]
        assert await bus.publish(HOSPITAL_REQUESTS, records) == len(records)
    published = MESSAGES / (time.perf_counter() - started)
    bare, ours = 0.0, 0.0
    for turn in range(3):
        bare = max(bare, await _bare(access.servers, access.prefix + HOSPITAL_REQUESTS, f"{access.prefix}bare{turn}"))
        ours = max(ours, await _ours(bus, f"ours{turn}"))
    await bus.close()
    note = f"{MESSAGES} messages of 4 KiB, {TOPICS[HOSPITAL_REQUESTS].partitions} partitions, commit a batch"
    return [
        Row("publish through the bus, batches of 500", published, "rows/s", "-", "kafka", note),
        Row("consume, bare aiokafka", bare, "messages/s", "-", "kafka", note),
        Row("consume through the bus", ours, "messages/s", "-", "kafka", note),
        Row("the bus' consumer as a share of the bare one", ours / bare, "ratio", "-", "kafka", "same run"),
    ]


async def _bare(servers: str, topic: str, group: str) -> float:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 << 20,
        fetch_max_bytes=16 << 20,
    )
    await consumer.start()
    count, started = 0, 0.0
    while count < MESSAGES:
        found = await consumer.getmany(timeout_ms=1000, max_records=500)
        started = started or time.perf_counter()
        count += sum(map(len, found.values()))
        if found:
            await consumer.commit({place: OffsetAndMetadata(got[-1].offset + 1, "") for place, got in found.items()})
    elapsed = time.perf_counter() - started
    await consumer.stop()
    return MESSAGES / elapsed


async def _ours(bus: KafkaBus, group: str) -> float:
    consumer = await bus.subscribe(group, [HOSPITAL_REQUESTS])
    count, started = 0, 0.0
    while count < MESSAGES:
        found = await consumer.fetch(500, 1.0)
        if found:
            started = started or time.perf_counter()
            count += len(found)
            await consumer.commit({(one.topic, one.partition): one.offset + 1 for one in found})
    elapsed = time.perf_counter() - started
    await consumer.close()
    return MESSAGES / elapsed
