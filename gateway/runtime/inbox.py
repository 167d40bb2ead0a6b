"""The inbox: what a stream has brought so far, per consumer; duplicates fall here, gaps wait here.

`admit` runs first in every delivery's work. Only a message whose stamp verified may advance a stream, so a forged
message can never push out a true one.
"""

from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import BigInteger, BindParameter, ColumnElement, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.clock import rfc3339
from gateway.protocol.exchange import Stamp
from gateway.runtime.bus import Fetched
from gateway.runtime.database import Transaction, one
from gateway.runtime.tables import inbox, parked, quarantine

GAP_RETRY = timedelta(milliseconds=200)
RETRY_SECONDS = (0.2, 1, 5, 15, 60)


class Admitted(Enum):
    APPLY = "apply"
    DUPLICATE = "duplicate"
    GAP = "gap"


_AT: dict[str, BindParameter[str]] = {name: bindparam(f"at_{name}") for name in ("consumer", "role", "topic", "key")}
_HERE = tuple(inbox.c[name] == place for name, place in _AT.items())
_TO = bindparam("to_seq", type_=BigInteger)
_BEGIN = postgresql.insert(inbox).values({**_AT, "last_seq": _TO}).on_conflict_do_nothing()
_ADVANCE = update(inbox).where(*_HERE, inbox.c.last_seq == _TO - 1).values(last_seq=_TO)
"""The row's lock, or its uniqueness, makes the slower of two twins change nothing."""
_LAST = select(inbox.c.last_seq).where(*_HERE)


async def admit(tx: Transaction, consumer: str, stamp: Stamp) -> Admitted:
    """Say what to do with `stamp.seq` and, if it is next, advance the stream."""
    here = {"at_consumer": consumer, "at_role": stamp.role, "at_topic": stamp.topic, "at_key": stamp.key}
    advance = _BEGIN if stamp.seq == 1 else _ADVANCE
    if (await tx.execute(advance, here | {"to_seq": stamp.seq})).rowcount == 1:
        return Admitted.APPLY
    found = await one(tx, _LAST, here)
    return Admitted.GAP if stamp.seq > (found.last_seq if found else 0) + 1 else Admitted.DUPLICATE


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
