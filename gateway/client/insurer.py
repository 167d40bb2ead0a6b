"""An insurer's client: pull the inbox, open claims, answer, see what became of the answer.

Nothing that the Hong Kong edge says is believed: stamps, receipts and the hospital's signature are verified against
the registry release, and that from the profile's trust down. Answers are signed here and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from gateway.client import authoring
from gateway.client.authoring import (
    Author,
    Authored,
    Decision,
    DecisionEntry,
    Texts,
    hospital_bears,
)
from gateway.client.opened import HospitalSaid, OpenedClaim, open_submitted, read_outcome, read_said, read_state
from gateway.client.releases import Releases
from gateway.client.transport import PartyClient
from gateway.protocol.canonical import compact
from gateway.protocol.claim_life import FIRST_REVISION
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.exchange import Exchange, Posted, Stamp, text_hash
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.registry import Directory, SignedRelease
from gateway.protocol.verification import verify_stamp


@dataclass(frozen=True, slots=True)
class InboxItem:
    """Something arrived: `type` is submitted, accepted or rejected; fetch it by `msg_id`."""

    type: str
    msg_id: str
    case_id: str
    claim_id: str
    at: str


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Items in order; keep `next` with what they changed, and ask after it."""

    items: tuple[InboxItem, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The edge has taken an answer: `receipt` is its signed stamp, verified. Core's word follows."""

    msg_id: str
    location: str | None
    replayed: bool
    receipt: str = field(repr=False)
    stamp: Stamp = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """`status` is pending, accepted or rejected; `revision` is the claim's after an accepted answer."""

    status: str
    code: str | None
    state: str | None
    revision: int | None
    allowed_actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a claim stands as far as the edge has heard."""

    claim_id: str
    state: str
    revision: int
    allowed_actions: tuple[str, ...]
    dispute: Mapping[str, Any] | None = None
    """While the claim is disputed: `by` and `against` (party codes), `msg_id` of the dispute, `in_reply_to`."""


class InsurerClient(PartyClient):
    """An insurer or its administrator, which speaks to the Hong Kong edge."""

    roles = ("hk",)

    @cached_property
    def releases(self) -> Releases:
        """The registry release that this client believes; verified from the profile's trust down."""
        return Releases(self.release, self._profile.trust, self._clock)

    async def release(self) -> SignedRelease:
        """Fetch the signed registry release that the edge has in force; not verified yet."""
        return SignedRelease.decode((await self._at("hk").get_public("/v1/registry/release")).body)

    # Inbox

    async def inbox(self, after: str | None = None, *, wait_s: int = 0, limit: int = 50) -> InboxPage:
        """Return what came after a cursor (None: after the last acknowledged), at least once, in order per claim."""
        query = {"limit": str(limit), "wait": str(wait_s)} | ({} if after is None else {"after": after})
        found = (await self._at("hk").get("/v1/inbox", query=query, wait_s=wait_s)).json()
        items = found.get("items")
        if not isinstance(items, list) or not isinstance(found.get("next"), str):
            raise MalformedInputError("client.answer-malformed")
        return InboxPage(tuple(_item(one) for one in items), found["next"])

    async def acknowledge_inbox(self, cursor: str) -> None:
        """Tell the edge that everything up to a cursor is kept; repeating is harmless."""
        await self._at("hk").post("/v1/inbox/ack", compact({"after": cursor}))

    async def exchange(self, msg_id: str) -> Exchange:
        """Fetch an exchange object as delivered; nothing in it is verified yet."""
        return Exchange.decode((await self._at("hk").get(f"/v1/messages/{quote(msg_id, safe='')}")).body)

    async def open_claim(self, msg_id: str) -> OpenedClaim:
        """Fetch, verify, open and compare a claim.

        Raises `BadSignatureError` or `HeldError` for what is not to be believed, `UnknownKeyError` until the registry
        release that names a new key has arrived; what is wrong inside the dossier is in `differences`.
        """
        exchange, keys = await self.exchange(msg_id), [self._profile.sealing()]

        def check(directory: Directory) -> OpenedClaim:
            return open_submitted(exchange, directory, keys, party=self._profile.party, now=self._clock.now())

        opened = await self.releases.checked(check)
        if opened.msg_id != msg_id:
            raise BadSignatureError("exchange.other-message")
        return opened

    async def outcome(self, msg_id: str) -> Accepted | Rejected:
        """Fetch and verify core's word on an answer; `msg_id` is the inbox item's."""
        exchange = await self.exchange(msg_id)
        return await self.releases.checked(
            lambda directory: read_outcome(exchange, directory, party=self._profile.party, now=self._clock.now())
        )

    async def state(self, msg_id: str) -> ClaimState:
        """Fetch and verify where core says a claim stands that we did not move there: an item `claim_state`."""
        exchange = await self.exchange(msg_id)
        return await self.releases.checked(
            lambda directory: read_state(exchange, directory, party=self._profile.party, now=self._clock.now())
        )

    async def said(self, msg_id: str) -> HospitalSaid:
        """Fetch and verify what the hospital says of its claim: it disputes an answer, withdraws that, or gives up."""
        exchange = await self.exchange(msg_id)
        return await self.releases.checked(
            lambda directory: read_said(exchange, directory, party=self._profile.party, now=self._clock.now())
        )

    # Answers

    async def acknowledge(self, opened: OpenedClaim, *, based_on: int = FIRST_REVISION) -> Sent:
        """Take a claim into review; a claim whose content differs is disputed instead, see `dispute`."""
        return await self._send(
            authoring.acknowledge(await self.author(), opened.manifest, based_on=based_on, at=self._clock.now())
        )

    async def dispute(self, opened: OpenedClaim, differences: Sequence[str] = ()) -> Sent:
        """Say that content and manifest differ; it stops the claim and its money.

        By default the differences are those found on opening; your own are pointers into the manifest too. None at all
        is `InvalidInputError`: a dispute says where to look.
        """
        named = differences or opened.differences
        return await self._send(authoring.dispute(await self.author(), opened.manifest, named, at=self._clock.now()))

    async def withdraw_dispute(self, opened: OpenedClaim, dispute_msg_id: str) -> Sent:
        """Take back our own dispute, by the message id that `dispute` returned; the claim stands as before."""
        return await self._send(
            authoring.withdraw_dispute(await self.author(), opened.manifest, dispute_msg_id, at=self._clock.now())
        )

    async def return_claim(
        self, opened: OpenedClaim, *, class_code: str, texts: Texts, based_on: int = FIRST_REVISION
    ) -> Sent:
        """Say that the claim cannot be processed, with a class code in clear and sealed texts by language."""
        now = self._clock.now()
        directory = await self.releases.directory()
        return await self._send(
            authoring.return_claim(
                await self.author(),
                opened.manifest,
                directory.seal_key(opened.manifest.sender, now),
                based_on=based_on,
                class_code=class_code,
                texts=texts,
                at=now,
            )
        )

    async def decide(
        self,
        opened: OpenedClaim,
        entries: Sequence[DecisionEntry],
        *,
        final: bool,
        based_on: int,
        decision_version: int = 1,
        texts: Texts | None = None,
    ) -> Sent:
        """Decide; `InvalidInputError` names every entry that does not balance before anything is signed or sent."""
        now = self._clock.now()
        directory = await self.releases.directory()
        decision = Decision(
            entries=tuple(entries),
            final=final,
            based_on=based_on,
            decision_version=decision_version,
            texts=texts or {},
            hospital_bears=hospital_bears(directory, opened.manifest, opened.received_at),
        )
        hospital = directory.seal_key(opened.manifest.sender, now)
        return await self._send(authoring.decide(await self.author(), opened.manifest, hospital, decision, at=now))

    async def author(self) -> Author:
        """Return who signs, with the newest key of our own under which the archive copy is sealed."""
        directory = await self.releases.directory()
        archive = directory.seal_key(self._profile.party, self._clock.now())
        return Author(self._profile.party, self._profile.signing(), archive)

    async def _send(self, authored: Authored) -> Sent:
        return await self.send(authored.posted, authored.msg_id)

    async def send(self, posted: Posted, msg_id: str) -> Sent:
        """Post signed bytes; `msg_id` is the idempotency key, so that they may be posted again after a crash."""
        answer = await self._at("hk").post("/v1/messages", posted.encode(), key=msg_id)
        receipt = answer.json().get("receipt")
        if not isinstance(receipt, str):
            raise MalformedInputError("client.answer-malformed")
        stamp = await self.releases.checked(lambda directory: _verified_receipt(receipt, posted, directory))
        return Sent(msg_id, answer.headers.get("location"), answer.replayed, receipt, stamp)

    async def request(self, msg_id: str) -> RequestStatus:
        """Return what core has said of an answer so far."""
        found = (await self._at("hk").get(f"/v1/requests/{quote(msg_id, safe='')}")).json()
        try:
            return RequestStatus(
                status=found["status"],
                code=found.get("code"),
                state=found.get("state"),
                revision=found.get("revision"),
                allowed_actions=tuple(found.get("allowed_actions", ())),
            )
        except (KeyError, TypeError):
            raise MalformedInputError("client.answer-malformed") from None

    async def claim(self, claim_id: str) -> Standing:
        """Return state, revision and allowed actions of a claim of ours, in clear."""
        found = (await self._at("hk").get(f"/v1/claims/{quote(claim_id, safe='')}")).json()
        try:
            return Standing(
                claim_id=found["claim_id"],
                state=found["state"],
                revision=found["revision"],
                allowed_actions=tuple(found["allowed_actions"]),
                dispute=found.get("dispute"),
            )
        except (KeyError, TypeError):
            raise MalformedInputError("client.answer-malformed") from None


def _verified_receipt(receipt: str, posted: Posted, directory: Directory) -> Stamp:
    """Verify that the Hong Kong edge has stamped exactly what was posted."""
    stamp = verify_stamp(receipt, directory)
    ours = (text_hash(posted.manifest), text_hash(posted.dossier))
    if stamp.role.partition("-")[0] != "hk" or (stamp.manifest_sha256, stamp.dossier_sha256) != ours:
        raise BadSignatureError("receipt.content")
    return stamp


def _item(found: Any) -> InboxItem:
    try:
        return InboxItem(
            type=str(found["type"]),
            msg_id=str(found["msg_id"]),
            case_id=str(found["case_id"]),
            claim_id=str(found["claim_id"]),
            at=str(found["at"]),
        )
    except (KeyError, TypeError):
        raise MalformedInputError("client.answer-malformed") from None
