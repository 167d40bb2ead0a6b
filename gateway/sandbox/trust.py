"""Who takes part in a sandbox: root and registry key, every party with its keys, the signed first release.

Every name is synthetic and says so; nothing here is to be trusted outside a trial.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gateway.protocol.canonical import pretty
from gateway.protocol.clock import Clock
from gateway.protocol.jose import PrivateKey
from gateway.protocol.registry import (
    Client,
    KeyRow,
    Party,
    Release,
    Route,
    Trust,
    Use,
    certify_registry_key,
    sign_entry,
    sign_release,
)
from gateway.protocol.uses import EMPTY
from gateway.sandbox.layout import Layout

LABEL = "SYNTHETIC SANDBOX: invented parties, invented keys, no legal effect"
VALID_FROM = datetime(2026, 1, 1, tzinfo=UTC)
VALID_TO = datetime(2036, 1, 1, tzinfo=UTC)

HOSPITAL = "hosp-nanshan"
DESK_INSURER = "ins-harbour"
API_INSURER = "ins-lantau"
OPERATOR = "op-gateway"
AUDITOR = "aud-one"
BANK = "bank-sandbox"
ROLES = ("sz", "core", "hk", "insurer", "audit", "witness-sz", "witness-hk")

Kind = Literal["hospital", "insurer", "bank", "auditor", "operator", "role"]


@dataclass
class Actor:
    """One party in the making: its keys by id, its programs and persons."""

    code: str
    kind: Kind
    names: tuple[str, str, str]
    custody: Literal["own", "hosted"]
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    rows: list[KeyRow] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    def add_key(self, use: Use, number: str = "1", person: str | None = None) -> PrivateKey:
        key = PrivateKey.generate(f"{self.code}/{use}/{number}", "X25519" if use is Use.SEAL else "Ed25519")
        self.keys[key.kid] = key
        self.rows.append(
            KeyRow(
                kid=key.kid,
                use=use,
                crv="X25519" if use is Use.SEAL else "Ed25519",
                x=key.public.x,
                valid_from=VALID_FROM,
                valid_to=VALID_TO,
                person=person,
            )
        )
        return key

    def add_client(self, client_id: str, roles: str, scopes: str, person: str | None = None) -> None:
        key = self.add_key(Use.TOKEN, client_id)
        self.clients.append(
            Client(
                client_id=client_id,
                roles=tuple(roles.split()),
                scopes=tuple(scopes.split()),
                person=person,
                kid=key.kid,
            )
        )

    def entry(self) -> str:
        name_en, name_hans, name_hant = self.names
        party = Party(
            code=self.code,
            kind=self.kind,
            name_en=name_en,
            name_hans=name_hans,
            name_hant=name_hant,
            custody=self.custody,
            synthetic=True,
            keys=tuple(self.rows),
            clients=tuple(self.clients),
        )
        own = next(row.kid for row in self.rows if row.crv == "Ed25519")
        return sign_entry(party, self.keys[own])


def _actors() -> list[Actor]:
    hospital = Actor(
        HOSPITAL, "hospital", ("Nanshan Bay Sandbox Hospital", "南山湾沙盒医院", "南山灣沙盒醫院"), "hosted"
    )
    hospital.add_key(Use.SIGN)
    hospital.add_key(Use.SEAL)
    hospital.add_client("hosp-nanshan-his", "sz", "claims:submit claims:read")
    harbour = _insurer(DESK_INSURER, ("Harbour Sandbox Insurance", "海港沙盒保险", "海港沙盒保險"), "hosted")
    harbour.add_client("ins-harbour-desk", "hk", "inbox:read messages:write")
    harbour.add_client("ins-harbour-assessor", "insurer", "desk:read desk:decide", person="Assessor One")
    lantau = _insurer(API_INSURER, ("Lantau Sandbox Insurance", "大屿沙盒保险", "大嶼沙盒保險"), "own")
    lantau.add_client("ins-lantau-system", "hk", "inbox:read messages:write")
    operator = Actor(OPERATOR, "operator", ("Gateway Sandbox Operator", "沙盒运营方", "沙盒營運方"), "own")
    for number in ("1", "2"):
        operator.add_client(
            f"op-gateway-{number}",
            "sz core hk insurer audit",
            "claims:observe operate",
            person=f"Operator {number}",
        )
    auditor = Actor(AUDITOR, "auditor", ("Sandbox Auditor", "沙盒审计员", "沙盒審計員"), "own")
    auditor.add_client("aud-one-tools", "audit core", "audit:read batches:read", person="Auditor One")
    bank = Actor(BANK, "bank", ("Sandbox Bank", "沙盒银行", "沙盒銀行"), "own")
    bank.add_key(Use.SIGN)
    return [hospital, harbour, lantau, operator, auditor, bank, *map(_role, ROLES)]


def _insurer(code: str, names: tuple[str, str, str], custody: Literal["own", "hosted"]) -> Actor:
    insurer = Actor(code, "insurer", names, custody)
    insurer.add_key(Use.SIGN)
    insurer.add_key(Use.SEAL)
    for number in ("1", "2"):
        person = f"{code} treasurer {number}"
        insurer.add_key(Use.APPROVE, number, person)
        insurer.add_client(f"{code}-treasurer-{number}", "core", "batches:read batches:approve", person=person)
    return insurer


def _role(code: str) -> Actor:
    role = Actor(code, "role", (f"Role {code}", f"角色 {code}", f"角色 {code}"), "hosted")
    role.add_key(Use.STAMP)
    role.add_key(Use.AUDIT)
    return role


@dataclass(frozen=True)
class Sandbox:
    """Where a sandbox lies, who is in it, and whom it trusts."""

    folder: Path
    layout: Layout
    trust: Trust
    actors: Mapping[str, Actor]


def found(folder: Path, *, layout: Layout, clock: Clock) -> Sandbox:
    """Make root, registry key and every party, and write the signed first release into `folder`."""
    root = PrivateKey.generate("root/1", "Ed25519")
    registry_key = PrivateKey.generate("registry/1", "Ed25519")
    trust = Trust(root_kid=root.kid, root_x=root.public.x, minimum_release=1)
    actors = {actor.code: actor for actor in _actors()}
    release = Release(
        release=1,
        issued_at=clock.now(),
        label=LABEL,
        entries=tuple(actor.entry() for actor in actors.values()),
        routes=tuple(_routes()),
        catalogue_sha256=EMPTY.sha256,
    )
    signed = sign_release(release, registry_key, certify_registry_key(registry_key.public, root))
    write_secret(folder / "offline" / "root.jwk", root.encode())
    write_secret(folder / "offline" / "registry.jwk", registry_key.encode())
    write(folder / "trust.json", pretty(trust.model_dump(mode="json")))
    write(folder / "registry" / "release-1.json", signed.encode().decode())
    return Sandbox(folder, layout, trust, actors)


def _routes() -> Iterable[Route]:
    for insurer in (DESK_INSURER, API_INSURER):
        yield Route(
            route_id=f"{HOSPITAL}-{insurer}",
            hospital=HOSPITAL,
            carrier=insurer,
            payer=insurer,
            currency="CNY",
            mechanism="gba_sc",
            filing_ref="SANDBOX-GBA-SC-0001",
            assessment_ref="SANDBOX-PIA-0001",
            valid_from=VALID_FROM,
            valid_to=VALID_TO,
        )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text + "\n", encoding="utf-8")


def write_secret(path: Path, raw: bytes) -> None:
    """Write a file that only its owner may read; it must not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
