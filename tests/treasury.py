"""Settlement over a real database with a scripted bank: timers run once, operators act as two persons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, select

from gateway.protocol.calendars import Calendar
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock, rfc3339
from gateway.protocol.errors import NotFoundError
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.protocol.topics import SETTLEMENT_REQUESTS
from gateway.runtime.bus.port import Fetched
from gateway.runtime.component import Component, Delivery
from gateway.runtime.operator.actions import Ask, Operations
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.schema import migrate
from gateway.runtime.storage.tables import audit_rows, outbox
from gateway.runtime.web.auth import Caller
from settlement import ledger, store
from settlement.actions import Deps
from settlement.actions.booking import take_notifications
from settlement.actions.obligations import void_obligation
from settlement.actions.sending import make_batches
from settlement.banks import Banks
from settlement.batch import Batch
from settlement.component import build
from settlement.ledger import Entry, open_items, trial_balance
from settlement.obligation import Obligation
from settlement.payment import AccountHolder
from settlement.tables import bank_entries, bank_pages, batches, breaks
from tests.parties import a_stamp
from tests.role_services import role_services
from tests.settlement_builders import NOW, PARTIES, TODAY, a_profile, an_approval, the_hospital, the_payer

FIRST = Caller("op", "op-1", "Operator One", frozenset({"operate"}))
SECOND = Caller("op", "op-2", "Operator Two", frozenset({"operate"}))


@dataclass
class ScriptedBank:
    """Answers what a test has put in; without a script nothing is new and no payment is known."""

    pages: list[Incoming] = field(default_factory=list)
    status: Incoming = field(default_factory=lambda: Incoming(404, {}, b""))
    asked: list[str] = field(default_factory=list)

    def show(self, page: bytes, cursor: str) -> None:
        self.pages.append(Incoming(200, {"Next-Cursor": cursor}, page))

    async def send(self, outgoing: Outgoing) -> Incoming:
        self.asked.append(outgoing.url)
        if "/notifications" in outgoing.url:
            return self.pages.pop(0) if self.pages else Incoming(204)
        return self.status


@dataclass
class Treasury:
    database: Database
    component: Component
    deps: Deps
    operations: Operations
    bank: ScriptedBank
    clock: VirtualClock

    @classmethod
    def over(cls, database: Database, bank: ScriptedBank | None = None) -> "Treasury":
        migrate(database, "runtime", "gateway.runtime.storage.migrations")
        migrate(database, "settlement", "settlement.migrations")
        clock, scripted = VirtualClock(NOW), bank or ScriptedBank()
        services = role_services(database, "core", clock)
        accounts = {"HKINS-A": the_payer(), "SZH-1": the_hospital()}

        async def account(_: Transaction, party: str, currency: str) -> AccountHolder:
            if party not in accounts or accounts[party].currency != currency:
                raise NotFoundError("account.unknown")
            return accounts[party]

        async def mirrored(_: Transaction) -> Mapping[str, str]:
            return PARTIES

        deps = Deps(
            services=services,
            account=account,
            mirrored=mirrored,
            banks=Banks((a_profile(),)),
            send=scripted.send,
            calendars=(Calendar.always_open("test", "always open"),),
        )
        component = build(deps)
        return cls(
            database, component, deps, Operations(database, services.outbox, clock, (), (component,)), scripted, clock
        )

    async def open(self, *opened: Obligation) -> None:
        async def work(tx: Transaction) -> None:
            for obligation in opened:
                await store.add_obligation(tx, obligation, "a.signed.decision", rfc3339(NOW))
                await store.post(tx, ledger.approved(obligation, booked_at=NOW, value_date=TODAY))

        await self.database.write(work)

    async def draft(self, *opened: Obligation) -> Batch:
        """Open obligations and let the maker batch them."""
        await self.open(*opened)
        await make_batches(self.deps)
        [row] = await self.all(select(batches).where(batches.c.state == "draft"))
        return await self.batch(row.batch_id)

    async def send(self, *opened: Obligation) -> Batch:
        """Open obligations, batch, approve and instruct them, as if the bank had not answered yet."""
        drafted = await self.draft(*opened)

        async def work(tx: Transaction) -> None:
            approved = drafted.approve(an_approval(drafted)).approve(an_approval(drafted, "treasurer-2"))
            sent = approved.instruct(NOW)
            await store.save_batch(tx, sent, seen=drafted.state)
            await store.post(tx, ledger.instructed(sent, booked_at=NOW))
            for obligation in await store.list_members(tx, sent.batch_id):
                await store.save_obligation(tx, obligation.instruct(), seen=obligation.state)

        await self.database.write(work)
        return await self.batch(drafted.batch_id)

    async def take(self, page: bytes, cursor: str) -> None:
        self.bank.show(page, cursor)
        await take_notifications(self.deps)

    async def two_persons(self, action: str, **form: Any) -> Mapping[str, Any]:
        """Have one operator ask and another confirm."""
        asked = await self.ask(action, **form)

        async def work(tx: Transaction) -> Mapping[str, Any]:
            return (await self.operations.confirm(tx, asked, SECOND)).body

        return await self.database.write(work)

    async def ask(self, action: str, *, caller: Caller = FIRST, **form: Any) -> str:
        async def work(tx: Transaction) -> str:
            return str((await self.operations.ask(tx, Ask(action=action, form=form), caller)).body["request_id"])

        return await self.database.write(work)

    async def void(self, obligation: Obligation) -> None:
        asked = VoidAsked(
            obligation_id=obligation.obligation_id,
            case_id="case_1",
            claim_id=obligation.claim_id,
            reason_code="disputed",
        )
        stamp = a_stamp(role="core", topic=SETTLEMENT_REQUESTS, key=obligation.claim_id, type="void_asked")
        fetched = Fetched(SETTLEMENT_REQUESTS, 0, 0, obligation.claim_id, b"")
        delivery = Delivery("core.settlement", fetched, None, stamp, NOW, None, asked)  # type: ignore[arg-type]

        async def work(tx: Transaction) -> None:
            await void_obligation(tx, self.deps, delivery, asked)

        await self.database.write(work)

    async def all(self, statement: Select[Any]) -> Sequence[Any]:
        async def query(tx: Transaction) -> Sequence[Any]:
            return await rows(tx, statement)

        return await self.database.read(query)

    async def entries(self) -> Sequence[Any]:
        return await self.all(select(bank_entries).order_by(bank_entries.c.entry_key))

    async def breaks(self) -> Sequence[Any]:
        return await self.all(select(breaks).order_by(breaks.c.since, breaks.c.break_id))

    async def pages(self) -> Sequence[Any]:
        return await self.all(select(bank_pages))

    async def batch(self, batch_id: str) -> Batch:
        async def query(tx: Transaction) -> Batch:
            return await store.load_batch(tx, batch_id, lock=False)

        return await self.database.read(query)

    async def obligation(self, opened: Obligation) -> Obligation:
        async def query(tx: Transaction) -> Obligation:
            return await store.load_obligation(tx, opened.obligation_id, lock=False)

        return await self.database.read(query)

    async def cursor(self) -> str:
        async def query(tx: Transaction) -> str:
            return await store.load_cursor(tx, self.deps.banks.profiles[0].bank)

        return await self.database.read(query)

    async def journal(self) -> list[Entry]:
        """Return the journal, having checked that it balances."""
        found = await self.database.read(store.list_journal)
        assert set(trial_balance(found).values()) <= {0}
        return found

    async def open_items(self) -> dict[str, int]:
        return {account.code: amount for account, amount in open_items(await self.journal()).items()}

    async def outcomes(self) -> list[str]:
        return [row.type for row in await self.all(select(outbox).order_by(outbox.c.id))]

    async def records(self, name: str) -> list[dict[str, Any]]:
        found = await self.all(select(audit_rows).where(audit_rows.c.type == name).order_by(audit_rows.c.id))
        return [read_json_object(row.clear.encode()) for row in found]

    def later(self, **span: float) -> None:
        self.clock.advance(timedelta(**span))
