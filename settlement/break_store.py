"""Queries of breaks, of the bank's pages that hold them, and of the cursor that must not stop unnoticed."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql

from gateway.protocol.canonical import compact, read_json_object, sha256_hex
from gateway.protocol.errors import ConflictError, NotFoundError
from gateway.runtime.storage.database import Transaction, one, rows
from settlement.breaks import OpenBreak
from settlement.tables import bank_pages, breaks, cursors

PAGE_BYTES_MAX = 1024 * 1024
"""Of a kept page; what is longer is cut, its hash stays that of the whole."""
PAGES_MAX = 1000
"""Kept pages; the oldest one without an open break makes room."""

_SHOWN = (
    *("break_id", "kind", "reason", "owner", "batch_id", "account", "amount_minor", "currency", "since"),
    *("resolved_at", "resolution", "ticket", "asked_by", "confirmed_by", "subject", "page_sha256", "document"),
)


async def add_break(tx: Transaction, found: OpenBreak, at: str) -> bool:
    """Store a new break; False if its row has one already."""
    row = {
        "break_id": found.break_id,
        "subject": found.subject,
        "kind": found.kind,
        "reason": found.reason,
        "owner": found.owner,
        "batch_id": found.batch_id,
        "account": found.account,
        "amount_minor": found.amount_minor,
        "currency": found.currency,
        "document": compact(found.document).decode(),
        "page_sha256": found.page_sha256,
        "posting": found.posting,
        "since": at,
    }
    return (await tx.execute(postgresql.insert(breaks).on_conflict_do_nothing(), row)).rowcount == 1


async def load_break(tx: Transaction, break_id: str, *, lock: bool = False) -> Row[Any]:
    here = select(breaks).where(breaks.c.break_id == break_id)
    found = await one(tx, here.with_for_update() if lock else here)
    if found is None:
        raise NotFoundError("break.unknown")
    return found


async def list_breaks(
    tx: Transaction, after: Sequence[str | int], limit: int, *, resolved: bool = False
) -> list[dict[str, Any]]:
    """List breaks, oldest first, at most `limit` after the sort values `after`; without `resolved` only open ones."""
    here: list[ColumnElement[bool]] = [] if resolved else [breaks.c.resolved_at.is_(None)]
    if after:
        since, last = after
        here.append(or_(breaks.c.since > since, and_(breaks.c.since == since, breaks.c.break_id > last)))
    wanted = select(*(breaks.c[name] for name in _SHOWN)).where(*here).order_by(breaks.c.since, breaks.c.break_id)
    return [_shown(row) for row in await rows(tx, wanted.limit(limit))]


async def show_break(tx: Transaction, break_id: str) -> dict[str, Any]:
    return _shown(await load_break(tx, break_id))


def _shown(row: Row[Any]) -> dict[str, Any]:
    found = {name: row._mapping[name] for name in _SHOWN}
    return found | {"document": read_json_object(row.document.encode())}


async def resolve_break(tx: Transaction, break_id: str, resolved: dict[str, str]) -> None:
    """Note how a break was resolved; one that is resolved already is refused."""
    here = (breaks.c.break_id == break_id, breaks.c.resolved_at.is_(None))
    if (await tx.execute(update(breaks).where(*here).values(resolved))).rowcount != 1:
        raise ConflictError("break.resolved-already")


async def has_open_break(tx: Transaction, batch_id: str) -> bool:
    here = (breaks.c.batch_id == batch_id, breaks.c.resolved_at.is_(None))
    return await one(tx, select(breaks.c.break_id).where(*here).limit(1)) is not None


async def keep_page(tx: Transaction, bank: str, raw: bytes, at: str) -> str:
    """Keep the beginning of a page that a person has to see, once; returns the hash of the whole."""
    page_sha256 = sha256_hex(raw)
    kept = select(bank_pages.c.page_sha256).where(bank_pages.c.page_sha256 == page_sha256)
    if await one(tx, kept) is not None:
        return page_sha256
    count = await one(tx, select(func.count().label("number")).select_from(bank_pages))
    if count is not None and count.number >= PAGES_MAX:
        await _drop_oldest(tx)
    row = {
        "page_sha256": page_sha256,
        "bank": bank,
        "bytes": len(raw),
        "deflated": zlib.compress(raw[:PAGE_BYTES_MAX]),
        "at": at,
    }
    await tx.execute(postgresql.insert(bank_pages).on_conflict_do_nothing(), row)
    return page_sha256


async def _drop_oldest(tx: Transaction) -> None:
    """Drop the oldest page that nobody needs any more; where all are needed, none is dropped."""
    still_open = select(breaks.c.page_sha256).where(
        breaks.c.resolved_at.is_(None), breaks.c.page_sha256 == bank_pages.c.page_sha256
    )
    wanted = select(bank_pages.c.page_sha256).where(~still_open.exists()).order_by(bank_pages.c.at).limit(1)
    oldest = await one(tx, wanted)
    if oldest is not None:
        await tx.execute(bank_pages.delete().where(bank_pages.c.page_sha256 == oldest.page_sha256))


async def load_page(tx: Transaction, page_sha256: str | None) -> bytes:
    """Return a kept page, cut to `PAGE_BYTES_MAX`."""
    found = await one(tx, select(bank_pages.c.deflated).where(bank_pages.c.page_sha256 == page_sha256))
    if found is None:
        raise NotFoundError("break.no-page")
    return zlib.decompress(found.deflated)


@dataclass(frozen=True, slots=True)
class Stuck:
    """Why a bank's cursor goes no further, and since when."""

    bank: str
    since: str
    code: str
    page_sha256: str | None


async def load_stuck(tx: Transaction) -> list[Stuck]:
    wanted = select(cursors).where(cursors.c.stuck_since.is_not(None))
    return [Stuck(row.bank, row.stuck_since, row.stuck_code, row.page_sha256) for row in await rows(tx, wanted)]


async def mark_stuck(tx: Transaction, bank: str, code: str, at: str, page_sha256: str | None) -> None:
    """Note that the cursor cannot go on; the moment of the first time stays."""
    row = {"bank": bank, "cursor": "", "stuck_since": at, "stuck_code": code, "page_sha256": page_sha256}
    statement = postgresql.insert(cursors)
    changed = {
        "stuck_since": func.coalesce(cursors.c.stuck_since, at),
        "stuck_code": statement.excluded.stuck_code,
        "page_sha256": statement.excluded.page_sha256,
    }
    await tx.execute(statement.on_conflict_do_update(index_elements=["bank"], set_=changed), row)


async def clear_stuck(tx: Transaction, bank: str) -> None:
    here = (cursors.c.bank == bank, cursors.c.stuck_since.is_not(None))
    await tx.execute(update(cursors).where(*here).values(stuck_since=None, stuck_code=None, page_sha256=None))


@dataclass(frozen=True, slots=True)
class OpenBreaks:
    """How many breaks wait, and since when the oldest does."""

    count: int
    since: str | None


async def count_open(tx: Transaction) -> OpenBreaks:
    wanted = select(func.count().label("number"), func.min(breaks.c.since).label("since"))
    found = await one(tx, wanted.where(breaks.c.resolved_at.is_(None)))
    return OpenBreaks(found.number, found.since) if found else OpenBreaks(0, None)
