"""Records with numbers in them, sent as the relay sends and read as the inbox would take them."""

import asyncio
from collections.abc import Sequence

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.bus.port import Bus, BusRecord, Consumer, Fetched, RefusedRecordError

KEY = "case_a"
HEALED_S_MAX = 40


def numbered(first: int, end: int, key: str = KEY) -> list[BusRecord]:
    return [BusRecord(key, str(number).encode()) for number in range(first, end)]


async def publish_until_known(bus: Bus, records: Sequence[BusRecord]) -> int:
    """Send what is not known to be there, again and again; returns how often it was refused for good."""
    refused = 0
    async with asyncio.timeout(HEALED_S_MAX):
        while records:
            acknowledged = 0
            try:
                acknowledged = await bus.publish(HOSPITAL_REQUESTS, records)
            except UnavailableError:
                await asyncio.sleep(0.02)
            except RefusedRecordError as refusal:
                acknowledged = refusal.durable
                refused += 1
            records = records[acknowledged:]
    return refused


async def read_until(consumer: Consumer, *wanted: int, found: list[Fetched] | None = None) -> list[Fetched]:
    """Read on until all of these numbers have come; returns everything that came, after what `found` has."""
    found = [] if found is None else found
    async with asyncio.timeout(HEALED_S_MAX):
        while set(wanted) - set(firsts(found)):
            found += await consumer.fetch(100, 0.1)
    return found


def firsts(found: Sequence[Fetched]) -> list[int]:
    """Give the numbers in the order of their first arrival: what the inbox would apply."""
    return list(dict.fromkeys(int(one.value) for one in found))


def next_offsets(found: Sequence[Fetched]) -> dict[tuple[str, int], int]:
    return {(one.topic, one.partition): one.offset + 1 for one in found}
