"""How far a consumer has come: offsets are committed together, since each commit costs a round trip.

What is committed late is delivered again after a crash, and falls to the inbox. Nothing is committed early: only
records that the caller has called done.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.runtime.bus.port import Consumer, Fetched
from gateway.runtime.lifecycle import Stopping

COMMIT_EVERY_S = 0.2
FETCH_S = 1.0


@dataclass
class Progress:
    """One consumer's place on the bus. Owner: the loop that fetches."""

    consumer: Consumer
    stopping: Stopping
    _done: dict[tuple[str, int], int] = field(default_factory=dict)
    moved_at: float = field(default_factory=time.monotonic)
    """When records were last done; a consumer that has some before it and does none stands still."""
    _commit_at: float = 0.0

    async def fetch(self, records_max: int) -> Sequence[Fetched]:
        """Return what comes next, after committing what is done if that is due, at once where nothing comes."""
        wait_s = COMMIT_EVERY_S if self._done else FETCH_S
        fetched = await self.stopping.unless(self.consumer.fetch(records_max, wait_s)) or ()
        if not fetched or asyncio.get_running_loop().time() >= self._commit_at:
            await self.commit()
        return fetched

    def done(self, fetched: Sequence[Fetched]) -> None:
        """Remember records whose effects are durable."""
        self.moved_at = time.monotonic()
        self._done |= {(one.topic, one.partition): one.offset + 1 for one in fetched}

    async def commit(self) -> None:
        done, self._done = self._done, {}
        self._commit_at = asyncio.get_running_loop().time() + COMMIT_EVERY_S
        if done:
            await self.consumer.commit(done)
