"""Queries of the Shenzhen edge. A claim is found by its hospital only: another's is as unknown as one that is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Row, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql

from adapters.sz.tables import claims, events
from gateway.protocol.canonical import compact, read_json, read_json_object
from gateway.protocol.claim_life import REFUSED
from gateway.protocol.errors import NotFoundError
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.rejected import Rejected
from gateway.runtime.storage.database import Transaction, one, rows

_TAKE_NUMBER = postgresql.insert(claims).on_conflict_do_nothing(
    index_elements=["hospital", "claim_token", "claim_version"]
)
_ADD_EVENT = insert(events)
_NAMED = claims.c.claim_id == bindparam("of_claim")
_FOLLOWED = ("state", "payment_state", "allowed_actions", "dispute")
_TOLD = bindparam("new_core_revision", type_=BigInteger)
_FOLLOW = (
    update(claims)
    .where(_NAMED, claims.c.core_revision <= _TOLD)
    .values({name: bindparam(f"new_{name}") for name in _FOLLOWED} | {"core_revision": _TOLD})
    .values(revision=claims.c.revision + 1)
    .returning(claims.c.claim_id, claims.c.case_id, claims.c.hospital)
)
_ADDRESSED = select(claims).where(_NAMED)
_ADDRESSED_LOCKED = _ADDRESSED.with_for_update()


@dataclass(frozen=True, slots=True)
class Whose:
    """A claim as news of it are addressed."""

    claim_id: str
    case_id: str
    hospital: str


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim as this edge knows it; boxes are still sealed under the case's secret."""

    claim_id: str
    case_id: str
    hospital: str
    claim_version: int
    msg_id: str
    format: str
    currency: str
    total_minor: int
    asked_minor: int
    state: str
    payment_state: str
    core_revision: int
    revision: int
    allowed_actions: tuple[str, ...]
    differences: tuple[str, ...]
    stamp: bytes
    kid: str
    summary: bytes
    bill: bytes
    answer: bytes | None
    at: str
    id: int
    dispute: Mapping[str, Any] | None = None
    """While it is disputed: `by` and `against` (party codes), `msg_id` of the dispute, `in_reply_to`."""
    disputed_places: tuple[str, ...] = ()


async def take_number(tx: Transaction, values: Mapping[str, Any]) -> bool:
    """Insert a claim; False if its hospital has used the claim number and version before."""
    taken = await tx.execute(_TAKE_NUMBER, values)
    return taken.rowcount == 1


async def number_taken(tx: Transaction, hospital: str, token: str, version: int) -> bool:
    """Say whether a hospital has used the claim number that this token stands for."""
    here = (claims.c.hospital == hospital, claims.c.claim_token == token, claims.c.claim_version == version)
    return await one(tx, select(claims.c.claim_id).where(*here)) is not None


async def load_by_number(tx: Transaction, hospital: str, tokens: Sequence[str], version: int) -> ClaimRow:
    """Load the claim of a claim number; `tokens` stand for its spellings, and the first claim of them counts."""
    here = (claims.c.hospital == hospital, claims.c.claim_token.in_(tokens), claims.c.claim_version == version)
    return _claim(await one(tx, select(claims).where(*here).order_by(claims.c.id).limit(1)))


async def load_claim(tx: Transaction, claim_id: str, hospital: str) -> ClaimRow:
    here = (claims.c.claim_id == claim_id, claims.c.hospital == hospital)
    return _claim(await one(tx, select(claims).where(*here)))


async def load_addressed(tx: Transaction, claim_id: str) -> ClaimRow:
    """Load a claim that a message of core names, whichever hospital's it is."""
    return _claim(await one(tx, _ADDRESSED, {"of_claim": claim_id}))


async def load_for_update(tx: Transaction, claim_id: str) -> ClaimRow:
    """Load and lock a claim that a message of core names."""
    return _claim(await one(tx, _ADDRESSED_LOCKED, {"of_claim": claim_id}))


async def list_claims(tx: Transaction, hospital: str, after: int, limit: int) -> list[ClaimRow]:
    """Return claims in the order they were handed in, those after row `after`."""
    here = (claims.c.hospital == hospital, claims.c.id > after)
    found = await rows(tx, select(claims).where(*here).order_by(claims.c.id).limit(limit))
    return [_claim(row) for row in found]


async def follow(tx: Transaction, message: ClaimState) -> Whose | None:
    """Write where core says a claim stands and return whose it is; None if core has told something newer before."""
    values = {
        "of_claim": message.claim_id,
        "new_state": message.state,
        "new_payment_state": message.payment_state,
        "new_core_revision": message.revision,
        "new_allowed_actions": _text(message.allowed_actions),
        "new_dispute": None if message.dispute is None else compact(message.dispute.model_dump(mode="json")).decode(),
    }
    found = await one(tx, _FOLLOW, values)
    if found is None:
        await load_addressed(tx, message.claim_id)
        return None
    return Whose(found.claim_id, found.case_id, found.hospital)


async def save_rejection(tx: Transaction, seen: ClaimRow, message: Rejected) -> None:
    """Take over what core says of the claim; the rejection of a later message leaves its state as it is."""
    values = {"allowed_actions": _text(message.allowed_actions)} | ({"state": message.state} if message.state else {})
    await _save(tx, seen, values)


async def save_answer(tx: Transaction, seen: ClaimRow, answer: bytes, differences: Sequence[str]) -> None:
    await _save(tx, seen, {"answer": answer, "differences": _text(differences)})


async def save_disputed_places(tx: Transaction, seen: ClaimRow, places: Sequence[str]) -> None:
    """Keep what the insurer says is wrong with the claim; core's word on where it stands follows."""
    await _save(tx, seen, {"disputed_places": _text(places)})


async def offer_nothing(tx: Transaction, seen: ClaimRow) -> None:
    """Offer no move until core has spoken about the one that was asked."""
    await _save(tx, seen, {"allowed_actions": _text(())})


async def load_refusal(tx: Transaction, claim_id: str) -> Mapping[str, Any] | None:
    """Return the code and the faults for which core refused the claim itself, from its timeline."""
    told = [event for event in await list_events(tx, claim_id) if event["event"] == "rejected"]
    return next((event for event in told if event["state"] == REFUSED), None)


async def _save(tx: Transaction, seen: ClaimRow, values: Mapping[str, Any]) -> None:
    here = (claims.c.claim_id == seen.claim_id, claims.c.revision == seen.revision)
    changed = await tx.execute(update(claims).where(*here).values({**values, "revision": seen.revision + 1}))
    if changed.rowcount != 1:
        raise RuntimeError("a locked claim has moved")


async def add_event(tx: Transaction, claim_id: str, event: str, at: str, shown: Mapping[str, Any]) -> None:
    row = {"claim_id": claim_id, "event": event, "at": at, "shown": compact(dict(shown)).decode()}
    await tx.later(_ADD_EVENT, row)


async def list_events(tx: Transaction, claim_id: str) -> list[dict[str, Any]]:
    """Return the timeline, oldest first."""
    found = await rows(tx, select(events).where(events.c.claim_id == claim_id).order_by(events.c.id))
    return [{"at": row.at, "event": row.event, **read_json_object(row.shown.encode())} for row in found]


def _text(words: Sequence[str]) -> str:
    return compact(list(words)).decode()


def _claim(row: Row[Any] | None) -> ClaimRow:
    if row is None:
        raise NotFoundError("claim.unknown")
    found = dict(row._mapping)
    del found["claim_token"]
    for name in ("allowed_actions", "differences", "disputed_places"):
        found[name] = () if found[name] is None else tuple(read_json(found[name].encode()))
    if found["dispute"] is not None:
        found["dispute"] = read_json_object(found["dispute"].encode())
    for name in ("stamp", "summary", "bill"):
        found[name] = bytes(found[name])
    return ClaimRow(**found)
