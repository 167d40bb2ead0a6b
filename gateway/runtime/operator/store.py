"""What operators are shown of messages that wait: places, codes, sizes, hashes and times, never content.

Lists go by keyset: the caller hands in the last row's sort values, and `Page.last` has them for the next page.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, Table, and_, func, or_, select

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import NotFoundError
from gateway.protocol.hints import HINTS
from gateway.runtime.storage.database import Transaction, one, rows
from gateway.runtime.storage.tables import inbox, operator_requests, parked, quarantine

PARKED = ("id", "consumer", "topic", "partition", "offset", "key", "role", "epoch", "seq")
PARKED_WHY = ("why", "code", "attempts", "since", "next_at", "sha256")
SET_ASIDE = ("id", "consumer", "topic", "partition", "offset", "key", "code", "attempts", "at", "bytes", "sha256")
DECIDED = ("dropped_at", "dropped_by", "reason", "ticket")
ID = re.compile(r"[A-Za-z0-9._-]{1,80}")
REQUESTED = ("request_id", "action", "asked_by", "asked_at")


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page; `last` are the sort values of its last row, None where nothing comes after."""

    rows: list[dict[str, Any]]
    last: tuple[str | int, ...] | None


async def list_parked(tx: Transaction, after: Sequence[str | int], limit: int) -> Page:
    """List what waits, oldest first."""
    here = [parked.c.id > int(after[0])] if after else []
    return await _page(tx, _parked().where(*here).order_by(parked.c.id), ("id",), limit)


async def list_quarantine(tx: Transaction, after: Sequence[str | int], limit: int) -> Page:
    """List bytes that were set aside and not dropped, newest first."""
    here = [quarantine.c.dropped_at.is_(None), *([quarantine.c.id < int(after[0])] if after else [])]
    wanted = _of(quarantine, SET_ASIDE).where(*here).order_by(quarantine.c.id.desc())
    return await _page(tx, wanted, ("id",), limit)


async def list_requests(tx: Transaction, after: Sequence[str | int], limit: int, since: str) -> Page:
    """List what still waits for a second person, oldest first; what was asked before `since` is over."""
    at, request_id = operator_requests.c.asked_at, operator_requests.c.request_id
    here = [operator_requests.c.confirmed_at.is_(None), at >= since]
    if after:
        here.append(or_(at > after[0], and_(at == after[0], request_id > after[1])))
    wanted = _of(operator_requests, (*REQUESTED, "form")).where(*here).order_by(at, request_id)
    page = await _page(tx, wanted, ("asked_at", "request_id"), limit)
    return Page([row | {"form": read_json_object(row["form"].encode())} for row in page.rows], page.last)


async def show_parked(tx: Transaction, number: int) -> dict[str, Any]:
    """Tell everything about one message that waits, with how far its stream has come."""
    found = await one(tx, _parked().where(parked.c.id == number))
    if found is None:
        raise NotFoundError("parked.unknown")
    stream = [inbox.c[name] == found._mapping[name] for name in ("consumer", "role", "topic", "key", "epoch")]
    last = await one(tx, select(inbox.c.last_seq).where(*stream))
    return _shown(found) | {"stream_seq": last.last_seq if last else 0} | _explained(found.code)


async def show_quarantined(tx: Transaction, number: int) -> dict[str, Any]:
    """Tell everything about bytes that were set aside, and what an operator decided about them."""
    found = await one(tx, _of(quarantine, (*SET_ASIDE, *DECIDED)).where(quarantine.c.id == number))
    if found is None:
        raise NotFoundError("quarantine.unknown")
    return _shown(found) | _explained(found.code)


def _parked() -> Select[Any]:
    size = func.length(parked.c.value).label("bytes")
    return _of(parked, (*PARKED, *PARKED_WHY)).add_columns(size)


def _of(table: Table, names: Sequence[str]) -> Select[Any]:
    return select(*(table.c[name] for name in names))


async def _page(tx: Transaction, wanted: Select[Any], keys: Sequence[str], limit: int) -> Page:
    """Read one row more than asked for, which tells whether another page comes."""
    found = [_shown(row) for row in await rows(tx, wanted.limit(limit + 1))]
    shown = found[:limit]
    return Page(shown, tuple(shown[-1][key] for key in keys) if len(found) > limit else None)


def _shown(row: Row[Any]) -> dict[str, Any]:
    """Take a row's columns; a record's key that is no id was written by a stranger, and is content like the rest."""
    shown = dict(row._mapping)
    if "key" in shown and not ID.fullmatch(shown["key"]):
        shown["key"] = ""
    return shown


def _explained(code: str) -> dict[str, str]:
    """Add sentence and fix; the code of a halt is the class of an error, which has none."""
    hint = HINTS.get(code)
    return {"says": hint.sentence, "fix": hint.fix()} if hint else {}
