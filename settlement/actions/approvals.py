"""Use cases of approvals: treasurers sign a batch; the second person's signature releases it."""

from datetime import timedelta

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import parse_rfc3339
from gateway.protocol.errors import BadSignatureError, Fault, ForbiddenError, InvalidInputError, MalformedInputError
from gateway.protocol.jose import Typ, key_id, verify
from gateway.protocol.records import record
from gateway.protocol.registry import Use
from gateway.runtime.storage.database import Transaction
from settlement import store
from settlement.actions import Deps
from settlement.batch import Approval, Batch

CLOCK_SKEW = timedelta(seconds=60)
"""How far a treasurer's clock may be ahead of ours; the same as for logins."""


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
