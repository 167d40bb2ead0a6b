"""Cursors of lists and feeds: opaque, signed, bound to one list of one tenant (keyset paging).

A cursor holds the sort values of the last row that was seen. Its MAC, under a key derived from the role's storage
key, binds them to `scope`, so that a cursor can neither be made up nor used on somebody else's list.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gateway.protocol.canonical import b64url, compact, parse_b64url, read_json
from gateway.protocol.errors import MalformedInputError
from gateway.runtime.custody.case_secrets import derive

MAC_BYTES = 12
CURSOR_CHARACTERS_MAX = 512


@dataclass(frozen=True)
class Cursors:
    """`storage` is the role's storage key."""

    storage: bytes

    def write(self, scope: str, last: Sequence[str | int]) -> str:
        """Write the sort values of the last row; `scope` names list and tenant, e.g. `inbox/ins-harbour`."""
        values = compact(list(last))
        return b64url(self._mac(scope, values) + values)

    def read(self, scope: str, cursor: str) -> tuple[str | int, ...]:
        """Read the values back; `cursor.malformed` for anything that is no cursor of `scope`."""
        try:
            raw = parse_b64url(cursor) if len(cursor) <= CURSOR_CHARACTERS_MAX else b""
        except MalformedInputError:
            raw = b""
        if not hmac.compare_digest(raw[:MAC_BYTES], self._mac(scope, raw[MAC_BYTES:])):
            raise MalformedInputError("cursor.malformed")
        return tuple(read_json(raw[MAC_BYTES:]))

    def _mac(self, scope: str, values: bytes) -> bytes:
        return hmac.digest(self._key, scope.encode() + b"\n" + values, "sha256")[:MAC_BYTES]

    @cached_property
    def _key(self) -> bytes:
        return derive(self.storage, "szhk-cursor/1")
