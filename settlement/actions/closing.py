"""What two operators do about money that nobody else moves on: breaks, obligations and batches.

Each is asked for by one person and confirmed by another (`gateway.runtime.operator.actions`); reason and ticket
stand in the audit record, free text does not. Every move of an obligation is announced to core in the same commit.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.protocol.clock import business_date, rfc3339
from gateway.protocol.errors import ConflictError, IllegalTransitionError
from gateway.protocol.exchange import Message
from gateway.protocol.records import record
from gateway.protocol.tickets import Ticket
from gateway.runtime.component import TwoPersonAction, TwoPersons
from gateway.runtime.storage.database import Transaction
from settlement import break_store, ledger, store
from settlement.actions import Deps, outcome, payment_record
from settlement.batch import Batch
from settlement.batch import Event as BatchEvent
from settlement.breaks import Resolution
from settlement.matching import PARTLY_TAKEN
from settlement.obligation import Actor, Event, Obligation, State

BreakId = Annotated[str, Field(pattern=r"^brk_[0-9a-f]{32}$")]
ObligationId = Annotated[str, Field(pattern=r"^obl_[0-9a-f]{32}$")]
BatchId = Annotated[str, Field(pattern=r"^bat_[0-9a-f]{32}$")]


class ResolveBreak(Message):
    """Say what a break was. `ticket` is where it is told in full."""

    break_id: BreakId
    reason: Annotated[Resolution, Field(strict=False)]
    ticket: Ticket


class CloseObligation(Message):
    """End an obligation before money moves; core hears that it is voided."""

    obligation_id: ObligationId
    reason: Literal["paid-outside", "refunded-outside", "waived", "cannot-be-paid", "test"]
    ticket: Ticket


class ReleaseObligation(Message):
    """Let a held obligation go into the next batch, after what held it was mended."""

    obligation_id: ObligationId
    ticket: Ticket


class DecideBatch(Message):
    """Put the bank's written word in place of the notification that does not come.

    `not-executed`: nothing moved; `returned`: the debit came back to the payer; in both the claims are payable again.
    `executed`: the hospital has the money.
    """

    batch_id: BatchId
    reason: Literal["not-executed", "returned", "executed"]
    ticket: Ticket


async def check_break(tx: Transaction, deps: Deps, form: ResolveBreak) -> None:
    del deps
    found = await break_store.load_break(tx, form.break_id)
    if found.resolved_at is not None:
        raise ConflictError("break.resolved-already")
    if form.reason is Resolution.REPEATED_BY_BANK and found.kind in PARTLY_TAKEN:
        raise ConflictError("break.row-was-taken")


async def resolve_break(tx: Transaction, deps: Deps, form: ResolveBreak, persons: TwoPersons) -> Mapping[str, Any]:
    """Close a break. Its suspense entry stays, explained; only a row shown twice is taken out by its opposite.

    Where it was the last open break of a batch whose debit and credit were both seen, the batch is settled.
    """
    await check_break(tx, deps, form)
    found = await break_store.load_break(tx, form.break_id, lock=True)
    now = deps.clock.now()
    resolved = {
        "resolved_at": rfc3339(now),
        "resolution": str(form.reason),
        "ticket": form.ticket,
        "asked_by": persons.asked_by,
        "confirmed_by": persons.confirmed_by,
    }
    await break_store.resolve_break(tx, form.break_id, resolved)
    if form.reason is Resolution.REPEATED_BY_BANK and found.posting is not None:
        held = await store.load_entry(tx, found.posting)
        await store.post(tx, ledger.out_of_suspense(held, booked_at=now, value_date=business_date(now)))
    clear = {
        "break_id": form.break_id,
        "kind": found.kind,
        "reason": str(form.reason),
        "ticket": form.ticket,
        "request_id": persons.request_id,
    }
    await deps.outbox.add(tx, record("break.resolved", at=now, clear=clear))
    return {"break_id": form.break_id, "batch_state": await _settle_if_seen(tx, deps, found.batch_id)}


async def _settle_if_seen(tx: Transaction, deps: Deps, batch_id: str | None) -> str | None:
    if batch_id is None:
        return None
    batch = await store.load_batch(tx, batch_id)
    both_seen = batch.debit is not None and batch.credit is not None
    may_settle = both_seen and batch.can(BatchEvent.SETTLE, Actor.OPERATOR)
    if may_settle and not await break_store.has_open_break(tx, batch_id):
        batch = await _settle(tx, deps, batch, "difference-explained")
    return str(batch.state)


async def check_close(tx: Transaction, deps: Deps, form: CloseObligation) -> None:
    del deps
    _require(await store.load_obligation(tx, form.obligation_id), Event.CLOSE)


async def close_obligation(
    tx: Transaction, deps: Deps, form: CloseObligation, persons: TwoPersons
) -> Mapping[str, Any]:
    obligation = await store.load_obligation(tx, form.obligation_id)
    moved = obligation.close(form.reason)
    if obligation.batch_id is not None:
        batch = await store.load_batch(tx, obligation.batch_id)
        without = batch.without(obligation.obligation_id, by=Actor.OPERATOR)
        await store.save_batch(tx, without, seen=batch.state)
    await store.save_obligation(tx, moved, seen=obligation.state)
    now = deps.clock.now()
    await store.post(tx, ledger.closed(obligation, booked_at=now, value_date=business_date(now)))
    closed = payment_record(deps, "obligation.closed", moved, more=_why(form.ticket, persons))
    await deps.outbox.add(tx, outcome(deps, "voided", moved, closed))
    return {"obligation_id": moved.obligation_id, "state": str(moved.state)}


async def check_release(tx: Transaction, deps: Deps, form: ReleaseObligation) -> None:
    del deps
    _require(await store.load_obligation(tx, form.obligation_id), Event.RELEASE)


async def release_obligation(
    tx: Transaction, deps: Deps, form: ReleaseObligation, persons: TwoPersons
) -> Mapping[str, Any]:
    obligation = await store.load_obligation(tx, form.obligation_id)
    moved = obligation.release(by=Actor.OPERATOR)
    await store.save_obligation(tx, moved, seen=obligation.state)
    await deps.outbox.add(tx, payment_record(deps, "obligation.released", moved, more=_why(form.ticket, persons)))
    return {"obligation_id": moved.obligation_id, "state": str(moved.state)}


DECISIONS: Mapping[str, BatchEvent] = {
    "not-executed": BatchEvent.REJECT,
    "returned": BatchEvent.RETURN,
    "executed": BatchEvent.SETTLE,
}


async def check_batch(tx: Transaction, deps: Deps, form: DecideBatch) -> None:
    del deps
    batch = await store.load_batch(tx, form.batch_id)
    if not batch.can(DECISIONS[form.reason], Actor.OPERATOR):
        raise IllegalTransitionError("batch.wrong-state", allowed_actions=batch.allowed_actions(Actor.OPERATOR))


async def decide_batch(tx: Transaction, deps: Deps, form: DecideBatch, persons: TwoPersons) -> Mapping[str, Any]:
    batch = await store.load_batch(tx, form.batch_id)
    await check_batch(tx, deps, form)
    clear = {
        "batch_id": batch.batch_id,
        "batch_sha256": batch.batch_hash,
        "reason": form.reason,
        "ticket": form.ticket,
        "request_id": persons.request_id,
    }
    await deps.outbox.add(tx, record("batch.decided", at=deps.clock.now(), case_id=batch.batch_id, clear=clear))
    if form.reason == "executed":
        moved = await _settle(tx, deps, batch, form.reason)
    else:
        moved = await _open_again(tx, deps, batch, form.reason)
    return {"batch_id": moved.batch_id, "state": str(moved.state)}


async def _settle(tx: Transaction, deps: Deps, batch: Batch, reason: str) -> Batch:
    moved = batch.settle(reason)
    await store.save_batch(tx, moved, seen=batch.state)
    now = deps.clock.now()
    entry = ledger.settled(batch, booked_at=now, value_date=business_date(now))
    if entry is not None:
        await store.post(tx, entry)
    for obligation in await store.list_members(tx, batch.batch_id):
        settled = obligation.settle()
        await store.save_obligation(tx, settled, seen=obligation.state)
        if obligation.state is not State.RECEIVED:
            received = payment_record(deps, "payment.credited", settled)
            await deps.outbox.add(tx, outcome(deps, "received", settled, received))
        reconciled = payment_record(deps, "payment.reconciled", settled)
        await deps.outbox.add(tx, outcome(deps, "reconciled", settled, reconciled))
    return moved


async def _open_again(tx: Transaction, deps: Deps, batch: Batch, reason: str) -> Batch:
    """End a batch whose money did not arrive; its members go into a new batch, or are closed."""
    came_back, now = reason == "returned", deps.clock.now()
    moved = batch.give_back(reason) if came_back else batch.reject(reason, by=Actor.OPERATOR)
    await store.save_batch(tx, moved, seen=batch.state)
    value_date = business_date(now)
    entry = ledger.returned(batch, booked_at=now, value_date=value_date) if came_back else None
    await store.post(tx, entry or ledger.rejected(batch, booked_at=now))
    for obligation in await store.list_members(tx, batch.batch_id):
        opened = obligation.give_back(reason) if came_back else obligation.reject(reason, by=Actor.OPERATOR)
        await store.save_obligation(tx, opened, seen=obligation.state)
        rejected = payment_record(deps, "payment.rejected", opened)
        await deps.outbox.add(tx, outcome(deps, "returned_to_open", opened, rejected))
    return moved


def _require(obligation: Obligation, event: Event) -> None:
    if not obligation.can(event, Actor.OPERATOR):
        allowed = obligation.allowed_actions(Actor.OPERATOR)
        raise IllegalTransitionError("obligation.wrong-state", allowed_actions=allowed)


def _why(ticket: str, persons: TwoPersons) -> dict[str, str]:
    return {"ticket": ticket, "request_id": persons.request_id}


TWO_PERSON_ACTIONS: Mapping[str, TwoPersonAction] = {
    "resolve-break": TwoPersonAction(ResolveBreak, check_break, resolve_break),
    "close-obligation": TwoPersonAction(CloseObligation, check_close, close_obligation),
    "release-obligation": TwoPersonAction(ReleaseObligation, check_release, release_obligation),
    "decide-batch": TwoPersonAction(DecideBatch, check_batch, decide_batch),
}
