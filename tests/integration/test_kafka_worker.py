"""A whole worker on a real broker: what strangers write is set aside, and killed members cost no record its effect."""

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from sqlalchemy import select

from gateway.protocol.topics import HOSPITAL_REQUESTS, VALUE_BYTES_MAX
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.port import partition_of
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import quarantine
from tests.children import start_child
from tests.kafka.clusters import fresh_access, shared_broker
from tests.kafka.noting import LIMITS, Place, a_record, a_worker, noted, open_notes, trusting
from tests.kafka.strange_headers import produce_unreadable
from tests.kafka.traffic import publish_until_known
from tests.parties import world
from tests.postgres import postgres
from tests.walk import until

KEY = "case_synthetic0001"
PARTITION = partition_of(HOSPITAL_REQUESTS, KEY)
HEADERS_BYTES = 250
"""What a batch of one record costs beside its value, at most: key, headers and the batch itself."""
HEALED_S_MAX = 90
KEYS = [f"case_synthetic{number:04}" for number in range(10)]
MEMBERS = 2
ROUNDS = 3
ROUND = 6
"""Records a key in each round."""


@pytest.fixture
async def bus() -> AsyncIterator[KafkaBus]:
    made = KafkaBus(fresh_access(shared_broker()), "test", LIMITS)
    yield made
    await made.close()


def _produce_rubbish(bus: KafkaBus) -> int:
    """Write what no role of ours writes before the one good record; returns how many records that are."""
    topic = bus.access.prefix + HOSPITAL_REQUESTS
    stranger = Producer({"bootstrap.servers": bus.access.servers, "message.max.bytes": 4 * VALUE_BYTES_MAX})
    deep = b"[" * 5000 + b"]" * 5000
    values = [
        b"{",
        b"\xff\xfe",
        None,
        b"true",
        deep,
        b'{"stamp":"a","stamp":"b"}',
        b"x" * (VALUE_BYTES_MAX - HEADERS_BYTES),
    ]
    refused: list[str] = []

    def heard(error: KafkaError | None, _: object) -> None:
        refused.extend([] if error is None else [str(error)])

    where: dict[str, Any] = {"partition": PARTITION, "on_delivery": heard}
    for value in values:
        stranger.produce(topic, value, KEY.encode(), headers=[("ce_id", b"\xff"), ("traceparent", b"\xff")], **where)
    stranger.produce(topic, b"{}", None, headers=[("ce_type", None)], **where)
    assert stranger.flush(20) == 0
    assert refused == []
    return len(values) + 1


async def test_what_cannot_be_read_is_quarantined_and_the_next_record_is_processed(
    bus: KafkaBus, tmp_path: Path
) -> None:
    database = open_notes(f"sqlite:///{tmp_path / 'core.db'}")
    strange = await asyncio.to_thread(_produce_rubbish, bus)
    await produce_unreadable(bus.access.servers, bus.access.prefix + HOSPITAL_REQUESTS, PARTITION, b"{}")
    await publish_until_known(bus, [a_record(KEY, 1)])
    working = asyncio.create_task(a_worker(database, bus, trusting(world().trust, world().signed)).run())

    async def applied() -> bool:
        return bool(await noted(database))

    async def set_aside(tx: Transaction) -> list[int]:
        found = await rows(tx, select(quarantine.c.offset).order_by(quarantine.c.offset))
        return [row.offset for row in found]

    await until(applied, "the good record", within_s=HEALED_S_MAX)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)

    assert await noted(database) == [(KEY, 1)]
    assert await database.read(set_aside) == list(range(strange + 1))
    await database.close()


def test_the_topic_takes_no_record_that_is_larger_than_a_reader_expects(bus: KafkaBus) -> None:
    stranger = Producer({"bootstrap.servers": bus.access.servers, "message.max.bytes": 4 * VALUE_BYTES_MAX})
    answers: list[int] = []

    stranger.produce(
        bus.access.prefix + HOSPITAL_REQUESTS,
        b"x" * VALUE_BYTES_MAX,
        partition=0,
        on_delivery=lambda error, _: answers.append(error.code()),
    )
    stranger.flush(20)

    assert answers == [KafkaError.MSG_SIZE_TOO_LARGE]


class Members:
    """Processes of one consumer group. The oldest is killed as a power cut would: without a word to the broker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.kafka.noting", str(self._folder)]
        environment = dict(os.environ)  # noqa: TID251 the child gets ours
        self._running.append(start_child(command, self._folder / "members.log", environment, Path(__file__).parents[2]))

    def kill_oldest(self) -> None:
        process = self._running.pop(0)
        process.kill()
        process.wait()

    def end(self) -> None:
        while self._running:
            self.kill_oldest()


async def test_members_that_are_killed_again_and_again_leave_every_record_with_exactly_one_effect_in_order(
    bus: KafkaBus, tmp_path: Path
) -> None:
    url = postgres().fresh_url()
    database = open_notes(url)
    Place.of(bus.access, url).write(tmp_path)
    members = Members(tmp_path)
    try:
        for _ in range(MEMBERS):
            members.start()
        for number in range(ROUNDS):
            before = len(await noted(database))
            seqs = range(number * ROUND + 1, (number + 1) * ROUND + 1)
            await publish_until_known(bus, [a_record(key, seq) for seq in seqs for key in KEYS])
            await _until_more_than(database, before)
            members.kill_oldest()
            members.start()
        await _until_more_than(database, len(KEYS) * ROUNDS * ROUND - 1)
    finally:
        members.end()

    by_key: dict[str, list[int]] = defaultdict(list)
    for key, seq in await noted(database):
        by_key[key].append(seq)
    assert by_key == {key: list(range(1, ROUNDS * ROUND + 1)) for key in KEYS}
    await database.close()


async def _until_more_than(database: Database, count: int) -> None:
    async def more() -> bool:
        return len(await noted(database)) > count

    await until(more, f"the effect of more than {count} records", within_s=HEALED_S_MAX)
