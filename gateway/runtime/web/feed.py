"""Pull feeds: an insurer's inbox, a hospital's events. A cursor never skips and writers never meet on a counter.

Works only append rows without a position. After the commit one sequencer a role numbers committed rows, oldest id
first, densely per tenant. A row that commits late is numbered late, so whoever has read up to position n has seen
everything with a position up to n; with a counter in the writing transaction, n + 1 could become visible before n.
Two items of one claim keep their order: the second work waits for the first one's lock, so its id is larger and it
commits later. Should two processes number at once, the unique (tenant, position) lets one of them win.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import structlog
from sqlalchemy import BigInteger, Integer, Update, bindparam, case, func, insert, select, update
from sqlalchemy.dialects import postgresql

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import Clock, rfc3339
from gateway.runtime.signals.observability import FEED_NUMBERED
from gateway.runtime.storage.database import Database, OneStatement, Transaction
from gateway.runtime.storage.tables import FIRST_EPOCH, feed, feed_cursors
from gateway.runtime.web.paging import Cursors

NUMBERED_MAX = 500
POSITIONS_OF_AN_EPOCH = 1 << 40
IDLE_S = 0.5
GATHER_S = 0.01
"""A short pause before numbers are given: items come in bursts, and so do the readers that each number wakes."""
LOOK_S = 1.0
"""How often a waiting reader looks by itself: another process of the role may be the one that numbers."""

log = structlog.get_logger("feed")


@dataclass(frozen=True, slots=True)
class Page:
    items: Sequence[Mapping[str, Any]]
    next: str
    """The cursor to ask after next time; the same as asked with when nothing came."""


@dataclass
class FeedSequencer:
    """One role's feeds. `_arrived` wakes waiting readers of a tenant; owned by the event loop."""

    database: Database
    clock: Clock
    storage: bytes = field(repr=False)
    """The role's storage key, from which the cursors' key is derived."""
    epoch: int = FIRST_EPOCH
    """The role's source epoch. Each has positions of its own above those before: after a restore no reader's cursor,
    which may be ahead of the restored feed, skips what is new."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: dict[str, asyncio.Event] = field(default_factory=dict)
    _answer_at_once: bool = False

    def answer_waiting(self) -> None:
        """Have readers that wait answer with what they have, and later ones not wait: the server is about to stop."""
        self._answer_at_once = True
        for event in self._arrived.values():
            event.set()

    async def append(self, tx: Transaction, tenant: str, item: Mapping[str, Any]) -> None:
        """Add an item in the caller's work; it gets its position after the commit."""
        row = {"tenant": tenant, "item": compact(dict(item)).decode(), "at": rfc3339(self.clock.now())}
        await tx.later(_ADD, row)
        tx.after_commit(self._wake.set)

    async def run(self) -> None:
        """Number committed rows until cancelled."""
        while True:
            numbered = 0
            try:
                if self._wake.is_set() or await self.database.fetch(_ANY_WAITING):
                    self._wake.clear()
                    numbered = await self.step()
            except Exception as error:  # noqa: BLE001 the database is away, or another process numbered: rows wait
                log.warning("feed.waiting", error=type(error).__name__)
                await asyncio.sleep(IDLE_S)
            if numbered < NUMBERED_MAX:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await self._wake.wait()
                await asyncio.sleep(GATHER_S)

    async def step(self) -> int:
        """Number one batch; returns how many rows got a position."""
        numbering = OneStatement(_NUMBERING, {"base": (self.epoch - FIRST_EPOCH) * POSITIONS_OF_AN_EPOCH})
        numbered = [row.tenant for row in await self.database.write(numbering, key="feed")]
        for tenant in set(numbered):
            event = self._arrived.pop(tenant, None)
            if event is not None:
                event.set()
        FEED_NUMBERED.inc(len(numbered))
        return len(numbered)

    async def page(self, tenant: str, after: str | None, *, limit: int, wait_s: float = 0) -> Page:
        """Return what came after a cursor (None: after the last acknowledged); waits without holding a connection."""
        position = await self._acknowledged(tenant) if after is None else self._read_cursor(tenant, after)
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            arrived = self._arrived.setdefault(tenant, asyncio.Event())
            found = await self._read(tenant, position, limit)
            left_s = deadline - asyncio.get_running_loop().time()
            if found or left_s <= 0 or self._answer_at_once:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    await arrived.wait()
        last = found[-1][0] if found else position
        return Page([item for _, item in found], self._cursors.write(_scope(tenant), [last]))

    async def acknowledge(self, tenant: str, cursor: str) -> None:
        """Remember how far a tenant has read; never moves back."""
        position = self._read_cursor(tenant, cursor)

        async def work(tx: Transaction) -> None:
            await tx.execute(_ACKNOWLEDGE, {"tenant": tenant, "acknowledged": position})

        await self.database.write(work, key=tenant)

    async def _read(self, tenant: str, after: int, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
        found = await self.database.fetch(_PAGE, {"of_tenant": tenant, "after": after, "at_most": limit})
        return [(row.position, read_json_object(row.item.encode())) for row in found]

    async def _acknowledged(self, tenant: str) -> int:
        found = await self.database.fetch(_ACKNOWLEDGED, {"of_tenant": tenant})
        return int(found[0].acknowledged) if found else 0

    def _read_cursor(self, tenant: str, cursor: str) -> int:
        return int(self._cursors.read(_scope(tenant), cursor)[0])

    @cached_property
    def _cursors(self) -> Cursors:
        return Cursors(self.storage)


_ADD = insert(feed)
_UNNUMBERED = select(feed.c.id, feed.c.tenant).where(feed.c.position.is_(None)).order_by(feed.c.id)
_ANY_WAITING = _UNNUMBERED.limit(1)
_OF_TENANT = feed.c.tenant == bindparam("of_tenant")
_AFTER = feed.c.position > bindparam("after", type_=BigInteger)
_PAGE = select(feed.c.position, feed.c.item).where(_OF_TENANT, _AFTER).order_by(feed.c.position)
_PAGE = _PAGE.limit(bindparam("at_most", type_=Integer))
_ACKNOWLEDGED = select(feed_cursors.c.acknowledged).where(feed_cursors.c.tenant == bindparam("of_tenant"))


def _numbering() -> Update:
    """Write the statement that numbers what waits, oldest id first, on from each tenant's last position."""
    waiting = _UNNUMBERED.limit(NUMBERED_MAX).subquery("waiting")
    given = feed.alias("given")
    last = select(func.coalesce(func.max(given.c.position), 0)).where(given.c.tenant == waiting.c.tenant)
    base = bindparam("base", type_=BigInteger)
    last_number = last.scalar_subquery()
    start = case((last_number < base, base), else_=last_number)
    place = func.row_number().over(partition_by=waiting.c.tenant, order_by=waiting.c.id)
    numbered = select(waiting.c.id, (start + place).label("position")).subquery("numbered")
    numbering = update(feed).where(feed.c.id == numbered.c.id).values(position=numbered.c.position)
    return numbering.returning(feed.c.tenant)


_NUMBERING = _numbering()


def _scope(tenant: str) -> str:
    return f"feed/{tenant}"


def _acknowledge() -> postgresql.Insert:
    statement = postgresql.insert(feed_cursors)
    return statement.on_conflict_do_update(
        index_elements=["tenant"],
        set_={"acknowledged": statement.excluded.acknowledged},
        where=feed_cursors.c.acknowledged < statement.excluded.acknowledged,
    )


_ACKNOWLEDGE = _acknowledge()
