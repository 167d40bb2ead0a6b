"""Builders that every room's tests may use: the sandbox's parties with their keys, and one good message of each type.

The directory is the signed first release of a sandbox, opened as a role opens it. A builder takes the fields that
the test is about; everything else has one good default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.protocol.canonical import compact
from gateway.protocol.clock import VirtualClock
from gateway.protocol.exchange import Exchange, Manifest, Message, Stamp, content_hash, pack, text_hash
from gateway.protocol.jose import PrivateKey, Typ, seal, sign
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import DecidedManifest, Entry
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.registry import (
    Directory,
    KeyRow,
    Party,
    Release,
    Route,
    SignedRelease,
    Trust,
    certify_registry_key,
    open_release,
    sign_entry,
    sign_release,
)
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.protocol.uses import EMPTY
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import API_INSURER, DESK_INSURER, Actor, found
from gateway.sandbox.trust import HOSPITAL as _HOSPITAL

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
HOSPITAL = _HOSPITAL
INSURER = DESK_INSURER
OTHER_INSURER = API_INSURER
CASE = "case_synthetic0001"
CLAIM = "claim_synthetic0001"
CONTENT = b'{"nonce":"synthetic"}'
HASH = "0" * 64


@dataclass(frozen=True)
class World:
    """The sandbox's trust, its first release, and every private key by id."""

    trust: Trust
    signed: SignedRelease
    directory: Directory
    keys: Mapping[str, PrivateKey]
    actors: Mapping[str, Actor]
    root: PrivateKey
    registry_key: PrivateKey

    def sign_release(
        self,
        parties: list[Party] | None = None,
        *,
        number: int = 1,
        routes: tuple[Route, ...] | None = None,
        entries: tuple[str, ...] | None = None,
    ) -> SignedRelease:
        """Sign a release of these parties (default: all), each entry signed by the party's first signing key."""
        listed = list(self.directory.parties.values()) if parties is None else parties
        release = Release(
            release=number,
            issued_at=NOW,
            label="SYNTHETIC",
            entries=tuple(self.sign_entry(party) for party in listed) if entries is None else entries,
            routes=self.directory.routes if routes is None else routes,
            catalogue_sha256=EMPTY.sha256,
        )
        return sign_release(release, self.registry_key, certify_registry_key(self.registry_key.public, self.root))

    def sign_entry(self, party: Party) -> str:
        own = next(row.kid for row in party.keys if row.crv == "Ed25519")
        return sign_entry(party, self.keys[own])

    def with_key(self, kid: str, **changes: Any) -> Directory:
        """Return the directory of a release in which one key's row reads otherwise."""
        holder = self.directory.holder(kid)
        rows = tuple(_changed(row, changes) if row.kid == kid else row for row in holder.party.keys)
        changed = holder.party.model_copy(update={"keys": rows})
        parties = [changed if one.code == changed.code else one for one in self.directory.parties.values()]
        return open_release(self.sign_release(parties), self.trust)


def _changed(row: KeyRow, changes: Mapping[str, Any]) -> KeyRow:
    return row.model_copy(update=dict(changes))


@cache
def world() -> World:
    """Found the sandbox once for the whole test run; keys are random, everything else is fixed."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        sandbox = found(folder, layout=Layout("http://127.0.0.1:8080"), clock=VirtualClock())
        signed = SignedRelease.decode((folder / "registry" / "release-1.json").read_bytes())
        root = PrivateKey.parse((folder / "offline" / "root.jwk").read_bytes())
        registry_key = PrivateKey.parse((folder / "offline" / "registry.jwk").read_bytes())
    keys = {kid: key for actor in sandbox.actors.values() for kid, key in actor.keys.items()}
    directory = open_release(signed, sandbox.trust)
    return World(sandbox.trust, signed, directory, keys, sandbox.actors, root, registry_key)


def key_of(kid: str) -> PrivateKey:
    return world().keys[kid]


def the_route(insurer: str = INSURER) -> Route:
    return world().directory.route(HOSPITAL, insurer, insurer, NOW)


def _built(model: Callable[..., Any], defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    return model(**{**defaults, **changes})


def _answer(number: int) -> dict[str, Any]:
    return {
        "msg_id": f"msg_answer{number:04d}",
        "case_id": CASE,
        "claim_id": CLAIM,
        "claim_version": 1,
        "in_reply_to": "msg_submitted0001",
        "sender": INSURER,
        "recipients": (HOSPITAL,),
        "sent_at": NOW,
    }


def a_submitted(**changes: Any) -> SubmittedManifest:
    """Build a direct-billing claim over two lines, 1200.00 CNY, nothing paid, all of it asked."""
    defaults = {
        "msg_id": "msg_submitted0001",
        "case_id": CASE,
        "claim_id": CLAIM,
        "claim_version": 1,
        "sender": HOSPITAL,
        "recipients": (INSURER,),
        "sent_at": NOW,
        "content_sha256": content_hash(pack(CONTENT)),
        "claim_token": "tok_claim_0001",
        "receipt_tokens": ("tok_receipt_0001",),
        "payer_rank": 1,
        "use": "claim",
        "billing_mode": "direct",
        "payee": "hospital",
        "carrier": INSURER,
        "payer": INSURER,
        "policy_kind": "vhis_standard",
        "currency": "CNY",
        "line_amounts_minor": (100_000, 20_000),
        "paid": (),
        "unpaid_minor": 120_000,
        "asked_minor": 120_000,
        "mechanism": "gba_sc",
        "filing_ref": "SANDBOX-GBA-SC-0001",
        "consent_commitment": HASH,
        "programme": {"count": 0, "release_sha256": EMPTY.sha256},
    }
    built: SubmittedManifest = _built(SubmittedManifest, defaults, changes)
    return built


def an_acknowledged(**changes: Any) -> AcknowledgedManifest:
    built: AcknowledgedManifest = _built(AcknowledgedManifest, _answer(1) | {"based_on": 1}, changes)
    return built


def a_returned(**changes: Any) -> ReturnedManifest:
    defaults = _answer(2) | {"based_on": 1, "class_code": "G003"}
    built: ReturnedManifest = _built(ReturnedManifest, defaults, changes)
    return built


def a_disputed(**changes: Any) -> DisputedManifest:
    built: DisputedManifest = _built(DisputedManifest, _answer(3) | {"differences": ("/content_sha256",)}, changes)
    return built


def by_hospital(number: int) -> dict[str, Any]:
    """Give the fields of a hospital's message about its claim: who says it to whom, under an id of its own."""
    return {"sender": HOSPITAL, "recipients": (INSURER,), "msg_id": f"msg_hospital{number:04d}"}


def a_withdrawal(**changes: Any) -> DisputeWithdrawnManifest:
    """Build the insurer's withdrawal of `a_disputed()`."""
    defaults = _answer(5) | {"in_reply_to": "msg_answer0003"}
    built: DisputeWithdrawnManifest = _built(DisputeWithdrawnManifest, defaults, changes)
    return built


def a_giving_up(**changes: Any) -> GivenUpManifest:
    """Build what the hospital says to give up a submission that `a_disputed()` disputes."""
    defaults = _answer(6) | by_hospital(6) | {"in_reply_to": "msg_answer0003"}
    built: GivenUpManifest = _built(GivenUpManifest, defaults, changes)
    return built


def an_entry(*lines: int, benefit: int, patient: int = 0, other: int = 0, **changes: Any) -> Entry:
    """Build an entry in minor units; what is not benefit carries the class code `G003`."""
    defaults = {
        "lines": lines,
        "benefit_minor": benefit,
        "patient_minor": patient,
        "other_payer_minor": other,
        "adjusted_minor": 0,
        "class_code": "G003" if patient or other or changes.get("adjusted_minor") else None,
    }
    built: Entry = _built(Entry, defaults, changes)
    return built


def a_decision(**changes: Any) -> DecidedManifest:
    """Build a final decision that pays both lines of `a_submitted` in full, on a claim at revision 2 (in review)."""
    defaults = _answer(4) | {
        "based_on": 2,
        "decision_version": 1,
        "currency": "CNY",
        "final": True,
        "entries": (an_entry(0, 1, benefit=120_000),),
    }
    built: DecidedManifest = _built(DecidedManifest, defaults, changes)
    return built


def signed_by(manifest: Manifest, kid: str | None = None) -> str:
    """Sign a manifest as its sender, or with another's key."""
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    return sign(payload, key_of(kid or f"{manifest.sender}/sign/1"), Typ.MANIFEST)


def a_dossier(content: bytes = CONTENT, *readers: str) -> str:
    """Seal packed content to these parties (default: the insurer and the hospital's archive)."""
    directory = world().directory
    return seal(pack(content), [directory.seal_key(code, NOW) for code in readers or (INSURER, HOSPITAL)])


def a_stamp(manifest: str | None = None, dossier: str | None = None, **changes: Any) -> Stamp:
    """Build the stamp of role `sz` over a claim's first message."""
    defaults = {
        "eid": "ev_synthetic0001",
        "role": "sz",
        "custody": "hosted",
        "topic": HOSPITAL_REQUESTS,
        "key": CASE,
        "seq": 1,
        "type": "submitted",
        "received_at": NOW,
        "expires": NOW + timedelta(days=30),
        "registry_release": 1,
        "manifest_sha256": text_hash(manifest),
        "dossier_sha256": text_hash(dossier),
    }
    built: Stamp = _built(Stamp, defaults, changes)
    return built


def stamped_by(stamp: Stamp, kid: str | None = None) -> str:
    payload = compact(stamp.model_dump(mode="json", exclude_none=True))
    return sign(payload, key_of(kid or f"{stamp.role}/stamp/1"), Typ.STAMP)


def an_exchange(manifest: Manifest | None = None, **stamp_changes: Any) -> Exchange:
    """Build what sz sends core for a submitted claim; sz's stamp is also the hospital's receipt."""
    token = signed_by(a_submitted() if manifest is None else manifest)
    dossier = a_dossier()
    stamp = stamped_by(a_stamp(token, dossier, **stamp_changes))
    return Exchange(stamp=stamp, manifest=token, dossier=dossier, receipt=stamp)


def a_role_exchange(message: Message, **stamp_changes: Any) -> Exchange:
    """Build a message that a role authored itself: no manifest, the message stands in the stamp."""
    body = message.model_dump(mode="json", exclude_none=True)
    return Exchange(stamp=stamped_by(a_stamp(message=body, type=str(body["type"]), **stamp_changes)))
