"""A batch as JSON and back: what a store keeps of it besides the columns it searches by. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from gateway.protocol.clock import parse_rfc3339, rfc3339
from gateway.protocol.money import Money
from settlement.bank_entry import Seen
from settlement.batch import Approval, Batch, Member, State
from settlement.payment import AccountHolder, Agent


def account_holder(found: Mapping[str, Any]) -> AccountHolder:
    """Read a registered bank account, as core keeps it for each party and currency."""
    return AccountHolder(**{**found, "agent": Agent(**found["agent"])})


def write_batch(batch: Batch) -> dict[str, Any]:
    return {
        "batch_id": batch.batch_id,
        "payer": batch.payer,
        "payee": batch.payee,
        "rail": batch.rail,
        "value_date": batch.value_date.isoformat(),
        "debtor": asdict(batch.debtor),
        "creditor": asdict(batch.creditor),
        "members": [[member.obligation_id, member.amount.amount_minor] for member in batch.members],
        "uetr": batch.uetr,
        "charge_bearer": batch.charge_bearer,
        "bank": batch.bank,
        "replaces": list(batch.replaces),
        "approvals": [asdict(found) | {"approved_at": rfc3339(found.approved_at)} for found in batch.approvals],
        "instructed_at": batch.instructed_at and rfc3339(batch.instructed_at),
        "reason_code": batch.reason_code,
        "debit": _write_seen(batch.debit),
        "credit": _write_seen(batch.credit),
    }


def read_batch(found: Mapping[str, Any], state: str) -> Batch:
    currency = found["debtor"]["currency"]
    return Batch(
        batch_id=found["batch_id"],
        payer=found["payer"],
        payee=found["payee"],
        rail=found["rail"],
        value_date=date.fromisoformat(found["value_date"]),
        debtor=account_holder(found["debtor"]),
        creditor=account_holder(found["creditor"]),
        members=tuple(Member(name, Money(amount, currency)) for name, amount in found["members"]),
        uetr=found["uetr"],
        charge_bearer=found["charge_bearer"],
        bank=found.get("bank", ""),
        state=State(state),
        replaces=tuple(found["replaces"]),
        approvals=tuple(_approval(one) for one in found["approvals"]),
        instructed_at=found["instructed_at"] and parse_rfc3339(found["instructed_at"]),
        reason_code=found["reason_code"],
        debit=_read_seen(found["debit"], currency),
        credit=_read_seen(found["credit"], currency),
    )


def _approval(found: Mapping[str, Any]) -> Approval:
    return Approval(**{**found, "approved_at": parse_rfc3339(found["approved_at"])})


def _write_seen(seen: Seen | None) -> dict[str, Any] | None:
    if seen is None:
        return None
    return {
        "entry_key": seen.entry_key,
        "uetr": seen.uetr,
        "amount_minor": seen.amount.amount_minor,
        "origin": seen.origin,
        "servicer_ref": seen.servicer_ref,
    }


def _read_seen(found: Mapping[str, Any] | None, currency: str) -> Seen | None:
    if found is None:
        return None
    amount = Money(found["amount_minor"], currency)
    return Seen(found["entry_key"], found["uetr"], amount, found.get("origin"), found.get("servicer_ref"))
