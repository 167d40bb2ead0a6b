"""Queries of the insurer's desk."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, exists, func, select, tuple_, update
from sqlalchemy.dialects import postgresql

from adapters.hk.desk.claim import ACCEPTED, OPEN, QUEUED, REJECTED, SENT, DeskAnswer, DeskClaim
from adapters.hk.desk.tables import answers, claims, cursors, releases, set_aside
from gateway.protocol.canonical import compact, read_json
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import ConflictError, NotFoundError
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState, DisputeStanding
from gateway.protocol.messages.rejected import Rejected
from gateway.runtime.storage.database import Transaction, one, rows

_LISTS = ("differences", "allowed_actions", "faults", "disputed_places")
Place = tuple[str | int, ...]
"""Where a page ended: opened_at, claim_id, claim_version of its last claim."""

_PLACE = (claims.c.opened_at, claims.c.claim_id, claims.c.claim_version)
_OF_CLAIM = tuple(column for column in claims.c if column.name != "content")


def _written(found: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: compact(list(found[name])).decode() for name in _LISTS if name in found}
    dispute = found.get("dispute")
    if isinstance(dispute, DisputeStanding):
        dispute = dispute.model_dump(mode="json")
    return {**found, **lists, **({"dispute": dispute and compact(dispute).decode()} if "dispute" in found else {})}


def _read(row: Row[Any]) -> dict[str, Any]:
    found = dict(row._mapping)
    for name in _LISTS:
        if name in found:
            found[name] = tuple(read_json(found[name].encode())) if found[name] is not None else ()
    if found.get("dispute") is not None:
        found["dispute"] = DisputeStanding.model_validate(read_json(found["dispute"].encode()))
    return found


# Cursor and releases


async def load_cursor(tx: Transaction, party: str) -> str | None:
    found = await one(tx, select(cursors.c.cursor).where(cursors.c.party == party))
    return None if found is None else str(found.cursor)


async def save_cursor(tx: Transaction, party: str, cursor: str) -> None:
    statement = postgresql.insert(cursors)
    changed = statement.on_conflict_do_update(index_elements=["party"], set_={"cursor": statement.excluded.cursor})
    await tx.execute(changed, {"party": party, "cursor": cursor})


async def load_newest_release(tx: Transaction) -> str | None:
    found = await one(tx, select(releases.c.raw).order_by(releases.c.number.desc()).limit(1))
    return None if found is None else str(found.raw)


async def save_release(tx: Transaction, number: int, raw: str, at: datetime) -> None:
    row = {"number": number, "raw": raw, "at": rfc3339(at)}
    await tx.execute(postgresql.insert(releases).on_conflict_do_nothing(), row)


# Claims


async def add_claim(tx: Transaction, claim: DeskClaim, content: bytes | None) -> bool:
    """Keep an opened claim; False if this message, or another of the same claim and version, is kept already."""
    row = _written(asdict(claim)) | {"content": content}
    return (await tx.execute(postgresql.insert(claims).on_conflict_do_nothing(), row)).rowcount == 1


async def knows_message(tx: Transaction, msg_id: str) -> bool:
    kept = await one(tx, select(exists().where(claims.c.msg_id == msg_id)))
    return kept is not None and bool(kept[0])


async def load_claim(tx: Transaction, claim_id: str, *, lock: bool = False) -> DeskClaim:
    """Load the newest version of a claim, locked where it is to be changed; `NotFoundError` if there is none."""
    newest = select(*_OF_CLAIM).where(claims.c.claim_id == claim_id).order_by(claims.c.claim_version.desc()).limit(1)
    found = await one(tx, newest.with_for_update() if lock else newest)
    if found is None:
        raise NotFoundError("claim.unknown")
    return DeskClaim(**_read(found))


async def load_content(tx: Transaction, claim: DeskClaim) -> bytes | None:
    """Load the sealed content of a claim; None if its dossier could not be opened."""
    here = (claims.c.claim_id == claim.claim_id, claims.c.claim_version == claim.claim_version)
    found = await one(tx, select(claims.c.content).where(*here))
    return None if found is None or found.content is None else bytes(found.content)


async def list_claims(tx: Transaction, after: Place | None, limit: int) -> list[DeskClaim]:
    statement = select(*_OF_CLAIM).order_by(*_PLACE).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*_PLACE) > after)
    return [DeskClaim(**_read(row)) for row in await rows(tx, statement)]


# Answers


async def add_answer(tx: Transaction, answer: DeskAnswer) -> None:
    """Queue a signed answer; `ConflictError` if the claim has an open one."""
    if await has_open_answer(tx, answer.claim_id, answer.claim_version):
        raise ConflictError("desk.answer-on-its-way", allowed_actions=())
    added = await tx.execute(postgresql.insert(answers).on_conflict_do_nothing(), _written(asdict(answer)))
    if added.rowcount != 1:  # a twin in another transaction was faster
        raise ConflictError("desk.answer-on-its-way", allowed_actions=())


async def has_open_answer(tx: Transaction, claim_id: str, claim_version: int) -> bool:
    here = (answers.c.claim_id == claim_id, answers.c.claim_version == claim_version, answers.c.status.in_(OPEN))
    found = await one(tx, select(func.count()).select_from(answers).where(*here))
    return found is not None and found[0] > 0


async def load_answer(tx: Transaction, request_id: str) -> DeskAnswer:
    found = await one(tx, select(answers).where(answers.c.request_id == request_id))
    if found is None:
        raise NotFoundError("request.unknown")
    return DeskAnswer(**_read(found))


async def list_answers(tx: Transaction, claim_id: str) -> list[DeskAnswer]:
    statement = select(answers).where(answers.c.claim_id == claim_id)
    found = await rows(tx, statement.order_by(answers.c.authored_at, answers.c.request_id))
    return [DeskAnswer(**_read(row)) for row in found]


async def list_due(tx: Transaction, now: datetime, limit: int) -> list[DeskAnswer]:
    """Return queued answers whose time has come, longest waiting first."""
    due = (answers.c.status == QUEUED, answers.c.next_at <= rfc3339(now))
    found = await rows(tx, select(answers).where(*due).order_by(answers.c.next_at).limit(limit))
    return [DeskAnswer(**_read(row)) for row in found]


async def _change(tx: Transaction, msg_id: str, statuses: Sequence[str], changed: Mapping[str, Any]) -> bool:
    """Change an answer that is still in one of `statuses`; False if it has moved on."""
    here = (answers.c.msg_id == msg_id, answers.c.status.in_(statuses))
    return (await tx.execute(update(answers).where(*here).values(_written(changed)))).rowcount == 1


async def mark_sent(tx: Transaction, msg_id: str, receipt: str | None) -> None:
    """Note that the edge has taken an answer; core may have spoken already."""
    await _change(tx, msg_id, (QUEUED,), {"status": SENT, "receipt": receipt})


async def postpone(tx: Transaction, answer: DeskAnswer, next_at: datetime) -> None:
    changed = {"attempts": answer.attempts + 1, "next_at": rfc3339(next_at)}
    await _change(tx, answer.msg_id, (QUEUED,), changed)


async def sign_anew(tx: Transaction, old: DeskAnswer, new: DeskAnswer) -> bool:
    """Put newly signed bytes in the place of an answer that nobody has taken."""
    changed = {
        "msg_id": new.msg_id,
        "posted": new.posted,
        "authored_at": new.authored_at,
        "next_at": new.next_at,
    }
    return await _change(tx, old.msg_id, (QUEUED,), changed)


async def reject(
    tx: Transaction,
    msg_id: str,
    *,
    code: str,
    faults: Sequence[str],
    allowed_actions: Sequence[str],
    state: str | None = None,
) -> None:
    changed = {
        "status": REJECTED,
        "code": code,
        "faults": faults,
        "state": state,
        "allowed_actions": allowed_actions,
    }
    await _change(tx, msg_id, OPEN, changed)


async def follow(tx: Transaction, told: Accepted | Rejected | ClaimState) -> None:
    """Write core's word to the answer and to the claim; hearing it twice changes nothing."""
    if isinstance(told, ClaimState):
        return await _follow_claim(tx, told, None)
    found = await one(tx, select(answers).where(answers.c.msg_id == told.in_reply_to))
    answer = None if found is None else DeskAnswer(**_read(found))
    if isinstance(told, Rejected):
        await reject(
            tx,
            told.in_reply_to,
            code=told.code,
            faults=told.faults,
            allowed_actions=told.allowed_actions,
            state=told.state,
        )
        return await allow(tx, told.claim_id, told.allowed_actions)
    changed = {"status": ACCEPTED, "state": told.state, "allowed_actions": told.allowed_actions}
    await _change(tx, told.in_reply_to, OPEN, changed)
    return await _follow_claim(tx, told, answer.decision_version if answer else None)


async def _follow_claim(tx: Transaction, told: Accepted | ClaimState, decision_version: int | None) -> None:
    try:
        claim = await load_claim(tx, told.claim_id, lock=True)
    except NotFoundError:  # answered by the insurer's other system, before this desk was opened
        return
    moved = claim.follow(told, decision_version)
    here = (claims.c.claim_id == claim.claim_id, claims.c.claim_version == claim.claim_version)
    now = {
        "state": moved.state,
        "revision": moved.revision,
        "allowed_actions": moved.allowed_actions,
        "decision_version": moved.decision_version,
        "dispute": moved.dispute,
    }
    await tx.execute(update(claims).where(*here, claims.c.revision == claim.revision).values(_written(now)))


async def keep_disputed_places(tx: Transaction, claim_id: str, places: Sequence[str]) -> None:
    """Keep what the hospital says is wrong with an answer; core's word on the claim follows."""
    told = _written({"disputed_places": places})
    await tx.execute(update(claims).where(claims.c.claim_id == claim_id).values(told))


async def allow(tx: Transaction, claim_id: str, allowed_actions: Sequence[str]) -> None:
    """Take over what core would have allowed when it refused; silence about it changes nothing."""
    if allowed_actions:
        actions = compact(list(allowed_actions)).decode()
        await tx.execute(update(claims).where(claims.c.claim_id == claim_id).values(allowed_actions=actions))


# Set aside


async def put_aside(
    tx: Transaction, *, msg_id: str, kind: str, why: str, code: str, exchange: bytes, at: datetime
) -> bool:
    """Keep what was not believed; False if it is kept already."""
    row = {"msg_id": msg_id, "type": kind, "why": why, "code": code, "exchange": exchange, "at": rfc3339(at)}
    return (await tx.execute(postgresql.insert(set_aside).on_conflict_do_nothing(), row)).rowcount == 1
