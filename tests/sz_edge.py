"""The Shenzhen edge by itself: its component on a real database behind ASGI, with the sandbox's parties and keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httpx2
from fastapi import FastAPI
from sqlalchemy import MetaData, Row, Table, func, select

from adapters.sz import tables
from adapters.sz.actions import Deps
from adapters.sz.component import build
from gateway.protocol.canonical import compact
from gateway.protocol.clock import VirtualClock
from gateway.protocol.exchange import Exchange, Manifest, Message, Stamp, read_payload, text_hash
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.protocol.registry import Use
from gateway.protocol.rules import shipped_rules
from gateway.protocol.topics import HOSPITAL_NOTICES
from gateway.runtime.bus.port import Bus, Fetched
from gateway.runtime.component import Component
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.worker import Worker
from gateway.runtime.storage import tables as runtime_tables
from gateway.runtime.storage.database import Database, Transaction, one, rows
from gateway.runtime.web.auth import Issuer
from gateway.runtime.web.http import create_app
from tests.hospital_bills import FORMAT, INSTITUTION
from tests.parties import HOSPITAL, INSURER, NOW, OTHER_INSURER, key_of, world
from tests.role_services import role_services

BASE_URL = "http://sz.example/sz"
METADATAS: tuple[MetaData, ...] = (runtime_tables.METADATA, tables.METADATA)


def keyring() -> Keyring:
    """The keys of role sz with one hosted hospital; storage and token keys are fixed for tests."""
    names = ("sz/stamp/1", "sz/audit/1", f"{HOSPITAL}/sign/1", f"{HOSPITAL}/seal/1")
    return Keyring(
        {name: key_of(name) for name in names}, bytes(range(32)), {HOSPITAL: b"synthetic token key 32 bytes long"}
    )


def pins() -> dict[str, frozenset[str]]:
    parties = world().directory.parties
    return {
        code: frozenset(row.x for row in parties[code].keys if row.use in (Use.SIGN, Use.SEAL))
        for code in (INSURER, OTHER_INSURER)
    }


@dataclass
class Edge:
    """The component, what is needed to call it, and looks into its database."""

    deps: Deps
    component: Component
    app: FastAPI
    token: str

    @property
    def database(self) -> Database:
        return self.deps.database

    def http(self, token: str | None = None) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app),
            base_url="http://sz.example",
            headers={"authorization": f"Bearer {token or self.token}", "content-type": "application/json"},
        )

    async def submit(self, client: httpx2.AsyncClient, raw: bytes, key: str) -> httpx2.Response:
        return await client.post("/v1/claims", content=raw, headers={"idempotency-key": key})

    async def count(self, table: Table) -> int:
        found = await self.database.read(partial(one, statement=select(func.count()).select_from(table)))
        return 0 if found is None else int(found[0])

    async def all(self, table: Table) -> Sequence[Row[Any]]:
        return await self.database.read(partial(rows, statement=select(table)))

    async def deliver(self, exchange: Exchange, offset: int) -> None:
        """Hand the worker one record as the bus would, and wait until what became of it is durable."""
        stream = Stamp.model_validate(read_payload(exchange.stamp))
        worker = Worker(
            component=self.component,
            role="sz",
            database=self.database,
            bus=cast("Bus", None),  # a worker that is handed its records fetches none
            outbox=self.deps.outbox,
            trust=self.deps.trust,
            clock=self.deps.clock,
        )
        await worker.process([Fetched(HOSPITAL_NOTICES, 0, offset, stream.key, exchange.encode())])


def an_edge(database: Database, clock: VirtualClock, **changes: Any) -> Edge:
    """Build the edge on a database that has its tables; `changes` replace dependencies."""
    keys = changes.pop("keyring", None) or keyring()
    trust = TrustHolder(world().trust)
    trust.install(world().signed, world().directory)
    given: dict[str, Any] = {
        "services": role_services(database, "sz", clock, keyring=keys, trust=trust),
        "pins": pins(),
        "formats": {HOSPITAL: FORMAT},
        "institutions": {HOSPITAL: frozenset({INSTITUTION})},
        "rules": shipped_rules(),
    }
    deps = Deps(**(given | changes))
    component = build(deps)
    access = PrivateKey.generate("sz/access/1", "Ed25519")
    app = create_app("Shenzhen edge", clock=clock)
    app.state.issuer = Issuer("sz", BASE_URL, access, database, trust, clock)
    for router in component.routers:
        app.include_router(router)
    return Edge(deps, component, app, a_token(access, clock))


def a_token(key: PrivateKey, clock: VirtualClock, party: str = HOSPITAL, client_id: str = "hosp-nanshan-his") -> str:
    """Sign an access token as the edge's own issuer would, for an hour."""
    claims = {
        "iss": BASE_URL,
        "aud": BASE_URL,
        "sub": client_id,
        "client_id": client_id,
        "party": party,
        "person": None,
        "scope": "claims:submit claims:read",
        "exp": int(clock.now().timestamp()) + 3600,
        "jti": mint("at"),
    }
    return sign(compact(claims), key, Typ.ACCESS)


def from_core(
    seq: int,
    *,
    case_id: str,
    manifest: Manifest | None = None,
    token: str | None = None,
    dossier: str | None = None,
    message: Message | None = None,
) -> Exchange:
    """Build what core sends sz: a party's answer passed on, or a message of its own, under core's stamp."""
    body = None if message is None else message.model_dump(mode="json", exclude_none=True)
    kind = manifest.type if manifest is not None else str(body["type"] if body else "")
    stamp = Stamp(
        eid=mint("ev"),
        role="core",
        custody="hosted",
        topic=HOSPITAL_NOTICES,
        key=case_id,
        seq=seq,
        type=kind,
        received_at=NOW,
        expires=NOW.replace(year=NOW.year + 1),
        registry_release=1,
        manifest_sha256=text_hash(token),
        dossier_sha256=text_hash(dossier),
        message=body,
    )
    signed = sign(compact(stamp.model_dump(mode="json", exclude_none=True)), key_of("core/stamp/1"), Typ.STAMP)
    return Exchange(stamp=signed, manifest=token, dossier=dossier, receipt=signed if token else None)


async def load_bill_box(tx: Transaction, edge: Edge, claim_id: str) -> bytes:
    """Open the stored bill of a claim, as only the edge itself can."""
    found = await one(tx, select(tables.claims).where(tables.claims.c.claim_id == claim_id))
    if found is None:
        raise LookupError(claim_id)
    secret = await edge.deps.vault.existing(tx, found.case_id)
    return secret.unbox(found.bill, "content")
