"""Queries of the claims component."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import Executable, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql

from gateway.claims.claim import Claim, Dispute
from gateway.claims.payment import PaymentState
from gateway.claims.tables import claims, live_receipts, messages, numbers
from gateway.protocol.canonical import compact, read_json
from gateway.protocol.claim_life import State
from gateway.protocol.claim_terms import BillingMode, Payee
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import ConflictError, NotFoundError, RetryError
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.runtime.storage.database import Transaction, one

_NAMED = select(claims).where(claims.c.claim_id == bindparam("of_claim"))
_NAMED_LOCKED = _NAMED.with_for_update()
_OF_ANOTHER = (
    select(claims.c.claim_id)
    .where(claims.c.case_id == bindparam("of_case"), claims.c.hospital != bindparam("of_hospital"))
    .limit(1)
)
_OF_DISPUTE = {
    "by": "disputed_by",
    "msg_id": "dispute_msg_id",
    "in_reply_to": "disputed_msg_id",
    "from_state": "disputed_from",
}
_CHANGED = (
    "state", "payment_state", "decision_version", "obligated_minor", "obligation_id", "revision",
    "answer_msg_id", "money_state", "void_obligation_id", *_OF_DISPUTE.values(),
)  # fmt: skip
_SAVE = (
    update(claims)
    .where(claims.c.claim_id == bindparam("of_claim"), claims.c.revision == bindparam("seen"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)
_ADD = postgresql.insert(claims).on_conflict_do_nothing()
_NOTE_MESSAGE = postgresql.insert(messages).on_conflict_do_nothing()
_OWN_MESSAGE = select(messages.c.msg_id).where(
    messages.c.sender == bindparam("of_sender"), messages.c.msg_id == bindparam("of_message")
)
_TAKE_NUMBER = postgresql.insert(numbers).on_conflict_do_nothing()
_TAKE_RECEIPT = postgresql.insert(live_receipts).on_conflict_do_nothing()


async def load(tx: Transaction, claim_id: str, *, lock: bool = True) -> Claim:
    """Load and lock a claim; `NotFoundError` if there is none. A read-only snapshot cannot lock."""
    found = await one(tx, _NAMED_LOCKED if lock else _NAMED, {"of_claim": claim_id})
    if found is None:
        raise NotFoundError("claim.unknown")
    row = dict(found._mapping)
    del row["received_at"]
    dispute = {name: row.pop(column) for name, column in _OF_DISPUTE.items()}
    return Claim(
        **row
        | {
            "billing_mode": BillingMode(row["billing_mode"]),
            "payee": Payee(row["payee"]),
            "line_amounts_minor": tuple(read_json(row["line_amounts_minor"].encode())),
            "state": State(row["state"]),
            "payment_state": PaymentState(row["payment_state"]),
            "money_state": None if row["money_state"] is None else PaymentState(row["money_state"]),
            "dispute": None if dispute["by"] is None else _dispute(dispute),
        }
    )


def _dispute(row: dict[str, Any]) -> Dispute:
    return Dispute(**row | {"from_state": State(row["from_state"])})


def _row(claim: Claim) -> dict[str, Any]:
    row = asdict(claim) | {"line_amounts_minor": compact(list(claim.line_amounts_minor)).decode()}
    dispute = row.pop("dispute") or dict.fromkeys(_OF_DISPUTE)
    return row | {column: dispute[name] for name, column in _OF_DISPUTE.items()}


async def take_in(tx: Transaction, claim: Claim, manifest: SubmittedManifest, received_at: datetime) -> None:
    """Add a received claim, and take permanently its message, number and id, and its receipts while it lives.

    What is taken is refused: the message (a replay), the claim's number and version, its id, which is the author's
    choice, a receipt that is live on another claim of the same payer rank. So is a case id of another hospital: the
    log's chain and the case's secret belong to one.
    """
    number = {
        "hospital": manifest.sender,
        "claim_token": manifest.claim_token,
        "claim_version": manifest.claim_version,
        "claim_id": manifest.claim_id,
    }
    row = _row(claim) | {"received_at": rfc3339(received_at)}
    case = {"of_case": manifest.case_id, "of_hospital": manifest.sender}
    steps = [_noting(manifest, received_at), (_TAKE_NUMBER, number), (_ADD, row), *_taking_receipts(manifest)]
    noted, numbered, added, *receipts, of_another = await tx.execute_all(*steps, (_OF_ANOTHER, case))
    if of_another:
        raise ConflictError("claim.case-of-another")
    if not noted:
        await _refuse_message(tx, manifest)
    if not numbered:
        raise ConflictError("claim.number-taken")
    if not added:
        raise ConflictError("claim.id-taken")
    if not all(receipts):
        raise ConflictError("receipt.live-on-another-claim")


async def save(tx: Transaction, claim: Claim, *, seen: int, moved_by: tuple[Manifest, datetime] | None = None) -> None:
    """Write a moved claim, and the message that moved it; the row must still be at the revision that was loaded."""
    row = _row(claim)
    saving = (_SAVE, {f"new_{name}": row[name] for name in _CHANGED} | {"of_claim": claim.claim_id, "seen": seen})
    counts = await tx.execute_all(saving, *([] if moved_by is None else [_noting(*moved_by)]))
    if moved_by is not None and counts[1:] == [0]:
        await _refuse_message(tx, moved_by[0])
    if counts[0] != 1:
        raise RetryError("claim.moved-meanwhile")


def _noting(manifest: Manifest, at: datetime) -> tuple[Executable, dict[str, Any]]:
    """Remember (sender, msg_id) and (claim, msg_id) permanently; a second time is refused by `_refuse_message`."""
    row = {
        "sender": manifest.sender,
        "msg_id": manifest.msg_id,
        "claim_id": manifest.claim_id,
        "at": rfc3339(at),
        "on_claim": manifest.claim_id,
    }
    return _NOTE_MESSAGE, row


async def _refuse_message(tx: Transaction, manifest: Manifest) -> NoReturn:
    """Tell a replay, which its sender has signed before, from an id that another party of the claim has used."""
    replayed = await one(tx, _OWN_MESSAGE, {"of_sender": manifest.sender, "of_message": manifest.msg_id})
    raise ConflictError("message.replayed" if replayed else "message.id-taken")


def _taking_receipts(manifest: SubmittedManifest) -> list[tuple[Executable, dict[str, Any]]]:
    """Make every receipt live on this claim, in one order whoever takes them."""
    common = {"hospital": manifest.sender, "payer_rank": manifest.payer_rank, "claim_id": manifest.claim_id}
    return [(_TAKE_RECEIPT, common | {"receipt_token": token}) for token in sorted(set(manifest.receipt_tokens))]


async def let_go_of_receipts(tx: Transaction, claim_id: str) -> None:
    await tx.execute(delete(live_receipts).where(live_receipts.c.claim_id == claim_id))
