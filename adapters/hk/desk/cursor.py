"""Cursors of the desk's lists: opaque and signed, so that nobody makes one up. Pure."""

import hmac

from gateway.protocol.canonical import b64url, compact, parse_b64url, read_json
from gateway.protocol.errors import MalformedInputError

MAC_BYTES = 8

Place = tuple[str, str, int]
"""Where a page ended: opened_at, claim_id, claim_version of its last claim."""


def write_cursor(key: bytes, place: Place) -> str:
    raw = compact(list(place))
    return b64url(_mac(key, raw) + raw)


def read_cursor(key: bytes, cursor: str) -> Place:
    """Read a cursor of ours; `MalformedInputError("cursor.malformed")` for anything else."""
    try:
        packed = parse_b64url(cursor)
        mac, raw = packed[:MAC_BYTES], packed[MAC_BYTES:]
        genuine = hmac.compare_digest(mac, _mac(key, raw))
        opened_at, claim_id, claim_version = read_json(raw) if genuine else ("", "", 0)
    except (MalformedInputError, ValueError):
        raise MalformedInputError("cursor.malformed") from None
    if not genuine:
        raise MalformedInputError("cursor.malformed")
    return opened_at, claim_id, claim_version


def _mac(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, b"desk-claims\n" + raw, "sha256")[:MAC_BYTES]
