"""The registry release a client believes: fetched by HTTP, verified from the profile's trust down, kept.

A key id that the kept release does not know makes the client fetch again, at most once a minute; a release older than
the kept one changes nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from gateway.protocol.clock import Clock
from gateway.protocol.errors import UnknownKeyError
from gateway.protocol.registry import Directory, SignedRelease, Trust, open_release

T = TypeVar("T")

REFETCH_AFTER = timedelta(minutes=1)


@dataclass
class Releases:
    """`fetch` returns the newest signed release of a role. Owned by one client, on one event loop."""

    fetch: Callable[[], Awaitable[SignedRelease]]
    trust: Trust
    clock: Clock
    _directory: Directory | None = field(default=None, init=False)
    _fetched_at: datetime | None = field(default=None, init=False)

    async def directory(self) -> Directory:
        """Return the kept release, the first time after fetching it."""
        return self._directory or await self._refetch()

    async def checked(self, check: Callable[[Directory], T]) -> T:
        """Run `check` on the kept release; if it meets an unknown key, once more on a newer one, where there is one."""
        try:
            return check(await self.directory())
        except UnknownKeyError:
            if self._fetched_at is not None and self.clock.now() - self._fetched_at < REFETCH_AFTER:
                raise
            return check(await self._refetch())

    async def _refetch(self) -> Directory:
        self._fetched_at = self.clock.now()
        found = open_release(await self.fetch(), self.trust)
        if self._directory is None or found.number > self._directory.number:
            self._directory = found
        return self._directory
