"""A hospital's client: hand in bills, keep the signed receipt, see where each claim stands.

Bills are raw: the Shenzhen edge reads, minimises, seals and signs them; a hospital never seals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from gateway.client.releases import Releases
from gateway.client.transport import Answer, PartyClient
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.exchange import Stamp
from gateway.protocol.registry import Directory, SignedRelease
from gateway.protocol.verification import verify_stamp


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of filing: `token` is the edge's signed stamp over the claim, `stamp` what it says, already verified."""

    claim_id: str
    case_id: str
    claim_version: int
    msg_id: str
    state: str
    allowed_actions: tuple[str, ...]
    location: str | None
    replayed: bool
    token: str = field(repr=False)
    stamp: Stamp = field(repr=False)
    normalised: Any = field(default=None, repr=False)
    """What the edge tidied in the bill before it read it, place by place; never a change of money."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order; give `next` back as `after` once they are stored."""

    items: tuple[Mapping[str, Any], ...]
    next: str


class HospitalClient(PartyClient):
    """One system of a hospital, which speaks to the Shenzhen edge."""

    roles = ("sz",)

    @cached_property
    def releases(self) -> Releases:
        """The registry release that this client believes; verified from the profile's trust down."""
        return Releases(self.release, self._profile.trust, self._clock)

    async def release(self) -> SignedRelease:
        """Fetch the signed registry release that the edge has in force; not verified yet."""
        return SignedRelease.decode((await self._at("sz").get_public("/v1/registry/release")).body)

    async def submit(self, bill: bytes, key: str, *, media_type: str = "application/json") -> Receipt:
        """Hand in a bill, in the hospital's format and its media type.

        `key` names the attempt, so that the same bill under the same key gives the same receipt.

        Raises `ApiProblem` with every fault of the bill, `BadSignatureError` if the receipt is not the edge's.
        """
        answer = await self._at("sz").post("/v1/claims", bill, key=key, media_type=media_type)
        return await self.releases.checked(lambda directory: _receipt(answer, directory))

    async def validate(self, bill: bytes, *, media_type: str = "application/json") -> Mapping[str, Any]:
        """Have a bill checked as `submit` would; nothing is stored. Raises `ApiProblem` with every fault."""
        return (await self._at("sz").post("/v1/validate", bill, media_type=media_type)).json()

    async def claim(self, claim_id: str) -> Mapping[str, Any]:
        """Return state, payment state, decision and `allowed_actions` of a claim of this hospital."""
        return (await self._at("sz").get(f"/v1/claims/{quote(claim_id, safe='')}")).json()

    async def withdraw_dispute(self, claim_id: str, key: str, *, revision: int) -> Mapping[str, Any]:
        """Take back the dispute of an insurer's answer; `revision` is the claim's, as last read. Core's word follows.

        Raises `ApiProblem` with `allowed_actions` where the claim has moved on or is not disputed by this hospital.
        """
        return await self._move(claim_id, "dispute-withdrawal", key, revision)

    async def give_up(self, claim_id: str, key: str, *, revision: int) -> Mapping[str, Any]:
        """Give up a claim that the insurer disputes; once core has taken it, its receipts may be claimed anew."""
        return await self._move(claim_id, "give-up", key, revision)

    async def _move(self, claim_id: str, name: str, key: str, revision: int) -> Mapping[str, Any]:
        path = f"/v1/claims/{quote(claim_id, safe='')}/{name}"
        return (await self._at("sz").post(path, b"{}", key=key, if_match=revision)).json()

    async def timeline(self, claim_id: str) -> tuple[Mapping[str, Any], ...]:
        """Return what happened to a claim, oldest first."""
        found = (await self._at("sz").get(f"/v1/claims/{quote(claim_id, safe='')}/timeline")).json()
        return _objects(found, "events")

    async def events(self, after: str | None = None, wait_s: int = 0) -> EventPage:
        """Return this hospital's events after a cursor; the server may hold an empty answer for `wait_s` seconds."""
        query = {"wait": str(wait_s)} | ({} if after is None else {"after": after})
        found = (await self._at("sz").get("/v1/events", query=query, wait_s=wait_s)).json()
        return EventPage(_objects(found, "items"), str(found.get("next", after or "")))


def _receipt(answer: Answer, directory: Directory) -> Receipt:
    """Verify the receipt's signature, and that it is the Shenzhen edge's for this very claim."""
    found = answer.json()
    try:
        token = str(found["receipt"])
        stamp = verify_stamp(token, directory)
        if stamp.role.partition("-")[0] != "sz" or stamp.type != "submitted" or stamp.key != found["case_id"]:
            raise BadSignatureError("receipt.content")
        return Receipt(
            claim_id=found["claim_id"],
            case_id=found["case_id"],
            claim_version=found["claim_version"],
            msg_id=found["msg_id"],
            state=found["state"],
            allowed_actions=tuple(found["allowed_actions"]),
            location=answer.headers.get("location"),
            replayed=answer.replayed,
            token=token,
            stamp=stamp,
            normalised=found.get("normalised"),
        )
    except (KeyError, TypeError):
        raise MalformedInputError("client.answer-malformed") from None


def _objects(found: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...]:
    """Return a list of objects; `MalformedInputError` for anything else."""
    items = found.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise MalformedInputError("client.answer-malformed")
    return tuple(items)
