"""Use cases of the Hong Kong edge: present claims in the reader's inbox, take answers, show what became of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from adapters.hk.edge import store
from gateway.protocol.acceptance import acceptance_faults
from gateway.protocol.canonical import read_json, sha256_hex
from gateway.protocol.claim_life import Actor, first_actions
from gateway.protocol.clock import rfc3339
from gateway.protocol.dossier_checks import dossier_faults
from gateway.protocol.errors import (
    ConflictError,
    Fault,
    ForbiddenError,
    GatewayError,
    InvalidInputError,
    RefuseError,
    StaleError,
)
from gateway.protocol.exchange import Exchange, Manifest, Posted, check_sizes, read_payload
from gateway.protocol.message_spec import Content
from gateway.protocol.messages import SPEC_OF_TYPE, check_message_id, role_message_id, types_on
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.records import record
from gateway.protocol.topics import INSURER_RESPONSES
from gateway.protocol.verification import check_sent_at, verify_manifest
from gateway.runtime.component import Delivery
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.services import RoleDeps
from gateway.runtime.signals import failpoints
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.tables import FIRST_EPOCH
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once

SUSPICIOUS = ("message.", "exchange.", "jws.", "key.")
"""Beginnings of the codes of forged, replayed, re-addressed and untimely objects."""
ROOT = "/hk/v1/"
"""Where this edge's own API is, as every role is mounted; references are relative to the host."""


@dataclass(frozen=True)
class Deps(RoleDeps):
    window_s: int
    """Rule row `exchange.clock_window_s`: how far `sent_at` may be from now."""


async def present(tx: Transaction, deps: Deps, delivery: Delivery, manifest: SubmittedManifest) -> None:
    """Put a claim into its reader's inbox, as delivered."""
    at = rfc3339(deps.clock.now())
    if await _free_id(tx, delivery, party=manifest.recipients[0], msg_id=manifest.msg_id) is None:
        return
    if _may_repeat(delivery) and await store.has_claim(tx, manifest.claim_id):
        raise ConflictError("claim.id-taken")
    await store.save_claim(tx, manifest, first_actions(Actor.INSURER), at)
    await _deliver(tx, deps, delivery, party=manifest.recipients[0], msg_id=manifest.msg_id, claim_id=manifest.claim_id)
    clear = {
        "claim_id": manifest.claim_id,
        "claim_version": manifest.claim_version,
        "msg_id": manifest.msg_id,
        "manifest_sha256": sha256_hex((delivery.exchange.manifest or "").encode()),
    }
    made = record(
        "claim.delivered", at=deps.clock.now(), case_id=manifest.case_id, clear=clear, cause=delivery.stamp.eid
    )
    await deps.outbox.add(tx, made)


async def present_message(tx: Transaction, deps: Deps, delivery: Delivery, manifest: Manifest) -> None:
    """Put what the hospital says of a claim that was delivered before into the reader's inbox, as it came."""
    if await _free_id(tx, delivery, party=manifest.recipients[0], msg_id=manifest.msg_id) is None:
        return
    await _deliver(tx, deps, delivery, party=manifest.recipients[0], msg_id=manifest.msg_id, claim_id=manifest.claim_id)
    await _record_delivered(tx, deps, delivery, claim_id=manifest.claim_id, msg_id=manifest.msg_id)


async def show_state(tx: Transaction, deps: Deps, delivery: Delivery, state: ClaimState) -> None:
    """Follow where core says a claim stands, and tell its reader, who did not move it there."""
    if state.to is None:
        raise InvalidInputError("message.type-unexpected")
    await store.follow(tx, state)
    wanted = role_message_id(state.type, f"{state.claim_id}-{state.revision}")
    msg_id = await _free_id(tx, delivery, party=state.to, msg_id=wanted)
    if msg_id is None:
        return
    await _deliver(tx, deps, delivery, party=state.to, msg_id=msg_id, claim_id=state.claim_id)
    await _record_delivered(tx, deps, delivery, claim_id=state.claim_id, msg_id=msg_id)


async def show_outcome(tx: Transaction, deps: Deps, delivery: Delivery, outcome: Accepted | Rejected) -> None:
    """Show core's answer where the request was promised one, and in the inbox."""
    await store.settle_request(tx, outcome)
    wanted = role_message_id(outcome.type, outcome.in_reply_to)
    msg_id = await _free_id(tx, delivery, party=outcome.to, msg_id=wanted)
    if msg_id is None:
        return
    await _deliver(tx, deps, delivery, party=outcome.to, msg_id=msg_id, claim_id=outcome.claim_id)
    await _record_delivered(tx, deps, delivery, claim_id=outcome.claim_id, msg_id=outcome.in_reply_to)


def _may_repeat(delivery: Delivery) -> bool:
    """Say whether core may have said this before: it does after it was set back to a backup, in an epoch of its own."""
    return delivery.stamp.stream_epoch > FIRST_EPOCH


async def _free_id(tx: Transaction, delivery: Delivery, *, party: str, msg_id: str) -> str | None:
    """Return the id under which to deliver, None where the same words were delivered before.

    Core's other words under an id of its own get another one; a party's id stands for one message for ever, and
    another one under it is refused: `ConflictError`, `message.replayed`.
    """
    delivered = await store.find_message(tx, msg_id, party) if _may_repeat(delivery) else None
    if delivered is None:
        return msg_id
    before = Exchange.decode(delivered)
    if delivery.manifest is not None:
        if before.manifest != delivery.exchange.manifest:
            raise ConflictError("message.replayed")
        return None
    if read_payload(before.stamp).get("message") == read_payload(delivery.exchange.stamp).get("message"):
        return None
    return f"{msg_id}-{delivery.stamp.stream_epoch}"


async def _record_delivered(tx: Transaction, deps: Deps, delivery: Delivery, *, claim_id: str, msg_id: str) -> None:
    clear = {"claim_id": claim_id, "msg_id": msg_id, "type": delivery.stamp.type}
    made = record(
        "outcome.delivered", at=deps.clock.now(), case_id=delivery.case_id, clear=clear, cause=delivery.stamp.eid
    )
    await deps.outbox.add(tx, made)


async def _deliver(tx: Transaction, deps: Deps, delivery: Delivery, *, party: str, msg_id: str, claim_id: str) -> None:
    at = rfc3339(deps.clock.now())
    kind = delivery.stamp.type
    await store.save_message(
        tx,
        msg_id=msg_id,
        party=party,
        kind=kind,
        claim_id=claim_id,
        exchange=delivery.exchange.encode(),
        at=at,
    )
    item = {
        "type": kind,
        "msg_id": msg_id,
        "case_id": delivery.stamp.key,
        "claim_id": claim_id,
        "at": at,
        "href": f"{ROOT}messages/{msg_id}",
    }
    await deps.feed.append(tx, party, item)


async def accept(deps: Deps, party: str, key: str, raw: bytes) -> Stored:
    """Take a party's signed answer: known key first, then signature, time, claim; durable before it returns."""
    scope = Scope(party, "messages", key)
    before = await answered_before(deps.database, scope, raw)
    if before is not None:
        return before
    deps.outbox.admission.check()
    posted = Posted.decode(raw)
    try:
        return await _accept(deps, scope, posted, raw)
    except RefuseError as error:
        await _note_refused_post(deps, posted, error)
        raise


async def _accept(deps: Deps, scope: Scope, posted: Posted, raw: bytes) -> Stored:
    party = scope.tenant
    manifest = _verify(deps, party, posted)

    async def effect(tx: Transaction) -> Answer:
        await _check_claim(tx, party, manifest)
        await store.add_request(tx, manifest, rfc3339(deps.clock.now()))
        [stamped] = await deps.outbox.add(tx, _post(deps, manifest, posted))
        failpoints.reach("api.before_commit")
        location = f"{ROOT}requests/{manifest.msg_id}"
        return Answer(202, {"msg_id": manifest.msg_id, "status": "pending"}, location, stamped)

    async def work(tx: Transaction) -> Stored:
        return await once(tx, scope, raw, effect)

    stored = await deps.database.write(work, key=manifest.case_id)
    failpoints.reach("api.after_commit")
    return stored


async def _note_refused_post(deps: Deps, posted: Posted, error: GatewayError) -> None:
    """Record what no honest sender would post; a move that the claim's state forbids is none of these."""
    if not error.code.startswith(SUSPICIOUS):
        return
    replayed = error.code == "message.replayed"
    clear = {"topic": INSURER_RESPONSES, "code": error.code, "sha256": sha256_hex(posted.manifest.encode())}
    made = record(f"hk.message_{'replayed' if replayed else 'refused'}", at=deps.clock.now(), clear=clear)

    async def work(tx: Transaction) -> None:
        await deps.outbox.add(tx, made)

    await deps.database.write(work)


def _verify(deps: Deps, party: str, posted: Posted) -> Manifest:
    """Check the author's signature with a key valid now, that the author is the caller, type, content, time, size."""
    now = deps.clock.now()
    manifest = verify_manifest(posted.manifest, deps.trust.directory, now, accepting=True)
    if manifest.sender != party:
        raise ForbiddenError("message.sender-is-not-caller")
    if manifest.type not in types_on(INSURER_RESPONSES):
        raise InvalidInputError("message.type-unexpected")
    check_message_id(manifest.msg_id)
    _check_content(deps, manifest, posted, now)
    check_sent_at(manifest, now, deps.window_s)
    check_sizes((posted.manifest, posted.dossier))
    return manifest


def _check_content(deps: Deps, manifest: Manifest, posted: Posted, now: datetime) -> None:
    """Check every clear field by its table, and all of a dossier that can be seen without a key; name all faults."""
    directory = deps.trust.directory
    kind = directory.party(manifest.sender).kind
    faults = acceptance_faults(manifest, kind=kind, parties=directory.parties)
    spec = SPEC_OF_TYPE[manifest.type]
    misplaced = []
    if (manifest.content_sha256 is not None) != spec.has_content_hash:
        misplaced.append(
            Fault(
                "message.dossier-expected-or-not" if manifest.content_sha256 else "message.content-missing",
                "/content_sha256",
            )
        )
    if (posted.dossier is not None) != spec.has_dossier:
        misplaced.append(Fault("message.dossier-expected-or-not", "/dossier"))
    sealed_to = (manifest.recipients[0], manifest.sender)
    dossier = posted.dossier if spec.has_dossier else None
    badly_sealed = [] if dossier is None else dossier_faults(dossier, directory, sealed_to, now)
    if any(fault.code == "message.dossier-expected-or-not" for fault in misplaced):
        raise InvalidInputError("message.dossier-expected-or-not", faults=[*misplaced, *faults, *badly_sealed])
    if faults := [*misplaced, *faults]:
        raise InvalidInputError("message.invalid", faults=[*faults, *badly_sealed])
    if badly_sealed:
        raise InvalidInputError("dossier.refused", faults=badly_sealed)


async def _check_claim(tx: Transaction, party: str, manifest: Manifest) -> None:
    """Answer what this edge's own projection already forbids; core decides about the rest."""
    claim = await store.load_claim(tx, manifest.claim_id, party)
    actions = read_json(claim.allowed_actions.encode())
    if manifest.recipients != (claim.hospital,) or manifest.case_id != claim.case_id:
        raise InvalidInputError("message.recipient-is-not-the-hospital", allowed_actions=actions)
    if faults := _not_of_claim(claim, manifest):
        raise InvalidInputError("message.not-of-claim", faults=faults, allowed_actions=actions)
    if await store.has_message(tx, manifest.claim_id, manifest.msg_id):
        raise ConflictError("message.id-taken", allowed_actions=actions)
    if not SPEC_OF_TYPE[manifest.type].moved_by(actions):
        raise ConflictError("claim.illegal-move", allowed_actions=actions)
    if manifest.based_on is not None and manifest.based_on < claim.revision:
        raise StaleError("claim.stale", allowed_actions=actions)


def _not_of_claim(claim: Row[Any], manifest: Manifest) -> list[Fault]:
    """Resolve what the answer names of the claim: version, the message it answers, and the content it repeats."""
    faults = []
    about = claim.msg_id
    if manifest.type == "dispute_withdrawn":
        about = None if claim.dispute is None else read_json(claim.dispute.encode())["msg_id"]
    if manifest.claim_version != claim.claim_version:
        faults.append(Fault("message.version-of-other", "/claim_version"))
    if about is not None and manifest.in_reply_to != about:
        faults.append(Fault("message.reply-to-other", "/in_reply_to"))
    repeated = claim.content_sha256 if SPEC_OF_TYPE[manifest.type].content is Content.REPEATED else None
    if repeated is not None and manifest.content_sha256 != repeated:
        faults.append(Fault("message.content-differs", "/content_sha256"))
    return faults


def _post(deps: Deps, manifest: Manifest, posted: Posted) -> Post:
    clear = {
        "claim_id": manifest.claim_id,
        "claim_version": manifest.claim_version,
        "msg_id": manifest.msg_id,
        "manifest_sha256": sha256_hex(posted.manifest.encode()),
        "type": manifest.type,
    }
    made = record("answer.received", at=deps.clock.now(), case_id=manifest.case_id, clear=clear)
    return Post(
        INSURER_RESPONSES,
        manifest.case_id,
        manifest.type,
        made,
        msg_id=manifest.msg_id,
        manifest=posted.manifest,
        dossier=posted.dossier,
    )


async def note_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    """Record a delivery from core that this edge refused; core's own records tell the author's side."""
    clear = {"topic": delivery.fetched.topic, "code": error.code, "type": delivery.stamp.type}
    made = record("hk.message_refused", at=deps.clock.now(), clear=clear, cause=delivery.stamp.eid)
    await deps.outbox.add(tx, made)
