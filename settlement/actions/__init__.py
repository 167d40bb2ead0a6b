"""Use cases of settlement, one file a subject, what they get from the role, and what all of them announce.

Every move of an obligation is announced to core by an outcome, in the same commit as its audit record and its
journal entry.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.protocol.calendars import Calendar, joint_value_date
from gateway.protocol.clock import business_date, rfc3339
from gateway.protocol.hints import HINTS
from gateway.protocol.messages.outcome import Outcome, OutcomeType
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.protocol.records import Record, record
from gateway.protocol.topics import SETTLEMENT_OUTCOMES
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.services import RoleDeps
from gateway.runtime.storage.database import Transaction
from settlement.banks import Banks, cutoff_passed
from settlement.obligation import Obligation
from settlement.payment import AccountHolder
from settlement.ports import BankProfile

WRITER = "settlement"
"""The key of every work here: timers lock obligations of many cases, handlers those of one."""

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
class Deps(RoleDeps):
    account: Callable[[Transaction, str, str], Awaitable[AccountHolder]]
    """(party, currency) → the registered bank account, which participants keep."""
    mirrored: Callable[[Transaction], Awaitable[Mapping[str, str]]]
    """Every registered account number → the party that owns it."""
    banks: Banks
    send: Callable[[Outgoing], Awaitable[Incoming]]
    calendars: tuple[Calendar, ...]


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


def first_value_date(deps: Deps, profile: BankProfile[Any]) -> date:
    """Return the first day on which this bank and every calendar would still move money."""
    passed = cutoff_passed(profile, deps.clock.now())
    return joint_value_date(deps.calendars, value_day(deps), cutoff_passed=passed)
