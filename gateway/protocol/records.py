"""Audit records: type → the one role that writes it, its clear fields, its committed fields.

Clear fields are types, tokens, class codes, states, counts and hashes of public things; everything that says what a
person has or got, and every amount of a claim, is a commitment. A record names the event that caused it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.protocol.identifiers import mint

Clear = str | int


@dataclass(frozen=True, slots=True)
class RecordType:
    name: str
    role: str
    clear: frozenset[str] = frozenset()
    committed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Record:
    """One state change. `case_id` is the log's random claim reference; `facts` are committed, never published."""

    eid: str
    type: RecordType
    case_id: str | None
    at: datetime
    clear: Mapping[str, Clear] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cause: str | None = None


def _type(name: str, role: str, clear: str = "", committed: str = "") -> RecordType:
    return RecordType(name, role, frozenset(clear.split()), frozenset(committed.split()))


_CLAIM = "claim_id claim_version msg_id manifest_sha256"
_CLOSED = "claim_id claim_version state payment_state revision reason ticket request_id client_id"
_MONEY = "claim_id obligation_id reference reason_code"
_REASON = "reason"
"""A bank's own words about a payment: anything may stand in them, so they are committed and never clear."""

_TYPES = (
    _type(
        "claim.submitted",
        "sz",
        f"{_CLAIM} carrier use billing_mode programme_count programme_worst catalogue_sha256",
        "total_minor asked_minor currency receipts consent programme service_from service_to",
    ),
    _type("answer.opened", "sz", "claim_id msg_id manifest_sha256 type"),
    _type("hospital.disputed", "sz", "claim_id msg_id"),
    _type("hospital.withdrew_dispute", "sz", "claim_id msg_id"),
    _type("hospital.gave_up", "sz", "claim_id msg_id"),
    _type("claim.received", "core", f"{_CLAIM} state revision", "asked_minor currency"),
    _type("claim.refused", "core", f"{_CLAIM} code"),
    _type("claim.in_review", "core", f"{_CLAIM} state revision"),
    _type("claim.returned", "core", f"{_CLAIM} state revision class_code"),
    _type("claim.disputed", "core", f"{_CLAIM} state revision"),
    _type("claim.dispute_withdrawn", "core", f"{_CLAIM} state revision"),
    _type("claim.given_up", "core", f"{_CLAIM} state revision"),
    _type("claim.closed", "core", f"{_CLOSED} receipts"),
    _type("claim.recoup_closed", "core", _CLOSED),
    _type("claim.partly_decided", "core", f"{_CLAIM} state revision decision_version", "benefit_minor entries"),
    _type("claim.decided", "core", f"{_CLAIM} state revision decision_version", "benefit_minor entries"),
    _type("claim.settled_outside", "core", "claim_id revision"),
    _type("claim.payment", "core", "claim_id revision payment_state reference"),
    _type("obligation.asked", "core", "claim_id obligation_id decision_version", "amount_minor currency"),
    _type("obligation.void_asked", "core", "claim_id obligation_id reason_code"),
    _type("obligation.opened", "core", _MONEY, f"amount_minor currency {_REASON}"),
    _type("obligation.held", "core", _MONEY, _REASON),
    _type("obligation.voided", "core", _MONEY, _REASON),
    _type("obligation.too_late", "core", _MONEY, _REASON),
    _type("obligation.closed", "core", f"{_MONEY} ticket request_id", _REASON),
    _type("obligation.released", "core", f"{_MONEY} ticket request_id", _REASON),
    _type("batch.decided", "core", "batch_id batch_sha256 reason ticket request_id"),
    _type("break.resolved", "core", "break_id kind reason ticket request_id"),
    _type("batch.made", "core", "batch_id batch_sha256 count currency"),
    _type("batch.approved", "core", "batch_id batch_sha256 approvals"),
    _type("payment.instructed", "core", _MONEY, f"amount_minor currency {_REASON}"),
    _type("payment.accepted", "core", _MONEY, _REASON),
    _type("payment.rejected", "core", _MONEY, _REASON),
    _type("payment.unknown", "core", _MONEY, _REASON),
    _type("payment.debited", "core", _MONEY, _REASON),
    _type("payment.credited", "core", _MONEY, f"amount_minor currency {_REASON}"),
    _type("payment.reconciled", "core", _MONEY, _REASON),
    _type("payment.break", "core", "break_id reference kind"),
    _type("registry.published", "core", "release release_sha256"),
    _type("claim.delivered", "hk", _CLAIM),
    _type("answer.received", "hk", f"{_CLAIM} type"),
    _type("outcome.delivered", "hk", "claim_id msg_id type"),
    _type("dossier.opened", "insurer", f"{_CLAIM} differences"),
    _type("answer.authored", "insurer", f"{_CLAIM} type"),
    _type("exception.found", "audit", "rule subject"),
    _type("audit.source_stopped", "audit", "source reason epoch number"),
)

_EVERY_ROLE = ("sz", "core", "hk", "insurer", "audit")
_OPERATED = "action step topic count client_id request_id reason ticket"
_RESTARTED = "last_epoch last_sq last_eid client_id second_client_id reason ticket"
_SECURITY = ("quarantined", "refused", "held", "replayed")

RECORD_TYPES: Mapping[str, RecordType] = {
    **{row.name: row for row in _TYPES},
    **{
        f"{role}.message_{what}": _type(f"{role}.message_{what}", role, "topic code type msg_id sha256")
        for role in _EVERY_ROLE
        for what in _SECURITY
    },
    **{f"{role}.source_restarted": _type(f"{role}.source_restarted", role, _RESTARTED) for role in _EVERY_ROLE},
    **{f"{role}.operator_acted": _type(f"{role}.operator_acted", role, _OPERATED) for role in _EVERY_ROLE},
}


def record(
    name: str,
    *,
    at: datetime,
    case_id: str | None = None,
    clear: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    cause: str | None = None,
) -> Record:
    """Build a record; a field that its type does not list is a `KeyError`, since only our own code calls this."""
    kind = RECORD_TYPES[name]
    shown = {key: value for key, value in (clear or {}).items() if value is not None}
    hidden = dict(facts or {})
    for unknown in (set(shown) - kind.clear) | (set(hidden) - kind.committed):
        raise KeyError(f"{name} has no field {unknown}")
    return Record(mint("ev"), kind, case_id, at, shown, hidden, cause)
