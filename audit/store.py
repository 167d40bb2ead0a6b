"""Queries of the audit component and of a witness."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql

from audit.leaf import Leaf, Position
from audit.tables import entries, exceptions, heads, rule_progress, set_aside, stops
from audit.witness_tables import witnessed
from gateway.protocol.canonical import sha256_hex
from gateway.runtime.storage.database import Transaction, one, rows


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head: `published` is its note with cosignatures; None until witnesses have cosigned this very head."""

    size: int
    root: bytes
    note: bytes
    published: bytes | None


async def next_index(tx: Transaction, log: str) -> int:
    """Return the index of a log's next entry; the caller's work is the only one that adds (one consumer).

    Indexes are dense and nothing is ever deleted, so one look at the end of the primary key says what counting would.
    """
    newest = select(entries.c.idx).where(entries.c.log == log).order_by(entries.c.idx.desc()).limit(1)
    row = await one(tx, newest)
    return 0 if row is None else int(row.idx) + 1


async def list_known(tx: Transaction, eids: Sequence[str]) -> dict[str, bytes]:
    found = await rows(tx, select(entries.c.eid, entries.c.entry).where(entries.c.eid.in_(eids)))
    return {row.eid: bytes(row.entry) for row in found}


async def load_last(tx: Transaction, src: str) -> Position | None:
    """Return the place of the last entry that any of the logs has of a source."""
    row = await load_last_entry(tx, src)
    return None if row is None else Position(row.ep, row.sq, row.eid)


async def load_last_entry(tx: Transaction, src: str) -> Row[Any] | None:
    of_source = select(entries).where(entries.c.src == src)
    return await one(tx, of_source.order_by(entries.c.ep.desc(), entries.c.sq.desc()).limit(1))


async def load_entry_at(tx: Transaction, src: str, epoch: int, sq: int) -> Row[Any] | None:
    return await one(tx, select(entries).where(entries.c.src == src, entries.c.ep == epoch, entries.c.sq == sq))


async def add_set_aside(tx: Transaction, leaf: Leaf, raw: bytes, reason: str, at: str) -> None:
    """Keep an entry that cannot stand in the log; kept once, however often it comes."""
    row = {
        "src": leaf.src,
        "sha256": sha256_hex(raw),
        "ep": leaf.ep,
        "sq": leaf.sq,
        "eid": leaf.eid,
        "entry": raw,
        "reason": reason,
        "at": at,
    }
    await tx.execute(postgresql.insert(set_aside).on_conflict_do_nothing(), row)


async def remove_set_aside(tx: Transaction, src: str, raw: bytes) -> None:
    await tx.execute(delete(set_aside).where(set_aside.c.src == src, set_aside.c.sha256 == sha256_hex(raw)))


async def list_waiting(tx: Transaction, src: str, epoch: int, limit: int) -> list[bytes]:
    """Return entries of an epoch that were set aside behind a skipped number, by number."""
    behind = (set_aside.c.src == src, set_aside.c.ep == epoch, set_aside.c.reason == "skipped")
    waiting = select(set_aside.c.entry).where(*behind)
    return [bytes(row.entry) for row in await rows(tx, waiting.order_by(set_aside.c.sq).limit(limit))]


async def count_set_aside(tx: Transaction, src: str) -> int:
    counted = await one(tx, select(func.count()).select_from(set_aside).where(set_aside.c.src == src))
    return int(counted[0]) if counted else 0


async def load_stop(tx: Transaction, src: str) -> Row[Any] | None:
    return await one(tx, select(stops).where(stops.c.src == src))


async def list_stops(tx: Transaction) -> Sequence[Row[Any]]:
    return await rows(tx, select(stops).order_by(stops.c.src))


async def save_stop(tx: Transaction, src: str, reason: str, *, epoch: int, sq: int, at: str) -> None:
    statement = postgresql.insert(stops)
    changed = {name: statement.excluded[name] for name in ("reason", "ep", "sq", "at")}
    stopping = statement.on_conflict_do_update(index_elements=["src"], set_=changed)
    await tx.execute(stopping, {"src": src, "reason": reason, "ep": epoch, "sq": sq, "at": at})


async def remove_stop(tx: Transaction, src: str) -> None:
    await tx.execute(delete(stops).where(stops.c.src == src))


async def add_entries(tx: Transaction, log: str, first: int, added: Sequence[tuple[Leaf, bytes]]) -> None:
    values = [
        {
            "log": log,
            "idx": first + at,
            "eid": leaf.eid,
            "src": leaf.src,
            "ep": leaf.ep,
            "sq": leaf.sq,
            "typ": leaf.typ,
            "cref": leaf.cref,
            "entry": raw,
        }
        for at, (leaf, raw) in enumerate(added)
    ]
    await tx.execute(insert(entries), values)


async def list_entries(tx: Transaction, log: str, start: int, limit: int) -> list[bytes]:
    here = (entries.c.log == log, entries.c.idx >= start)
    found = await rows(tx, select(entries.c.entry).where(*here).order_by(entries.c.idx).limit(limit))
    return [bytes(row.entry) for row in found]


async def list_of_claim(tx: Transaction, cref: str) -> Sequence[Row[Any]]:
    here = select(entries).where(entries.c.cref == cref)
    return await rows(tx, here.order_by(entries.c.log, entries.c.idx))


async def list_of_claims(tx: Transaction, crefs: Sequence[str]) -> dict[str, list[bytes]]:
    """Return the entries of several claims, each claim's in log order, in one query."""
    of_claims = select(entries.c.cref, entries.c.entry).where(entries.c.cref.in_(crefs))
    by_claim: dict[str, list[bytes]] = {cref: [] for cref in crefs}
    for row in await rows(tx, of_claims.order_by(entries.c.log, entries.c.idx)):
        by_claim[row.cref].append(bytes(row.entry))
    return by_claim


async def list_claims_after(tx: Transaction, log: str, after: int, limit: int) -> tuple[int, list[str]]:
    """Return how far the rules have now looked, and the claims that changed since `after`."""
    here = (entries.c.log == log, entries.c.idx > after)
    found = await rows(tx, select(entries.c.idx, entries.c.cref).where(*here).order_by(entries.c.idx).limit(limit))
    last = found[-1].idx if found else after
    return last, sorted({row.cref for row in found if row.cref})


async def load_head(tx: Transaction, log: str) -> Head | None:
    found = await one(tx, select(heads).where(heads.c.log == log))
    if found is None:
        return None
    published = None if found.published is None else bytes(found.published)
    return Head(found.size, bytes(found.root), bytes(found.note), published)


async def swap_head(tx: Transaction, log: str, *, seen: Head | None, new: Head, at: str) -> bool:
    """Compare and swap the signed head; False if another sequencer was faster."""
    row = {"size": new.size, "root": new.root, "note": new.note, "published": new.published, "at": at}
    if seen is None:
        statement = postgresql.insert(heads).on_conflict_do_nothing()
        return (await tx.execute(statement, row | {"log": log})).rowcount == 1
    here = (heads.c.log == log, heads.c.size == seen.size, heads.c.root == seen.root)
    return (await tx.execute(update(heads).where(*here).values(row))).rowcount == 1


async def note_published(tx: Transaction, log: str, size: int, published: bytes, at: str) -> None:
    here = (heads.c.log == log, heads.c.size == size)
    await tx.execute(update(heads).where(*here).values(published=published, at=at))


async def list_logs(tx: Transaction) -> list[str]:
    return [row.log for row in await rows(tx, select(heads.c.log).order_by(heads.c.log))]


async def load_rule_progress(tx: Transaction, log: str) -> int:
    found = await one(tx, select(rule_progress.c.idx).where(rule_progress.c.log == log))
    return -1 if found is None else int(found.idx)


async def save_rule_progress(tx: Transaction, log: str, idx: int) -> None:
    statement = postgresql.insert(rule_progress)
    moved = statement.on_conflict_do_update(index_elements=["log"], set_={"idx": statement.excluded.idx})
    await tx.execute(moved, {"log": log, "idx": idx})


async def add_exception(tx: Transaction, rule: str, subject: str, eid: str, at: str) -> bool:
    """Note a finding once; False if it is known."""
    row = {"rule": rule, "subject": subject, "eid": eid, "state": "open", "at": at}
    return (await tx.execute(postgresql.insert(exceptions).on_conflict_do_nothing(), row)).rowcount == 1


async def list_exceptions(tx: Transaction) -> Sequence[Row[Any]]:
    return await rows(tx, select(exceptions).order_by(exceptions.c.at, exceptions.c.rule, exceptions.c.subject))


async def load_witnessed(tx: Transaction, origin: str, *, lock: bool = True) -> Row[Any] | None:
    """Load what the witness saw last of a log; a reader, who may not lock, says so."""
    statement = select(witnessed).where(witnessed.c.origin == origin)
    return await one(tx, statement.with_for_update() if lock else statement)


async def save_witnessed(tx: Transaction, origin: str, size: int, root: bytes, note: bytes) -> None:
    statement = postgresql.insert(witnessed)
    changed = {"size": statement.excluded.size, "root": statement.excluded.root, "note": statement.excluded.note}
    moved = statement.on_conflict_do_update(
        index_elements=["origin"], set_=changed | {"revision": witnessed.c.revision + 1}
    )
    await tx.execute(moved, {"origin": origin, "size": size, "root": root, "note": note, "revision": 1})
