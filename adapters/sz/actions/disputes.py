"""Use cases of a claim that has stopped: the hospital withdraws its dispute, or gives up a claim that is disputed.

The message is signed outside any transaction; one work then looks at the claim again and puts message and record into
the outbox. If we die before its commit, nothing was asked; after it, the relay sends what is there. Until core has
spoken the claim offers no move, so that nobody asks twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.sz import store
from adapters.sz.actions import Deps
from adapters.sz.store import ClaimRow
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.claim_life import Event
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import IllegalTransitionError, StaleError
from gateway.protocol.exchange import Manifest, Message
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, sign
from gateway.protocol.messages import parse
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.records import record
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.signals import failpoints
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once


@dataclass(frozen=True, slots=True)
class Asked:
    """Which hospital asks for a move of which claim, on which revision (its ETag), under which idempotency key."""

    hospital: str
    claim_id: str
    based_on: int
    key: str


@dataclass(frozen=True, slots=True)
class Move:
    """One way out of a dispute: its action, its message, its record, and its event in the timeline."""

    action: Event
    manifest: Callable[..., Manifest]
    record: str
    event: str


WITHDRAWAL = Move(
    Event.WITHDRAW_DISPUTE, DisputeWithdrawnManifest, "hospital.withdrew_dispute", "dispute_withdrawal_asked"
)
GIVING_UP = Move(Event.GIVE_UP, GivenUpManifest, "hospital.gave_up", "giving_up_asked")


async def ask(deps: Deps, asked: Asked, move: Move, raw: bytes) -> Stored:
    """Send the hospital's word: 202 and a receipt once it is durable; core's word comes as the claim's next event.

    The body says nothing: `{}`. Raises `IllegalTransitionError` or `StaleError` where this edge knows better already.
    """
    scope = Scope(asked.hospital, f"{move.action}/{asked.claim_id}", asked.key, deps.clock)
    before = await answered_before(deps.database, scope, raw)
    if before is not None:
        return before
    deps.outbox.admission.check()
    deps.site(asked.hospital)
    parse(Message, read_json_object(raw), accepting=True)
    claim = await deps.database.read(partial(store.load_claim, claim_id=asked.claim_id, hospital=asked.hospital))
    manifest = _manifest(deps, claim, move, asked)
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    token = sign(payload, deps.keyring.named(f"{asked.hospital}/sign/"), Typ.MANIFEST)
    post = _post(manifest, token, move)

    async def effect(tx: Transaction) -> Answer:
        await _keep(tx, deps, asked, move, manifest)
        [stamped] = await deps.outbox.add(tx, post)
        failpoints.reach("api.before_commit")
        body = {"claim_id": claim.claim_id, "msg_id": manifest.msg_id, "status": "pending", "allowed_actions": []}
        return Answer(202, body, f"/sz/v1/claims/{claim.claim_id}", stamped)

    stored = await deps.database.write(partial(once, scope=scope, raw=raw, effect=effect), key=claim.case_id)
    failpoints.reach("api.after_commit")
    return stored


def _check(claim: ClaimRow, move: Move, based_on: int) -> dict[str, Any]:
    """Return the dispute that stands, if the claim is as the hospital saw it and core would allow the move."""
    if based_on != claim.revision:
        raise StaleError("claim.stale", allowed_actions=claim.allowed_actions)
    if move.action not in claim.allowed_actions or claim.dispute is None:
        raise IllegalTransitionError("claim.illegal-move", allowed_actions=claim.allowed_actions)
    return dict(claim.dispute)


def _manifest(deps: Deps, claim: ClaimRow, move: Move, asked: Asked) -> Manifest:
    raised = _check(claim, move, asked.based_on)
    insurer = raised["against"] if raised["by"] == claim.hospital else raised["by"]
    return move.manifest(
        msg_id=mint("msg"),
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        claim_version=claim.claim_version,
        in_reply_to=raised["msg_id"],
        sender=claim.hospital,
        recipients=(insurer,),
        sent_at=deps.clock.now(),
    )


def _post(manifest: Manifest, token: str, move: Move) -> Post:
    clear = {"claim_id": manifest.claim_id, "msg_id": manifest.msg_id}
    cause = record(move.record, at=manifest.sent_at, case_id=manifest.case_id, clear=clear)
    return Post(HOSPITAL_REQUESTS, manifest.case_id, manifest.type, cause, msg_id=manifest.msg_id, manifest=token)


async def _keep(tx: Transaction, deps: Deps, asked: Asked, move: Move, manifest: Manifest) -> None:
    """Look at the claim again under its lock, and note in its row and timeline what was asked."""
    claim = await store.load_for_update(tx, asked.claim_id)
    _check(claim, move, asked.based_on)
    await store.offer_nothing(tx, claim)
    shown = {"state": claim.state, "payment_state": claim.payment_state, "msg_id": manifest.msg_id}
    await store.add_event(tx, claim.claim_id, move.event, rfc3339(deps.clock.now()), shown)
