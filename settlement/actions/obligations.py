"""Use cases of obligations: open what a decision obliges, void it before money moves."""

from gateway.protocol.clock import business_date, rfc3339
from gateway.protocol.errors import InvalidInputError
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.obligation import ObligationAsked
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.money import Money
from gateway.protocol.verification import verify_manifest
from gateway.runtime.component import Delivery
from gateway.runtime.storage.database import Transaction
from settlement import ledger, store
from settlement.actions import Deps, outcome, payment_record
from settlement.obligation import Actor, Event, Obligation, State


def check_decision(deps: Deps, delivery: Delivery, asked: ObligationAsked) -> DecidedManifest:
    """Verify the insurer's signature over the decision ourselves, and that it is what core asks to pay."""
    found = verify_manifest(asked.decision, deps.trust.directory, delivery.received_at, accepting=False)
    if not isinstance(found, DecidedManifest):
        raise InvalidInputError("obligation.no-decision")
    same = (
        found.claim_id == asked.claim_id
        and found.case_id == asked.case_id
        and found.decision_version == asked.decision_version
        and found.currency == asked.currency
        and found.final
        and asked.amount_minor <= found.benefit_minor
        and found.recipients == (asked.payee,)
    )
    reader_pays = any(
        route.hospital == asked.payee and route.reader == found.sender and route.payer == asked.payer
        for route in deps.trust.directory.routes
    )
    if not same or not reader_pays:
        raise InvalidInputError("obligation.decision-differs")
    return found


async def open_obligation(tx: Transaction, deps: Deps, delivery: Delivery, asked: ObligationAsked) -> None:
    """Open what a final decision obliges, once for ever."""
    check_decision(deps, delivery, asked)
    now = deps.clock.now()
    obligation = Obligation.opened(
        case_id=asked.case_id,
        claim_id=asked.claim_id,
        decision_version=asked.decision_version,
        payer=asked.payer,
        payee=asked.payee,
        amount=Money(asked.amount_minor, asked.currency),
    )
    if obligation.obligation_id != asked.obligation_id:
        raise InvalidInputError("obligation.decision-differs")
    if not await store.add_obligation(tx, obligation, asked.decision, rfc3339(now)):
        return
    await store.post(tx, ledger.approved(obligation, booked_at=now, value_date=business_date(now)))
    facts = {"amount_minor": asked.amount_minor, "currency": asked.currency}
    await deps.outbox.add(
        tx, payment_record(deps, "obligation.opened", obligation, cause=delivery.stamp.eid, facts=facts)
    )


async def void_obligation(tx: Transaction, deps: Deps, delivery: Delivery, asked: VoidAsked) -> None:
    """Stop an obligation before money moves, or say that it is too late; decided under the obligation's lock.

    What core asks to void while operators close it, or twice, has one answer: the `voided` of the first move.
    """
    obligation = await store.load_obligation(tx, asked.obligation_id)
    cause = delivery.stamp.eid
    if obligation.state in (State.VOIDED, State.CLOSED):
        # the outcome `voided` was written with that move and is on its way: it is the answer, and counts once
        return
    if not obligation.can(Event.VOID, Actor.CORE):
        made = payment_record(deps, "obligation.too_late", obligation, cause=cause)
        await deps.outbox.add(tx, outcome(deps, "too_late", obligation, made))
        return
    voided = obligation.void(asked.reason_code)
    if obligation.batch_id is not None:
        batch = await store.load_batch(tx, obligation.batch_id)
        await store.save_batch(tx, batch.without(obligation.obligation_id), seen=batch.state)
    await store.save_obligation(tx, voided, seen=obligation.state)
    now = deps.clock.now()
    await store.post(tx, ledger.voided(obligation, booked_at=now, value_date=business_date(now)))
    made = payment_record(deps, "obligation.voided", voided, cause=cause)
    await deps.outbox.add(tx, outcome(deps, "voided", voided, made))
