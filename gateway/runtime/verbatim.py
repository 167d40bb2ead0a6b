"""The reader of topics whose values are signed bytes of their own: releases and log entries, taken in batches.

Offsets follow once a component's `take` has returned; what it cannot take now stays on the bus.
"""

import asyncio
from dataclasses import dataclass

import structlog

from gateway.runtime.bus import Bus, Consumer
from gateway.runtime.component import Component

RECORDS_MAX = 500
FETCH_S = 1.0

log = structlog.get_logger("worker")


@dataclass
class VerbatimReader:
    """One consumer group of one component."""

    component: Component
    role: str
    bus: Bus
    consumer: Consumer | None = None
    stopped: str | None = None
    """Always None: a reader waits, it never halts."""

    @property
    def group(self) -> str:
        return f"{self.role}.{self.component.name}.verbatim"

    @property
    def topics(self) -> list[str]:
        return [verbatim.topic for verbatim in self.component.verbatim]

    async def run(self) -> None:
        """Run until cancelled."""
        self.consumer = await self.bus.subscribe(self.group, self.topics)
        try:
            while True:
                await self._round(self.consumer)
        finally:
            await self.consumer.close()

    async def _round(self, consumer: Consumer) -> None:
        fetched = await consumer.fetch(RECORDS_MAX, FETCH_S)
        while fetched:
            try:
                for verbatim in self.component.verbatim:
                    if taken := [one for one in fetched if one.topic == verbatim.topic]:
                        await verbatim.take(self.component.deps, taken)
                await consumer.commit({(one.topic, one.partition): one.offset + 1 for one in fetched})
                break
            except Exception as error:  # noqa: BLE001 a failing store is waited out; the records stay on the bus
                log.warning("worker.verbatim-waiting", component=self.component.name, error=type(error).__name__)
                await asyncio.sleep(FETCH_S)
