"""The insurer's desk with the real Hong Kong edge before it, over ASGI; core is played by the test, with core's keys.

The desk's database is the test's, SQLite or PostgreSQL; the edge keeps a SQLite file. Jobs run when a test calls them,
time moves when a test moves it, and the line between desk and edge breaks where a test says.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import Row, Select, select
from starlette.responses import Response
from starlette.types import ASGIApp

from adapters.hk.desk import component as desk_component
from adapters.hk.desk.actions import Deps, dispatch, reception
from adapters.hk.desk.tables import METADATA
from adapters.hk.edge import actions as edge_actions
from adapters.hk.edge import component as edge_component
from adapters.hk.edge import store as edge_store
from adapters.hk.edge.tables import METADATA as EDGE_METADATA
from gateway.client.insurer import InsurerClient
from gateway.client.transport import ApiProblem, Retry, Session
from gateway.protocol.canonical import compact, read_json, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.exchange import Exchange, Manifest, read_payload
from gateway.protocol.jose import PrivateKey
from gateway.protocol.messages import parse_manifest
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.protocol.verification import verify_exchange
from gateway.runtime.bus.port import Fetched
from gateway.runtime.component import Component, Delivery
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.outbox import Admission, Outbox, Sender
from gateway.runtime.storage.database import Database, Transaction, Work, open_database, rows
from gateway.runtime.storage.tables import METADATA as RUNTIME_METADATA
from gateway.runtime.storage.tables import audit_rows, outbox
from gateway.runtime.web.auth import Issuer, token_routes
from gateway.runtime.web.http import create_app
from tests.claims_in_transit import BASE_URL, a_claim, a_profile, an_insurers_profile, told
from tests.parties import INSURER, NOW, key_of, world
from tests.role_services import role_services

ONCE = Retry(attempts_max=1)


@dataclass
class Line:
    """The line between desk and edge.

    `breaks` is asked for each request: None lets it through, "before" and "after" break the line there, and a
    response answers in the edge's place.
    """

    app: ASGIApp
    breaks: Callable[[httpx2.Request], str | httpx2.Response | None] = lambda _: None
    asked: list[httpx2.Request] = field(default_factory=list)

    async def carry(self, request: httpx2.Request) -> httpx2.Response:
        how = self.breaks(request)
        if isinstance(how, httpx2.Response):
            return how
        if how == "before":
            raise httpx2.ConnectError("the line is down")
        self.asked.append(request)
        response = await httpx2.ASGITransport(self.app).handle_async_request(request)
        content = await response.aread()
        if how == "after":
            raise httpx2.ReadTimeout("the answer is lost")
        return httpx2.Response(response.status_code, headers=response.headers, content=content)


class BreakingDatabase:
    """Passes on to a database; while `broken`, a work runs and is undone, as if we had died before its commit."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.broken = False
        self.read, self.fetch, self.run_sync, self.close = inner.read, inner.fetch, inner.run_sync, inner.close

    async def write(self, work: Work[Any], *, key: str = "") -> Any:
        async def undone(tx: Transaction) -> Any:
            found = await work(tx)
            if self.broken:
                raise ConnectionAbortedError
            return found

        return await self.inner.write(undone, key=key)


def _trust(*, installed: bool) -> TrustHolder:
    trust = TrustHolder(world().trust)
    if installed:
        trust.install(world().signed, world().directory)
    return trust


def _outbox(role: str, trust: TrustHolder, clock: VirtualClock, storage: bytes) -> Outbox:
    sender = Sender(role, "hosted", key_of(f"{role}/stamp/1"), Vault(storage), trust, clock)
    return Outbox(sender, Admission(1000, 1 << 26))


def _app(component: Component, role: str, prefix: str, deps: Any, clock: VirtualClock) -> FastAPI:
    app = create_app(role, clock=clock)
    access = PrivateKey.generate(f"{role}/access/1", "Ed25519")
    issuer = Issuer(role, BASE_URL + prefix, access, deps.database, deps.trust, clock)
    app.state.issuer = issuer
    app.include_router(token_routes(issuer))
    for router in component.routers:
        app.include_router(router)
    return app


@dataclass
class DeskWorld:
    clock: VirtualClock
    edge: edge_actions.Deps
    deps: Deps
    database: BreakingDatabase
    line: Line
    app: FastAPI
    release: bytes

    @classmethod
    def open(cls, database: Database, folder: Path) -> "DeskWorld":
        """Wire edge and desk; neither job has run, the desk has no registry release yet."""
        clock = VirtualClock(NOW)
        app = create_app("both", clock=clock)
        line = Line(app)
        edge = _edge(folder, clock)
        edge_app = _app(edge_component.build(edge), "hk", "/hk", edge, clock)
        breaking = BreakingDatabase(database)
        found = cls(clock, edge, _desk(breaking, line, clock), breaking, line, app, world().signed.encode())

        @edge_app.get("/v1/registry/release")
        async def get_release() -> Response:
            return Response(found.release, media_type="application/json")

        app.mount("/hk", edge_app)
        app.mount("/desk", _app(desk_component.build(found.deps), "insurer", "/desk", found.deps, clock))
        return found

    async def close(self) -> None:
        await self.deps.client.aclose()
        await self.edge.database.close()

    def restarted(self) -> Deps:
        """Return the desk's dependencies as a new process has them: same database, nothing in memory."""
        return _desk(self.database, self.line, self.clock)

    # Core and the edge

    async def present(self, *exchanges: Exchange) -> None:
        """Have core deliver claims to the edge, which puts them into the inbox."""
        for exchange in exchanges:
            await self._deliver(exchange)
        await self.edge.feed.step()

    async def say(self, message: Accepted | Rejected | ClaimState) -> None:
        """Have core say what it thinks of an answer, or where a claim stands."""
        await self._deliver(told(message, seq=2))
        await self.edge.feed.step()

    async def _deliver(self, exchange: Exchange) -> None:
        key = str(read_payload(exchange.stamp)["key"])
        verified = verify_exchange(
            exchange, world().directory, topic=INSURER_DELIVERIES, key=key, writer="core", now=self.clock.now()
        )
        fetched = Fetched(INSURER_DELIVERIES, 0, 0, key, exchange.encode())
        delivery = Delivery(
            "edge",
            fetched,
            exchange,
            verified.stamp,
            verified.received_at,
            verified.manifest,
            verified.message,
        )

        [reads] = edge_component.build(self.edge).subscriptions
        apply = await reads.handlers[verified.stamp.type].bind(self.edge, delivery)

        async def work(tx: Transaction) -> None:
            await apply(tx, world().directory)

        await self.edge.database.write(work)

    async def put_in_inbox(self, exchange: Exchange, kind: str = "submitted") -> None:
        """Have a false edge put something into the inbox that core never delivered."""
        manifest = read_payload(exchange.manifest or "")

        async def work(tx: Transaction) -> None:
            item = {name: str(manifest[name]) for name in ("msg_id", "case_id", "claim_id")}
            await self.edge.feed.append(tx, INSURER, item | {"type": kind, "at": ""})
            await edge_store.save_message(
                tx,
                msg_id=item["msg_id"],
                party=INSURER,
                kind=kind,
                claim_id=item["claim_id"],
                exchange=exchange.encode(),
                at="",
            )

        await self.edge.database.write(work)
        await self.edge.feed.step()

    async def taken(self) -> list[Manifest]:
        """Return the answers that the edge has taken and will send to core, in order."""
        found = await _read(self.edge.database, select(outbox.c.manifest).order_by(outbox.c.id))
        return [parse_manifest(read_payload(row.manifest), accepting=True) for row in found]

    # The desk

    async def pull(self) -> None:
        await reception.take_inbox(self.deps)

    async def send(self) -> None:
        await dispatch.send_answers(self.deps)

    async def review(self, *exchanges: Exchange) -> None:
        """Take claims in, acknowledge them, and have core accept that: they are in review at revision 2."""
        await self.present(*exchanges)
        await self.pull()
        await self.send()
        for manifest in await self.taken():
            await self.say(an_accepted(manifest))
        await self.pull()

    def person(self, client_id: str = "ins-harbour-assessor", party: str = INSURER) -> Session:
        """Open the desk's API as a person of the insurer's, or of somebody else's."""
        scopes = " ".join(world().directory.client(client_id)[1].scopes)
        profile = a_profile(client_id, party, "desk", scopes)
        transport = httpx2.ASGITransport(self.app)
        return Session(profile, "desk", transport=transport, clock=self.clock, retry=ONCE)

    async def records(self, *types: str) -> list[dict[str, Any]]:
        """Return the desk's audit records of these types with their clear fields, in order."""
        found = await self.read(select(audit_rows).where(audit_rows.c.type.in_(types)).order_by(audit_rows.c.id))
        return [dict(row._mapping) | {"clear": read_json_object(row.clear.encode())} for row in found]

    async def read(self, statement: Select[Any]) -> list[Row[Any]]:
        return await _read(self.database.inner, statement)


def an_accepted(manifest: Manifest, **changes: Any) -> Accepted:
    """Build core's word that it took an answer: by default an acknowledgement, the claim is in review."""
    words: dict[str, Any] = {
        "case_id": manifest.case_id,
        "claim_id": manifest.claim_id,
        "in_reply_to": manifest.msg_id,
        "to": manifest.sender,
        "state": "in_review",
        "revision": 2,
        "allowed_actions": ("return", "decide_partly", "decide", "dispute"),
    }
    return Accepted(**(words | changes))


# What an assessor sends


LINES = len(a_claim().line_amounts_minor)


def an_entry(line: int, **changes: Any) -> dict[str, Any]:
    """Pay a line of the sample claim whole."""
    amount_minor = a_claim().line_amounts_minor[line]
    zero = "0.00"
    paid = {
        "benefit": f"{amount_minor // 100}.{amount_minor % 100:02d}",
        "patient": zero,
        "other_payer": zero,
        "adjusted": zero,
    }
    return {"lines": [line], **paid, **changes}


def a_decision(*entries: dict[str, Any], final: bool = True) -> bytes:
    """Build a decision's body; by default every line is paid whole."""
    return compact({"final": final, "entries": list(entries) or [an_entry(line) for line in range(LINES)]})


async def refused(asking: Awaitable[Any]) -> ApiProblem:
    with pytest.raises(ApiProblem) as told_so:
        await asking
    return told_so.value


def listed(text: str) -> list[Any]:
    found: list[Any] = read_json(text.encode())
    return found


async def _read(database: Database, statement: Select[Any]) -> list[Row[Any]]:
    async def query(tx: Transaction) -> list[Row[Any]]:
        return list(await rows(tx, statement))

    return await database.read(query)


def _edge(folder: Path, clock: VirtualClock) -> edge_actions.Deps:
    database = open_database(f"sqlite:///{folder / 'edge.db'}")
    for metadata in (RUNTIME_METADATA, EDGE_METADATA):
        database.run_sync(metadata.create_all)
    storage = bytes(range(32))
    trust = _trust(installed=True)
    return edge_actions.Deps(
        services=role_services(
            database,
            "hk",
            clock,
            trust=trust,
            keyring=Keyring({"hk/stamp/1": key_of("hk/stamp/1")}, storage),
            outbox=_outbox("hk", trust, clock, storage),
        ),
        window_s=300,
    )


def _desk(database: BreakingDatabase, line: Line, clock: VirtualClock) -> Deps:
    storage = bytes(range(1, 33))
    trust = _trust(installed=False)
    kids = (f"{INSURER}/sign/1", f"{INSURER}/seal/1", "insurer/stamp/1")
    client = InsurerClient(an_insurers_profile(), transport=httpx2.MockTransport(line.carry), clock=clock, retry=ONCE)
    return Deps(
        services=role_services(
            cast("Database", database),
            "insurer",
            clock,
            trust=trust,
            keyring=Keyring({kid: key_of(kid) for kid in kids}, storage),
            outbox=_outbox("insurer", trust, clock, storage),
        ),
        client=client,
        party=INSURER,
    )


TABLES = (RUNTIME_METADATA, METADATA)
