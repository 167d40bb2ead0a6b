"""The Bus port over Apache Kafka: raw aiokafka, supervised. The only file that imports it.

aiokafka never gives up by itself, so every await here has our deadline and every client is thrown away and built anew
once it fails or falls silent; whoever waits hears of it and tries again. A time-out means *unknown*, never *failed*:
the record may arrive, is sent again and falls to the inbox. Numbers in comments (K2, K7, …) name the pitfalls of
`docs/operating/kafka.md`.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
)

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import TOPICS, VALUE_BYTES_MAX
from gateway.runtime.bus import BusRecord, Fetched, Offsets, partition_of
from gateway.runtime.observability import BUS_UNKNOWN_SENDS
from gateway.runtime.supervised import KafkaLimits, Supervised, within

log = structlog.get_logger("kafka")

FAILURES = (KafkaError, OSError, TimeoutError)
"""What a broker that is away or says no raises; anything else is a fault of ours."""


@dataclass(frozen=True)
class KafkaAccess:
    """How to reach the brokers: SCRAM-SHA-512 over TLS 1.3 where a user is named, else plain, for loopback only.

    K19: no OAuth, since aiokafka cannot renew it. K25: a rotated certificate or password is read by the next rebuild.
    """

    servers: str
    prefix: str = ""
    """Put before topics and groups, where several gateways share a cluster."""
    user: str = ""
    read_password: Callable[[], str] = field(default=lambda: "", repr=False)
    ca_file: str = ""

    def options(self) -> dict[str, Any]:
        """Build the options of a client; reads password and CA anew each time."""
        if not self.user:
            return {"bootstrap_servers": self.servers}
        context = ssl.create_default_context(cafile=self.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return {
            "bootstrap_servers": self.servers,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.read_password(),
            "ssl_context": context,
        }


class KafkaBus:
    """The brokers as one role sees them: one producer, a consumer a group, and a watch over their silence."""

    def __init__(self, access: KafkaAccess, client_id: str, limits: KafkaLimits | None = None) -> None:
        self.limits = limits or KafkaLimits()
        self.access = access
        self.client_id = client_id
        self._producer = Supervised("producer", self._build_producer, FAILURES, self.limits, _sever)
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
        producer = await self._producer.client()
        sent: list[asyncio.Future[Any]] = []
        failure: BaseException | None = None
        deadline = asyncio.get_running_loop().time() + self.limits.send
        try:
            async with asyncio.timeout_at(deadline):
                for record in records:
                    sent.append(await self._send(producer, topic, record))  # noqa: PERF401 sends are in order
                await asyncio.wait(sent)
        except FAILURES as error:
            failure = error
        acknowledged = _leading_successes(sent)
        if acknowledged < len(records):
            # K3: what the deadline cut off may still arrive. K2, K4: this producer may never recover.
            BUS_UNKNOWN_SENDS.inc(len(sent) - acknowledged)
            await self._producer.throw_away(producer, failure or _first_error(sent))
        else:
            self._producer.succeeded()
        if acknowledged == 0:
            raise UnavailableError("bus.unavailable", retry_after_s=5)
        return acknowledged

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
            await asyncio.sleep(self.limits.probe_every)
            await asyncio.gather(self._probe_producer(), *(one.probe() for one in self._consumers))

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


def _sever(client: Any) -> None:
    """End what a `stop` that did not come back leaves running: a member that still beats keeps its partitions.

    aiokafka has no public way; every attribute of its parts that is a task is cancelled, every connection closed.
    """
    names = ("_coordinator", "_fetcher", "_sender", "_client", "client")
    for part in (getattr(client, name) for name in names if getattr(client, name, None) is not None):
        for value in list(vars(part).values()):
            if isinstance(value, asyncio.Task):
                value.cancel()
        for connection in list(getattr(part, "_conns", {}).values()):
            connection.close()


def _leading_successes(sent: "Sequence[asyncio.Future[Any]]") -> int:
    for count, future in enumerate(sent):
        if not future.done() or future.cancelled() or future.exception() is not None:
            return count
    return len(sent)


def _first_error(sent: "Sequence[asyncio.Future[Any]]") -> BaseException:
    failed = (future.exception() for future in sent if future.done() and not future.cancelled())
    return next((error for error in failed if error is not None), TimeoutError())


class KafkaConsumer:
    """One member of a group. Offsets are explicit, nothing is decoded that a stranger could have written."""

    def __init__(self, bus: KafkaBus, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._bus = bus
        self._topics = tuple(topics)
        self._prefix = bus.access.prefix
        self._limits = bus.limits
        self._asking_since: float | None = None
        """Since when fetches have brought nothing though there was something to bring, as far as the probe knows."""
        self.supervised: Supervised[AIOKafkaConsumer] = Supervised(group, self._build, FAILURES, bus.limits, _sever)

    def _build(self) -> AIOKafkaConsumer:
        # K10, K11: explicit commits, from the beginning for a new group. K17: no static membership.
        # K23: no deserialisers, a record that one refuses would hold its partition for ever.
        limits = self._limits
        return AIOKafkaConsumer(
            *(self._prefix + topic for topic in self._topics),
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
        )

    async def fetch(self, records_max: int, timeout_s: float) -> Sequence[Fetched]:
        """Return what there is; empty while the brokers are away or the group is rejoining."""
        try:
            client = await self.supervised.client()
        except UnavailableError:
            await asyncio.sleep(min(timeout_s, 1.0))
            return []
        self._asking_since = self._asking_since or time.monotonic()
        asked = client.getmany(timeout_ms=int(timeout_s * 1000), max_records=records_max)
        try:  # K8: getmany outstays its own time-out while the group rejoins
            found: Mapping[TopicPartition, Sequence[Any]] = await within(timeout_s + self._limits.rebalance, asked)
        except ConsumerStoppedError:  # thrown away meanwhile, by a probe or a commit
            return []
        except FAILURES as error:  # also when it outstays: left behind, it might still take records and lose them
            await self.supervised.throw_away(client, error)
            return []
        if found:
            self._asking_since = None
            self.supervised.succeeded()
        return [self._fetched(place, record) for place, records in found.items() for record in records]

    def _fetched(self, place: TopicPartition, record: Any) -> Fetched:
        """Take a record as bytes; a key that is no text of ours stays visible, escaped, and fails verification."""
        key = (record.key or b"").decode("ascii", "backslashreplace").replace("\x00", "\\x00")
        topic = place.topic.removeprefix(self._prefix)
        return Fetched(topic, place.partition, record.offset, key, record.value or b"")

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

    async def lag(self) -> int:
        """Count records that the group has not committed, over all partitions and members."""
        client = await self.supervised.client()
        places = [
            TopicPartition(self._prefix + topic, number)
            for topic in self._topics
            for number in range(TOPICS[topic].partitions)
        ]
        try:
            return await within(self._limits.probe, _lag(client, places))
        except FAILURES:
            raise UnavailableError("bus.unavailable", retry_after_s=5) from None

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
            # K16: the brokers answer and the group gives nothing, its coordinator's side of the client is lost
            self._asking_since = None
            await self.supervised.throw_away(client, TimeoutError())

    async def close(self) -> None:
        self._bus.forget(self)
        await self.supervised.close()


async def _lag(client: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> int:
    ends: Mapping[TopicPartition, int] = await client.end_offsets(places)
    begins: Mapping[TopicPartition, int] = await client.beginning_offsets(places)
    committed: Sequence[int | None] = await asyncio.gather(*map(client.committed, places))
    return sum(ends[place] - (next_ or begins[place]) for place, next_ in zip(places, committed, strict=True))


async def _is_behind(client: AIOKafkaConsumer) -> bool:
    """Say whether a member has something before it; one without partitions may have."""
    assigned = client.assignment()
    if not assigned:
        await client.topics()
        return True
    ends: Mapping[TopicPartition, int] = await client.end_offsets(assigned)
    return any([await client.position(place) != ends[place] for place in assigned])
