"""The role table: which components each role runs, and what each gets from the others. The only file that imports all.

Components know each other by small ports only; the functions passed in here are the implementations. `Gateway` serves
one role from its folder, or all six over one data folder with the embedded bus, each as if alone: its own database,
keys, writer and relays.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from starlette.types import ASGIApp

import adapters.hk.desk.component as desk
import adapters.hk.edge.component as edge
import adapters.sz.component as sz
import audit.component as audit
import gateway.catalogue.component as catalogue
import gateway.claims.component as claims
import gateway.participants.component as participants
import settlement.component as settlement
from adapters.hk.desk.actions import Deps as DeskDeps
from adapters.hk.edge.actions import Deps as EdgeDeps
from adapters.sz.actions import Deps as SzDeps
from adapters.sz.institutions import parse_institutions
from adapters.sz.pins import load_pins
from audit.actions import Deps as AuditDeps
from audit.actions import note_source_stop
from audit.checkpoint import parse_policy
from audit.note import ED25519_COSIGNATURE, Ed25519Signer, VerifierKey, parse_vkey
from audit.sequencer import Sequencer
from audit.witness import Deps as WitnessDeps
from gateway import VERSION
from gateway.claims.actions import Deps as ClaimsDeps
from gateway.client.insurer import InsurerClient
from gateway.client.profile import Profile
from gateway.participants import store as participants_store
from gateway.participants.actions import Deps as ParticipantsDeps
from gateway.participants.actions import start as start_participants
from gateway.protocol.calendars import load_calendar
from gateway.protocol.canonical import parse_b64url, read_json_object
from gateway.protocol.claim_terms import PaidKind
from gateway.protocol.clock import Clock, business_date
from gateway.protocol.commitments import verifier_key
from gateway.protocol.jose import PrivateKey
from gateway.protocol.registry import Use
from gateway.protocol.rules import shipped_rules
from gateway.runtime.bus.embedded import EmbeddedBus
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.kafka_client import within
from gateway.runtime.bus.kafka_config import kafka_access, kafka_limits
from gateway.runtime.bus.port import Bus
from gateway.runtime.component import Component
from gateway.runtime.delivery.source_watch import asking
from gateway.runtime.process import RoleProcess
from gateway.runtime.settings import RoleSettings, load_settings
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.http import create_app
from gateway.runtime.web.http_client import Sender
from gateway.runtime.web.links import front_routes
from settlement.actions import Deps as SettlementDeps
from settlement.banks import Banks
from settlement.documents import account_holder
from settlement.payment import AccountHolder

Mounts = Mapping[str, tuple[str, Sequence[Component]]]
"""Prefix → (title, components whose routes it has)."""

TITLES = {
    "/sz": "Shenzhen edge: hospitals",
    "/core": "Core: registry and operators",
    "/hk": "Hong Kong edge: insurers' inbox",
    "/desk": "Insurer's desk",
    "/settlement": "Settlement: treasurers",
    "/audit": "Audit: the signed log's index",
    "/log": "The signed log (tlog-tiles)",
    "/witness/sz": "Witness in Shenzhen",
    "/witness/hk": "Witness in Hong Kong",
}

BUS_END_S = 2.0


@dataclass(frozen=True)
class Outside:
    """How a role reaches others over HTTP; `inside` maps `scheme://host:port` to apps of this process."""

    inside: dict[str, httpx2.AsyncBaseTransport] = field(default_factory=dict)

    def sender(self, *urls: str) -> Sender:
        return Sender(frozenset(_host(url) for url in urls), self.inside)

    def transport(self, url: str) -> httpx2.AsyncBaseTransport | None:
        return self.inside.get(_host(url))


def _host(url: str) -> str:
    parts = httpx2.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


async def _participants(process: RoleProcess, *, authority: bool) -> Component:
    source = process.settings.registry_folder if authority else None
    deps = ParticipantsDeps(process.services, process.bus, source)
    component = participants.build(deps)
    process.add(component)
    await start_participants(deps)
    return component


async def _sz(process: RoleProcess, outside: Outside) -> Mounts:
    del outside
    registry = await _participants(process, authority=False)
    formats = _named(process.settings, "format.")
    component = sz.build(
        SzDeps(
            services=process.services,
            pins=load_pins(process.settings.folder / process.settings.own("pins")),
            formats=formats,
            institutions={
                hospital: process.settings.own_as(f"institutions.{hospital}", parse_institutions, "institution codes")
                for hospital in formats
            },
            rules=shipped_rules(),
            bill_bytes_max=process.settings.bill_bytes_max,
        )
    )
    process.add(component)
    return {"/sz": (TITLES["/sz"], (component, registry))}


async def _core(process: RoleProcess, outside: Outside) -> Mounts:
    registry = await _participants(process, authority=True)
    today = business_date(process.clock.now())
    kinds = shipped_rules().value("claim.paid_by_third_party_kinds", today).require_words()
    claims_component = claims.build(ClaimsDeps(process.services, frozenset(PaidKind(kind) for kind in kinds)))
    catalogue_component = catalogue.build()
    settlement_component = _settlement(process, outside)
    for component in (claims_component, catalogue_component, settlement_component):
        process.add(component)
    return {
        "/core": (TITLES["/core"], (claims_component, catalogue_component, registry)),
        "/settlement": (TITLES["/settlement"], (settlement_component,)),
    }


def _settlement(process: RoleProcess, outside: Outside) -> Component:
    folder = process.settings.folder
    banks = Banks.read([read_json_object(path.read_bytes()) for path in process.settings.own_files("bank_profile")])
    calendar = load_calendar((folder / process.settings.own("calendar")).read_text(encoding="utf-8"))

    async def account(tx: Transaction, party: str, currency: str) -> AccountHolder:
        return account_holder(await participants_store.load_account(tx, party, currency))

    return settlement.build(
        SettlementDeps(
            services=process.services,
            account=account,
            mirrored=participants_store.list_account_owners,
            banks=banks,
            send=outside.sender(*banks.urls).send,
            calendars=(calendar,),
        )
    )


async def _hk(process: RoleProcess, outside: Outside) -> Mounts:
    del outside
    registry = await _participants(process, authority=False)
    today = business_date(process.clock.now())
    component = edge.build(
        EdgeDeps(
            services=process.services,
            window_s=shipped_rules().value("exchange.clock_window_s", today).require_int(),
        )
    )
    process.add(component)
    return {"/hk": (TITLES["/hk"], (component, registry))}


async def _insurer(process: RoleProcess, outside: Outside) -> Mounts:
    party, client_id, hk_url = (process.settings.own(name) for name in ("party", "client_id", "hk_url"))
    profile = Profile(
        party=party,
        client_id=client_id,
        base_url=hk_url,
        roles={"hk": ""},
        scopes=("inbox:read", "messages:write"),
        trust=process.trust.trust,
        token_key=process.keyring.named(f"{party}/token/{client_id}"),
        sign_key=process.keyring.named(f"{party}/sign/"),
        seal_key=process.keyring.named(f"{party}/seal/"),
    )
    component = desk.build(
        DeskDeps(
            services=process.services,
            client=InsurerClient(profile, transport=outside.transport(hk_url), clock=process.clock),
            party=party,
        )
    )
    process.add(component)
    return {"/desk": (TITLES["/desk"], (component,))}


async def _audit(process: RoleProcess, outside: Outside) -> Mounts:
    registry = await _participants(process, authority=False)
    settings = process.settings
    year = str(business_date(process.clock.now()).year)
    origin = f"{settings.own('log_domain')}/szhk-audit/{year}"
    signer = Ed25519Signer(origin, _private(process.keyring.named("audit/log/")))
    policy = parse_policy((settings.folder / settings.own("policy")).read_bytes())
    sequencer = Sequencer(
        database=process.database,
        clock=process.clock,
        origin=origin,
        folder=settings.folder / "log" / year,
        signer=signer,
        policy=policy,
        ask=outside.sender(*(party.url for party in policy.witnesses.values())).send,
        source_keys=partial(_source_keys, process),
        note_stop=partial(note_source_stop, process.outbox, process.clock),
    )
    component = audit.build(AuditDeps(process.services, sequencer))
    process.add(component)
    log = audit.build_log(settings.folder / "log", audit.remember_vkey(settings.folder / "log", year, signer.vkey))
    return {"/audit": (TITLES["/audit"], (component, registry)), "/log": (TITLES["/log"], (log,))}


def _source_keys(process: RoleProcess) -> list[VerifierKey]:
    """Every role's entry keys, under the role's name, from the release in force."""
    parties = process.trust.directory.parties.values()
    rows = [(party.code, row) for party in parties if party.kind == "role" for row in party.keys]
    return [
        parse_vkey(verifier_key(code, process.trust.directory.holder(row.kid).public))
        for code, row in rows
        if row.use is Use.AUDIT
    ]


async def _witness(process: RoleProcess, outside: Outside) -> Mounts:
    del outside
    settings = process.settings
    signer = Ed25519Signer(
        settings.instance, _private(process.keyring.named(f"{settings.instance}/audit/")), ED25519_COSIGNATURE
    )
    logs = tuple(parse_vkey(text) for text in settings.own("log_vkeys").split())
    component = audit.build_witness(
        WitnessDeps(database=process.database, clock=process.clock, signer=signer, logs=logs)
    )
    process.add(component)
    prefix = "/" + settings.instance.replace("-", "/")
    return {prefix: (TITLES.get(prefix, "Witness"), (component,))}


def _private(key: PrivateKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(parse_b64url(str(key.jwk.as_dict(private=True)["d"])))


def _named(settings: RoleSettings, prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in settings.extra.items() if name.startswith(prefix)}


ROLES: Mapping[str, Callable[[RoleProcess, Outside], Awaitable[Mounts]]] = {
    "sz": _sz,
    "core": _core,
    "hk": _hk,
    "insurer": _insurer,
    "audit": _audit,
    "witness": _witness,
}

IN_ALL = ("core", "sz", "hk", "insurer", "audit", "witness-sz", "witness-hk")
"""Order of start: core publishes the registry that the others wait for."""


@dataclass
class Gateway:
    """One or all roles, open and mounted under one app. `start` begins the work, `close` ends it in order."""

    app: FastAPI
    bus: Bus
    processes: list[RoleProcess]

    async def check_sources(self) -> None:
        """Ask the log about every role; `SourceBehindError` where it knows more of one than its database does."""
        on_bus = [process.source for process in self.processes if process.settings.role != "witness"]
        await asyncio.gather(*(source.check_at_start() for source in on_bus))

    def start(self) -> None:
        for process in self.processes:
            process.start()

    def answer_waiting(self) -> None:
        """Have every long poll answer with what it has."""
        for process in self.processes:
            process.feed.answer_waiting()

    async def close(self) -> None:
        """End all roles at once, then the bus; takes as long as its limits at most, whatever does not answer."""
        await asyncio.gather(*(process.close() for process in self.processes))
        with contextlib.suppress(TimeoutError):
            await within(BUS_END_S, self.bus.close())


async def open_all(data: Path, clock: Clock, *, extra_apps: Mapping[str, ASGIApp] | None = None) -> Gateway:
    """Open all roles of a data folder in one process; `extra_apps` are mounted beside them (the sandbox's bank)."""
    folders = [data / "roles" / name for name in IN_ALL]
    return await _open([load_settings(folder) for folder in folders], clock, extra_apps or {})


async def open_one(folder: Path, clock: Clock) -> Gateway:
    """Open the one role that a folder's settings name."""
    return await _open([load_settings(folder)], clock, {})


async def migrate_one(folder: Path, clock: Clock) -> list[str]:
    """Migrate the database of the role that a folder's settings name; return the components it has."""
    gateway = await open_one(folder, clock)
    await gateway.close()
    return [component.name for process in gateway.processes for component in process.components]


async def _open(found: Sequence[RoleSettings], clock: Clock, extra_apps: Mapping[str, ASGIApp]) -> Gateway:
    app = create_app("Shenzhen-Hong Kong claims gateway", clock=clock)
    outside = Outside()
    if len(found) > 1:
        outside.inside[_host(found[0].base_url)] = httpx2.ASGITransport(app)
    bus = await _open_bus(found[0], clock)
    audit_role = next((settings for settings in found if settings.role == "audit"), None)
    # the audit role asks its own app, which does not listen yet when it starts; in `all` every role does
    inside = {} if audit_role is None else {_host(audit_role.base_url): httpx2.ASGITransport(app)}
    processes = []
    faces: dict[str, str] = {}
    for settings in found:
        audit_url = audit_role.base_url if audit_role is not None else settings.audit_url
        ask_log = asking(Sender(frozenset({_host(audit_url)}), inside).send, audit_url) if audit_url else None
        process = await RoleProcess.open(settings, bus, clock, ask_log)
        processes.append(process)
        for prefix, (title, components) in (await ROLES[settings.role](process, outside)).items():
            url = _host(settings.base_url) + prefix
            inner_url = _host(settings.inner_url) + prefix if settings.inner_url else ""
            app.mount(prefix, process.app(title, components, url, inner_url))
            faces[prefix] = title
    for prefix, extra_app in extra_apps.items():
        app.mount(prefix, extra_app)
    app.include_router(front_routes(app.title, VERSION, faces))
    return Gateway(app, bus, processes)


async def _open_bus(settings: RoleSettings, clock: Clock) -> Bus:
    kind, _, place = settings.bus.partition(":")
    if kind == "embedded":
        return await EmbeddedBus.open(f"sqlite:///{Path(place).resolve()}", clock)
    return KafkaBus(kafka_access(settings, place), settings.instance, kafka_limits(settings))


@contextlib.asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[Gateway]:
    """Run a gateway for the length of a `with`."""
    gateway.start()
    try:
        yield gateway
    finally:
        await gateway.close()
