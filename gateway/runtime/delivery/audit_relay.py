"""The audit relay: numbers committed records per source, computes their commitments, signs and publishes them.

One a role, so `sq` is dense and `pv` names the former event of the same case, both within the role's source epoch.
Numbering is a commit of its own; if we die after it, the same numbers, hence the same bytes, are published again.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row, and_, bindparam, func, select, update

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.commitments import commitments, entry
from gateway.protocol.jose import PrivateKey
from gateway.protocol.topics import AUDIT_RECORDS
from gateway.runtime.bus.headers import SIGNED_TEXT, routing_headers
from gateway.runtime.bus.port import Bus, BusRecord, RefusedRecordError
from gateway.runtime.custody import case_secrets
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.delivery.relay_backoff import Held
from gateway.runtime.storage.database import Database, OneStatement, Transaction, one, rows
from gateway.runtime.storage.tables import FIRST_EPOCH, audit_rows

BATCH_MAX = 256
IDLE_S = 0.5
GATHER_S = 0.1
"""A pause before each batch: nobody waits for the log, and one larger commit is cheaper than many."""

log = structlog.get_logger("audit-relay")

_NUMBER = (
    update(audit_rows)
    .where(audit_rows.c.id == bindparam("row_id"))
    .values(epoch=bindparam("new_epoch"), sq=bindparam("new_sq"), pv=bindparam("new_pv"))
)


@dataclass
class AuditRelay:
    """`source` is the role's code and the record key on the bus; `key` signs entries under that name."""

    source: str
    key: PrivateKey
    database: Database
    bus: Bus
    vault: Vault
    clock: Clock
    outbox: Outbox
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    held: Held = field(init=False)

    def __post_init__(self) -> None:
        self.held = Held(self.source, "records", self.clock)
        self.outbox.wake_audit = self.wake.set

    def stop(self) -> None:
        """Have `run` publish what is committed by now, if the bus answers, and end."""
        self.stopping = True
        self.wake.set()

    async def run(self) -> None:
        """Run until stopped; any failure of bus or database is waited out, never fatal."""
        while True:
            last = self.stopping
            try:
                moved = await self.step()
            except Exception as error:  # noqa: BLE001 the relay outlives every dependency
                log.warning("audit-relay.failed", error=type(error).__name__)
                moved = 0
                await asyncio.sleep(IDLE_S)
            if last and moved < BATCH_MAX:
                return
            if moved < BATCH_MAX:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await self.wake.wait()
                await asyncio.sleep(GATHER_S)
            self.wake.clear()

    async def step(self) -> int:
        """Number, sign and publish one batch; returns how many records went out."""
        self.held.let_go()
        waits = self.held.until or self.outbox.admission.behind is not None
        found = () if waits else await self.database.write(self._number)
        if not found:
            return 0
        entries = await self.database.read(partial(self._entries, numbered=found))
        try:
            acknowledged = await self.bus.publish(AUDIT_RECORDS, entries)
        except RefusedRecordError as refused:  # one key, and its numbers are dense: what follows waits
            acknowledged = refused.durable
            self.held.add(AUDIT_RECORDS, self.source, refused)
        marking = update(audit_rows).where(audit_rows.c.id.in_([row.id for row in found[:acknowledged]]))
        await self.database.write(OneStatement(marking.values(published_at=rfc3339(self.clock.now()))))
        return acknowledged

    async def _number(self, tx: Transaction) -> Sequence[Row[Any]]:
        """Give `sq` and `pv` to unpublished records, oldest first; those numbered before a crash keep theirs."""
        waiting = select(audit_rows).where(audit_rows.c.published_at.is_(None)).order_by(audit_rows.c.id)
        found = await rows(tx, waiting.limit(BATCH_MAX))
        fresh = [row for row in found if row.sq is None]
        if not fresh:
            return found
        epoch = self.outbox.sender.epoch
        last = await one(tx, select(func.coalesce(func.max(audit_rows.c.sq), 0)).where(audit_rows.c.epoch == epoch))
        sq = 0 if last is None else int(last[0])
        former = await self._former_events(tx, {row.case_id for row in fresh if row.case_id})
        numbers = []
        for row in fresh:
            sq += 1
            former_eid = former.get(row.case_id) if row.case_id else None
            numbers.append({"row_id": row.id, "new_epoch": epoch, "new_sq": sq, "new_pv": former_eid})
            if row.case_id:
                former[row.case_id] = row.eid
        await tx.execute(_NUMBER, numbers)
        return await rows(tx, waiting.limit(len(found)))

    async def _former_events(self, tx: Transaction, case_ids: set[str]) -> dict[str, str]:
        epoch = self.outbox.sender.epoch
        newest = (
            select(audit_rows.c.case_id, func.max(audit_rows.c.sq).label("sq"))
            .where(audit_rows.c.case_id.in_(case_ids), audit_rows.c.epoch == epoch, audit_rows.c.sq.is_not(None))
            .group_by(audit_rows.c.case_id)
            .subquery()
        )
        of_epoch = and_(audit_rows.c.sq == newest.c.sq, audit_rows.c.epoch == epoch)
        joined = select(audit_rows.c.case_id, audit_rows.c.eid).join(newest, of_epoch)
        return {row.case_id: row.eid for row in await rows(tx, joined)}

    async def _entries(self, tx: Transaction, numbered: Sequence[Row[Any]]) -> list[BusRecord]:
        cases = {row.case_id for row in numbered if row.case_id}
        opened = await case_secrets.load(tx, self.vault, cases, [row.eid for row in numbered])
        return [self._record(row, opened.get(row.eid)) for row in numbered]

    def _record(self, row: Row[Any], opened: tuple[bytes, dict[str, Any]] | None) -> BusRecord:
        headers = routing_headers(
            row.eid, row.type, source=self.source, at=row.at, trace=row.trace, content_type=SIGNED_TEXT
        )
        return BusRecord(self.source, entry(_body(row, self.source, opened), self.source, self.key), headers)


def _body(row: Row[Any], source: str, opened: tuple[bytes, dict[str, Any]] | None) -> dict[str, Any]:
    """Build the leaf body: keys v, typ, eid, src, sq, t, and where they apply ep, cref, pv, cs, clr, cm."""
    body: dict[str, Any] = {"v": 1, "typ": row.type, "eid": row.eid, "src": source, "sq": row.sq, "t": row.at}
    optional = {
        "ep": row.epoch if row.epoch > FIRST_EPOCH else None,
        "cref": row.case_id,
        "pv": row.pv,
        "cs": row.cause,
        "clr": read_json_object(row.clear.encode()),
        "cm": commitments(opened[0], row.eid, opened[1]) if opened else None,
    }
    return body | {name: value for name, value in optional.items() if value}
