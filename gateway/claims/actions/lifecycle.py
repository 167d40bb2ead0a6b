"""Use cases of a claim's life: each loads the claim, lets the noun move, saves, and announces.

Announcements go out by the outbox in the same commit: what the hospital hears, what the insurer hears, what
settlement is asked, and the audit record that all of them name as their cause.
"""

from gateway.claims import store
from gateway.claims.actions import Deps
from gateway.claims.announcements import (
    claim_fields,
    claim_record,
    obligation_asked,
    passed_on,
    told_both,
    told_hospital,
    told_of_money,
    void_asked,
)
from gateway.claims.claim import Claim
from gateway.claims.payment import PaymentEvent
from gateway.protocol.claim_life import LETS_GO, REFUSED, Actor
from gateway.protocol.errors import ConflictError, GatewayError, NotFoundError
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages import check_message_id
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.outcome import Outcome
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.records import Record, record
from gateway.protocol.settlements import obligation_id
from gateway.protocol.topics import HOSPITAL_NOTICES, HOSPITAL_REQUESTS, INSURER_DELIVERIES
from gateway.runtime.component import Delivery
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.storage.database import Transaction

OF_THE_MESSAGE = ("message.replayed", "message.id-taken", "message.id-reserved")
"""Codes that refuse a message and not the claim that it names, which goes on."""


async def receive(tx: Transaction, deps: Deps, delivery: Delivery, manifest: SubmittedManifest) -> None:
    """Take a new claim in and present it to the insurer: number, message and receipts are taken or it is refused."""
    check_message_id(manifest.msg_id)
    route = deps.trust.directory.route(manifest.sender, manifest.carrier, manifest.payer, delivery.received_at)
    claim = Claim.receive(manifest, route, deps.third_party_kinds)
    await store.take_in(tx, claim, manifest, delivery.received_at)
    at = deps.clock.now()
    facts: dict[str, object] = {"asked_minor": claim.asked_minor, "currency": claim.currency}
    cause = claim_record("claim.received", claim, delivery, at, facts=facts)
    await deps.outbox.add(
        tx, passed_on(INSURER_DELIVERIES, delivery, cause), told_hospital(claim, "received", cause, at)
    )


async def acknowledge(tx: Transaction, deps: Deps, delivery: Delivery, manifest: AcknowledgedManifest) -> None:
    claim = await _load(tx, manifest)
    moved = claim.acknowledge(manifest)
    await _save(tx, delivery, manifest, claim, moved)
    at = deps.clock.now()
    cause = claim_record("claim.in_review", moved, delivery, at)
    await deps.outbox.add(tx, *told_both(moved, "acknowledged", cause, at, by=manifest))


async def return_unprocessed(tx: Transaction, deps: Deps, delivery: Delivery, manifest: ReturnedManifest) -> None:
    claim = await _load(tx, manifest)
    moved = claim.return_unprocessed(manifest)
    await _save(tx, delivery, manifest, claim, moved)
    await _let_go(tx, moved)
    at = deps.clock.now()
    cause = claim_record("claim.returned", moved, delivery, at, class_code=manifest.class_code)
    await deps.outbox.add(
        tx, passed_on(HOSPITAL_NOTICES, delivery, cause), *told_both(moved, "returned", cause, at, by=manifest)
    )


async def dispute(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DisputedManifest) -> None:
    """Stop the claim; money that was asked for is asked back before it moves. The other party is shown the dispute."""
    claim = await _load(tx, manifest)
    moved, at = claim.dispute_content(manifest), deps.clock.now()
    voids: list[Post] = []
    if moved.may_void:
        moved = moved.ask_void()
        voids.append(void_asked(moved, delivery, at))
    await _save(tx, delivery, manifest, claim, moved)
    cause = claim_record("claim.disputed", moved, delivery, at)
    await deps.outbox.add(
        tx, _to_other_party(moved, delivery, cause), *told_both(moved, "disputed", cause, at, by=manifest), *voids
    )


async def withdraw_dispute(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DisputeWithdrawnManifest) -> None:
    """Restore the state before the dispute; its author takes it back, the other party is shown so."""
    claim = await _load(tx, manifest)
    moved, at = claim.withdraw_dispute(manifest), deps.clock.now()
    await _save(tx, delivery, manifest, claim, moved)
    cause = claim_record("claim.dispute_withdrawn", moved, delivery, at)
    await deps.outbox.add(
        tx,
        _to_other_party(moved, delivery, cause),
        *told_both(moved, "dispute_withdrawn", cause, at, by=manifest),
    )


async def give_up(tx: Transaction, deps: Deps, delivery: Delivery, manifest: GivenUpManifest) -> None:
    """End a submission that the insurer disputes; its receipts may be claimed under a new number."""
    claim = await _load(tx, manifest)
    moved, at = claim.give_up(manifest), deps.clock.now()
    await _save(tx, delivery, manifest, claim, moved)
    await _let_go(tx, moved)
    cause = claim_record("claim.given_up", moved, delivery, at)
    await deps.outbox.add(
        tx, _to_other_party(moved, delivery, cause), *told_both(moved, "given_up", cause, at, by=manifest)
    )


async def decide(tx: Transaction, deps: Deps, delivery: Delivery, manifest: DecidedManifest) -> None:
    """Take a decision. Money has one trigger: a final decision whose payee is the hospital obliges the rest."""
    claim, at = await _load(tx, manifest), deps.clock.now()
    moved = claim.decide(manifest, _hospital_bears(deps, claim))
    name = "claim.decided" if manifest.final else "claim.partly_decided"
    entries = [entry.model_dump(mode="json") for entry in manifest.entries]
    facts: dict[str, object] = {"benefit_minor": manifest.benefit_minor, "entries": entries}
    cause = claim_record(name, moved, delivery, at, facts=facts, decision_version=manifest.decision_version)
    announcements: list[Post | Record] = [passed_on(HOSPITAL_NOTICES, delivery, cause)]
    if moved.changes_money(manifest):
        announcements.append(obligation_asked(moved, manifest, delivery, at))
        moved = moved.oblige(manifest.benefit_minor, obligation_id(moved.claim_id, manifest.decision_version))
    if manifest.final and moved.payee == "insured":
        moved = moved.settle_outside()
        clear = {"claim_id": moved.claim_id, "revision": moved.revision}
        announcements.append(
            record("claim.settled_outside", at=at, case_id=moved.case_id, clear=clear, cause=cause.eid)
        )
    await _save(tx, delivery, manifest, claim, moved)
    await deps.outbox.add(tx, *announcements, *told_both(moved, "decided", cause, at, by=manifest))


def _hospital_bears(deps: Deps, claim: Claim) -> frozenset[str]:
    """Return the class codes of the contract row of this claim's route."""
    ways = (claim.hospital, claim.reader, claim.payer)
    routes = (route for route in deps.trust.directory.routes if (route.hospital, route.reader, route.payer) == ways)
    return frozenset(code for route in routes for code in route.hospital_bears)


async def follow_money(tx: Transaction, deps: Deps, delivery: Delivery, outcome: Outcome) -> None:
    """Take what settlement says became of the obligation and tell the hospital, and the insurer if it may act.

    Money that came back from the bank although it is to be recouped is asked back again: it is open once more.
    """
    claim, at = await store.load(tx, outcome.claim_id), deps.clock.now()
    event = PaymentEvent(outcome.type)
    if claim.has_heard(event, outcome.obligation_id):
        return
    if outcome.obligation_id != claim.obligation_id:
        raise ConflictError("payment.other-obligation")
    moved = claim.pay(event, outcome.amount_minor)
    voids: list[Post] = []
    if event is PaymentEvent.RETURNED_TO_OPEN and moved.is_recouped and moved.void_obligation_id is None:
        moved = moved.ask_void()
        voids.append(void_asked(moved, delivery, at))
    await store.save(tx, moved, seen=claim.revision)
    cause = record(
        "claim.payment",
        at=at,
        case_id=claim.case_id,
        clear={
            "claim_id": claim.claim_id,
            "revision": moved.revision,
            "payment_state": str(moved.payment_state),
            "reference": outcome.reference,
        },
        cause=delivery.stamp.eid,
    )
    await deps.outbox.add(tx, *told_of_money(claim, moved, outcome, cause, at), *voids)


async def refuse(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    """Answer a refused message: a signed `rejected` to its author, and a record, in the inbox's transaction.

    A replayed submission is a refused message, not a refused claim: the claim it repeats goes on.
    """
    manifest = delivery.manifest
    if manifest is None:
        raise error  # settlement's own message refused is our fault: HALT
    from_hospital = delivery.fetched.topic == HOSPITAL_REQUESTS
    refused_claim = from_hospital and manifest.type == "submitted" and error.code not in OF_THE_MESSAGE
    allowed = error.allowed_actions
    if allowed is None:
        allowed = () if refused_claim else await _allowed_now(tx, manifest)
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
        state=REFUSED if refused_claim else None,
        allowed_actions=allowed,
    )
    topic = HOSPITAL_NOTICES if from_hospital else INSURER_DELIVERIES
    await deps.outbox.add(tx, Post(topic, manifest.case_id, "rejected", made, message=rejected))


async def _allowed_now(tx: Transaction, manifest: Manifest) -> tuple[str, ...]:
    """Return what the author may do although this message was refused; nothing where the claim is not its own."""
    try:
        return (await store.load(tx, manifest.claim_id, lock=False)).actions_of(manifest.sender)
    except NotFoundError:
        return ()


def _refusal_fields(
    manifest: Manifest, delivery: Delivery, error: GatewayError, *, refused_claim: bool
) -> dict[str, str | int | None]:
    if refused_claim:
        return claim_fields(manifest, delivery) | {"code": error.code}
    return {
        "topic": delivery.fetched.topic,
        "code": error.code,
        "type": manifest.type,
        "msg_id": manifest.msg_id,
    }


def _to_other_party(claim: Claim, delivery: Delivery, cause: Record) -> Post:
    """Present a message about a dispute to the party that did not write it."""
    assert delivery.manifest is not None  # noqa: S101 only messages of parties come here
    by_insurer = claim.actor(delivery.manifest.sender) is Actor.INSURER
    return passed_on(HOSPITAL_NOTICES if by_insurer else INSURER_DELIVERIES, delivery, cause)


async def _let_go(tx: Transaction, claim: Claim) -> None:
    if claim.state in LETS_GO:
        await store.let_go_of_receipts(tx, claim.claim_id)


async def _load(tx: Transaction, manifest: Manifest) -> Claim:
    check_message_id(manifest.msg_id)
    return await store.load(tx, manifest.claim_id)


async def _save(tx: Transaction, delivery: Delivery, manifest: Manifest, seen: Claim, moved: Claim) -> None:
    await store.save(tx, moved, seen=seen.revision, moved_by=(manifest, delivery.received_at))
