"""The Bus port over Apache Kafka: raw aiokafka, supervised. The only file that imports it.

aiokafka never gives up by itself, so every await here has our deadline and every client is thrown away and built anew
once it fails or falls silent; whoever waits hears of it and tries again. A time-out means *unknown*, never *failed*:
the record may arrive, is sent again and falls to the inbox. Numbers in comments (K2, K7, …) name the pitfalls of
`docs/operating/kafka.md`.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    kafka_errors,
)

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import TOPICS, VALUE_BYTES_MAX
from gateway.runtime.bus.headers import readable_headers
from gateway.runtime.bus.kafka_client import KafkaLimits, Supervised, within
from gateway.runtime.bus.kafka_config import KafkaAccess
from gateway.runtime.bus.kafka_errors import Refusal, outcome_of, refusal_of
from gateway.runtime.bus.port import BusRecord, Fetched, Offsets, RefusedRecordError, partition_of
from gateway.runtime.signals.observability import BUS_REBALANCES, BUS_UNKNOWN_SENDS

log = structlog.get_logger("kafka")

FAILURES = (KafkaError, OSError, TimeoutError)
"""What a broker that is away or says no raises; anything else is a fault of ours."""


class FencedInstanceError(BrokerResponseError):  # type: ignore[misc] # aiokafka has no types
    errno = 82
    message = "FENCED_INSTANCE_ID"


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc] # the same
    errno = 87
    message = "INVALID_RECORD"


class ThrottlingQuotaExceededError(BrokerResponseError):  # type: ignore[misc] # the same
    errno = 89
    message = "THROTTLING_QUOTA_EXCEEDED"
    retriable = True


# K18: without these, codes that aiokafka does not know come out as UnknownError and their number is lost
kafka_errors.update({one.errno: one for one in (FencedInstanceError, InvalidRecordError, ThrottlingQuotaExceededError)})


class KafkaBus:
    """The brokers as one role sees them: one producer, a consumer a group, and a watch over their silence."""

    def __init__(self, access: KafkaAccess, client_id: str, limits: KafkaLimits | None = None) -> None:
        self.limits = limits or KafkaLimits()
        self.access = access
        self.client_id = client_id
        self._producer = Supervised("producer", self._build_producer, self.limits)
        self._consumers: list[KafkaConsumer] = []
        self._watching = asyncio.create_task(self._watch(), name=f"{client_id}: kafka watch")

    def _build_producer(self) -> AIOKafkaProducer:
        # K1: idempotence is off by default. K6: no transactions. Linger and batch as measured.
        return AIOKafkaProducer(
            **self.access.options(),
            client_id=self.client_id,
            enable_idempotence=True,
            linger_ms=2,
            max_batch_size=256 * 1024,
            max_request_size=VALUE_BYTES_MAX,
            metadata_max_age_ms=60_000,
            request_timeout_ms=int(self.limits.request * 1000),
        )

    async def publish(self, topic: str, records: Sequence[BusRecord]) -> int:
        """Send in order; return how many leading records were acknowledged before the deadline."""
        if not records:
            return 0
        durable, refusal = await self._attempt(topic, records)
        if refusal is not None and not refusal.whole_topic:
            more, refusal = await self._one_by_one(topic, records[durable:])
            durable += more
        if refusal is not None:
            log.error("kafka.refused", topic=topic, code=refusal.name)
            raise RefusedRecordError(durable, refusal.name, whole_topic=refusal.whole_topic)
        if durable == 0:
            raise UnavailableError("bus.unavailable", retry_after_s=5)
        return durable

    async def _one_by_one(self, topic: str, records: Sequence[BusRecord]) -> tuple[int, Refusal | None]:
        """Find the one for which a broker refused the batch: alone, each record has an answer of its own."""
        for count, record in enumerate(records):
            durable, refusal = await self._attempt(topic, [record])
            if not durable:
                return count, refusal
        return len(records), None

    async def _attempt(self, topic: str, records: Sequence[BusRecord]) -> tuple[int, Refusal | None]:
        """Send; return how many leading records are durable, and why the next can never be if the broker said so."""
        try:
            producer = await self._producer.client()
        except UnavailableError:
            return 0, None
        sent: list[asyncio.Future[Any]] = []
        stopped: BaseException | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.send):
                stopped = await self._hand_over(producer, topic, records, sent)
                if sent:
                    await asyncio.wait(sent)
        outcome = outcome_of(sent, stopped, len(records))
        if outcome.failure is None:
            self._producer.succeeded()
            return outcome.durable, None
        BUS_UNKNOWN_SENDS.inc(outcome.unknown)
        refusal = refusal_of(outcome.failure)
        if refusal is None or outcome.broker_failed:  # K2, K4: after a broker's error this producer may never recover
            await self._producer.throw_away(producer, outcome.failure, at_once=refusal is not None)
        return outcome.durable, refusal

    async def _hand_over(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        records: Sequence[BusRecord],
        sent: "list[asyncio.Future[Any]]",
    ) -> BaseException | None:
        """Queue records in order; return what stopped it. `sent` is the caller's, who may stop waiting for us."""
        try:
            for record in records:
                sent.append(await self._send(producer, topic, record))
        except Exception as error:  # noqa: BLE001 too large a record (K24) raises here; it was not sent
            return error
        return None

    async def _send(self, producer: AIOKafkaProducer, topic: str, record: BusRecord) -> "asyncio.Future[Any]":
        headers = [(name, value.encode()) for name, value in record.headers.items()]
        place = partition_of(topic, record.key)
        future: asyncio.Future[Any] = await producer.send(
            self.access.prefix + topic, record.value, record.key.encode(), partition=place, headers=headers
        )
        return future

    async def subscribe(self, group: str, topics: Sequence[str]) -> "KafkaConsumer":
        consumer = KafkaConsumer(self, group, topics)
        self._consumers.append(consumer)
        return consumer

    def forget(self, consumer: "KafkaConsumer") -> None:
        self._consumers.remove(consumer)

    async def why_unready(self) -> str | None:
        """Say for readiness what has been silent too long (K7: exceptions say nothing, the age of success does)."""
        watched = [("producer", self._producer), *((one.group, one.supervised) for one in self._consumers)]
        silent = [name for name, client in watched if client.silent_s() > self.limits.unready_after]
        return f"no answer from Kafka: {', '.join(silent)}" if silent else None

    async def _watch(self) -> None:
        """Ask the brokers something every few seconds; a client that stays silent is thrown away."""
        while True:
            probes = (self._probe_producer(), *(one.probe() for one in self._consumers))
            for failure in await asyncio.gather(*probes, return_exceptions=True):
                if failure is not None:  # the watch outlives what it watches
                    log.error("kafka.watch-failed", error=type(failure).__name__)
            await asyncio.sleep(self.limits.probe_every)

    async def _probe_producer(self) -> None:
        try:
            producer = await self._producer.client()
        except UnavailableError:
            return
        await self._producer.probe(producer, lambda: _metadata(producer))

    async def prune(self, kept_ms: int) -> None:
        """Do nothing: the broker drops records by each topic's retention."""

    async def close(self) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        for consumer in list(self._consumers):
            await consumer.close()
        await self._producer.close()


async def _metadata(producer: AIOKafkaProducer) -> None:
    if not await producer.client.force_metadata_update():
        raise ConnectionError("no broker answered")


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Counts what a group does with this member. K16: what a listener raises is swallowed, so it does nothing else."""

    def __init__(self, group: str) -> None:
        self._count = BUS_REBALANCES.labels(group)

    def on_partitions_revoked(self, revoked: object) -> None:
        """Nothing: what was not committed comes again, to whoever has the partition next."""

    def on_partitions_assigned(self, assigned: object) -> None:
        del assigned
        self._count.inc()


@dataclass(frozen=True)
class _Unreadable:
    """Stands in for a record of which only the place is known; its bytes stay on the topic for its retention."""

    offset: int
    key: None = None
    value: None = None
    headers: tuple[()] = ()


Found = Mapping[TopicPartition, Sequence[Any]]


class KafkaConsumer:
    """One member of a group. Offsets are explicit, nothing is decoded that a stranger could have written."""

    def __init__(self, bus: KafkaBus, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._bus = bus
        self._topics = tuple(topics)
        self._prefix = bus.access.prefix
        self._limits = bus.limits
        self._careful = False
        """Whether a record lies ahead that cannot be read."""
        self._asking_since: float | None = None
        """Since when fetches have brought nothing though there was something to bring, as far as the probe knows."""
        self.supervised: Supervised[AIOKafkaConsumer] = Supervised(group, self._build, bus.limits)

    def _build(self) -> AIOKafkaConsumer:
        # K10, K11: explicit commits, from the beginning for a new group. K17: no static membership.
        # K23: no deserialisers, a record that one refuses would hold its partition for ever.
        limits = self._limits
        client = AIOKafkaConsumer(
            **self._bus.access.options(),
            client_id=self._bus.client_id,
            group_id=self._prefix + self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=2 << 20,
            fetch_max_bytes=16 << 20,
            metadata_max_age_ms=60_000,
            request_timeout_ms=int(limits.request * 1000),
            session_timeout_ms=int(limits.session * 1000),
            heartbeat_interval_ms=int(limits.heartbeat * 1000),
            rebalance_timeout_ms=int(limits.rebalance * 1000),
            max_poll_interval_ms=int(limits.poll * 1000),
        )
        client.subscribe([self._prefix + topic for topic in self._topics], listener=_Rebalances(self.group))
        return client

    async def fetch(self, records_max: int, timeout_s: float) -> Sequence[Fetched]:
        """Return what there is; empty while the brokers are away or the group is rejoining."""
        try:
            client = await self.supervised.client()
        except UnavailableError:
            await asyncio.sleep(min(timeout_s, 1.0))
            return []
        self._asking_since = self._asking_since or time.monotonic()
        asked = self._one_by_one(client) if self._careful else self._many(client, records_max, timeout_s)
        try:  # K8: getmany outstays its own time-out while the group rejoins
            found = await within(timeout_s + self._limits.rebalance, asked)
        except ConsumerStoppedError:  # thrown away meanwhile, by a probe or a commit
            return []
        except FAILURES as error:  # also when it outstays: left behind, it might still take records and lose them
            await self.supervised.throw_away(client, error)
            return []
        if found:
            self._asking_since = None
            self.supervised.succeeded()
        return [self._fetched(place, record) for place, records in found.items() for record in records]

    async def _many(self, client: AIOKafkaConsumer, records_max: int, timeout_s: float) -> Found:
        try:
            found: Found = await client.getmany(timeout_ms=int(timeout_s * 1000), max_records=records_max)
        except UnicodeDecodeError:
            # K23: aiokafka decodes the names of headers, and what it had taken of other partitions is lost with the one
            starts = await _starts(client, list(client.assignment()))
            for place, offset in starts.items():
                client.seek(place, offset)
            self._careful = True
            return {}
        return found

    async def _one_by_one(self, client: AIOKafkaConsumer) -> Found:
        """Take single records until the one that aiokafka cannot read, which is passed on without its bytes."""
        for place in await _behind(client):
            try:
                found: Found = await client.getmany(place, timeout_ms=500, max_records=1)
            except UnicodeDecodeError:
                offset = await client.position(place)
                client.seek(place, offset + 1)
                self._careful = False
                log.warning("kafka.unreadable", consumer=self.group, topic=place.topic, offset=offset)
                return {place: [_Unreadable(offset)]}
            if found:
                return found
        self._careful = False
        return {}

    def _fetched(self, place: TopicPartition, record: Any) -> Fetched:
        """Take a record as bytes; a key that is no text of ours stays visible, escaped, and fails verification."""
        key = (record.key or b"").decode("ascii", "backslashreplace").replace("\x00", "\\x00")
        topic = place.topic.removeprefix(self._prefix)
        headers = readable_headers(record.headers)
        return Fetched(topic, place.partition, record.offset, key, record.value or b"", headers)

    async def commit(self, offsets: Offsets) -> None:
        """Commit explicit offsets; if the group took the partitions away meanwhile, the inbox absorbs the rest."""
        client = self.supervised.running()
        if client is None:
            return
        wanted = {TopicPartition(self._prefix + topic, number): next_ for (topic, number), next_ in offsets.items()}
        try:
            if ours := {place: wanted[place] for place in wanted.keys() & client.assignment()}:
                await within(self._limits.send, client.commit(ours))
        except (CommitFailedError, IllegalStateError, RebalanceInProgressError) as error:
            # K9: a second try fails as well until the member has rejoined
            log.info("kafka.commit-lost", consumer=self.group, error=type(error).__name__)
        except FAILURES as error:
            await self.supervised.throw_away(client, error)

    async def lag(self) -> Mapping[tuple[str, int], int]:
        """Count records that the group has not committed, by partition, whichever member has it."""
        client = await self.supervised.client()
        places = [
            TopicPartition(self._prefix + topic, number)
            for topic in self._topics
            for number in range(TOPICS[topic].partitions)
        ]
        try:
            starts = await within(self._limits.probe, _starts(client, places))
            ends = await within(self._limits.probe, client.end_offsets(places))
        except FAILURES:
            raise UnavailableError("bus.unavailable", retry_after_s=5) from None
        return {
            (place.topic.removeprefix(self._prefix), place.partition): ends[place] - starts[place] for place in places
        }

    async def probe(self) -> None:
        """Ask the brokers where this member stands; one that is behind and is brought nothing is thrown away."""
        client = self.supervised.running()
        if client is None:
            return

        async def ask() -> None:
            if not await _is_behind(client):
                self._asking_since = None

        await self.supervised.probe(client, ask)
        if time.monotonic() - (self._asking_since or time.monotonic()) > self._limits.rebuild_after:
            # K7: the brokers answer and the group gives nothing, its coordinator's side of the client is lost
            self._asking_since = None
            await self.supervised.throw_away(client, TimeoutError())

    async def close(self) -> None:
        self._bus.forget(self)
        await self.supervised.close()


async def _starts(client: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Ask where the group goes on: after what it committed, else at what the broker still has."""
    begins: Mapping[TopicPartition, int] = await client.beginning_offsets(places)
    committed: Sequence[int | None] = await asyncio.gather(*map(client.committed, places))
    return {place: next_ or begins[place] for place, next_ in zip(places, committed, strict=True)}


async def _behind(client: AIOKafkaConsumer) -> list[TopicPartition]:
    """List the partitions of a member in which something is before it."""
    assigned = client.assignment()
    ends: Mapping[TopicPartition, int] = await client.end_offsets(assigned)
    return [place for place in assigned if await client.position(place) != ends[place]]


async def _is_behind(client: AIOKafkaConsumer) -> bool:
    """Say whether a member has something before it; one without partitions may have."""
    if not client.assignment():
        await client.topics()
        return True
    return bool(await _behind(client))
