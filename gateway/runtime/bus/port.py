"""The Bus port: what the outbox relay writes to and workers read from. At least once, ordered per key.

Three implementations keep one contract suite: embedded (SQL, durable, a laptop), Kafka (services), and the
simulator's, which is embedded under a virtual clock. A publish that times out is *unknown*, not failed.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.protocol.topics import TOPICS
from gateway.runtime.signals.tracing import TRACEPARENT


@dataclass(frozen=True, slots=True)
class BusRecord:
    """One record to publish. Headers are a routing copy; nothing in them is trusted."""

    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetched:
    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What could be read of the routing copy. Anybody who may write the topic may write anything here."""
    parked: bool = False
    """Whether a worker took it from where it had waited, rather than from the bus."""

    @property
    def trace(self) -> str | None:
        return self.headers.get(TRACEPARENT)


class RefusedRecordError(Exception):
    """The bus will never take a record as it is; trying again at once is no use. Carries nothing of the record.

    `durable` leading records are known to be there; the next one is refused, or with `whole_topic` every one would be.
    """

    def __init__(self, durable: int, code: str, *, whole_topic: bool) -> None:
        super().__init__(code)
        self.durable = durable
        self.code = code
        self.whole_topic = whole_topic


Offsets = Mapping[tuple[str, int], int]
"""(topic, partition) → the next offset to read."""


def partition_of(topic: str, key: str) -> int:
    """Choose a key's partition: the same on every bus, by a rule that any language has."""
    return zlib.crc32(key.encode()) % TOPICS[topic].partitions


class Consumer(Protocol):
    async def fetch(self, records_max: int, timeout_s: float) -> Sequence[Fetched]:
        """Return up to `records_max` records in order per partition; empty after `timeout_s`."""

    async def commit(self, offsets: Offsets) -> None:
        """Remember, for the group, where to go on; only of records whose effects are durable."""

    async def lag(self) -> Mapping[tuple[str, int], int]:
        """Count records published and not yet committed by this group, for each (topic, partition)."""

    async def close(self) -> None: ...


class Bus(Protocol):
    async def publish(self, topic: str, records: Sequence[BusRecord]) -> int:
        """Append in order; return how many of the leading records are known to be durable.

        `RefusedRecordError` if the next one can never be sent, `UnavailableError` if nothing is known of any.
        """

    async def subscribe(self, group: str, topics: Sequence[str]) -> Consumer: ...

    async def why_unready(self) -> str | None:
        """Say for readiness what does not answer, or None."""

    async def prune(self, kept_ms: int) -> None:
        """Drop records older than `kept_ms` that every group has passed; a broker does so by itself."""

    async def close(self) -> None: ...
