"""What waits in a role and since when: one reading for the metrics, `gateway bus lag` and `gateway doctor`.

Stages: `outbox` (messages the bus does not have), `audit` (records the log does not have), `feed` (items without a
position), and parked messages by why: `gap`, `retry`, `held`, `halt`.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Column, ColumnElement, func, select

from gateway.protocol.clock import parse_rfc3339
from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import TOPICS
from gateway.runtime.bus.port import Consumer
from gateway.runtime.component import Component
from gateway.runtime.delivery.offsets import Progress
from gateway.runtime.delivery.outbox import Admission
from gateway.runtime.signals.observability import (
    COMPONENT_GAUGES,
    CONSUMER_LAG,
    CONSUMER_STANDING,
    CONSUMER_STOPPED,
    OUTBOX_BYTES,
    OUTBOX_FILL,
    READY,
    WAITING,
    WAITING_OLDEST,
    Readiness,
)
from gateway.runtime.storage.database import Transaction, one, rows
from gateway.runtime.storage.tables import audit_rows, feed, outbox, parked

PARKED_WHYS = ("gap", "retry", "held", "halt")
LAG_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits at one stage; `since` is the oldest's moment, as the row has it."""

    stage: str
    count: int
    since: str | None

    def oldest_s(self, now: datetime) -> float:
        """Return the age of the oldest in seconds, 0 where nothing waits."""
        return (now - parse_rfc3339(self.since)).total_seconds() if self.since else 0.0


async def read_waiting(tx: Transaction) -> list[Waiting]:
    """Read every stage from the tables, which are the truth."""
    return [
        await _read("outbox", outbox.c.created_at, outbox.c.published_at.is_(None), tx),
        await _read("audit", audit_rows.c.at, audit_rows.c.published_at.is_(None), tx),
        await _read("feed", feed.c.at, feed.c.position.is_(None), tx),
        *await _read_parked(tx),
    ]


async def _read(stage: str, at: Column[str], here: ColumnElement[bool], tx: Transaction) -> Waiting:
    found = await one(tx, select(func.count().label("number"), func.min(at).label("since")).where(here))
    return Waiting(stage, found.number, found.since) if found else Waiting(stage, 0, None)


async def _read_parked(tx: Transaction) -> list[Waiting]:
    """Count keys, not messages: what follows a halted message waits for the same cause."""
    keys = func.count(func.distinct(parked.c.consumer + parked.c.topic + parked.c.key))
    by_why = select(parked.c.why, keys.label("keys"), func.min(parked.c.since).label("since")).group_by(parked.c.why)
    found = {row.why: Waiting(f"parked-{row.why}", int(row.keys), row.since) for row in await rows(tx, by_why)}
    return [found.get(why, Waiting(f"parked-{why}", 0, None)) for why in PARKED_WHYS]


class Reading(Protocol):
    """A consumer group of this role: a worker, or a reader of verbatim topics."""

    consumer: Consumer | None
    stopped: str | None
    progress: Progress | None

    @property
    def group(self) -> str: ...

    @property
    def topics(self) -> list[str]: ...


async def read_lag(worker: Reading) -> Mapping[tuple[str, int], int] | None:
    """Count what a consumer has before it in each (topic, partition), or None while the bus does not answer."""
    if worker.consumer is None:
        return None
    try:
        return await asyncio.wait_for(worker.consumer.lag(), LAG_S_MAX)
    except (UnavailableError, TimeoutError):
        return None


@dataclass(frozen=True)
class Gauges:
    """Sets a role's gauges. `readings` is the role's own list, which grows while it starts."""

    role: str
    admission: Admission
    readings: Sequence[Reading]
    readiness: Readiness
    components: Sequence[Component] = ()

    async def set(self, waiting: Sequence[Waiting], now: datetime) -> None:
        for stage in waiting:
            WAITING.labels(self.role, stage.stage).set(stage.count)
            WAITING_OLDEST.labels(self.role, stage.stage).set(stage.oldest_s(now))
        OUTBOX_BYTES.labels(self.role).set(self.admission.bytes)
        OUTBOX_FILL.labels(self.role).set(self.admission.fill_percent())
        for worker in self.readings:
            CONSUMER_STOPPED.labels(self.role, worker.group).set(worker.stopped is not None)
            lag = await read_lag(worker)
            CONSUMER_STANDING.labels(self.role, worker.group).set(_standing_s(worker, lag))
            for topic in worker.topics:
                for number in range(TOPICS[topic].partitions):
                    measured = math.nan if lag is None else lag[topic, number]
                    CONSUMER_LAG.labels(self.role, worker.group, topic, str(number)).set(measured)
        for component in self.components:
            for value in await component.measure() if component.measure is not None else ():
                COMPONENT_GAUGES[value.gauge].labels(role=self.role, **value.labels).set(value.value)

    async def set_readiness(self) -> None:
        """Ask every check by itself: that the database is away must not keep the other signs from being measured."""
        for name, reason in (await self.readiness.answers()).items():
            READY.labels(self.role, name).set(reason is None)


def _standing_s(worker: Reading, lag: Mapping[tuple[str, int], int] | None) -> float:
    """Return for how long a consumer has had records before it and done none, NaN while nobody knows the lag."""
    now = time.monotonic()
    if lag is None or worker.progress is None:
        return math.nan
    if not any(lag.values()):
        worker.progress.moved_at = now
    return now - worker.progress.moved_at
