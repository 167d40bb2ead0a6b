"""A real claim on its way to an insurer: a sample bill, minimised by the edge, sealed, signed, stamped by core.

The parties and keys are those of `tests.parties`. What a test forges it forges with the keys of the sandbox.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from adapters.sz.dossier import Submission
from adapters.sz.formats import FORMATS
from adapters.sz.minimise import Minimised, minimise
from gateway.client.opened import OpenedClaim, open_submitted
from gateway.client.profile import Profile
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.exchange import Exchange, Manifest, content_hash, pack, unpack
from gateway.protocol.fhir.bundle import Bundle
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.jose import PrivateKey, seal
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.protocol.uses import EMPTY
from tests.parties import HOSPITAL, INSURER, NOW, a_stamp, key_of, signed_by, stamped_by, the_route, world

BASE_URL = "http://127.0.0.1:8080"
EID = "ev_delivered0001"


@cache
def a_minimised(name: str = "inpatient-direct", number: int = 1) -> Minimised:
    """Make what leaves the hospital's edge for a sample bill; `number` tells claims apart."""
    bill = read_json_object(files("gateway.sandbox").joinpath("bills", f"{name}.json").read_bytes())
    bill["coverage"] |= {"carrier": INSURER, "payer": INSURER}
    read = FORMATS["national_json"].read(compact(bill)).bill
    submission = Submission(
        bill=read,
        netted=read.net_refunds(),
        hospital=HOSPITAL,
        route=the_route(),
        msg_id=f"msg_transit{number:04d}",
        case_id=f"case_transit{number:04d}",
        claim_id=f"claim_transit{number:04d}",
        claim_version=1,
        nonce=bytes(32),
        salt=bytes(32),
        at=NOW,
    )
    return minimise(submission, bytes(32), EMPTY.sha256)


def a_claim(name: str = "inpatient-direct", number: int = 1, **changes: Any) -> SubmittedManifest:
    """Return the manifest of a sample claim; `changes` make it say something else than the dossier."""
    return a_minimised(name, number).manifest.model_copy(update=changes)


def a_bundle(name: str = "inpatient-direct") -> Bundle:
    return read_bundle(unpack(a_minimised(name).packed))


def with_content(
    manifest: SubmittedManifest, change: Callable[[dict[str, Any]], None]
) -> tuple[SubmittedManifest, bytes]:
    """Change the dossier's JSON object and let the hospital sign the changed content; returns it packed."""
    found = read_json_object(unpack(a_minimised().packed), decimals=True)
    change(found)
    packed = pack(_json(found))
    return manifest.model_copy(update={"content_sha256": content_hash(packed)}), packed


def _json(value: Any) -> bytes:
    """Write JSON that may hold `Decimal`, with its digits."""
    if isinstance(value, dict):
        return b"{" + b",".join(compact(name) + b":" + _json(member) for name, member in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(_json, value)) + b"]"
    return compact(value) if isinstance(value, (str, bool, int)) or value is None else format(value, "f").encode()


def delivered(
    manifest: SubmittedManifest | None = None,
    *,
    packed: bytes | None = None,
    reader: str = INSURER,
    signer: str | None = None,
    **stamp: Any,
) -> Exchange:
    """Deliver a claim as the insurer fetches it: the hospital's receipt by `sz`, the stamp by core."""
    manifest = manifest or a_claim()
    packed = a_minimised().packed if packed is None else packed
    token = signed_by(manifest, signer)
    keys = [world().directory.seal_key(code, NOW) for code in (reader, HOSPITAL)]
    dossier = seal(packed, keys)
    receipt = stamped_by(a_stamp(token, dossier, key=manifest.case_id))
    core = {"role": "core", "topic": INSURER_DELIVERIES, "key": manifest.case_id, "eid": EID}
    return Exchange(
        stamp=stamped_by(a_stamp(token, dossier, **(core | stamp))), manifest=token, dossier=dossier, receipt=receipt
    )


def told(message: Accepted | Rejected | ClaimState, **stamp: Any) -> Exchange:
    """Deliver core's word on an answer."""
    core = {"role": "core", "topic": INSURER_DELIVERIES, "key": message.case_id, "type": message.type}
    body = message.model_dump(mode="json", exclude_none=True)
    return Exchange(stamp=stamped_by(a_stamp(message=body, **(core | stamp))))


def passed_on(manifest: Manifest, **stamp: Any) -> Exchange:
    """Deliver what the hospital says of a claim: its manifest without a dossier, its receipt by `sz`, core's stamp."""
    token = signed_by(manifest)
    words = {"key": manifest.case_id, "type": manifest.type}
    core = {"role": "core", "topic": INSURER_DELIVERIES, "eid": EID}
    receipt = stamped_by(a_stamp(token, None, **words))
    return Exchange(stamp=stamped_by(a_stamp(token, None, **(words | core | stamp))), manifest=token, receipt=receipt)


def an_opened(exchange: Exchange | None = None, *, party: str = INSURER) -> OpenedClaim:
    """Open a delivered claim as the insurer."""
    keys = [key_of(f"{party}/seal/1")]
    return open_submitted(exchange or delivered(), world().directory, keys, party=party, now=NOW)


def a_profile(client_id: str, party: str, role: str, scopes: str, **changes: Any) -> Profile:
    """Build the profile of one of the sandbox's programs or persons."""
    row = world().directory.client(client_id)[1]
    words: dict[str, Any] = {
        "party": party,
        "client_id": client_id,
        "base_url": BASE_URL,
        "roles": {role: f"/{role}"},
        "scopes": tuple(scopes.split()),
        "trust": world().trust,
        "token_key": key_of(row.kid),
        "person": row.person,
    }
    return Profile(**(words | changes))


def an_insurers_profile(party: str = INSURER, client_id: str = "ins-harbour-desk") -> Profile:
    keys: dict[str, PrivateKey] = {"sign_key": key_of(f"{party}/sign/1"), "seal_key": key_of(f"{party}/seal/1")}
    return a_profile(client_id, party, "hk", "inbox:read messages:write", **keys)
