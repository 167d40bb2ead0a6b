"""How a role authors an entry of the signed log: commitments, canonical body, and its own signature line.

The verifier's half is written independently in `audit/proof.py`; a test holds the two together.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.protocol.canonical import canonical, parse_b64url, read_json_object
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.jose import PrivateKey, PublicKey

LEAF_DOMAIN = b"szhk-leaf/1\n"


def field_key(secret: bytes, eid: str, name: str) -> bytes:
    """Derive the key whose disclosure opens one field of one entry: HKDF-SHA256, info `szhk/1|eid|field`."""
    return HKDF(SHA256(), 32, None, f"szhk/1|{eid}|{name}".encode()).derive(secret)


def commitment(secret: bytes, eid: str, name: str, value: Any) -> str:
    """HMAC-SHA256 over `szhk-commit/1` NUL eid NUL field NUL RFC 8785(value), base64."""
    message = b"\0".join((b"szhk-commit/1", eid.encode(), name.encode(), canonical(value)))
    return base64.b64encode(hmac.digest(field_key(secret, eid, name), message, "sha256")).decode()


def commitments(secret: bytes, eid: str, facts: Mapping[str, Any]) -> dict[str, str]:
    return {name: commitment(secret, eid, name, value) for name, value in facts.items()}


def note_key_id(name: str, public: bytes, kind: bytes = b"\x01") -> bytes:
    """Four bytes of SHA-256(name LF kind public key), as in C2SP signed-note."""
    return sha256(name.encode() + b"\n" + kind + public).digest()[:4]


@cache
def _note_key_id_of(source: str, x: str) -> bytes:
    return note_key_id(source, parse_b64url(x))


def entry(body: Mapping[str, Any], source: str, key: PrivateKey) -> bytes:
    """Serialise and sign a leaf: canonical body, LF, `— source base64(key id ‖ signature)`, LF."""
    raw = canonical(body)
    signature = key.sign_raw(LEAF_DOMAIN + raw + b"\n")
    line = base64.b64encode(_note_key_id_of(source, key.public.x) + signature).decode()
    return raw + f"\n— {source} {line}\n".encode()


def read_entry(raw: bytes, source: str, keys: Iterable[PublicKey]) -> dict[str, Any]:
    """Read the body of an entry that one of `keys` has signed under the name `source`, as `entry` writes it.

    `MalformedInputError` for bytes that are no entry, `BadSignatureError` where none of the keys signed it.
    """
    body, _, line = raw.partition(b"\n")
    try:
        dash, name, packed = line.decode().rstrip("\n").split(" ")
        payload = base64.b64decode(packed, validate=True)
    except ValueError:
        raise MalformedInputError("json.malformed") from None
    if (dash, name) != ("—", source):
        raise BadSignatureError("jws.signature")
    for key in keys:
        if payload[:4] == note_key_id(source, parse_b64url(key.x)):
            try:
                Ed25519PublicKey.from_public_bytes(parse_b64url(key.x)).verify(payload[4:], LEAF_DOMAIN + body + b"\n")
            except InvalidSignature:
                break
            return read_json_object(body)
    raise BadSignatureError("jws.signature")


def verifier_key(name: str, key: PublicKey, kind: bytes = b"\x01") -> str:
    """Write a note verifier key: `name+hash+base64(kind ‖ key)`; kind 0x01 signs notes, 0x04 cosigns them.

    A source's name is its `src`, a log's its origin, a witness's its own.
    """
    public = parse_b64url(key.x)
    packed = base64.b64encode(kind + public).decode()
    return f"{name}+{note_key_id(name, public, kind).hex()}+{packed}"
