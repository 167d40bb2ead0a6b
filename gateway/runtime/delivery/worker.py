"""The worker: reads a component's topics, verifies, and runs each message's handler as one work of one batch.

What comes of a message: applied, dropped as a duplicate, parked (gap, RETRY, held, HALT), refused with an answer, or
quarantined. The bus offset is committed after the database; if we die between, the inbox drops the second delivery.
The worker stops by itself at 3 halts in 60 s, on settlement topics at the first. A database that is away is nobody's
fault: the same records are tried again until it is back.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import and_, bindparam, exists, func, or_, select

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.errors import (
    ConflictError,
    Disposition,
    GatewayError,
    HeldError,
    InvalidInputError,
    MalformedInputError,
    UnknownKeyError,
)
from gateway.protocol.exchange import Exchange
from gateway.protocol.records import record
from gateway.protocol.topics import MONEY_TOPICS, ROLE_OF, TOPICS
from gateway.protocol.verification import verify_exchange
from gateway.runtime.bus.port import Bus, Consumer, Fetched
from gateway.runtime.component import Component, Delivery, Ready, Subscription
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.delivery import inbox
from gateway.runtime.delivery.inbox import Admitted
from gateway.runtime.delivery.offsets import FETCH_S, Progress
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.lifecycle import BackOff, Stopping
from gateway.runtime.signals import failpoints
from gateway.runtime.signals.observability import DELIVERIES
from gateway.runtime.signals.tracing import of_message
from gateway.runtime.storage.database import Database, DatabaseAwayError, Transaction, one
from gateway.runtime.storage.tables import inbox as streams
from gateway.runtime.storage.tables import parked

RECORDS_MAX = 100
RETRY_EVERY_S = 0.2
HALTS_MAX = 3
HALTS_WINDOW = timedelta(seconds=60)
RETRIES_MAX = 10_000
EPOCH_LEFT = "stream.epoch-left"
"""Of a genuine message of an epoch that its sender has left: kept for an operator, applied by nobody."""
log = structlog.get_logger("worker")

_STREAM = [streams.c[name] == parked.c[name] for name in ("consumer", "role", "topic", "key")]
_IS_NEXT = exists().where(
    *_STREAM,
    or_(
        and_(streams.c.epoch == parked.c.epoch, streams.c.last_seq >= parked.c.seq - 1),
        streams.c.epoch > parked.c.epoch,
    ),
)
"""Its predecessor is in, or its sender has left its epoch, so that nothing it waits for will come."""
_DUE = (
    select(parked)
    .where(parked.c.consumer == bindparam("of_consumer"), parked.c.next_at <= bindparam("now"))
    .where(or_(parked.c.why != "gap", _IS_NEXT))
    .order_by(parked.c.next_at, parked.c.id)
    .limit(RECORDS_MAX)
)


@dataclass
class Worker:
    """One consumer group of one component. `halts` is owned by `_settle`; readiness reads `stopped` and `waiting`."""

    component: Component
    role: str
    database: Database
    bus: Bus
    outbox: Outbox
    trust: TrustHolder
    clock: Clock
    stopping: Stopping = field(default_factory=Stopping)
    stopped: str | None = None
    waiting: str | None = None
    """Why nothing more is taken for now, or None."""
    retries_max: int = RETRIES_MAX
    """How many messages may wait for a cause to go before no more are fetched; the bus keeps the rest."""
    halts: deque[datetime] = field(default_factory=deque)
    consumer: Consumer | None = None
    progress: Progress | None = None
    _retries: int | None = None
    """How many wait, or more; None where the rows must be counted."""

    @property
    def group(self) -> str:
        return f"{self.role}.{self.component.name}"

    @property
    def topics(self) -> list[str]:
        return [subscription.topic for subscription in self.component.subscriptions]

    async def run(self) -> None:
        """Run until the role ends, then finish the round. A failing database or bus is waited out."""
        await self._until_informed()
        self.consumer = await self.bus.subscribe(self.group, self.topics)
        progress = self.progress = Progress(self.consumer, self.stopping)
        retries = asyncio.create_task(self._retry_parked())
        try:
            while not self.stopping:
                await self._round(progress)
            await asyncio.gather(progress.commit(), retries)
        finally:
            retries.cancel()
            await self.consumer.close()

    async def _until_informed(self) -> None:
        """Fetch nothing before the first registry release: without it no message can be verified, whosever it is."""
        while not self.trust.number and not self.stopping:
            self.waiting = "registry.none-yet"
            await self.stopping.rest(RETRY_EVERY_S)
        self.waiting = None

    async def why_stopped(self) -> str | None:
        """Say for readiness why this worker takes nothing more, or None."""
        return self.stopped or self.waiting

    def resume(self) -> None:
        """Go on after halts; an operator has had the halted messages tried again."""
        self.halts.clear()
        self.stopped = None

    async def pass_over(self, tx: Transaction, fetched: Fetched) -> None:
        """Let a dropped message's stream go on, in the operator's work, and answer its author where there is one.

        A message that cannot be read or verified advances nothing. `parked.not-next` if earlier ones of its stream
        wait.
        """
        try:
            delivery = self._read(fetched)
        except Exception:  # noqa: BLE001 also what halted because reading it fails by a fault of ours
            return
        admitted = await inbox.admit(tx, self.group, delivery.stamp)
        if admitted is Admitted.GAP:
            raise ConflictError("parked.not-next")
        if admitted is Admitted.APPLY:
            on_refused = self._subscription(fetched.topic).on_refused
            with contextlib.suppress(GatewayError):  # where there is nobody to answer, it raises what it was given
                await on_refused(tx, self.component.deps, delivery, InvalidInputError("operator.dropped"))

    def why_quarantined(self, fetched: Fetched) -> str | None:
        """Say by which code these bytes belong in the quarantine, or None where they may go their usual way."""
        try:
            self._read(fetched)
        except HeldError:
            return None
        except GatewayError as error:
            return error.code if error.disposition is Disposition.REFUSE else None
        return None

    async def _round(self, progress: Progress) -> None:
        self.waiting = await self._why_wait()
        if self.stopped or self.waiting:
            await progress.commit()
            await self.stopping.rest(FETCH_S)
            return
        fetched = await progress.fetch(RECORDS_MAX)
        if fetched:
            failpoints.reach("consumer.after_fetch")
            if await self._process_until_durable(fetched):
                failpoints.reach("consumer.after_commit")
                progress.done(fetched)

    async def _process_until_durable(self, fetched: Sequence[Fetched]) -> bool:
        """Try the same records again for as long as the database is away; False if the role ends before it is back."""
        back_off = BackOff()
        while True:
            try:
                await self.process(fetched)
            except Exception as error:  # noqa: BLE001 what became of these records is not durable: they are not done
                self.waiting = error.code if isinstance(error, GatewayError) else type(error).__name__
                log.warning("worker.waiting", consumer=self.group, error=type(error).__name__)
            else:
                self.waiting = None
                return True
            if self.stopping:
                return False
            await self.stopping.rest(back_off.failed())

    async def _why_wait(self) -> str | None:
        """Say why nothing more may be fetched; rows are counted only when our own count reaches the limit."""
        if self.outbox.admission.behind is not None:
            return "source.behind-log"
        if self._retries is None or self._retries >= self.retries_max:
            try:
                self._retries = await self.database.read(self._count_retries)
            except DatabaseAwayError as error:
                return error.code
        return "retries-max" if self._retries >= self.retries_max else None

    async def _count_retries(self, tx: Transaction) -> int:
        here = (parked.c.consumer == self.group, parked.c.why == "retry")
        found = await one(tx, select(func.count()).select_from(parked).where(*here))
        return int(found[0]) if found else 0

    async def process(self, fetched: Sequence[Fetched]) -> None:
        """Take records in order; returns once what became of each is durable. Raises only if that is unknown."""
        verified = [await self._verify(record) for record in fetched]
        ready = [message for message in verified if message is not None]
        results = await asyncio.gather(*map(self._apply, ready), return_exceptions=True)
        for message, result in zip(ready, results, strict=True):
            if isinstance(result, BaseException):
                await self._settle(message.delivery, result)

    @of_message
    async def _verify(self, fetched: Fetched) -> Ready | None:
        """Verify and prepare one record; what cannot go on is parked or quarantined here, and None returned."""
        try:
            delivery = self._read(fetched)
        except (HeldError, UnknownKeyError) as error:
            await self._park(fetched, None, "held" if isinstance(error, HeldError) else "retry", error.code)
            return None
        except GatewayError as error:
            if error.disposition is not Disposition.REFUSE:
                await self._park(fetched, None, "retry", error.code)
            else:
                await self._quarantine(fetched, error.code)
            return None
        except Exception as error:  # noqa: BLE001 a fault of ours; raised again, it would hold up its batch for ever
            await self._halt(fetched, None, type(error).__name__)
            return None
        return await self._prepare(delivery)

    def _read(self, fetched: Fetched) -> Delivery:
        exchange = Exchange.decode(fetched.value)
        verified = verify_exchange(
            exchange,
            self.trust.directory,
            topic=fetched.topic,
            key=fetched.key,
            writer=ROLE_OF[TOPICS[fetched.topic].writer],
            now=self.clock.now(),
        )
        if verified.stamp.type not in self._subscription(fetched.topic).handlers:
            raise MalformedInputError("message.type-unexpected")
        return Delivery(
            self.group,
            fetched,
            exchange,
            verified.stamp,
            verified.received_at,
            verified.manifest,
            verified.message,
        )

    async def _prepare(self, delivery: Delivery) -> Ready | None:
        registration = self._subscription(delivery.fetched.topic).handlers[delivery.stamp.type]
        try:
            return Ready(delivery, await registration.bind(self.component.deps, delivery))
        except Exception as error:  # noqa: BLE001 an error while preparing ends like one in the handler
            await self._settle(delivery, error)
            return None

    @of_message
    async def _apply(self, message: Ready) -> None:
        delivery = message.delivery

        async def work(tx: Transaction) -> Admitted:
            admitted = await inbox.admit(tx, self.group, delivery.stamp)
            if admitted is Admitted.APPLY:
                failpoints.reach("consumer.after_inbox")
                await message.apply(tx, self.trust.directory)
                failpoints.reach("consumer.before_commit")
            await self._keep_what_waits(tx, delivery, admitted)
            return admitted

        admitted = await self.database.write(work, key=self._writer(delivery.fetched, delivery))
        if admitted is Admitted.LEFT:
            await self._quarantine(delivery.fetched, EPOCH_LEFT)
            return
        DELIVERIES.labels(self.group, delivery.fetched.topic, admitted.value).inc()

    async def _keep_what_waits(self, tx: Transaction, delivery: Delivery, admitted: Admitted) -> None:
        """Park what came before its predecessor, good or refused, and let go of a parked row that has had its turn."""
        if admitted is Admitted.GAP:
            early = (self.group, delivery.fetched, delivery.stamp)
            await inbox.park(tx, *early, why="gap", code="stream.gap", now=self.clock.now())
        elif delivery.fetched.parked and admitted is not Admitted.LEFT:
            await inbox.unpark(tx, self.group, delivery.fetched)

    @of_message
    async def _settle(self, delivery: Delivery, error: BaseException) -> None:
        """Decide by the error's disposition: refuse with an answer, retry later, hold, or halt the key.

        That the database is away says nothing about the message: raised again, for the batch to be tried again.
        """
        if not isinstance(error, Exception) or isinstance(error, DatabaseAwayError):
            raise error
        if isinstance(error, HeldError):
            await self._park(delivery.fetched, delivery, "held", error.code)
        elif isinstance(error, GatewayError) and error.disposition is Disposition.REFUSE:
            await self._refuse(delivery, error)
        elif isinstance(error, GatewayError) and error.disposition is Disposition.RETRY:
            await self._park(delivery.fetched, delivery, "retry", error.code)
        else:
            await self._halt(delivery.fetched, delivery, type(error).__name__)

    async def _refuse(self, delivery: Delivery, error: GatewayError) -> None:
        on_refused = self._subscription(delivery.fetched.topic).on_refused

        async def work(tx: Transaction) -> Admitted:
            admitted = await inbox.admit(tx, self.group, delivery.stamp)
            if admitted is Admitted.APPLY:
                await on_refused(tx, self.component.deps, delivery, error)
            await self._keep_what_waits(tx, delivery, admitted)
            return admitted

        try:
            admitted = await self.database.write(work, key=self._writer(delivery.fetched, delivery))
        except DatabaseAwayError:
            raise
        except GatewayError:  # nobody to answer: a message of ours was refused, which is our fault
            await self._halt(delivery.fetched, delivery, error.code)
        else:
            if admitted is Admitted.LEFT:
                await self._quarantine(delivery.fetched, EPOCH_LEFT)
                return
            DELIVERIES.labels(self.group, delivery.fetched.topic, "refused").inc()

    async def _halt(self, fetched: Fetched, delivery: Delivery | None, code: str) -> None:
        log.error("worker.halt", consumer=self.group, topic=fetched.topic, code=code)
        await self._park(fetched, delivery, "halt", code)
        self._count_halt(fetched.topic)

    def _count_halt(self, topic: str) -> None:
        now = self.clock.now()
        self.halts.append(now)
        while self.halts[0] < now - HALTS_WINDOW:
            self.halts.popleft()
        if topic in MONEY_TOPICS or len(self.halts) >= HALTS_MAX:
            self.stopped = "halted"

    async def _park(self, fetched: Fetched, delivery: Delivery | None, why: str, code: str) -> None:
        stamp = delivery.stamp if delivery else None

        async def work(tx: Transaction) -> None:
            await inbox.park(tx, self.group, fetched, stamp, why=why, code=code, now=self.clock.now())
            if why == "held":
                await self.outbox.add(tx, self._security_record("held", fetched, code))

        await self.database.write(work, key=self._writer(fetched, delivery))
        if why == "retry" and self._retries is not None:
            self._retries += 1
        DELIVERIES.labels(self.group, fetched.topic, why).inc()

    async def _quarantine(self, fetched: Fetched, code: str) -> None:
        async def work(tx: Transaction) -> None:
            if await inbox.put_in_quarantine(tx, self.group, fetched, code, self.clock.now()):
                await self.outbox.add(tx, self._security_record("quarantined", fetched, code))
            if fetched.parked:
                await inbox.unpark(tx, self.group, fetched)

        await self.database.write(work, key=self._writer(fetched, None))
        DELIVERIES.labels(self.group, fetched.topic, "quarantined").inc()

    def _security_record(self, what: str, fetched: Fetched, code: str) -> Any:
        clear = {"topic": fetched.topic, "code": code, "sha256": sha256_hex(fetched.value)}
        return record(f"{self.role}.message_{what}", at=self.clock.now(), clear=clear)

    async def _retry_parked(self) -> None:
        """Run beside `run`: take up parked messages that are due, each stream in order."""
        back_off = BackOff()
        while not self.stopping:
            try:
                may_take = self.stopped is None and self.outbox.admission.behind is None
                due = await self._due() if may_take else []
                await self.process(due)
                back_off.succeeded()
                if not due:  # what was taken may have been what others wait behind: look again at once
                    await self.stopping.rest(RETRY_EVERY_S)
            except Exception as error:  # noqa: BLE001 the database is away: the rows are not
                log.warning("worker.retry-waiting", consumer=self.group, error=type(error).__name__)
                await self.stopping.rest(back_off.failed())

    def _writer(self, fetched: Fetched, delivery: Delivery | None) -> str:
        return self.component.writer or (delivery.case_id if delivery else fetched.key)

    async def _due(self) -> list[Fetched]:
        """Take what is due, longest due first; what only waits behind another is due once that one is in."""
        found = await self.database.fetch(_DUE, {"of_consumer": self.group, "now": rfc3339(self.clock.now())})
        in_order = sorted(found, key=lambda row: (row.topic, row.key, row.epoch, row.seq))
        return [Fetched(row.topic, row.partition, row.offset, row.key, row.value, parked=True) for row in in_order]

    def _subscription(self, topic: str) -> Subscription[Any]:
        return next(found for found in self.component.subscriptions if found.topic == topic)
