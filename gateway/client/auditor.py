"""An auditor's client: the log's files and the index of a claim's events. It proves nothing.

Proofs are checked by `python -m audit.verify`, which runs alone and believes no server.
"""

from collections.abc import Mapping
from typing import Any, Self

import httpx2

from gateway.client.profile import Profile
from gateway.client.transport import Retry, Session
from gateway.protocol.clock import Clock


class AuditorClient:
    """Close with `aclose`, or use as an async context manager."""

    def __init__(
        self,
        profile: Profile,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._log = Session(profile, "log", transport=transport, clock=clock, retry=retry)
        self._audit = Session(profile, "audit", transport=transport, clock=clock, retry=retry)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._log.aclose()
        await self._audit.aclose()

    def log_url(self, year: int) -> str:
        """Return the log's prefix, as `audit.verify` and other tlog-tiles readers take it."""
        return f"{self._log.url}/{year}"

    async def vkey(self, year: int) -> str:
        """Return the log's note verifier key as the log itself names it; trust it only if it came another way too."""
        return (await self._log.get_public(f"/{year}/vkey")).body.decode().strip()

    async def checkpoint(self, year: int) -> bytes:
        """Return the newest cosigned checkpoint, a signed note, unverified."""
        return (await self._log.get_public(f"/{year}/checkpoint")).body

    async def events(self, case_id: str) -> Mapping[str, Any]:
        """Return what the audit role indexes of a case: every event with its place in the log."""
        return (await self._audit.get(f"/v1/claims/{case_id}")).json()
