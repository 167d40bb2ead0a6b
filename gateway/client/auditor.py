"""An auditor's client: the log's files and the index of a claim's events. It proves nothing.

Proofs are checked by `python -m audit.verify`, which runs alone and believes no server.
"""

from collections.abc import Mapping
from typing import Any

from gateway.client.transport import PartyClient


class AuditorClient(PartyClient):
    """Reads the log as anybody may, and the audit role's index with a token."""

    roles = ("log", "audit")

    def log_url(self, year: int) -> str:
        """Return the log's prefix, as `audit.verify` and other tlog-tiles readers take it."""
        return f"{self._at('log').url}/{year}"

    async def vkey(self, year: int) -> str:
        """Return the log's note verifier key as the log itself names it; trust it only if it came another way too."""
        return (await self._at("log").get_public(f"/{year}/vkey")).body.decode().strip()

    async def checkpoint(self, year: int) -> bytes:
        """Return the newest cosigned checkpoint, a signed note, unverified."""
        return (await self._at("log").get_public(f"/{year}/checkpoint")).body

    async def events(self, case_id: str) -> Mapping[str, Any]:
        """Return what the audit role indexes of a case: every event with its place in the log."""
        return (await self._at("audit").get(f"/v1/claims/{case_id}")).json()
