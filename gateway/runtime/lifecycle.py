"""How a role's loops wait: no longer than until the role ends, and longer after each failure."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class Stopping:
    """A role's word to its loops that the round they are in is their last. Said once, by `RoleProcess.close`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def rest(self, seconds: float) -> None:
        """Sleep, but wake up when the role ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await `work`; when the role ends it is cancelled, and None returned. For waiting that takes nothing yet."""
        tasks: tuple[asyncio.Future[T], asyncio.Future[Any]]
        tasks = asyncio.ensure_future(work), asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return tasks[0].result() if tasks[0].done() else None
        finally:
            for task in tasks:
                task.cancel()


@dataclass
class BackOff:
    """Waits that double with each failure, with jitter, so that many who failed at once do not come back at once."""

    first_s: float = 0.5
    most_s: float = 15.0
    failures: int = field(default=0, init=False)

    def failed(self) -> float:
        """Count a failure; return how long to wait after it."""
        wait_s = min(self.most_s, self.first_s * float(1 << min(self.failures, 10)))
        self.failures += 1
        return random.uniform(0.5, 1.0) * wait_s  # noqa: S311 jitter

    def succeeded(self) -> None:
        self.failures = 0
