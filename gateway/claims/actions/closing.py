"""What two operators may do about a claim: end one that somebody's silence holds, or a recoup that nobody ends.

One asks, another confirms (`runtime/operations.py`); the claim moves in the work of the confirmation, which also lets
go of the receipts, if the reason's row says so, and tells both parties.
"""

from collections.abc import Mapping
from typing import Any, Literal

from gateway.claims import store
from gateway.claims.actions import Deps
from gateway.claims.announcements import told_both
from gateway.claims.claim import Claim
from gateway.protocol.claim_life import Actor, Receipts
from gateway.protocol.exchange import Message, MessageId
from gateway.protocol.records import Record, record
from gateway.protocol.tickets import Ticket
from gateway.runtime.component import TwoPersonAction, TwoPersons
from gateway.runtime.storage.database import Transaction


class CloseClaim(Message):
    """End a claim; `reason` is a row of `CLOSE_REASONS`, which says what becomes of its receipts."""

    claim_id: MessageId
    reason: Literal[
        "insurer-silent", "hospital-silent", "agreed-with-parties", "settled-elsewhere", "fraud-suspected", "test"
    ]
    ticket: Ticket


class CloseRecoup(Message):
    """End a recoup: no more money moves on this claim through the gateway, whatever is decided about it later."""

    claim_id: MessageId
    reason: Literal["paid-back", "set-off", "written-off", "ruled", "test"]
    ticket: Ticket


async def check_close(tx: Transaction, deps: Deps, form: CloseClaim) -> None:
    del deps
    (await store.load(tx, form.claim_id)).close(form.reason)


async def close_claim(tx: Transaction, deps: Deps, form: CloseClaim, persons: TwoPersons) -> Mapping[str, Any]:
    claim = await store.load(tx, form.claim_id)
    closed, receipts = claim.close(form.reason)
    await store.save(tx, closed, seen=claim.revision)
    if receipts is Receipts.RELEASED:
        await store.let_go_of_receipts(tx, claim.claim_id)
    cause = _record(deps, "claim.closed", closed, form, persons, receipts=str(receipts))
    told = told_both(closed, "closed", cause, deps.clock.now(), reason=form.reason, receipts=str(receipts))
    await deps.outbox.add(tx, *told)
    return {"claim_id": closed.claim_id, "state": str(closed.state), "receipts": str(receipts)}


async def check_recoup(tx: Transaction, deps: Deps, form: CloseRecoup) -> None:
    del deps
    (await store.load(tx, form.claim_id)).close_recoup()


async def close_recoup(tx: Transaction, deps: Deps, form: CloseRecoup, persons: TwoPersons) -> Mapping[str, Any]:
    claim = await store.load(tx, form.claim_id)
    closed = claim.close_recoup()
    await store.save(tx, closed, seen=claim.revision)
    cause = _record(deps, "claim.recoup_closed", closed, form, persons)
    await deps.outbox.add(tx, *told_both(closed, "recoup_closed", cause, deps.clock.now(), reason=form.reason))
    return {"claim_id": closed.claim_id, "payment_state": str(closed.payment_state)}


def _record(
    deps: Deps, name: str, claim: Claim, form: CloseClaim | CloseRecoup, persons: TwoPersons, **more: str
) -> Record:
    clear = {
        "claim_id": claim.claim_id,
        "claim_version": claim.claim_version,
        "state": str(claim.state),
        "payment_state": str(claim.payment_state),
        "revision": claim.revision,
        "reason": form.reason,
        "ticket": form.ticket,
        "request_id": persons.request_id,
        "client_id": persons.confirmed_by,
    }
    return record(name, at=deps.clock.now(), case_id=claim.case_id, clear=clear | more)


def offered(claim: Claim) -> tuple[str, ...]:
    """Return the actions below that two operators may take now, with one reason or another."""
    actions = []
    if claim.allowed(Actor.OPERATOR):
        actions.append("close-claim")
    if claim.may_close_recoup:
        actions.append("close-recoup")
    return tuple(actions)


TWO_PERSON_ACTIONS: Mapping[str, TwoPersonAction] = {
    "close-claim": TwoPersonAction(CloseClaim, check_close, close_claim),
    "close-recoup": TwoPersonAction(CloseRecoup, check_recoup, close_recoup),
}
