"""The inbox: what a stream has brought so far, per consumer; duplicates fall here, gaps wait here.

`admit` runs first in every delivery's work. Only a message whose stamp verified may advance a stream, so a forged
message can never push out a true one.
"""

from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.clock import rfc3339
from gateway.protocol.exchange import Stamp
from gateway.runtime.bus.port import Fetched
from gateway.runtime.storage.database import Transaction, one, rows
from gateway.runtime.storage.tables import FIRST_EPOCH, inbox, parked, quarantine

GAP_RETRY = timedelta(milliseconds=200)
RETRY_SECONDS = (0.2, 1, 5, 15, 60)


class Admitted(Enum):
    APPLY = "apply"
    DUPLICATE = "duplicate"
    GAP = "gap"
    LEFT = "left"
    """Of an epoch that its sender has left: nothing says any more where it would have come."""


_AT: dict[str, BindParameter[str]] = {
    name: bindparam(f"at_{name}", type_=Text) for name in ("consumer", "role", "topic", "key")
}
_STREAM = tuple(inbox.c[name] == place for name, place in _AT.items())
_TO = bindparam("to_seq", type_=BigInteger)
_IN_EPOCH = bindparam("in_epoch", type_=Integer)
_later = inbox.alias("later")
_NOT_LEFT = ~exists().where(*(_later.c[name] == place for name, place in _AT.items()), _later.c.epoch > _IN_EPOCH)
"""No later epoch of this stream has been seen: each sender goes from one epoch to the next and never back."""
_BEGIN = (
    postgresql.insert(inbox)
    .from_select([*_AT, "epoch", "last_seq"], select(*_AT.values(), _IN_EPOCH, _TO).where(_NOT_LEFT))
    .on_conflict_do_nothing()
)
_ADVANCE = (
    update(inbox)
    .where(*_STREAM, inbox.c.epoch == _IN_EPOCH, inbox.c.last_seq == _TO - 1, _NOT_LEFT)
    .values(last_seq=_TO)
)
"""The row's lock, or its uniqueness, makes the slower of two twins change nothing."""
_LAST = select(inbox.c.epoch, inbox.c.last_seq).where(*_STREAM)


async def admit(tx: Transaction, consumer: str, stamp: Stamp) -> Admitted:
    """Say what to do with `stamp.seq` in its epoch and, if it is next, advance the stream.

    Only the sender's own stamp key can have written a later epoch: a stamp that does not verify never gets here.
    """
    stream = {"at_consumer": consumer, "at_role": stamp.role, "at_topic": stamp.topic, "at_key": stamp.key}
    advance = _BEGIN if stamp.seq == 1 else _ADVANCE
    place = {"in_epoch": stamp.stream_epoch, "to_seq": stamp.seq}
    if (await tx.execute(advance, stream | place)).rowcount == 1:
        return Admitted.APPLY
    last_seqs = {int(row.epoch): int(row.last_seq) for row in await rows(tx, _LAST, stream)}
    last_seq = last_seqs.get(stamp.stream_epoch, 0)
    if stamp.seq <= last_seq:
        return Admitted.DUPLICATE
    if max(last_seqs, default=0) > stamp.stream_epoch:
        return Admitted.LEFT
    return Admitted.GAP if stamp.seq > last_seq + 1 else Admitted.DUPLICATE


async def park(
    tx: Transaction, consumer: str, fetched: Fetched, stamp: Stamp | None, *, why: str, code: str, now: datetime
) -> None:
    """Keep a message where it waits; parked twice, its attempts count up and it waits longer."""
    here = _here(consumer, fetched)
    former = await one(tx, select(parked.c.id, parked.c.attempts, parked.c.since).where(here))
    attempts = 1 if former is None else int(former.attempts) + 1
    row = {
        "consumer": consumer,
        "topic": fetched.topic,
        "partition": fetched.partition,
        "offset": fetched.offset,
        "role": stamp.role if stamp else "",
        "key": fetched.key,
        "seq": stamp.seq if stamp else 0,
        "epoch": stamp.stream_epoch if stamp else FIRST_EPOCH,
        "value": fetched.value,
        "why": why,
        "code": code,
        "attempts": attempts,
        "since": rfc3339(now) if former is None else former.since,
        "next_at": _next_at(why, attempts, now),
        "sha256": sha256_hex(fetched.value),
    }
    if former is None:
        await tx.execute(parked.insert(), [row])
    else:
        await tx.execute(update(parked).where(parked.c.id == former.id).values(row))


def _next_at(why: str, attempts: int, now: datetime) -> str | None:
    if why in ("held", "halt"):
        return None
    if why == "gap":
        return rfc3339(now + GAP_RETRY * min(attempts, 50))
    return rfc3339(now + timedelta(seconds=RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]))


async def unpark(tx: Transaction, consumer: str, fetched: Fetched) -> None:
    """Forget a parked message once it was applied, dropped or refused; no row, nothing to do."""
    await tx.execute(delete(parked).where(_here(consumer, fetched)))


def _here(consumer: str, fetched: Fetched) -> ColumnElement[bool]:
    return and_(
        parked.c.consumer == consumer,
        parked.c.topic == fetched.topic,
        parked.c.partition == fetched.partition,
        parked.c.offset == fetched.offset,
        parked.c.sha256 == sha256_hex(fetched.value),
    )


async def put_in_quarantine(tx: Transaction, consumer: str, fetched: Fetched, code: str, now: datetime) -> bool:
    """Keep bytes whose author cannot be known, as received; returns False if they already were there."""
    statement = postgresql.insert(quarantine).on_conflict_do_nothing()
    row = {
        "consumer": consumer,
        "topic": fetched.topic,
        "partition": fetched.partition,
        "offset": fetched.offset,
        "key": fetched.key,
        "sha256": sha256_hex(fetched.value),
        "bytes": len(fetched.value),
        "code": code,
        "attempts": 1,
        "value": fetched.value,
        "at": rfc3339(now),
    }
    return (await tx.execute(statement, row)).rowcount == 1
