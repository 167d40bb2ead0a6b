"""What operators do with messages that wait: try them again, drop them, verify set-aside ones, send sent ones again.

Every step is an audit record in the same transaction. What touches a topic that moves money waits as a request until
a second person confirms it (`confirm`); until then nothing changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field
from sqlalchemy import ColumnElement, Row, and_, delete, func, select, update

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import Clock, parse_rfc3339, rfc3339
from gateway.protocol.errors import ConflictError, ForbiddenError, NotFoundError
from gateway.protocol.exchange import Message, parse_message
from gateway.protocol.identifiers import mint
from gateway.protocol.records import record
from gateway.protocol.tickets import Ticket
from gateway.protocol.topics import AUDIT_RECORDS, MONEY_TOPICS, ROLE_OF, TOPICS
from gateway.runtime.bus.port import Fetched
from gateway.runtime.component import Component, TwoPersonAction, TwoPersons
from gateway.runtime.delivery import inbox
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.delivery.worker import Worker
from gateway.runtime.operator import store
from gateway.runtime.operator.store import Page
from gateway.runtime.storage.database import Database, Transaction, one, rows
from gateway.runtime.storage.tables import audit_rows, operator_requests, outbox, parked, quarantine
from gateway.runtime.web.auth import Caller
from gateway.runtime.web.idempotency import Answer

CONFIRM_WITHIN = timedelta(hours=24)

Id = Annotated[int, Field(ge=1, lt=1 << 63)]
Ids = Annotated[tuple[Id, ...], Field(strict=False, min_length=1, max_length=500)]


class Retry(Message):
    """Parked messages to try again, by the `id` that the list gives."""

    ids: Ids


class Drop(Message):
    """Parked messages to pass over for good. `ticket` is where the reason is told in full; free text is not logged."""

    ids: Ids
    reason: Literal["agreed-with-sender", "sent-again-otherwise", "cannot-be-read", "forged", "test"]
    ticket: Ticket


class VerifyAgain(Message):
    """Quarantined bytes to verify as if just fetched, by the `id` that the list gives; what verifies goes its way."""

    ids: Ids


class Discard(Drop):
    """Quarantined bytes to forget; place, hash, reason and ticket stay."""


class Republish(Message):
    """Published rows of one topic to send again, from a moment on; receivers drop what they have."""

    topic: str
    since: Annotated[AwareDatetime, Field(strict=False)]


class Ask(Message):
    """One of the actions of the role's components, by name, with its form; it happens when another confirms it."""

    action: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]
    form: dict[str, Any]


class Confirm(Message):
    """A second person's consent; the address names the request, so there is nothing more to say."""


Wish = Retry | Drop | VerifyAgain | Discard | Republish
WISHES: Mapping[str, type[Retry | Drop | VerifyAgain | Discard | Republish]] = {
    "retry": Retry,
    "drop": Drop,
    "quarantine-retry": VerifyAgain,
    "quarantine-drop": Discard,
    "republish": Republish,
}


@dataclass(frozen=True)
class Operations:
    """Operators' work on one role's database. `workers` and `components` are the role's own lists, which grow."""

    database: Database
    outbox: Outbox
    clock: Clock
    workers: Sequence[Worker] = ()
    components: Sequence[Component] = ()

    async def list_requests(self, tx: Transaction, after: Sequence[str | int], limit: int) -> Page:
        """List what still waits for a second person, oldest first."""
        return await store.list_requests(tx, after, limit, rfc3339(self.clock.now() - CONFIRM_WITHIN))

    async def act(self, tx: Transaction, wish: Wish, caller: Caller) -> Answer:
        """Do what an operator wants (200 with `count`), or keep it for a second person (202 with `request_id`)."""
        topics = await self._topics(tx, wish)
        if not any(topic in MONEY_TOPICS for topic in topics):
            return await self._do(tx, wish, topics, caller, _told(wish, caller, "done"))
        request_id = await self._keep_request(tx, ACTIONS[type(wish)], wish, caller)
        for topic, count in topics.items():
            await self._record(tx, topic, count, _told(wish, caller, "asked", request_id))
        return _waits(request_id)

    async def ask(self, tx: Transaction, ask: Ask, caller: Caller) -> Answer:
        """Keep one operator's wish about a component's money for a second person (202 with `request_id`)."""
        component, action = self._action(ask.action)
        form = parse_message(action.form, ask.form)
        await action.check(tx, component.deps, form)
        request_id = await self._keep_request(tx, ask.action, form, caller)
        told = {"action": ask.action, "step": "asked", "client_id": caller.client_id, "request_id": request_id}
        await self._record_action(tx, form, told)
        return _waits(request_id)

    def writer_of(self, action: str) -> str:
        """Return the key under which an action's work is written: that of its component's other works."""
        return next((one.writer for one in self.components if action in one.two_person_actions), "")

    async def writer_of_request(self, tx: Transaction, request_id: str) -> str:
        wanted = select(operator_requests.c.action).where(operator_requests.c.request_id == request_id)
        found = await one(tx, wanted)
        return "" if found is None else self.writer_of(found.action)

    def _action(self, name: str) -> tuple[Component, TwoPersonAction]:
        for component in self.components:
            if action := component.two_person_actions.get(name):
                return component, action
        raise NotFoundError("operator.action-unknown")

    async def _keep_request(self, tx: Transaction, action: str, form: Message, caller: Caller) -> str:
        if caller.person is None:
            raise ForbiddenError("operator.two-persons")
        row = {
            "request_id": mint("opr"),
            "action": action,
            "form": compact(form.model_dump(mode="json")).decode(),
            "asked_by": caller.client_id,
            "asked_person": caller.person,
            "asked_at": rfc3339(self.clock.now()),
        }
        await tx.execute(operator_requests.insert(), [row])
        return row["request_id"]

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
        if found.action not in WISHES:
            return await self._act_confirmed(tx, found, caller)
        wish = parse_message(WISHES[found.action], read_json_object(found.form.encode()))
        told = _told(wish, caller, "confirmed", request_id)
        return await self._do(tx, wish, await self._topics(tx, wish), caller, told)

    async def _act_confirmed(self, tx: Transaction, request: Row[Any], caller: Caller) -> Answer:
        component, action = self._action(request.action)
        form = parse_message(action.form, read_json_object(request.form.encode()))
        persons = TwoPersons(request.request_id, request.asked_by, caller.client_id)
        answer = await action.act(tx, component.deps, form, persons)
        told = {"action": request.action, "step": "confirmed", "client_id": caller.client_id}
        await self._record_action(tx, form, told | {"request_id": request.request_id})
        return Answer(200, {"count": 1, **answer})

    async def _record_action(self, tx: Transaction, form: Message, told: Mapping[str, str]) -> None:
        clear = {name: str(value) for name in ("reason", "ticket") if (value := getattr(form, name, None))}
        acted = record(f"{self.outbox.sender.role}.operator_acted", at=self.clock.now(), clear={**clear, **told})
        await self.outbox.add(tx, acted)

    async def _topics(self, tx: Transaction, wish: Wish) -> dict[str, int]:
        """Return the topics that a wish touches, each with how many messages are named; refuses what is not there."""
        if isinstance(wish, Republish):
            if wish.topic not in TOPICS:
                raise NotFoundError("topic.unknown")
            role = self.outbox.sender.role.partition("-")[0]
            if wish.topic != AUDIT_RECORDS and ROLE_OF[TOPICS[wish.topic].writer] != role:
                raise ConflictError("topic.written-elsewhere")
            return {wish.topic: 0}
        if isinstance(wish, VerifyAgain | Discard):
            here = and_(quarantine.c.id.in_(wish.ids), quarantine.c.dropped_at.is_(None))
            found = await rows(tx, select(quarantine.c.topic).where(here))
        else:
            found = await rows(tx, select(parked.c.topic).where(parked.c.id.in_(wish.ids)))
        if len(found) < len(set(wish.ids)):
            raise NotFoundError("quarantine.unknown" if isinstance(wish, VerifyAgain | Discard) else "parked.unknown")
        return {topic: sum(row.topic == topic for row in found) for topic in sorted({row.topic for row in found})}

    async def _do(
        self, tx: Transaction, wish: Wish, topics: Mapping[str, int], caller: Caller, told: Mapping[str, str]
    ) -> Answer:
        answer: dict[str, Any] = {}
        if isinstance(wish, Republish):
            topics = {wish.topic: await self._republish(tx, wish)}
        elif isinstance(wish, VerifyAgain):
            stay = await self._verify_again(tx, wish)
            topics = {topic: count - sum(one["topic"] == topic for one in stay) for topic, count in topics.items()}
            answer["stay"] = stay
        elif isinstance(wish, Discard):
            await self._discard(tx, wish, caller)
        elif isinstance(wish, Drop):
            await self._drop(tx, wish)
        else:
            await self._retry(tx, wish)
        for topic, count in topics.items():
            await self._record(tx, topic, count, told)
        return Answer(200, {"count": sum(topics.values()), **answer})

    async def _retry(self, tx: Transaction, wish: Retry) -> None:
        here = parked.c.id.in_(wish.ids)
        groups = {row.consumer for row in await rows(tx, select(parked.c.consumer).where(here))}
        await tx.execute(update(parked).where(here).values(next_at=rfc3339(self.clock.now())))
        await self._let_go_on(tx, groups)

    async def _drop(self, tx: Transaction, wish: Drop) -> None:
        here = (
            select(parked)
            .where(parked.c.id.in_(wish.ids))
            .order_by(parked.c.topic, parked.c.key, parked.c.epoch, parked.c.seq)
        )
        found = await rows(tx, here)
        by_group = {worker.group: worker for worker in self.workers}
        for row in found:
            fetched = Fetched(row.topic, row.partition, row.offset, row.key, row.value)
            if worker := by_group.get(row.consumer):
                await worker.pass_over(tx, fetched)
            await inbox.put_in_quarantine(tx, row.consumer, fetched, "operator.dropped", self.clock.now())
            await inbox.unpark(tx, row.consumer, fetched)
        await self._let_go_on(tx, {row.consumer for row in found})

    async def _verify_again(self, tx: Transaction, wish: VerifyAgain) -> list[dict[str, Any]]:
        """Put what verifies now where its worker takes it up as if just fetched; return what stays, with its code.

        Only a stamp that verifies is ever applied: the worker verifies once more, and its inbox drops duplicates.
        """
        by_group = {worker.group: worker for worker in self.workers}
        stay = []
        for row in await rows(tx, select(quarantine).where(quarantine.c.id.in_(wish.ids)).order_by(quarantine.c.id)):
            fetched = Fetched(row.topic, row.partition, row.offset, row.key, row.value)
            worker, here = by_group.get(row.consumer), quarantine.c.id == row.id
            if worker is not None and (code := worker.why_quarantined(fetched)) is None:
                why = {"why": "retry", "code": row.code, "now": self.clock.now()}
                await inbox.park(tx, row.consumer, fetched, None, **why)
                await tx.execute(delete(quarantine).where(here))
                continue
            code = row.code if worker is None else code
            await tx.execute(update(quarantine).where(here).values(code=code, attempts=row.attempts + 1))
            stay.append({"id": row.id, "topic": row.topic, "code": code})
        return stay

    async def _discard(self, tx: Transaction, wish: Discard, caller: Caller) -> None:
        forgotten = {
            "value": b"",
            "dropped_at": rfc3339(self.clock.now()),
            "dropped_by": caller.client_id,
            "reason": wish.reason,
            "ticket": wish.ticket,
        }
        await tx.execute(update(quarantine).where(quarantine.c.id.in_(wish.ids)).values(forgotten))

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
        for component in self.components:
            if again := component.again.get(wish.topic):
                return await again(tx, since)
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


ACTIONS = {form: action for action, form in WISHES.items()}


def _waits(request_id: str) -> Answer:
    return Answer(202, {"request_id": request_id, "state": "waits-for-second-person"})


def _told(wish: Wish, caller: Caller, step: str, request_id: str | None = None) -> dict[str, str]:
    """Say for the audit record who did which step, and why where the wish gives a reason."""
    told = {"action": ACTIONS[type(wish)], "step": step, "client_id": caller.client_id}
    told |= {"request_id": request_id} if request_id else {}
    return told | ({"reason": wish.reason, "ticket": wish.ticket} if isinstance(wish, Drop) else {})
