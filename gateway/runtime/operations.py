"""What operators do with messages that wait: see them without content, try them again, drop them, send sent ones again.

Every step is an audit record in the same transaction. What touches a topic that moves money waits as a request until
a second person confirms it (`confirm`); until then nothing changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field
from sqlalchemy import ColumnElement, Row, and_, func, select, update

from gateway.protocol.canonical import compact, read_json_object, sha256_hex
from gateway.protocol.clock import Clock, parse_rfc3339, rfc3339
from gateway.protocol.errors import ConflictError, ForbiddenError, NotFoundError
from gateway.protocol.exchange import Message, parse_message
from gateway.protocol.identifiers import mint
from gateway.protocol.records import record
from gateway.protocol.topics import AUDIT_RECORDS, MONEY_TOPICS, TOPICS
from gateway.runtime import inbox
from gateway.runtime.auth import Caller
from gateway.runtime.bus import Fetched
from gateway.runtime.database import Database, Transaction, one, rows
from gateway.runtime.idempotency import Answer
from gateway.runtime.outbox import Outbox
from gateway.runtime.tables import audit_rows, operator_requests, outbox, parked, quarantine
from gateway.runtime.worker import Worker

LISTED_MAX = 200
CONFIRM_WITHIN = timedelta(hours=24)

Ids = Annotated[tuple[int, ...], Field(strict=False, min_length=1, max_length=500)]


class Retry(Message):
    """Parked messages to try again, by the `id` that the list gives."""

    ids: Ids


class Drop(Message):
    """Parked messages to pass over for good. `ticket` is where the reason is told in full; free text is not logged."""

    ids: Ids
    reason: Literal["agreed-with-sender", "sent-again-otherwise", "cannot-be-read", "forged", "test"]
    ticket: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,39}$")]


class Republish(Message):
    """Published rows of one topic to send again, from a moment on; receivers drop what they have."""

    topic: str
    since: Annotated[AwareDatetime, Field(strict=False)]


class Confirm(Message):
    """A second person's consent; the address names the request, so there is nothing more to say."""


Wish = Retry | Drop | Republish
WISHES: Mapping[str, type[Retry] | type[Drop] | type[Republish]] = {
    "retry": Retry,
    "drop": Drop,
    "republish": Republish,
}


@dataclass(frozen=True)
class Operations:
    """Operators' work on one role's database. `workers` is the role's own list, which grows while it starts."""

    database: Database
    outbox: Outbox
    clock: Clock
    workers: Sequence[Worker] = ()

    async def list_parked(self, tx: Transaction) -> list[dict[str, Any]]:
        """List what waits, oldest first, without content."""
        found = await rows(tx, select(parked).order_by(parked.c.id).limit(LISTED_MAX))
        names = ("id", "consumer", "topic", "partition", "offset", "key", "role", "seq")
        why = ("why", "code", "attempts", "since", "next_at")
        return [_shown(row, (*names, *why)) for row in found]

    async def list_quarantine(self, tx: Transaction) -> list[dict[str, Any]]:
        """List bytes that were set aside, newest first, without content."""
        newest = select(quarantine).order_by(quarantine.c.at.desc()).limit(LISTED_MAX)
        names = ("consumer", "topic", "partition", "offset", "code", "at")
        return [_shown(row, names) for row in await rows(tx, newest)]

    async def list_requests(self, tx: Transaction) -> list[dict[str, Any]]:
        """List what still waits for a second person, oldest first."""
        waiting = and_(operator_requests.c.confirmed_at.is_(None), operator_requests.c.asked_at >= self._oldest())
        found = await rows(tx, select(operator_requests).where(waiting).order_by(operator_requests.c.asked_at))
        names = ("request_id", "action", "asked_by", "asked_at")
        return [
            {name: getattr(row, name) for name in names} | {"form": read_json_object(row.form.encode())}
            for row in found
        ]

    async def act(self, tx: Transaction, wish: Wish, caller: Caller) -> Answer:
        """Do what an operator wants (200 with `count`), or keep it for a second person (202 with `request_id`)."""
        topics = await self._topics(tx, wish)
        if not any(topic in MONEY_TOPICS for topic in topics):
            return await self._do(tx, wish, topics, _told(wish, caller, "done"))
        if caller.person is None:
            raise ForbiddenError("operator.two-persons")
        row = {
            "request_id": mint("opr"),
            "action": _action(wish),
            "form": compact(wish.model_dump(mode="json")).decode(),
            "asked_by": caller.client_id,
            "asked_person": caller.person,
            "asked_at": rfc3339(self.clock.now()),
        }
        await tx.execute(operator_requests.insert(), [row])
        for topic, count in topics.items():
            await self._record(tx, topic, count, _told(wish, caller, "asked", row["request_id"]))
        return Answer(202, {"request_id": row["request_id"], "state": "waits-for-second-person"})

    async def confirm(self, tx: Transaction, request_id: str, caller: Caller) -> Answer:
        """Do what another person asked for; the asker, a program, and whoever comes too late are refused."""
        here = operator_requests.c.request_id == request_id
        found = await one(tx, select(operator_requests).where(here).with_for_update())
        if found is None:
            raise NotFoundError("operator.request-unknown")
        if caller.person in (None, found.asked_person) or caller.client_id == found.asked_by:
            raise ForbiddenError("operator.two-persons")
        if found.confirmed_at is not None or parse_rfc3339(found.asked_at) < self.clock.now() - CONFIRM_WITHIN:
            raise ConflictError("operator.request-over")
        done = {"confirmed_by": caller.client_id, "confirmed_at": rfc3339(self.clock.now())}
        await tx.execute(update(operator_requests).where(here).values(done))
        wish = parse_message(WISHES[found.action], read_json_object(found.form.encode()))
        return await self._do(tx, wish, await self._topics(tx, wish), _told(wish, caller, "confirmed", request_id))

    async def _topics(self, tx: Transaction, wish: Wish) -> dict[str, int]:
        """Return the topics that a wish touches, each with how many messages are named; refuses what is not there."""
        if isinstance(wish, Republish):
            if wish.topic not in TOPICS:
                raise NotFoundError("topic.unknown")
            return {wish.topic: 0}
        found = await rows(tx, select(parked.c.id, parked.c.topic).where(parked.c.id.in_(wish.ids)))
        if len(found) < len(set(wish.ids)):
            raise NotFoundError("parked.unknown")
        return {topic: sum(row.topic == topic for row in found) for topic in sorted({row.topic for row in found})}

    async def _do(self, tx: Transaction, wish: Wish, topics: Mapping[str, int], told: Mapping[str, str]) -> Answer:
        if isinstance(wish, Republish):
            topics = {wish.topic: await self._republish(tx, wish)}
        elif isinstance(wish, Drop):
            await self._drop(tx, wish)
        else:
            await self._retry(tx, wish)
        for topic, count in topics.items():
            await self._record(tx, topic, count, told)
        return Answer(200, {"count": sum(topics.values())})

    async def _retry(self, tx: Transaction, wish: Retry) -> None:
        here = parked.c.id.in_(wish.ids)
        groups = {row.consumer for row in await rows(tx, select(parked.c.consumer).where(here))}
        await tx.execute(update(parked).where(here).values(next_at=rfc3339(self.clock.now())))
        await self._let_go_on(tx, groups)

    async def _drop(self, tx: Transaction, wish: Drop) -> None:
        here = select(parked).where(parked.c.id.in_(wish.ids)).order_by(parked.c.topic, parked.c.key, parked.c.seq)
        found = await rows(tx, here)
        by_group = {worker.group: worker for worker in self.workers}
        for row in found:
            fetched = Fetched(row.topic, row.partition, row.offset, row.key, row.value)
            if worker := by_group.get(row.consumer):
                await worker.pass_over(tx, fetched)
            await inbox.put_in_quarantine(tx, row.consumer, fetched, "operator.dropped", self.clock.now())
            await inbox.unpark(tx, row.consumer, fetched)
        await self._let_go_on(tx, {row.consumer for row in found})

    async def _let_go_on(self, tx: Transaction, groups: set[str]) -> None:
        """Have stopped consumers go on, except where money still halts: that takes the two persons' word on it."""
        money = and_(parked.c.why == "halt", parked.c.next_at.is_(None), parked.c.topic.in_(MONEY_TOPICS))
        held = {row.consumer for row in await rows(tx, select(parked.c.consumer).where(money))}
        for worker in self.workers:
            if worker.group in groups - held:
                tx.after_commit(worker.resume)

    async def _republish(self, tx: Transaction, wish: Republish) -> int:
        """Mark published rows as unpublished, so that the relay sends them again in order; returns how many."""
        since = rfc3339(wish.since)
        if wish.topic == AUDIT_RECORDS:
            records = and_(audit_rows.c.published_at.is_not(None), audit_rows.c.at >= since)
            return (await tx.execute(update(audit_rows).where(records).values(published_at=None))).rowcount
        here = (outbox.c.topic == wish.topic, outbox.c.published_at.is_not(None), outbox.c.created_at >= since)
        return await self._rows_again(tx, and_(*here))

    async def _rows_again(self, tx: Transaction, here: ColumnElement[bool]) -> int:
        sums = select(func.count().label("rows"), func.coalesce(func.sum(outbox.c.bytes), 0).label("bytes"))
        found = await one(tx, sums.where(here))
        count, size = (int(found.rows), int(found.bytes)) if found else (0, 0)
        await tx.execute(update(outbox).where(here).values(published_at=None))
        tx.after_commit(partial(self.outbox.admission.count, count, size))
        tx.after_commit(self.outbox.wake)
        return count

    async def _record(self, tx: Transaction, topic: str, count: int, told: Mapping[str, str]) -> None:
        clear = {"topic": topic, "count": count, **told}
        acted = record(f"{self.outbox.sender.role}.operator_acted", at=self.clock.now(), clear=clear)
        await self.outbox.add(tx, acted)

    def _oldest(self) -> str:
        return rfc3339(self.clock.now() - CONFIRM_WITHIN)


def _action(wish: Wish) -> str:
    return next(action for action, form in WISHES.items() if isinstance(wish, form))


def _told(wish: Wish, caller: Caller, step: str, request_id: str | None = None) -> dict[str, str]:
    """Say for the audit record who did which step, and why where the wish gives a reason."""
    told = {"action": _action(wish), "step": step, "client_id": caller.client_id}
    told |= {"request_id": request_id} if request_id else {}
    return told | ({"reason": wish.reason, "ticket": wish.ticket} if isinstance(wish, Drop) else {})


def _shown(row: Row[Any], names: Sequence[str]) -> dict[str, Any]:
    value = bytes(row.value)
    return {name: getattr(row, name) for name in names} | {"bytes": len(value), "sha256": sha256_hex(value)}
