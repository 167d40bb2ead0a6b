"""Open dossiers. Only the hospital's edge, the insurer's desk and the client may import this (import-linter)."""

from typing import Any, cast

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwe import GeneralJSONSerialization

from gateway.protocol.canonical import parse_b64url, read_json_object
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.exchange import EXCHANGE_BYTES_MAX, Manifest, content_hash
from gateway.protocol.jose import SEAL_ALGORITHM, SEAL_ENCRYPTION, SEALS, PrivateKey


def open_dossier(dossier: str | None, manifest: Manifest, key: PrivateKey) -> bytes:
    """Open a dossier and check that its packed bytes are those the author signed; returns the packed content."""
    if dossier is None or manifest.content_sha256 is None:
        raise MalformedInputError("dossier.missing")
    packed = open_sealed(dossier, key)
    if content_hash(packed) != manifest.content_sha256:
        raise BadSignatureError("dossier.content")
    return packed


def open_sealed(dossier: str, key: PrivateKey) -> bytes:
    """Open a dossier with one recipient's key; `BadSignatureError("dossier.cannot-open")` if it is not for it."""
    found = read_json_object(dossier.encode(), bytes_max=EXCHANGE_BYTES_MAX)
    ours = [one for one in _recipients(found) if one["header"].get("kid") == key.kid]
    if len(ours) != 1:
        raise BadSignatureError("dossier.cannot-open")
    jar = cast("GeneralJSONSerialization", {**found, "recipients": ours})
    try:
        plain = jwe.decrypt_json(jar, key.jwk, registry=SEALS).plaintext
    except (JoseError, ValueError, KeyError, TypeError):
        raise BadSignatureError("dossier.cannot-open") from None
    return plain or b""


def _recipients(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Check the outer form: fixed members, fixed algorithms, nothing unprotected but kid, alg and epk."""
    recipients = found.get("recipients")
    if set(found) != {"protected", "iv", "ciphertext", "tag", "recipients"} or not isinstance(recipients, list):
        raise MalformedInputError("dossier.malformed")
    if not all(isinstance(found[name], str) for name in ("protected", "iv", "ciphertext", "tag")):
        raise MalformedInputError("dossier.malformed")
    protected = read_json_object(parse_b64url(found["protected"]), bytes_max=1024)
    if protected != {"enc": SEAL_ENCRYPTION}:
        raise BadSignatureError("dossier.algorithm")
    for one in recipients:
        header = one.get("header") if isinstance(one, dict) else None
        if not isinstance(header, dict) or set(header) != {"alg", "kid", "epk"}:
            raise MalformedInputError("dossier.malformed")
        if header["alg"] != SEAL_ALGORITHM:
            raise BadSignatureError("dossier.algorithm")
    return recipients
