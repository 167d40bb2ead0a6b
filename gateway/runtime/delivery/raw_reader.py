"""The reader of topics whose values are signed bytes of their own: releases and log entries, taken in batches.

Offsets follow once a component's `take` has returned; what it cannot take now stays on the bus.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from gateway.runtime.bus.port import Bus, Consumer, Fetched
from gateway.runtime.component import Component
from gateway.runtime.custody.keys import NO_RELEASE_YET
from gateway.runtime.delivery.offsets import Progress
from gateway.runtime.lifecycle import BackOff, Stopping

RECORDS_MAX = 500

log = structlog.get_logger("worker")


@dataclass
class VerbatimReader:
    """One consumer group of one component."""

    component: Component
    role: str
    bus: Bus
    stopping: Stopping = field(default_factory=Stopping)
    consumer: Consumer | None = None
    stopped: str | None = None
    """Always None: a reader waits, it never halts."""
    waiting: str | None = None
    """By which error its component cannot take what is before it, or None."""
    progress: Progress | None = None

    async def why_waiting(self) -> str | None:
        """Say for readiness why this reader takes nothing more, or None."""
        return self.waiting

    @property
    def group(self) -> str:
        return f"{self.role}.{self.component.name}.verbatim"

    @property
    def topics(self) -> list[str]:
        return [verbatim.topic for verbatim in self.component.verbatim]

    async def run(self) -> None:
        """Run until the role ends, then finish the round."""
        self.consumer = await self.bus.subscribe(self.group, self.topics)
        progress = self.progress = Progress(self.consumer, self.stopping)
        try:
            while not self.stopping:
                if (fetched := await progress.fetch(RECORDS_MAX)) and await self._take(fetched):
                    progress.done(fetched)
            await progress.commit()
        finally:
            await self.consumer.close()

    async def _take(self, fetched: Sequence[Fetched]) -> bool:
        """Have the component take records until it has; False if the role ends before its store is back."""
        back_off = BackOff()
        while True:
            try:
                for verbatim in self.component.verbatim:
                    if taken := [one for one in fetched if one.topic == verbatim.topic]:
                        await verbatim.take(self.component.deps, taken)
            except Exception as error:  # noqa: BLE001 whatever its store raises; the records stay on the bus
                self.waiting = getattr(error, "code", None) or type(error).__name__
                if getattr(error, "code", "") != NO_RELEASE_YET:
                    log.warning("worker.verbatim-waiting", component=self.component.name, error=type(error).__name__)
            else:
                self.waiting = None
                return True
            if self.stopping:
                return False
            await self.stopping.rest(back_off.failed())
