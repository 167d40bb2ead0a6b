"""What core says when a claim has moved: to the hospital, to the insurer, to settlement, and to the log.

Both parties hear of a dispute and of its end in the commit that moves the claim. The insurer is told where a claim
stands whenever something that it did not do itself leaves it with a move, since its answers name the revision.
"""

from collections.abc import Sequence
from datetime import datetime

from gateway.claims.claim import Claim
from gateway.protocol.canonical import sha256_hex
from gateway.protocol.claim_life import Actor
from gateway.protocol.clock import rfc3339
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState, DisputeStanding
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.obligation import ObligationAsked
from gateway.protocol.messages.outcome import Outcome
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.records import Record, record
from gateway.protocol.settlements import obligation_id
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES, SETTLEMENT_REQUESTS
from gateway.runtime.component import Delivery
from gateway.runtime.delivery.outbox import Post

VOID_REASON = "disputed"


def claim_fields(manifest: Manifest, delivery: Delivery) -> dict[str, str | int | None]:
    return {
        "claim_id": manifest.claim_id,
        "claim_version": manifest.claim_version,
        "msg_id": manifest.msg_id,
        "manifest_sha256": sha256_hex((delivery.exchange.manifest or "").encode()),
    }


def claim_record(
    name: str,
    claim: Claim,
    delivery: Delivery,
    at: datetime,
    *,
    facts: dict[str, object] | None = None,
    class_code: str | None = None,
    decision_version: int | None = None,
) -> Record:
    """Build the record of a move that a party's message made."""
    manifest = delivery.manifest
    assert manifest is not None  # noqa: S101 only messages of parties come here
    clear = claim_fields(manifest, delivery) | {
        "state": str(claim.state),
        "revision": claim.revision,
        "class_code": class_code,
        "decision_version": decision_version,
    }
    return record(name, at=at, case_id=claim.case_id, clear=clear, facts=facts, cause=delivery.stamp.eid)


def passed_on(topic: str, delivery: Delivery, cause: Record) -> Post:
    """Pass a party's object on as it came: same manifest, dossier and receipt, under our stamp."""
    manifest = delivery.manifest
    assert manifest is not None  # noqa: S101 as above
    return Post(
        topic,
        manifest.case_id,
        manifest.type,
        cause,
        msg_id=manifest.msg_id,
        manifest=delivery.exchange.manifest,
        dossier=delivery.exchange.dossier,
        receipt=delivery.exchange.receipt,
    )


def told_both(
    claim: Claim,
    event: str,
    cause: Record,
    at: datetime,
    *,
    by: Manifest | None = None,
    reason: str = "",
    receipts: str = "",
) -> Sequence[Post]:
    """Tell both parties where the claim stands; the insurer hears `accepted` if it has moved the claim itself."""
    to_hospital = _state(claim, Actor.HOSPITAL, event, cause, at, reason=reason, receipts=receipts)
    if by is not None and by.sender == claim.reader:
        return [to_hospital, _accepted(claim, by, cause)]
    return [to_hospital, _state(claim, Actor.INSURER, event, cause, at, reason=reason, receipts=receipts)]


def told_of_money(before: Claim, claim: Claim, outcome: Outcome, cause: Record, at: datetime) -> Sequence[Post]:
    """Tell the hospital what became of its money, and the insurer where that leaves it, or took from it, a move."""
    posts = [_state(claim, Actor.HOSPITAL, outcome.type, cause, at, outcome=outcome)]
    if before.allowed(Actor.INSURER) or claim.allowed(Actor.INSURER):
        posts.append(_state(claim, Actor.INSURER, outcome.type, cause, at))
    return posts


def told_hospital(claim: Claim, event: str, cause: Record, at: datetime) -> Post:
    return _state(claim, Actor.HOSPITAL, event, cause, at)


def _state(
    claim: Claim,
    actor: Actor,
    event: str,
    cause: Record,
    at: datetime,
    *,
    outcome: Outcome | None = None,
    reason: str = "",
    receipts: str = "",
) -> Post:
    to_insurer = actor is Actor.INSURER
    message = ClaimState(
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        claim_version=claim.claim_version,
        revision=claim.revision,
        state=str(claim.state),
        payment_state=str(claim.payment_state),
        event=event,
        at=rfc3339(at),
        allowed_actions=claim.allowed(actor),
        reference=outcome.reference if outcome else None,
        amount_minor=outcome.amount_minor if outcome else None,
        currency=outcome.currency if outcome else None,
        reason_code=outcome.reason_code if outcome else None,
        to=claim.reader if to_insurer else None,
        dispute=_standing(claim),
        reason=reason or None,
        receipts=receipts or None,
    )
    topic = INSURER_DELIVERIES if to_insurer else HOSPITAL_NOTICES
    return Post(topic, claim.case_id, "claim_state", cause, message=message)


def _accepted(claim: Claim, manifest: Manifest, cause: Record) -> Post:
    message = Accepted(
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        in_reply_to=manifest.msg_id,
        to=manifest.sender,
        state=str(claim.state),
        revision=claim.revision,
        allowed_actions=claim.allowed(Actor.INSURER),
        dispute=_standing(claim),
    )
    return Post(INSURER_DELIVERIES, claim.case_id, "accepted", cause, message=message)


def _standing(claim: Claim) -> DisputeStanding | None:
    raised = claim.dispute
    if raised is None:
        return None
    against = claim.reader if raised.by == claim.hospital else claim.hospital
    return DisputeStanding(by=raised.by, against=against, msg_id=raised.msg_id, in_reply_to=raised.in_reply_to)


# To settlement


def obligation_asked(claim: Claim, decision: DecidedManifest, delivery: Delivery, at: datetime) -> Post:
    """Ask settlement for what the decision approves and is not obligated yet; less than that is a refund request."""
    asked = ObligationAsked(
        obligation_id=obligation_id(claim.claim_id, decision.decision_version),
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        claim_version=claim.claim_version,
        decision_version=decision.decision_version,
        payer=claim.payer,
        payee=claim.hospital,
        amount_minor=decision.benefit_minor - claim.obligated_minor,
        currency=decision.currency,
        decision=delivery.exchange.manifest or "",
    )
    cause = record(
        "obligation.asked",
        at=at,
        case_id=claim.case_id,
        clear={
            "claim_id": claim.claim_id,
            "obligation_id": asked.obligation_id,
            "decision_version": decision.decision_version,
        },
        facts={"amount_minor": asked.amount_minor, "currency": claim.currency},
        cause=delivery.stamp.eid,
    )
    return Post(SETTLEMENT_REQUESTS, claim.claim_id, "obligation", cause, message=asked)


def void_asked(claim: Claim, delivery: Delivery, at: datetime) -> Post:
    """Ask settlement to stop the claim's obligation before money moves, or to say that it is too late."""
    asked = VoidAsked(
        obligation_id=claim.obligation_id or "",
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        reason_code=VOID_REASON,
    )
    clear = {"claim_id": claim.claim_id, "obligation_id": asked.obligation_id, "reason_code": VOID_REASON}
    cause = record("obligation.void_asked", at=at, case_id=claim.case_id, clear=clear, cause=delivery.stamp.eid)
    return Post(SETTLEMENT_REQUESTS, claim.claim_id, "void_asked", cause, message=asked)
