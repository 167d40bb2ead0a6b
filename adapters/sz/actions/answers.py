"""Use cases of what comes back: core's states and rejections, the insurer's answers, and the dispute of a false one.

Answers are opened before the transaction, with the hospital's seal key and the case's secret; the work only stores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.sz import showing, store
from adapters.sz.actions import Deps
from adapters.sz.answers import Opened, TheirAnswer, read_answer, unreadable
from adapters.sz.pins import check_pinned
from adapters.sz.store import ClaimRow, Whose
from gateway.protocol.canonical import compact, read_json_object, sha256_hex
from gateway.protocol.claim_life import REFUSED
from gateway.protocol.clock import rfc3339
from gateway.protocol.differences import difference_of
from gateway.protocol.errors import BadSignatureError, GatewayError, MalformedInputError, NotFoundError
from gateway.protocol.exchange import Manifest
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, key_id, sign
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.opening import open_dossier
from gateway.protocol.records import Record, record
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.component import Delivery
from gateway.runtime.custody.case_secrets import CaseSecret
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Dispute:
    manifest: DisputedManifest
    token: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer opened and sealed again under the case's secret; `dispute` where it is not what was signed."""

    box: bytes
    differences: tuple[str, ...]
    dispute: Dispute | None


async def open_answer(deps: Deps, delivery: Delivery, manifest: TheirAnswer) -> Prepared:
    """Open an answer with the hospital's key and compare it with the manifest; no transaction is open.

    The answer of an author whose key is not pinned waits (`UnavailableError`) until the operator has pinned it.
    """
    claim, secret = await deps.database.read(partial(_load_with_secret, deps=deps, claim_id=manifest.claim_id))
    if manifest.recipients != (claim.hospital,):
        raise NotFoundError("claim.unknown")
    author = deps.trust.directory.holder(key_id(delivery.exchange.manifest or "", Typ.MANIFEST))
    check_pinned(deps.pins, author.party.code, author.public)
    opened = _open(deps, delivery, manifest)
    box = secret.box(compact(opened.content), "content")
    dispute = _dispute(deps, manifest, opened.differences) if opened.differences else None
    return Prepared(box, opened.differences, dispute)


async def _load_with_secret(tx: Transaction, *, deps: Deps, claim_id: str) -> tuple[ClaimRow, CaseSecret]:
    claim = await store.load_addressed(tx, claim_id)
    return claim, await deps.vault.existing(tx, claim.case_id)


def _open(deps: Deps, delivery: Delivery, manifest: TheirAnswer) -> Opened:
    """Open with any seal key of the hospital that is held: an answer may be sealed to the one before a change."""
    prefix = f"{manifest.recipients[0]}/seal/"
    held = deps.keyring.keys
    keys = [held[kid] for kid in sorted(held, reverse=True) if kid.startswith(prefix)]
    try:
        packed = open_dossier(delivery.exchange.dossier, manifest, *keys)
    except (BadSignatureError, MalformedInputError) as error:
        return unreadable(manifest, difference_of(error))
    return read_answer(packed, manifest)


def _dispute(deps: Deps, manifest: TheirAnswer, differences: tuple[str, ...]) -> Dispute:
    """Author the hospital's signed word that content and manifest differ; it names places, never values."""
    hospital = manifest.recipients[0]
    disputed = DisputedManifest(
        msg_id=mint("msg"),
        case_id=manifest.case_id,
        claim_id=manifest.claim_id,
        claim_version=manifest.claim_version,
        in_reply_to=manifest.msg_id,
        sender=hospital,
        recipients=(manifest.sender,),
        sent_at=deps.clock.now(),
        differences=differences,
    )
    payload = compact(disputed.model_dump(mode="json", exclude_none=True))
    return Dispute(disputed, sign(payload, deps.keyring.named(f"{hospital}/sign/"), Typ.MANIFEST))


async def store_answer(
    tx: Transaction, deps: Deps, delivery: Delivery, manifest: TheirAnswer, prepared: Prepared
) -> None:
    """Keep an opened answer, tell the hospital, record it, and send the dispute if there is one."""
    claim = await store.load_for_update(tx, manifest.claim_id)
    await store.save_answer(tx, claim, prepared.box, prepared.differences)
    shown: dict[str, Any] = {"state": claim.state, "payment_state": claim.payment_state}
    if isinstance(manifest, DecidedManifest):
        shown |= {"decision_version": manifest.decision_version, "final": manifest.final}
    else:
        shown |= {"class_code": manifest.class_code}
    await _tell(tx, deps, claim, f"{manifest.type}_opened", shown)
    clear = {
        "claim_id": manifest.claim_id,
        "msg_id": manifest.msg_id,
        "manifest_sha256": sha256_hex((delivery.exchange.manifest or "").encode()),
        "type": manifest.type,
    }
    await deps.outbox.add(tx, _record(deps, "answer.opened", claim, delivery, clear))
    if prepared.dispute is not None:
        await _send_dispute(tx, deps, delivery, claim, prepared.dispute)


async def _send_dispute(tx: Transaction, deps: Deps, delivery: Delivery, claim: ClaimRow, dispute: Dispute) -> None:
    manifest = dispute.manifest
    shown = {
        "state": claim.state,
        "payment_state": claim.payment_state,
        "differences": list(manifest.differences),
    }
    await _tell(tx, deps, claim, "disputed_by_hospital", shown)
    clear = {"claim_id": manifest.claim_id, "msg_id": manifest.msg_id}
    made = _record(deps, "hospital.disputed", claim, delivery, clear)
    post = Post(
        HOSPITAL_REQUESTS,
        manifest.case_id,
        manifest.type,
        made,
        msg_id=manifest.msg_id,
        manifest=dispute.token,
    )
    await deps.outbox.add(tx, post)


async def follow_state(tx: Transaction, deps: Deps, _: Delivery, message: ClaimState) -> None:
    """Take over where core says the claim stands; an older revision of core changes nothing."""
    claim = await store.follow(tx, message)
    if claim is not None:
        await _tell(tx, deps, claim, message.event, showing.state_event(message))


async def take_dispute(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DisputedManifest) -> None:
    """Show the hospital that the insurer says the claim's content is not what was signed, and where."""
    claim = await _of_hospital(tx, manifest)
    await store.save_disputed_places(tx, claim, manifest.differences)
    shown: dict[str, Any] = {"differences": list(manifest.differences), "in_reply_to": manifest.in_reply_to}
    await _tell_opened(tx, deps, delivery, claim, event="disputed_by_insurer", shown=shown)


async def take_withdrawal(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DisputeWithdrawnManifest) -> None:
    """Show the hospital that the insurer has taken its dispute back."""
    claim = await _of_hospital(tx, manifest)
    shown: dict[str, Any] = {"in_reply_to": manifest.in_reply_to}
    await _tell_opened(tx, deps, delivery, claim, event="dispute_withdrawn_by_insurer", shown=shown)


async def _of_hospital(tx: Transaction, manifest: Manifest) -> ClaimRow:
    claim = await store.load_for_update(tx, manifest.claim_id)
    if manifest.recipients != (claim.hospital,):
        raise NotFoundError("claim.unknown")
    return claim


async def _tell_opened(
    tx: Transaction, deps: Deps, delivery: Delivery, claim: ClaimRow, *, event: str, shown: Mapping[str, Any]
) -> None:
    """Tell of a message without content, and record that it has come."""
    await _tell(tx, deps, claim, event, {"state": claim.state, "payment_state": claim.payment_state, **shown})
    clear = {
        "claim_id": claim.claim_id,
        "msg_id": delivery.manifest.msg_id if delivery.manifest else None,
        "manifest_sha256": sha256_hex((delivery.exchange.manifest or "").encode()),
        "type": delivery.stamp.type,
    }
    await deps.outbox.add(tx, _record(deps, "answer.opened", claim, delivery, clear))


async def take_rejection(tx: Transaction, deps: Deps, _: Delivery, message: Rejected) -> None:
    """Show the hospital that core refused a message of its, with the code and every fault."""
    claim = await store.load_for_update(tx, message.claim_id)
    await store.save_rejection(tx, claim, message)
    shown: dict[str, Any] = {
        "state": message.state or claim.state,
        "payment_state": claim.payment_state,
        "code": message.code,
        "faults": list(message.faults),
        "in_reply_to": message.in_reply_to,
    }
    await _tell(tx, deps, claim, "rejected", shown)


async def note_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    """Record what this edge refused of core's; a role's message has no author who could be answered."""
    clear = {
        "topic": delivery.fetched.topic,
        "code": error.code,
        "type": delivery.stamp.type,
        "msg_id": delivery.manifest.msg_id if delivery.manifest else None,
    }
    made = record("sz.message_refused", at=deps.clock.now(), clear=clear, cause=delivery.stamp.eid)
    await deps.outbox.add(tx, made)


def _record(deps: Deps, name: str, claim: ClaimRow, delivery: Delivery, clear: Mapping[str, Any]) -> Record:
    return record(name, at=deps.clock.now(), case_id=claim.case_id, clear=clear, cause=delivery.stamp.eid)


async def _tell(tx: Transaction, deps: Deps, claim: ClaimRow | Whose, event: str, shown: Mapping[str, Any]) -> None:
    """Add to the claim's timeline and to the hospital's feed, which names claims and states and nothing else."""
    at = rfc3339(deps.clock.now())
    await store.add_event(tx, claim.claim_id, event, at, shown)
    item = {
        "type": event,
        "claim_id": claim.claim_id,
        "case_id": claim.case_id,
        "at": at,
        "state": shown["state"],
        "payment_state": shown["payment_state"],
        "href": f"/sz/v1/claims/{claim.claim_id}",
    }
    await deps.feed.append(tx, claim.hospital, item)


async def show_claim(tx: Transaction, deps: Deps, claim_id: str, hospital: str, language: str) -> dict[str, Any]:
    """Show a claim of this hospital, with number and decision opened from their boxes; a refused one says why."""
    claim = await store.load_claim(tx, claim_id, hospital)
    shown = _shown(claim, await deps.vault.existing(tx, claim.case_id))
    refusal = await store.load_refusal(tx, claim_id) if claim.state == REFUSED else None
    return shown if refusal is None else shown | {"refusal": showing.refusal(refusal, language)}


async def show_claims(
    tx: Transaction, deps: Deps, hospital: str, after: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """List claims of this hospital, oldest first, each with its place in the list and without its decision.

    A claim whose content has been erased is listed without its number, and hides no other.
    """
    found = await store.list_claims(tx, hospital, after, limit)
    return [(claim.id, _brief(claim, await _secret_if_kept(tx, deps, claim))) for claim in found]


async def _secret_if_kept(tx: Transaction, deps: Deps, claim: ClaimRow) -> CaseSecret | None:
    try:
        return await deps.vault.existing(tx, claim.case_id)
    except NotFoundError:
        return None


async def show_timeline(tx: Transaction, claim_id: str, hospital: str, language: str) -> list[dict[str, Any]]:
    claim = await store.load_claim(tx, claim_id, hospital)
    return [showing.event(event, language) for event in await store.list_events(tx, claim.claim_id)]


def _brief(claim: ClaimRow, secret: CaseSecret | None) -> dict[str, Any]:
    number = None if secret is None else _summary(claim, secret)["claim_number"]
    return {
        "claim_id": claim.claim_id,
        "case_id": claim.case_id,
        "claim_number": number,
        "claim_version": claim.claim_version,
        "state": claim.state,
        "payment_state": claim.payment_state,
        "revision": claim.revision,
        "asked": showing.amount(claim.asked_minor, claim.currency),
        "total": showing.amount(claim.total_minor, claim.currency),
        "currency": claim.currency,
        "allowed_actions": list(claim.allowed_actions),
        "at": claim.at,
    }


def _summary(claim: ClaimRow, secret: CaseSecret) -> dict[str, Any]:
    return read_json_object(secret.unbox(claim.summary, "content"))


def _shown(claim: ClaimRow, secret: CaseSecret) -> dict[str, Any]:
    serials = _summary(claim, secret)["serials"]
    answer = None if claim.answer is None else read_json_object(secret.unbox(claim.answer, "content"))
    shown = _brief(claim, secret) | showing.decision(answer, serials)
    if claim.dispute is not None:
        places = claim.differences if claim.dispute["by"] == claim.hospital else claim.disputed_places
        shown["dispute"] = dict(claim.dispute) | {"differences": list(places)}
    return shown | ({"differences": list(claim.differences)} if claim.differences else {})
