"""Registry releases: numbered signed snapshots of who takes part, with which keys, routes and clients.

`trust.json` holds the offline root's public key and the lowest release a role may start from. The root signs the
registry key; the registry key signs releases; each party signs its own entry inside a release. A `Directory` is one
verified release, ready for look-ups; it never changes, the next release is another directory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from gateway.protocol.canonical import canonical, compact, read_json_object
from gateway.protocol.claim_terms import Mechanism
from gateway.protocol.errors import (
    BadSignatureError,
    Fault,
    HeldError,
    InvalidInputError,
    MalformedInputError,
    NotFoundError,
    UnknownKeyError,
)
from gateway.protocol.exchange import Message, parse_message, read_payload
from gateway.protocol.jose import PrivateKey, PublicKey, Typ, key_id, sign, verify
from gateway.protocol.reasons import REASONS

RELEASE_BYTES_MAX = 8 * 1024 * 1024


class Trust(Message):
    """The settings file `trust.json`: `root` is the public key that signs the registry key."""

    root_kid: str
    root_x: str
    minimum_release: int = Field(ge=1)

    @property
    def root(self) -> PublicKey:
        return PublicKey(self.root_kid, "Ed25519", self.root_x)


class Use(StrEnum):
    SIGN = "sign"
    """Manifests of a party."""
    APPROVE = "approve"
    """Approvals by one person of a party, named in the key's row."""
    SEAL = "seal"
    """X25519: dossiers are sealed to it."""
    STAMP = "stamp"
    """Stamps of a role."""
    AUDIT = "audit"
    """Entries of a role in the signed log; `x` also appears in the auditors' trust file."""
    TOKEN = "token"  # noqa: S105 a use of keys, not a secret
    """Client assertions of a program or person (RFC 7523)."""


class KeyRow(Message):
    """A public key with its validity. From `compromised_at` on nothing it signs is believed."""

    kid: str
    use: Use = Field(strict=False)
    crv: Literal["Ed25519", "X25519"]
    x: str
    valid_from: AwareDatetime = Field(strict=False)
    valid_to: AwareDatetime = Field(strict=False)
    person: str | None = None
    compromised_at: AwareDatetime | None = Field(default=None, strict=False)


class Client(Message):
    """A program or person that asks a role for tokens; `role` names whose API, `scopes` what it may do there."""

    client_id: str
    roles: tuple[str, ...] = Field(strict=False)
    scopes: tuple[str, ...] = Field(strict=False)
    person: str | None = None
    kid: str


class Party(Message):
    """One participant. `custody` says who holds its keys: itself (`own`) or the operator (`hosted`)."""

    code: str
    kind: Literal["hospital", "insurer", "administrator", "bank", "auditor", "operator", "role"]
    name_en: str
    name_hans: str
    name_hant: str
    custody: Literal["own", "hosted"]
    synthetic: bool
    keys: tuple[KeyRow, ...] = Field(strict=False)
    clients: tuple[Client, ...] = Field(default=(), strict=False)


class Route(Message):
    """A lawful way from one hospital to one payer: who administers, who pays, under which mechanism and filing."""

    route_id: str
    hospital: str
    carrier: str
    administrator: str | None = None
    payer: str
    currency: Literal["CNY", "HKD"]
    mechanism: str
    filing_ref: str
    assessment_ref: str
    valid_from: AwareDatetime = Field(strict=False)
    valid_to: AwareDatetime = Field(strict=False)
    hospital_bears: tuple[str, ...] = Field(default=(), strict=False)

    @property
    def reader(self) -> str:
        """Who opens the dossier: the administrator where there is one, else the carrier."""
        return self.administrator or self.carrier


class Release(Message):
    """The body that the registry key signs (RFC 8785 bytes). `entries` are party entries signed by each party."""

    release: int = Field(ge=1)
    issued_at: AwareDatetime = Field(strict=False)
    label: str
    entries: tuple[str, ...] = Field(strict=False)
    routes: tuple[Route, ...] = Field(strict=False)
    catalogue_sha256: str


@dataclass(frozen=True)
class SignedRelease:
    """As it travels: the release's JWS and the registry key's JWS by the root."""

    release: str
    registry_key: str

    def encode(self) -> bytes:
        return compact({"release": self.release, "registry_key": self.registry_key})

    @classmethod
    def decode(cls, raw: bytes) -> "SignedRelease":
        found = read_json_object(raw, bytes_max=RELEASE_BYTES_MAX)
        if set(found) != {"release", "registry_key"} or not all(isinstance(part, str) for part in found.values()):
            raise MalformedInputError("registry.malformed")
        return cls(**found)


@dataclass(frozen=True)
class Holder:
    """A key in the directory together with the party that holds it."""

    party: Party
    row: KeyRow
    public: PublicKey


@dataclass(frozen=True)
class Directory:
    """One verified release. Look-ups raise `UnknownKeyError` (RETRY: a newer release may know) or `NotFoundError`."""

    number: int
    catalogue_sha256: str
    parties: Mapping[str, Party]
    routes: tuple[Route, ...]
    _holders: Mapping[str, Holder]
    _clients: Mapping[str, tuple[Party, Client]]
    _seals: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)

    def party(self, code: str) -> Party:
        if code not in self.parties:
            raise NotFoundError("party.unknown")
        return self.parties[code]

    def holder(self, kid: str) -> Holder:
        if kid not in self._holders:
            raise UnknownKeyError("key.unknown")
        return self._holders[kid]

    def client(self, client_id: str) -> tuple[Party, Client]:
        if client_id not in self._clients:
            raise NotFoundError("client.unknown")
        return self._clients[client_id]

    def signer(self, kid: str, use: Use, at: datetime) -> Holder:
        """Return the holder of a key that was valid at `at`; compromised before `at` is `held`, else refused."""
        holder = self.holder(kid)
        row = holder.row
        if row.use is not use:
            raise BadSignatureError("key.wrong-use")
        if row.compromised_at is not None and row.compromised_at <= at:
            raise HeldError("key.compromised")
        if not row.valid_from <= at < row.valid_to:
            raise BadSignatureError("key.not-valid")
        return holder

    def seal_key(self, code: str, at: datetime) -> PublicKey:
        """Return the newest X25519 key of a party that is valid at `at`."""
        valid = [
            holder
            for holder in self._seals.get(code, ())
            if holder.row.valid_from <= at < holder.row.valid_to and holder.row.compromised_at is None
        ]
        if not valid:
            raise UnknownKeyError("key.no-seal-key")
        return max(valid, key=lambda holder: holder.row.valid_from).public

    def route(self, hospital: str, carrier: str, payer: str, at: datetime) -> Route:
        for route in self.routes:
            fits = (route.hospital, route.carrier, route.payer) == (hospital, carrier, payer)
            if fits and route.valid_from <= at < route.valid_to:
                return route
        raise NotFoundError("route.unknown")


def sign_entry(party: Party, key: PrivateKey) -> str:
    """A party signs its own entry with one of the keys in it."""
    return sign(compact(party.model_dump(mode="json")), key, Typ.ENTRY)


def sign_release(release: Release, registry_key: PrivateKey, certificate: str) -> SignedRelease:
    """Sign a release; `InvalidInputError` names every coded field of a route that stands in no table.

    Releases signed earlier are read as they are.
    """
    faults = [fault for index, route in enumerate(release.routes) for fault in _route_faults(route, f"/routes/{index}")]
    if faults:
        raise InvalidInputError("registry.route", faults=faults)
    return SignedRelease(sign(canonical(release.model_dump(mode="json")), registry_key, Typ.RELEASE), certificate)


def _route_faults(route: Route, pointer: str) -> Iterator[Fault]:
    if route.mechanism not in set(Mechanism):
        yield Fault("field.enum", f"{pointer}/mechanism")
    for index, code in enumerate(route.hospital_bears):
        if code not in REASONS:
            yield Fault("reason.unknown", f"{pointer}/hospital_bears/{index}")


def certify_registry_key(registry_key: PublicKey, root: PrivateKey) -> str:
    """The root signs the registry key; done off line."""
    return sign(compact({"kid": registry_key.kid, "x": registry_key.x}), root, Typ.REGISTRY_KEY)


def open_release(signed: SignedRelease, trust: Trust) -> Directory:
    """Verify root → registry key → release → every party's entry; raise on the first that does not hold."""
    certificate = read_json_object(verify(signed.registry_key, trust.root, Typ.REGISTRY_KEY))
    if set(certificate) != {"kid", "x"}:
        raise MalformedInputError("registry.malformed")
    registry_key = PublicKey(str(certificate["kid"]), "Ed25519", str(certificate["x"]))
    raw = verify(signed.release, registry_key, Typ.RELEASE)
    release = parse_message(Release, read_json_object(raw, bytes_max=RELEASE_BYTES_MAX))
    if release.release < trust.minimum_release:
        raise InvalidInputError("registry.too-old")
    return _directory(release, [_open_entry(token) for token in release.entries])


def _open_entry(token: str) -> Party:
    """Verify a party's entry with the signing key that the entry itself names."""
    party = parse_message(Party, read_payload(token))
    kid = key_id(token, Typ.ENTRY)
    own = [row for row in party.keys if row.kid == kid and row.crv == "Ed25519"]
    if not own:
        raise BadSignatureError("registry.entry-not-self-signed")
    verify(token, PublicKey(kid, "Ed25519", own[0].x), Typ.ENTRY)
    return party


def _directory(release: Release, parties: list[Party]) -> Directory:
    holders: dict[str, Holder] = {}
    for party in parties:
        for row in party.keys:
            if row.kid in holders or row.kid.partition("/")[0] != party.code:
                raise InvalidInputError("registry.key-id")
            holders[row.kid] = Holder(party, row, PublicKey(row.kid, row.crv, row.x))
    clients = {client.client_id: (party, client) for party in parties for client in party.clients}
    if len({party.code for party in parties}) != len(parties):
        raise InvalidInputError("registry.party-twice")
    if len(clients) != sum(len(party.clients) for party in parties):
        raise InvalidInputError("registry.client-twice")
    if any(client.kid not in holders or holders[client.kid].party is not party for party, client in clients.values()):
        raise InvalidInputError("registry.client-key")
    return Directory(
        number=release.release,
        catalogue_sha256=release.catalogue_sha256,
        parties={party.code: party for party in parties},
        routes=release.routes,
        _holders=holders,
        _clients=clients,
        _seals=_by_party(holder for holder in holders.values() if holder.row.use is Use.SEAL),
    )


def _by_party(holders: Iterable[Holder]) -> dict[str, tuple[Holder, ...]]:
    found: dict[str, tuple[Holder, ...]] = {}
    for holder in holders:
        found[holder.party.code] = (*found.get(holder.party.code, ()), holder)
    return found


def release_number(signed: SignedRelease) -> int:
    """Read the number without verifying, to skip releases already held."""
    found: Any = read_payload(signed.release, bytes_max=RELEASE_BYTES_MAX).get("release")
    return found if isinstance(found, int) else 0
