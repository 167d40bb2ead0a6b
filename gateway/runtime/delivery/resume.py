"""The way on for a role whose database was set back to an older backup: it begins a new source epoch.

Done while the role does not run, in one transaction. Numbers start anew, the key stays, and the epoch's first record
says after which entry of the log. What the log has of this role stays as it is; records that it does not have, and the
messages that went with them under numbers already used, are numbered and sent again in the new epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import GatewayError
from gateway.protocol.records import record
from gateway.runtime.delivery.outbox import Sender
from gateway.runtime.delivery.source_watch import LoggedEntry, SourceWatch, is_behind, load_epoch
from gateway.runtime.storage.database import Transaction, one, rows
from gateway.runtime.storage.tables import audit_rows, outbox, source_epochs, streams

EIDS_AT_ONCE = 500


class ResumeError(Exception):
    """There is nothing to resume, or it cannot be told from where; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Who has the role go on, and why; all of it becomes part of the log. Two different persons."""

    client_id: str
    second_client_id: str
    reason: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The epoch that begins, the entry it is linked to, and what is numbered and sent again in it."""

    epoch: int
    last: LoggedEntry
    records: int
    messages: int


async def resume(watch: SourceWatch, sender: Sender, decision: Decision) -> Resumed:
    """Begin a new epoch after the last entry that the log has of this role; `ResumeError` where it is not behind."""
    try:
        last = (await watch.ask_last()).last
    except GatewayError as error:
        sentence = f"the audit role does not say what the log has of {watch.source} (setting `audit_url`): {error.code}"
        raise ResumeError(sentence) from None
    behind = await watch.database.read(lambda tx: is_behind(tx, last))
    if last is None or not behind:
        raise ResumeError(f"the log knows nothing of {watch.source} that its own database does not have")
    common = await _last_common(watch)

    async def work(tx: Transaction) -> Resumed:
        return await _begin_epoch(tx, sender, decision, last, common)

    return await watch.database.write(work)


async def _last_common(watch: SourceWatch) -> int:
    """Find up to which number of this database's own epoch the log has the same entries: all before it are the same."""
    epoch = await watch.database.read(load_epoch)
    numbers = select(audit_rows.c.sq, audit_rows.c.eid).where(audit_rows.c.epoch == epoch, audit_rows.c.sq.is_not(None))
    eids = [row.eid for row in await watch.database.fetch(numbers.order_by(audit_rows.c.sq))]
    low, high = 0, len(eids)
    while low < high:
        middle = (low + high + 1) // 2
        logged = await watch.ask_at(epoch, middle)
        if logged is not None and logged.eid == eids[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low


async def _begin_epoch(tx: Transaction, sender: Sender, decision: Decision, last: LoggedEntry, common: int) -> Resumed:
    now = sender.clock.now()
    former_epoch = await load_epoch(tx)
    epoch = max(former_epoch, last.epoch) + 1
    link: dict[str, str | int] = {"last_epoch": last.epoch, "last_sq": last.sq, "last_eid": last.eid}
    await tx.execute(insert(source_epochs), [{"epoch": epoch, "at": rfc3339(now), **link}])
    not_logged = await _take_out(tx, former_epoch, common)
    await _mark_published(tx, former_epoch, now)
    restart = _restart_record(sender, decision, link)
    await tx.execute(insert(audit_rows), [{**restart, "at": rfc3339(now), "epoch": epoch, "sq": 1}])
    if not_logged:
        await tx.execute(insert(audit_rows), [{**row, "epoch": epoch} for row in not_logged])
    messages = await _send_again(tx, sender, epoch, former_epoch, [str(row["eid"]) for row in not_logged])
    return Resumed(epoch, last, len(not_logged), messages)


def _restart_record(sender: Sender, decision: Decision, link: Mapping[str, str | int]) -> dict[str, Any]:
    """Write the row of the epoch's first record; it is numbered at once, so that nothing can come before it."""
    cause = str(link["last_eid"])
    clear = {
        **link,
        "client_id": decision.client_id,
        "second_client_id": decision.second_client_id,
        "reason": decision.reason,
        "ticket": decision.ticket,
    }
    name = f"{sender.role.partition('-')[0]}.source_restarted"
    restart = record(name, at=sender.clock.now(), clear=clear, cause=cause)
    return {
        "eid": restart.eid,
        "type": restart.type.name,
        "case_id": None,
        "cause": cause,
        "clear": compact(dict(restart.clear)).decode(),
        "trace": None,
    }


async def _take_out(tx: Transaction, epoch: int, common: int) -> list[dict[str, Any]]:
    """Take out records that the log does not have, oldest first; they go back in behind the restart, unnumbered."""
    not_logged = or_(audit_rows.c.sq.is_(None), and_(audit_rows.c.epoch == epoch, audit_rows.c.sq > common))
    found = await rows(tx, select(audit_rows).where(not_logged).order_by(audit_rows.c.id))
    await tx.execute(delete(audit_rows).where(not_logged))
    kept = ("eid", "type", "case_id", "at", "cause", "clear", "trace")
    return [{name: row._mapping[name] for name in kept} for row in found]


async def _mark_published(tx: Transaction, epoch: int, now: datetime) -> None:
    """What the log has need not be published again."""
    unmarked = (audit_rows.c.epoch <= epoch, audit_rows.c.sq.is_not(None), audit_rows.c.published_at.is_(None))
    await tx.execute(update(audit_rows).where(*unmarked).values(published_at=rfc3339(now)))


async def _send_again(tx: Transaction, sender: Sender, epoch: int, former_epoch: int, eids: Sequence[str]) -> int:
    """Stamp again, in the new epoch, messages of records that the log does not have, where a number may be reused.

    A stream that began after the backup has an id nobody else has used: its messages arrived, and are left alone.
    """
    wanted, again = set(eids), 0
    oldest = await one(tx, select(func.min(audit_rows.c.at)).where(audit_rows.c.eid.in_(eids[:EIDS_AT_ONCE])))
    if not wanted or oldest is None:
        return 0
    since_then = select(outbox).where(outbox.c.epoch == former_epoch, outbox.c.created_at >= oldest[0])
    for row in await rows(tx, since_then.order_by(outbox.c.id)):
        if _eid(row) not in wanted:
            continue
        first = await one(tx, _FIRST_OF_STREAM.where(outbox.c.topic == row.topic, outbox.c.key == row.key))
        if first is not None and first.seq == 1 and _eid(first) in wanted:
            continue
        seq = await _next_seq(tx, row, epoch)
        payload = compact(read_json_object(row.stamp) | {"epoch": epoch, "seq": seq})
        changed = {"stamp": payload, "kid": sender.stamp_key.kid, "epoch": epoch, "seq": seq, "published_at": None}
        await tx.execute(update(outbox).where(outbox.c.id == row.id).values(**changed))
        again += 1
    return again


_FIRST_OF_STREAM = select(outbox.c.stamp, outbox.c.seq).order_by(outbox.c.epoch, outbox.c.seq).limit(1)


def _eid(row: Row[Any]) -> str:
    return str(read_json_object(row.stamp)["eid"])


async def _next_seq(tx: Transaction, row: Row[Any], epoch: int) -> int:
    here = (streams.c.topic == row.topic, streams.c.key == row.key, streams.c.epoch == epoch)
    stream = await one(tx, select(streams.c.seq).where(*here))
    if stream is None:
        await tx.execute(insert(streams), [{"topic": row.topic, "key": row.key, "epoch": epoch, "seq": 1}])
        return 1
    await tx.execute(update(streams).where(*here).values(seq=stream.seq + 1))
    return int(stream.seq) + 1
