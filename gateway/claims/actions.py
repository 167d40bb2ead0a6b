"""Use cases of the claims component: each loads the claim, lets the noun move, saves, and announces.

Announcements go out by the outbox in the same commit: what the hospital hears, what the insurer hears, what
settlement is asked, and the audit record that all of them name as their cause.
"""

from dataclasses import dataclass

from gateway.claims import store
from gateway.claims.claim import LIVE, Actor, Claim, allowed_actions
from gateway.claims.payment import PaymentEvent, PaymentState
from gateway.protocol.canonical import sha256_hex
from gateway.protocol.claims import (
    Accepted,
    AcknowledgedManifest,
    ClaimState,
    DisputedManifest,
    PaidKind,
    Rejected,
    ReturnedManifest,
    SubmittedManifest,
)
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.decisions import DecidedManifest
from gateway.protocol.errors import GatewayError, InvalidInputError
from gateway.protocol.exchange import Manifest
from gateway.protocol.records import Record, record
from gateway.protocol.settlements import ObligationAsked, Outcome, VoidAsked, obligation_id
from gateway.protocol.topics import HOSPITAL_NOTICES, HOSPITAL_REQUESTS, INSURER_DELIVERIES, SETTLEMENT_REQUESTS
from gateway.runtime.component import Delivery
from gateway.runtime.database import Database, Transaction
from gateway.runtime.keys import TrustHolder
from gateway.runtime.outbox import Outbox, Post

REPLAYED = "message.replayed"


@dataclass(frozen=True)
class Deps:
    database: Database
    outbox: Outbox
    trust: TrustHolder
    clock: Clock
    third_party_kinds: frozenset[PaidKind]
    """From the rule row `claim.paid_by_third_party_kinds`."""


async def receive(tx: Transaction, deps: Deps, delivery: Delivery, manifest: SubmittedManifest) -> None:
    """Take a new claim in and present it to the insurer: number, message and receipts are taken or it is refused."""
    route = deps.trust.directory.route(manifest.sender, manifest.carrier, manifest.payer, delivery.received_at)
    claim = Claim.receive(manifest, route, deps.third_party_kinds)
    await store.take_in(tx, claim, manifest, delivery.received_at)
    facts = {"asked_minor": claim.asked_minor, "currency": claim.currency}
    made = _record(deps, "claim.received", claim, delivery, facts=facts)
    await deps.outbox.add(
        tx,
        _passed_on(INSURER_DELIVERIES, delivery, manifest, made),
        _tell_hospital(deps, claim, "received", made),
    )


async def acknowledge(tx: Transaction, deps: Deps, delivery: Delivery, manifest: AcknowledgedManifest) -> None:
    claim = await _load(tx, manifest)
    moved = claim.acknowledge(manifest.sender, manifest.based_on)
    await _save(tx, delivery, manifest, claim, moved)
    made = _record(deps, "claim.in_review", moved, delivery)
    await deps.outbox.add(tx, _tell_hospital(deps, moved, "acknowledged", made), _tell_insurer(moved, manifest, made))


async def return_unprocessed(tx: Transaction, deps: Deps, delivery: Delivery, manifest: ReturnedManifest) -> None:
    claim = await _load(tx, manifest)
    moved = claim.return_unprocessed(manifest.sender, manifest.based_on)
    await _save(tx, delivery, manifest, claim, moved)
    if moved.state not in LIVE:
        await store.let_go_of_receipts(tx, moved.claim_id)
    made = _record(deps, "claim.returned", moved, delivery, class_code=manifest.class_code)
    await deps.outbox.add(
        tx,
        _passed_on(HOSPITAL_NOTICES, delivery, manifest, made),
        _tell_hospital(deps, moved, "returned", made),
        _tell_insurer(moved, manifest, made),
    )


async def dispute(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DisputedManifest) -> None:
    """Stop the claim; money that was asked for is asked back before it moves."""
    claim = await _load(tx, manifest)
    moved = claim.dispute(manifest.sender)
    await _save(tx, delivery, manifest, claim, moved)
    made = _record(deps, "claim.disputed", moved, delivery)
    announcements = [_tell_hospital(deps, moved, "disputed", made)]
    if moved.actor(manifest.sender) is Actor.INSURER:
        announcements.append(_tell_insurer(moved, manifest, made))
    await deps.outbox.add(tx, *announcements)
    if moved.obligation_id and moved.payment_state is not PaymentState.VOIDED:
        await _ask_void(tx, deps, moved, delivery)


async def decide(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DecidedManifest) -> None:
    """Take a decision. Money has one trigger: a final decision whose payee is the hospital obliges the rest."""
    claim = await _load(tx, manifest)
    moved = claim.decide(manifest, _hospital_bears(deps, claim))
    name = "claim.decided" if manifest.final else "claim.partly_decided"
    entries = [entry.model_dump(mode="json") for entry in manifest.entries]
    facts = {"benefit_minor": manifest.benefit_minor, "entries": entries}
    made = _record(deps, name, moved, delivery, facts=facts, decision_version=manifest.decision_version)
    announcements: list[Post | Record] = [_passed_on(HOSPITAL_NOTICES, delivery, manifest, made)]
    if manifest.final and moved.payee == "hospital" and manifest.benefit_minor != moved.obligated_minor:
        moved, asked = _oblige(deps, moved, delivery, manifest)
        announcements.append(asked)
    if manifest.final and moved.payee == "insured":
        moved = moved.settle_outside()
        clear = {"claim_id": moved.claim_id, "revision": moved.revision}
        announcements.append(
            record("claim.settled_outside", at=deps.clock.now(), case_id=moved.case_id, clear=clear, cause=made.eid)
        )
    await _save(tx, delivery, manifest, claim, moved)
    announcements += [_tell_hospital(deps, moved, "decided", made), _tell_insurer(moved, manifest, made)]
    await deps.outbox.add(tx, *announcements)


def _hospital_bears(deps: Deps, claim: Claim) -> frozenset[str]:
    """Return the class codes of the contract row of this claim's route."""
    ways = (claim.hospital, claim.reader, claim.payer)
    routes = (route for route in deps.trust.directory.routes if (route.hospital, route.reader, route.payer) == ways)
    return frozenset(code for route in routes for code in route.hospital_bears)


def _oblige(deps: Deps, claim: Claim, delivery: Delivery, manifest: DecidedManifest) -> tuple[Claim, Post]:
    obligation = obligation_id(claim.claim_id, manifest.decision_version)
    amount_minor = manifest.benefit_minor - claim.obligated_minor
    made = record(
        "obligation.asked",
        at=deps.clock.now(),
        case_id=claim.case_id,
        clear={
            "claim_id": claim.claim_id,
            "obligation_id": obligation,
            "decision_version": manifest.decision_version,
        },
        facts={"amount_minor": amount_minor, "currency": claim.currency},
        cause=delivery.stamp.eid,
    )
    asked = ObligationAsked(
        obligation_id=obligation,
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        claim_version=claim.claim_version,
        decision_version=manifest.decision_version,
        payer=claim.payer,
        payee=claim.hospital,
        amount_minor=amount_minor,
        currency=manifest.currency,
        decision=delivery.exchange.manifest or "",
    )
    post = Post(SETTLEMENT_REQUESTS, claim.claim_id, "obligation", made, message=asked)
    return claim.oblige(manifest.benefit_minor, obligation), post


async def _ask_void(tx: Transaction, deps: Deps, claim: Claim, delivery: Delivery) -> None:
    clear = {
        "claim_id": claim.claim_id,
        "obligation_id": claim.obligation_id or "",
        "reason_code": "disputed",
    }
    made = record(
        "obligation.void_asked",
        at=deps.clock.now(),
        case_id=claim.case_id,
        clear=clear,
        cause=delivery.stamp.eid,
    )
    asked = VoidAsked(
        obligation_id=claim.obligation_id or "",
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        reason_code="disputed",
    )
    await deps.outbox.add(tx, Post(SETTLEMENT_REQUESTS, claim.claim_id, "void_asked", made, message=asked))


async def follow_money(tx: Transaction, deps: Deps, delivery: Delivery, outcome: Outcome) -> None:
    """Take what settlement says became of the obligation and tell the hospital."""
    claim = await store.load(tx, outcome.claim_id)
    moved = claim.pay(PaymentEvent(outcome.type))
    await store.save(tx, moved, seen=claim.revision)
    made = record(
        "claim.payment",
        at=deps.clock.now(),
        case_id=claim.case_id,
        clear={
            "claim_id": claim.claim_id,
            "revision": moved.revision,
            "payment_state": str(moved.payment_state),
            "reference": outcome.reference,
        },
        cause=delivery.stamp.eid,
    )
    await deps.outbox.add(tx, _tell_hospital(deps, moved, outcome.type, made, outcome))


async def refuse(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    """Answer a refused message: a signed `rejected` to its author, and a record, in the inbox's transaction.

    A replayed submission is a refused message, not a refused claim: the claim it repeats goes on.
    """
    manifest = delivery.manifest
    if manifest is None:
        raise error  # settlement's own message refused is our fault: HALT
    from_hospital = delivery.fetched.topic == HOSPITAL_REQUESTS
    refused_claim = from_hospital and manifest.type == "submitted" and error.code != REPLAYED
    now = deps.clock.now()
    made = record(
        "claim.refused" if refused_claim else "core.message_refused",
        at=now,
        case_id=manifest.case_id,
        clear=_refusal_fields(manifest, delivery, error, refused_claim=refused_claim),
        cause=delivery.stamp.eid,
    )
    rejected = Rejected(
        case_id=manifest.case_id,
        claim_id=manifest.claim_id,
        in_reply_to=manifest.msg_id,
        to=manifest.sender,
        code=error.code,
        faults=tuple(f"{fault.code} {fault.pointer}".strip() for fault in error.faults),
        state="refused" if refused_claim else None,
        allowed_actions=error.allowed_actions or (),
    )
    topic = HOSPITAL_NOTICES if from_hospital else INSURER_DELIVERIES
    await deps.outbox.add(tx, Post(topic, manifest.case_id, "rejected", made, message=rejected))


def _refusal_fields(
    manifest: Manifest, delivery: Delivery, error: GatewayError, *, refused_claim: bool
) -> dict[str, str | int | None]:
    if refused_claim:
        return _claim_fields(manifest, delivery) | {"code": error.code}
    return {
        "topic": delivery.fetched.topic,
        "code": error.code,
        "type": manifest.type,
        "msg_id": manifest.msg_id,
    }


async def _load(tx: Transaction, manifest: Manifest) -> Claim:
    claim = await store.load(tx, manifest.claim_id)
    other = claim.hospital if claim.actor(manifest.sender) is Actor.INSURER else claim.reader
    if manifest.recipients != (other,):
        raise InvalidInputError("message.recipient-not-on-claim", allowed_actions=claim.actions_of(manifest.sender))
    return claim


async def _save(tx: Transaction, delivery: Delivery, manifest: Manifest, seen: Claim, moved: Claim) -> None:
    await store.save(tx, moved, seen=seen.revision, moved_by=(manifest, delivery.received_at))


def _claim_fields(manifest: Manifest, delivery: Delivery) -> dict[str, str | int | None]:
    return {
        "claim_id": manifest.claim_id,
        "claim_version": manifest.claim_version,
        "msg_id": manifest.msg_id,
        "manifest_sha256": sha256_hex((delivery.exchange.manifest or "").encode()),
    }


def _record(
    deps: Deps,
    name: str,
    claim: Claim,
    delivery: Delivery,
    *,
    facts: dict[str, object] | None = None,
    class_code: str | None = None,
    decision_version: int | None = None,
) -> Record:
    manifest = delivery.manifest
    assert manifest is not None  # noqa: S101 only messages of parties come here
    clear = _claim_fields(manifest, delivery) | {
        "state": str(claim.state),
        "revision": claim.revision,
        "class_code": class_code,
        "decision_version": decision_version,
    }
    return record(name, at=deps.clock.now(), case_id=claim.case_id, clear=clear, facts=facts, cause=delivery.stamp.eid)


def _passed_on(topic: str, delivery: Delivery, manifest: Manifest, made: Record) -> Post:
    """Pass a party's object on as it came: same manifest, dossier and receipt, under our stamp."""
    return Post(
        topic,
        manifest.case_id,
        manifest.type,
        made,
        msg_id=manifest.msg_id,
        manifest=delivery.exchange.manifest,
        dossier=delivery.exchange.dossier,
        receipt=delivery.exchange.receipt,
    )


def _tell_hospital(deps: Deps, claim: Claim, event: str, made: Record, outcome: Outcome | None = None) -> Post:
    message = ClaimState(
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        claim_version=claim.claim_version,
        revision=claim.revision,
        state=str(claim.state),
        payment_state=str(claim.payment_state),
        event=event,
        at=rfc3339(deps.clock.now()),
        allowed_actions=allowed_actions(claim.state, Actor.HOSPITAL),
        reference=outcome.reference if outcome else None,
        amount_minor=outcome.amount_minor if outcome else None,
        currency=outcome.currency if outcome else None,
        reason_code=outcome.reason_code if outcome else None,
    )
    return Post(HOSPITAL_NOTICES, claim.case_id, "claim_state", made, message=message)


def _tell_insurer(claim: Claim, manifest: Manifest, made: Record) -> Post:
    message = Accepted(
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        in_reply_to=manifest.msg_id,
        to=manifest.sender,
        state=str(claim.state),
        revision=claim.revision,
        allowed_actions=allowed_actions(claim.state, Actor.INSURER),
    )
    return Post(INSURER_DELIVERIES, claim.case_id, "accepted", made, message=message)
