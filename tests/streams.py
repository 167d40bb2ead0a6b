"""A worker by itself: a component of one settlement topic whose handler notes what it was given, and its messages.

The bus is the embedded one, the database is the test's, stamps are core's own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, Row, Table, Text, select

from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import GatewayError
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.topics import SETTLEMENT_REQUESTS
from gateway.runtime.bus.embedded import EmbeddedBus
from gateway.runtime.bus.port import BusRecord
from gateway.runtime.component import Component, Delivery, Subscription, on
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.delivery.outbox import Admission, Outbox, Sender
from gateway.runtime.delivery.worker import Worker
from gateway.runtime.storage import tables
from gateway.runtime.storage.database import Database, Transaction, rows
from tests.parties import a_role_exchange, key_of, world

METADATA = MetaData()
APPLIED = Table(
    "applied",
    METADATA,
    Column("id", tables.BIG, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
METADATAS = (tables.METADATA, METADATA)

Handle = Callable[[Delivery], Awaitable[None]]
Prepare = Callable[[None, Delivery, VoidAsked], Awaitable[None]]


def a_record(key: str, seq: int, epoch: int | None = None) -> BusRecord:
    """Build the message that core sends as the `seq`-th of a claim's stream, in an epoch after the first if given."""
    message = VoidAsked(obligation_id="obl_synthetic", case_id="case_synthetic", claim_id=key, reason_code="G101")
    stamp = {"role": "core", "topic": SETTLEMENT_REQUESTS, "key": key, "seq": seq, "eid": f"ev_{key}_{seq}"}
    stamp |= {"epoch": epoch} if epoch else {}
    return BusRecord(key, a_role_exchange(message, **stamp).encode())


async def nothing(_: Delivery) -> None:
    """Let every delivery be applied."""


async def _refuse(tx: Transaction, deps: None, delivery: Delivery, error: GatewayError) -> None:
    del tx, deps, delivery
    raise error


def a_component(handle: Handle = nothing, prepare: Prepare | None = None) -> Component:
    """Build a component whose handler first asks `handle`, which may raise, and then notes key and seq."""

    async def on_void_asked(
        tx: Transaction, _deps: None, delivery: Delivery, _message: VoidAsked, _prepared: None = None
    ) -> None:
        await handle(delivery)
        await tx.execute(APPLIED.insert(), [{"key": delivery.stamp.key, "seq": delivery.stamp.seq}])

    taken = on(VoidAsked, on_void_asked, prepare=prepare) if prepare else on(VoidAsked, on_void_asked)
    subscription = Subscription(SETTLEMENT_REQUESTS, (taken,), _refuse)
    return Component("streams", None, METADATA, "", subscriptions=(subscription,))


@dataclass
class Stream:
    """One worker with its bus, and looks into its database."""

    worker: Worker
    bus: EmbeddedBus
    clock: VirtualClock
    _offsets: list[int] = field(default_factory=list)

    async def publish(self, *records: BusRecord) -> None:
        await self.bus.publish(SETTLEMENT_REQUESTS, records)

    async def all(self, table: Table) -> list[Row[Any]]:
        found = await self.worker.database.read(partial(rows, statement=select(table)))
        return list(found)

    async def applied(self) -> list[tuple[str, int]]:
        return [(row.key, row.seq) for row in await self.all(APPLIED)]

    async def parked(self) -> set[tuple[str, int, str]]:
        return {(row.key, row.seq, row.why) for row in await self.all(tables.parked)}

    async def lag(self) -> int:
        return 0 if self.worker.consumer is None else sum((await self.worker.consumer.lag()).values())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the worker for the length of a `with`."""
        task = asyncio.create_task(self.worker.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def a_trust() -> TrustHolder:
    trust = TrustHolder(world().trust)
    trust.install(world().signed, world().directory)
    return trust


async def a_stream(
    database: Database, folder: Path, component: Component | None = None, trust: TrustHolder | None = None
) -> Stream:
    """Build a worker on a database that has `METADATAS`; close its bus at the end."""
    clock, trust = VirtualClock(), trust or a_trust()
    bus = await EmbeddedBus.open(f"sqlite:///{folder / 'bus.db'}", clock)
    vault = Vault(bytes(range(32)))
    outbox = Outbox(Sender("core", "hosted", key_of("core/stamp/1"), vault, trust, clock), Admission(100_000, 1 << 30))
    worker = Worker(component or a_component(), "core", database, bus, outbox, trust, clock)
    return Stream(worker, bus, clock)
