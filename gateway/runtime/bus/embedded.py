"""The embedded bus: the Bus port over two SQL tables in `bus.db`, durable, for one process.

Keys, partitions, offsets, groups and redelivery behave as on Kafka. The process holds the data folder's lock, so the
heads of all partitions live in memory: they are read once at start and only `publish` moves them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text, and_, func, literal, or_, select
from sqlalchemy.dialects.sqlite import insert

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import Clock
from gateway.protocol.topics import TOPICS, VALUE_BYTES_MAX
from gateway.runtime.bus.port import BusRecord, Fetched, Offsets, RefusedRecordError, partition_of
from gateway.runtime.storage.database import Database, Transaction, open_database, rows

METADATA = MetaData()

bus_log = Table(
    "bus_log",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

bus_group = Table(
    "bus_group",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, nullable=False),
)


class EmbeddedBus:
    """Owner of `bus.db`. `heads` and the wake-up events are touched on the event loop only."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._heads: dict[tuple[str, int], int] = {}
        self._publishing = asyncio.Lock()
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @classmethod
    async def open(cls, url: str, clock: Clock) -> "EmbeddedBus":
        database = open_database(url, readers=2)
        database.run_sync(METADATA.create_all)
        bus = cls(database, clock)
        heads = select(bus_log.c.topic, bus_log.c.partition, func.max(bus_log.c.offset).label("last"))
        found = await database.read(partial(rows, statement=heads.group_by(bus_log.c.topic, bus_log.c.partition)))
        bus._heads = {(row.topic, row.partition): row.last + 1 for row in found}
        return bus

    def head(self, topic: str, partition: int) -> int:
        return self._heads.get((topic, partition), 0)

    async def publish(self, topic: str, records: Sequence[BusRecord]) -> int:
        """Append in one commit: all are durable or, if the database fails, nothing is known."""
        async with self._publishing:
            heads = dict(self._heads)
            at_ms = self._now_ms()
            values = []
            too_large = next((n for n, record in enumerate(records) if len(record.value) > VALUE_BYTES_MAX), None)
            for record in records[:too_large]:
                place = (topic, partition_of(topic, record.key))
                offset = heads.get(place, 0)
                heads[place] = offset + 1
                values.append(
                    {
                        "topic": topic,
                        "partition": place[1],
                        "offset": offset,
                        "key": record.key,
                        "value": record.value,
                        "headers": compact(dict(record.headers)).decode(),
                        "at_ms": at_ms,
                    }
                )

            async def work(tx: Transaction) -> None:
                await tx.execute(insert(bus_log), values)

            if values:
                await self._database.write(work)
            self._heads = heads
        for event in self._waiting[topic]:
            event.set()
        if too_large is not None:
            raise RefusedRecordError(too_large, "MESSAGE_TOO_LARGE", whole_topic=False)
        return len(records)

    async def subscribe(self, group: str, topics: Sequence[str]) -> "EmbeddedConsumer":
        found = await self._database.read(partial(rows, statement=select(bus_group).where(bus_group.c.name == group)))
        committed = {(row.topic, row.partition): row.offset for row in found}
        places = [(topic, partition) for topic in topics for partition in range(TOPICS[topic].partitions)]
        consumer = EmbeddedConsumer(self, group, {place: committed.get(place, 0) for place in places})
        for topic in topics:
            self._waiting[topic].add(consumer.wake)
        return consumer

    async def read_from(self, positions: Offsets, records_max: int) -> Sequence[Fetched]:
        """Read records at or after `positions`, in order per partition."""
        places = [
            and_(bus_log.c.topic == topic, bus_log.c.partition == partition, bus_log.c.offset >= offset)
            for (topic, partition), offset in positions.items()
        ]
        in_order = (bus_log.c.topic, bus_log.c.partition, bus_log.c.offset)
        statement = select(bus_log).where(or_(*places)).order_by(*in_order).limit(records_max)
        found = await self._database.read(partial(rows, statement=statement))
        return [
            Fetched(row.topic, row.partition, row.offset, row.key, row.value, read_json_object(row.headers.encode()))
            for row in found
        ]

    async def save_offsets(self, group: str, offsets: Offsets) -> None:
        values = [
            {"name": group, "topic": topic, "partition": partition, "offset": offset}
            for (topic, partition), offset in offsets.items()
        ]

        async def work(tx: Transaction) -> None:
            statement = insert(bus_group)
            await tx.execute(
                statement.on_conflict_do_update(
                    index_elements=["name", "topic", "partition"], set_={"offset": statement.excluded.offset}
                ),
                values,
            )

        await self._database.write(work)

    async def why_unready(self) -> str | None:
        """Read from the bus' own file: what it raises is the reason."""
        await self._database.fetch(select(literal(1)))
        return None

    async def prune(self, kept_ms: int) -> None:
        """Drop records older than `kept_ms` that every group reading their partition has passed."""
        before_ms = self._now_ms() - kept_ms

        async def work(tx: Transaction) -> None:
            lowest = func.min(bus_group.c.offset).label("offset")
            passed = select(bus_group.c.topic, bus_group.c.partition, lowest)
            for row in await rows(tx, passed.group_by(bus_group.c.topic, bus_group.c.partition)):
                here = and_(bus_log.c.topic == row.topic, bus_log.c.partition == row.partition)
                old = and_(bus_log.c.offset < row.offset, bus_log.c.at_ms < before_ms)
                newest = select(func.max(bus_log.c.offset)).where(here).scalar_subquery()
                await tx.execute(bus_log.delete().where(here, old, bus_log.c.offset < newest))

        await self._database.write(work)

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def close(self) -> None:
        await self._database.close()


class EmbeddedConsumer:
    """One group's reader; a group has one consumer, since the process is one."""

    def __init__(self, bus: EmbeddedBus, group: str, positions: dict[tuple[str, int], int]) -> None:
        self._bus = bus
        self._group = group
        self._positions = positions
        self._committed = dict(positions)
        self.wake = asyncio.Event()

    def _behind(self) -> dict[tuple[str, int], int]:
        return {place: offset for place, offset in self._positions.items() if self._bus.head(*place) > offset}

    async def fetch(self, records_max: int, timeout_s: float) -> Sequence[Fetched]:
        self.wake.clear()
        behind = self._behind()
        if not behind:
            try:
                async with asyncio.timeout(timeout_s):
                    await self.wake.wait()
            except TimeoutError:
                return []
            behind = self._behind()
        found = await self._bus.read_from(behind, records_max)
        for record in found:
            self._positions[record.topic, record.partition] = record.offset + 1
        return found

    async def commit(self, offsets: Offsets) -> None:
        await self._bus.save_offsets(self._group, offsets)
        self._committed.update(offsets)

    async def lag(self) -> Mapping[tuple[str, int], int]:
        return {place: self._bus.head(*place) - offset for place, offset in self._committed.items()}

    async def close(self) -> None:
        self._positions = {}
