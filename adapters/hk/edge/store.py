"""Queries of the Hong Kong edge."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.dialects import postgresql

from adapters.hk.edge.tables import claims, messages, requests
from gateway.protocol.canonical import compact, read_json
from gateway.protocol.claim_life import FIRST_REVISION, FIRST_STATE
from gateway.protocol.errors import ConflictError, NotFoundError
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState, DisputeStanding
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.runtime.storage.database import Transaction, one, rows

_ADD_CLAIM = insert(claims)
_ADD_MESSAGE = insert(messages)


async def save_claim(tx: Transaction, manifest: SubmittedManifest, actions: Sequence[str], at: str) -> None:
    row = {
        "claim_id": manifest.claim_id,
        "case_id": manifest.case_id,
        "party": manifest.recipients[0],
        "hospital": manifest.sender,
        "msg_id": manifest.msg_id,
        "claim_version": manifest.claim_version,
        "state": FIRST_STATE,
        "revision": FIRST_REVISION,
        "allowed_actions": compact(list(actions)).decode(),
        "received_at": at,
        "content_sha256": manifest.content_sha256,
    }
    await tx.later(_ADD_CLAIM, row)


async def save_message(
    tx: Transaction, *, msg_id: str, party: str, kind: str, claim_id: str, exchange: bytes, at: str
) -> None:
    row = {
        "msg_id": msg_id,
        "party": party,
        "type": kind,
        "claim_id": claim_id,
        "exchange": exchange,
        "bytes": len(exchange),
        "at": at,
    }
    await tx.later(_ADD_MESSAGE, row)


async def load_claim(tx: Transaction, claim_id: str, party: str) -> Row[Any]:
    """Load a party's claim; somebody else's is as unknown as none."""
    found = await one(tx, select(claims).where(claims.c.claim_id == claim_id, claims.c.party == party))
    if found is None:
        raise NotFoundError("claim.unknown")
    return found


async def has_claim(tx: Transaction, claim_id: str) -> bool:
    """Say whether a claim of this id was presented, to whichever party."""
    return await one(tx, select(claims.c.claim_id).where(claims.c.claim_id == claim_id)) is not None


async def find_message(tx: Transaction, msg_id: str, party: str) -> bytes | None:
    """Return the exchange object that was delivered to a party under this id, None if none was."""
    here = (messages.c.msg_id == msg_id, messages.c.party == party)
    row = await one(tx, select(messages.c.exchange).where(*here))
    return None if row is None else bytes(row.exchange)


async def load_message(tx: Transaction, msg_id: str, party: str) -> bytes:
    exchange = await find_message(tx, msg_id, party)
    if exchange is None:
        raise NotFoundError("message.unknown")
    return exchange


async def add_request(tx: Transaction, manifest: Manifest, at: str) -> None:
    """Take (sender, msg_id) for ever; a second time is a replay."""
    row = {
        "sender": manifest.sender,
        "msg_id": manifest.msg_id,
        "type": manifest.type,
        "claim_id": manifest.claim_id,
        "status": "pending",
        "at": at,
    }
    if (await tx.execute(postgresql.insert(requests).on_conflict_do_nothing(), row)).rowcount != 1:
        raise ConflictError("message.replayed")


async def load_request(tx: Transaction, sender: str, msg_id: str) -> dict[str, Any]:
    here = (requests.c.sender == sender, requests.c.msg_id == msg_id)
    found = await one(tx, select(requests).where(*here))
    if found is None:
        raise NotFoundError("request.unknown")
    row = {name: value for name, value in found._mapping.items() if value is not None}
    for name in ("faults", "allowed_actions"):
        if name in row:
            row[name] = read_json(row[name].encode())
    return row


async def settle_request(tx: Transaction, outcome: Accepted | Rejected) -> None:
    """Write core's answer to a request, and what it tells about the claim."""
    changed: dict[str, Any] = {
        "status": outcome.type,
        "state": outcome.state,
        "allowed_actions": compact(list(outcome.allowed_actions)).decode(),
    }
    if isinstance(outcome, Accepted):
        changed["revision"] = outcome.revision
        await follow(tx, outcome)
    else:
        changed |= {"code": outcome.code, "faults": compact(list(outcome.faults)).decode()}
    here = (requests.c.sender == outcome.to, requests.c.msg_id == outcome.in_reply_to)
    await tx.execute(update(requests).where(*here).values(changed))


async def follow(tx: Transaction, outcome: Accepted | ClaimState) -> None:
    """Take over where core says a claim stands; what is not newer changes nothing."""
    standing = {
        "state": outcome.state,
        "revision": outcome.revision,
        "allowed_actions": compact(list(outcome.allowed_actions)).decode(),
        "dispute": _dispute(outcome.dispute),
    }
    newer = (claims.c.claim_id == outcome.claim_id, claims.c.revision < outcome.revision)
    await tx.execute(update(claims).where(*newer).values(standing))


def _dispute(raised: DisputeStanding | None) -> str | None:
    return None if raised is None else compact(raised.model_dump(mode="json")).decode()


async def has_message(tx: Transaction, claim_id: str, msg_id: str) -> bool:
    """Say whether something of this claim was delivered under this id, to whichever party."""
    delivered = select(messages.c.msg_id).where(messages.c.msg_id == msg_id, messages.c.claim_id == claim_id)
    return bool(await rows(tx, delivered))


def claim_body(claim: Row[Any]) -> dict[str, Any]:
    names = ("claim_id", "case_id", "hospital", "msg_id", "claim_version", "state", "revision", "received_at")
    actions = read_json(claim.allowed_actions.encode())
    body = {name: getattr(claim, name) for name in names} | {"allowed_actions": actions}
    return body if claim.dispute is None else body | {"dispute": read_json(claim.dispute.encode())}
