"""What operators do with messages that wait: see them without content, have them tried again, send again what was sent.

Every change is an audit record in the same transaction. Settlement topics are for two persons, which is not built:
there the answer is `operator.two-persons` and nothing changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AwareDatetime, Field
from sqlalchemy import Row, and_, func, select, update

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.errors import ForbiddenError, NotFoundError
from gateway.protocol.exchange import Message
from gateway.protocol.records import record
from gateway.protocol.topics import AUDIT_RECORDS, MONEY_TOPICS, TOPICS
from gateway.runtime.database import Database, Transaction, one, rows
from gateway.runtime.outbox import Outbox
from gateway.runtime.tables import audit_rows, outbox, parked, quarantine

LISTED_MAX = 200


class Retry(Message):
    """Parked messages to try again, by the `id` that the list gives."""

    ids: Annotated[tuple[int, ...], Field(strict=False, min_length=1, max_length=500)]


class Republish(Message):
    """Published rows of one topic to send again, from a moment on; receivers drop what they have."""

    topic: str
    since: Annotated[AwareDatetime, Field(strict=False)]


@dataclass(frozen=True)
class Operations:
    """Operators' work on one role's database."""

    database: Database
    outbox: Outbox
    clock: Clock

    async def list_parked(self, tx: Transaction) -> list[dict[str, Any]]:
        """List what waits, oldest first, without content."""
        found = await rows(tx, select(parked).order_by(parked.c.id).limit(LISTED_MAX))
        names = ("id", "consumer", "topic", "partition", "offset", "key", "role", "seq")
        why = ("why", "code", "attempts", "since", "next_at")
        return [_shown(row, (*names, *why)) for row in found]

    async def list_quarantine(self, tx: Transaction) -> list[dict[str, Any]]:
        """List bytes whose author is unknown, newest first, without content."""
        newest = select(quarantine).order_by(quarantine.c.at.desc()).limit(LISTED_MAX)
        names = ("consumer", "topic", "partition", "offset", "code", "at")
        return [_shown(row, names) for row in await rows(tx, newest)]

    async def retry(self, tx: Transaction, wanted: Retry, client_id: str) -> int:
        """Make parked messages due now; returns how many. A key that halted goes on with its oldest message."""
        here = parked.c.id.in_(wanted.ids)
        found = await rows(tx, select(parked.c.id, parked.c.topic).where(here))
        if len(found) < len(set(wanted.ids)):
            raise NotFoundError("parked.unknown")
        topics = sorted({row.topic for row in found})
        _refuse_money(topics)
        await tx.execute(update(parked).where(here).values(next_at=rfc3339(self.clock.now())))
        for topic in topics:
            await self._record(tx, "retry", topic, sum(row.topic == topic for row in found), client_id)
        return len(found)

    async def republish(self, tx: Transaction, wanted: Republish, client_id: str) -> int:
        """Mark published rows as unpublished, so that the relay sends them again in order; returns how many."""
        if wanted.topic not in TOPICS:
            raise NotFoundError("topic.unknown")
        _refuse_money([wanted.topic])
        since = rfc3339(wanted.since)
        if wanted.topic == AUDIT_RECORDS:
            count = await self._records_again(tx, since)
        else:
            count = await self._rows_again(tx, wanted.topic, since)
        await self._record(tx, "republish", wanted.topic, count, client_id)
        return count

    async def _rows_again(self, tx: Transaction, topic: str, since: str) -> int:
        here = and_(outbox.c.topic == topic, outbox.c.published_at.is_not(None), outbox.c.created_at >= since)
        sums = select(func.count().label("rows"), func.coalesce(func.sum(outbox.c.bytes), 0).label("bytes"))
        found = await one(tx, sums.where(here))
        count, size = (int(found.rows), int(found.bytes)) if found else (0, 0)
        await tx.execute(update(outbox).where(here).values(published_at=None))
        tx.after_commit(lambda: self.outbox.admission.count(count, size))
        tx.after_commit(self.outbox.wake)
        return count

    async def _records_again(self, tx: Transaction, since: str) -> int:
        here = and_(audit_rows.c.published_at.is_not(None), audit_rows.c.at >= since)
        changed = await tx.execute(update(audit_rows).where(here).values(published_at=None))
        return changed.rowcount

    async def _record(self, tx: Transaction, action: str, topic: str, count: int, client_id: str) -> None:
        clear = {"action": action, "topic": topic, "count": count, "client_id": client_id}
        acted = record(f"{self.outbox.sender.role}.operator_acted", at=self.clock.now(), clear=clear)
        await self.outbox.add(tx, acted)

    async def oldest_waiting(self, tx: Transaction) -> Mapping[str, str | None]:
        """Say since when the oldest message and the oldest parked one wait."""
        unpublished = select(func.min(outbox.c.created_at)).where(outbox.c.published_at.is_(None))
        waiting = select(func.min(parked.c.since))
        found = [await one(tx, statement) for statement in (unpublished, waiting)]
        return dict(zip(("outbox", "parked"), (row[0] if row else None for row in found), strict=True))


def _shown(row: Row[Any], names: Sequence[str]) -> dict[str, Any]:
    value = bytes(row.value)
    return {name: getattr(row, name) for name in names} | {"bytes": len(value), "sha256": sha256_hex(value)}


def _refuse_money(topics: Sequence[str]) -> None:
    if any(topic in MONEY_TOPICS for topic in topics):
        raise ForbiddenError("operator.two-persons")
