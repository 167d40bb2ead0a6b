"""Queries of the claims component."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql

from gateway.claims.claim import Claim, State
from gateway.claims.payment import PaymentState
from gateway.claims.tables import claims, live_receipts, messages, numbers
from gateway.protocol.canonical import compact, read_json
from gateway.protocol.claims import BillingMode, Payee, SubmittedManifest
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import ConflictError, NotFoundError, RetryError
from gateway.protocol.exchange import Manifest
from gateway.runtime.database import Transaction, one


async def load(tx: Transaction, claim_id: str, *, lock: bool = True) -> Claim:
    """Load and lock a claim; `NotFoundError` if there is none. A read-only snapshot cannot lock."""
    statement = select(claims).where(claims.c.claim_id == claim_id)
    found = await one(tx, statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFoundError("claim.unknown")
    row = dict(found._mapping)
    del row["received_at"]
    return Claim(
        **row
        | {
            "billing_mode": BillingMode(row["billing_mode"]),
            "payee": Payee(row["payee"]),
            "line_amounts_minor": tuple(read_json(row["line_amounts_minor"].encode())),
            "state": State(row["state"]),
            "payment_state": PaymentState(row["payment_state"]),
        }
    )


def _row(claim: Claim) -> dict[str, Any]:
    return asdict(claim) | {"line_amounts_minor": compact(list(claim.line_amounts_minor)).decode()}


async def add(tx: Transaction, claim: Claim, received_at: datetime) -> None:
    """Add a received claim; its id is the author's choice, so one that is taken is refused."""
    row = _row(claim) | {"received_at": rfc3339(received_at)}
    if (await tx.execute(postgresql.insert(claims).on_conflict_do_nothing(), row)).rowcount != 1:
        raise ConflictError("claim.id-taken")


async def save(tx: Transaction, claim: Claim, *, seen: int) -> None:
    """Write a moved claim; the row must still be at the revision that was loaded."""
    changed = {
        "state": claim.state,
        "payment_state": claim.payment_state,
        "decision_version": claim.decision_version,
        "obligated_minor": claim.obligated_minor,
        "obligation_id": claim.obligation_id,
        "revision": claim.revision,
    }
    here = (claims.c.claim_id == claim.claim_id, claims.c.revision == seen)
    if (await tx.execute(update(claims).where(*here).values(changed))).rowcount != 1:
        raise RetryError("claim.moved-meanwhile")


async def note_message(tx: Transaction, manifest: Manifest, at: datetime) -> None:
    """Remember (sender, msg_id) for ever; a second time is a replay."""
    row = {
        "sender": manifest.sender,
        "msg_id": manifest.msg_id,
        "claim_id": manifest.claim_id,
        "at": rfc3339(at),
    }
    if (await tx.execute(postgresql.insert(messages).on_conflict_do_nothing(), row)).rowcount != 1:
        raise ConflictError("message.replayed")


async def check_case(tx: Transaction, manifest: SubmittedManifest) -> None:
    """Refuse a case id of another hospital: the log's chain and the case's secret belong to one."""
    here = (claims.c.case_id == manifest.case_id, claims.c.hospital != manifest.sender)
    if await one(tx, select(claims.c.claim_id).where(*here).limit(1)) is not None:
        raise ConflictError("claim.case-of-another")


async def take_number(tx: Transaction, manifest: SubmittedManifest) -> None:
    """Take (hospital, claim number, version) for ever."""
    row = {
        "hospital": manifest.sender,
        "claim_token": manifest.claim_token,
        "claim_version": manifest.claim_version,
        "claim_id": manifest.claim_id,
    }
    if (await tx.execute(postgresql.insert(numbers).on_conflict_do_nothing(), row)).rowcount != 1:
        raise ConflictError("claim.number-taken")


async def take_receipts(tx: Transaction, manifest: SubmittedManifest) -> None:
    """Make every receipt live on this claim, or none: another live claim of the same payer rank wins."""
    for token in sorted(set(manifest.receipt_tokens)):
        row = {
            "hospital": manifest.sender,
            "receipt_token": token,
            "payer_rank": manifest.payer_rank,
            "claim_id": manifest.claim_id,
        }
        if (await tx.execute(postgresql.insert(live_receipts).on_conflict_do_nothing(), row)).rowcount != 1:
            raise ConflictError("receipt.live-on-another-claim")


async def let_go_of_receipts(tx: Transaction, claim_id: str) -> None:
    await tx.execute(delete(live_receipts).where(live_receipts.c.claim_id == claim_id))
