"""The relay: signs what the outbox holds and publishes it, in order per key, until the bus has it.

One relay a role. A row is marked published only after the bus acknowledged it; if we die between, it is published
again and the inbox drops the second one. Published rows are kept: a lost bus is refilled from them.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any

import structlog
from sqlalchemy import Row, and_, select, update

from gateway.protocol.clock import rfc3339
from gateway.protocol.exchange import Exchange
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.runtime.bus.headers import routing_headers
from gateway.runtime.bus.port import Bus, BusRecord, RefusedRecordError
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.delivery.relay_backoff import Held
from gateway.runtime.signals import failpoints
from gateway.runtime.signals.observability import RELAY_PUBLISHED
from gateway.runtime.storage.database import Database, OneStatement
from gateway.runtime.storage.tables import outbox as outbox_table

BATCH_MAX = 500
IDLE_S = 0.5
GATHER_S = 0.005
"""A short pause before each batch: messages come in bursts."""
BACK_OFF_S_MAX = 5.0
"""A bus that is down answers at once that it backs off itself; here it only matters how soon we hear it is back."""

log = structlog.get_logger("relay")


def signed_exchange(row: Row[Any], key: PrivateKey) -> Exchange:
    """Sign the stored stamp and put the exchange object together; the first stamp is also the receipt."""
    stamp = sign(row.stamp, key, Typ.STAMP)
    receipt = row.receipt or (stamp if row.manifest is not None else None)
    return Exchange(stamp=stamp, manifest=row.manifest, dossier=row.dossier, receipt=receipt)


@dataclass
class Relay:
    database: Database
    bus: Bus
    keyring: Keyring
    outbox: Outbox
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    held: Held = field(init=False)

    def __post_init__(self) -> None:
        self.held = Held(self.outbox.sender.role, "messages", self.outbox.sender.clock)
        self.outbox.wake = self.wake.set

    def stop(self) -> None:
        """Have `run` publish what is committed by now, if the bus answers, and end."""
        self.stopping = True
        self.wake.set()

    async def run(self) -> None:
        """Run until stopped; any failure of bus or database is waited out, never fatal."""
        wait_s = IDLE_S
        while True:
            last = self.stopping
            try:
                moved = await self.step()
                wait_s = IDLE_S
            except Exception as error:  # noqa: BLE001 the relay outlives every dependency
                log.warning("relay.failed", error=type(error).__name__)
                moved, wait_s = 0, min(BACK_OFF_S_MAX, wait_s * 2)
            if last and moved < BATCH_MAX:
                return
            if moved < BATCH_MAX:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self.wake.wait()
                await asyncio.sleep(GATHER_S)
            self.wake.clear()

    async def step(self) -> int:
        """Publish one batch; returns how many rows were marked. Raises what failed once the rest is marked."""
        self.held.let_go()
        if self.outbox.admission.behind is not None:
            return 0
        here = and_(outbox_table.c.published_at.is_(None), self.held.others(outbox_table.c.topic, outbox_table.c.key))
        unpublished = select(outbox_table).where(here).order_by(outbox_table.c.id).limit(BATCH_MAX)
        found = await self.database.fetch(unpublished)
        failpoints.reach("relay.after_select")
        by_topic = groupby(sorted(found, key=lambda row: (row.topic, row.id)), key=lambda row: row.topic)
        publishing = [self._publish(topic, list(group)) for topic, group in by_topic]
        results = await asyncio.gather(*publishing, return_exceptions=True)  # no topic waits for another
        done = [row for result in results if not isinstance(result, BaseException) for row in result]
        if done:
            failpoints.reach("relay.after_send")
            await self._mark(done)
            failpoints.reach("relay.after_ack")
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(done)

    async def _publish(self, topic: str, waiting: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        """Publish rows of one topic in order; return those that the bus has. A key it refuses for good is held back."""
        try:
            acknowledged = await self.bus.publish(topic, [self._record(row) for row in waiting])
        except RefusedRecordError as refused:
            acknowledged = refused.durable
            self.held.add(topic, waiting[acknowledged].key, refused)
        RELAY_PUBLISHED.labels(self.outbox.sender.role, topic).inc(acknowledged)
        return waiting[:acknowledged]

    def _record(self, row: Row[Any]) -> BusRecord:
        exchange = signed_exchange(row, self.keyring.keys[row.kid])
        headers = routing_headers(
            row.msg_id, row.type, source=self.outbox.sender.role, at=row.created_at, trace=row.trace
        )
        return BusRecord(row.key, exchange.encode(), headers)

    async def _mark(self, done: Sequence[Row[Any]]) -> None:
        statement = update(outbox_table).where(outbox_table.c.id.in_([row.id for row in done]))
        marking = statement.values(published_at=rfc3339(self.outbox.sender.clock.now()))
        counted = partial(self.outbox.admission.count, -len(done), -sum(row.bytes for row in done))
        await self.database.write(OneStatement(marking, after=counted))

    async def prune(self, kept: timedelta) -> None:
        """Drop rows that were published longer ago than `kept`."""
        before = rfc3339(self.outbox.sender.clock.now() - kept)
        await self.database.write(OneStatement(outbox_table.delete().where(outbox_table.c.published_at < before)))
