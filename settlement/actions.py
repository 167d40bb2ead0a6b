"""Use cases of settlement: open and void obligations, approve batches. Timers' work is in `payments.py`.

Every move of an obligation is announced to core by an outcome, in the same commit as its audit record and its
journal entry.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from gateway.protocol.calendars import Calendar
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import Clock, business_date, parse_rfc3339, rfc3339
from gateway.protocol.decisions import DecidedManifest
from gateway.protocol.errors import BadSignatureError, Fault, ForbiddenError, InvalidInputError, MalformedInputError
from gateway.protocol.hints import HINTS
from gateway.protocol.jose import Typ, key_id, verify
from gateway.protocol.money import Money
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.protocol.records import Record, record
from gateway.protocol.registry import Use
from gateway.protocol.settlements import ObligationAsked, Outcome, OutcomeType, VoidAsked
from gateway.protocol.topics import SETTLEMENT_OUTCOMES
from gateway.protocol.verification import verify_manifest
from gateway.runtime.component import Delivery
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.outbox import Outbox, Post
from gateway.runtime.storage.database import Database, Transaction
from settlement import ledger, store
from settlement.batch import Approval, Batch
from settlement.obligation import Actor, Event, Obligation, State
from settlement.payment import AccountHolder
from settlement.ports import BankProfile

WRITER = "settlement"
"""The key of every work here: timers lock obligations of many cases, handlers those of one."""

CLOCK_SKEW = timedelta(seconds=60)
"""How far a treasurer's clock may be ahead of ours; the same as for logins."""
OWN_WORDS = "own-words"
OWN_REASONS = frozenset(
    (
        "disputed",
        *("paid-outside", "refunded-outside", "waived", "cannot-be-paid", "test"),
        *("not-executed", "returned", "executed", "difference-explained"),
    )
)
"""Reasons of our own besides error codes: why core voids, and why operators close an obligation or decide a batch."""
_EXTERNAL_CODE = re.compile(r"[A-Z0-9]{4}")
"""ExternalStatusReason1Code; a bank's own reason in any other form is its own words, however much like a code."""


@dataclass(frozen=True)
class Deps:
    database: Database
    outbox: Outbox
    keyring: Keyring
    trust: TrustHolder
    clock: Clock
    account: Callable[[Transaction, str, str], Awaitable[AccountHolder]]
    """(party, currency) → the registered bank account, which participants keep."""
    mirrored: Callable[[Transaction], Awaitable[Mapping[str, str]]]
    """Every registered account number → the party that owns it."""
    bank: BankProfile
    send: Callable[[Outgoing], Awaitable[Incoming]]
    calendars: tuple[Calendar, ...]
    in_flight: set[str] = field(default_factory=set)
    """Batches that this process is sending right now; owned by `payments.send_batches`."""


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


async def approve_batch(
    tx: Transaction, deps: Deps, batch_id: str, *, party: str, person: str | None, statement: str
) -> Batch:
    """Take one treasurer's signed approval; the second, by another person, releases the batch."""
    batch = await store.load_batch(tx, batch_id)
    approval = _read_approval(deps, batch, party=party, person=person, statement=statement)
    moved = batch.approve(approval)
    await store.save_batch(tx, moved, seen=batch.state)
    clear = {"batch_id": batch_id, "batch_sha256": moved.batch_hash, "approvals": len(moved.approvals)}
    await deps.outbox.add(tx, record("batch.approved", at=deps.clock.now(), case_id=batch_id, clear=clear))
    return moved


def _read_approval(deps: Deps, batch: Batch, *, party: str, person: str | None, statement: str) -> Approval:
    """Verify a person's statement over the batch hash with that person's own key, and that it is the caller's."""
    now = deps.clock.now()
    holder = deps.trust.directory.signer(key_id(statement, Typ.APPROVAL), Use.APPROVE, now)
    said = read_json_object(verify(statement, holder.public, Typ.APPROVAL))
    if set(said) != {"batch_id", "batch_sha256", "decision", "person", "at"}:
        raise MalformedInputError("approval.malformed")
    if person is None or (holder.party.code, holder.row.person, said["person"]) != (party, person, person):
        raise ForbiddenError("approval.not-your-key")
    if said["batch_id"] != batch.batch_id or said["decision"] != "approve" or not isinstance(said["at"], str):
        raise BadSignatureError("approval.other-batch")
    approved_at = parse_rfc3339(said["at"])
    if approved_at > now + CLOCK_SKEW:
        raise InvalidInputError("approval.in-the-future", faults=[Fault("approval.in-the-future", "/approval/at")])
    return Approval(person, holder.party.code, str(said["batch_sha256"]), approved_at, statement)


def payment_record(
    deps: Deps,
    name: str,
    obligation: Obligation,
    *,
    cause: str | None = None,
    facts: dict[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> Record:
    """Record a move of an obligation. Only a code is clear: a reason in the bank's own words is committed."""
    reason = obligation.reason_code
    coded = reason is None or reason in OWN_REASONS or reason in HINTS or _EXTERNAL_CODE.fullmatch(reason) is not None
    clear = {
        "claim_id": obligation.claim_id,
        "obligation_id": obligation.obligation_id,
        "reference": obligation.end_to_end_id,
        "reason_code": reason if coded else OWN_WORDS,
        **(more or {}),
    }
    facts = (facts or {}) | ({} if coded else {"reason": reason})
    return record(name, at=deps.clock.now(), case_id=obligation.case_id, clear=clear, facts=facts, cause=cause)


def outcome(deps: Deps, kind: OutcomeType, obligation: Obligation, made: Record) -> Post:
    """Tell core what became of an obligation."""
    message = Outcome(
        type=kind,
        obligation_id=obligation.obligation_id,
        case_id=obligation.case_id,
        claim_id=obligation.claim_id,
        amount_minor=obligation.amount.amount_minor,
        currency=obligation.amount.currency,
        at=rfc3339(deps.clock.now()),
        reference=obligation.end_to_end_id,
        reason_code=obligation.reason_code,
    )
    return Post(SETTLEMENT_OUTCOMES, obligation.claim_id, kind, made, message=message)


def value_day(deps: Deps) -> date:
    """Today, in Shenzhen and Hong Kong."""
    return business_date(deps.clock.now())
