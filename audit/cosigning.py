"""The log's side of the witness protocol: `add-checkpoint`, resumed at the size that a 409 names.

A witness that is away, slow or elsewhere gives nothing this time; it never stops the log. A 409 that names our own
size says that it has cosigned another root there: that is a fork and stops everything.
"""

from collections.abc import Awaitable, Callable

from audit.checkpoint import Checkpoint, Party, parse_number, verify_line
from audit.merkle import VerificationError, consistency_proof
from audit.note import SignatureLine, VerifierKey, parse_signature_line, to_base64
from audit.tiles import TileReader
from gateway.protocol.errors import RetryError
from gateway.protocol.outgoing import Incoming, Outgoing

Ask = Callable[[Outgoing], Awaitable[Incoming]]

ATTEMPTS_MAX = 3
TIMEOUT_S = 2.0


class SplitViewError(Exception):
    """A witness has cosigned another root at our size."""


def submission(old: int, checkpoint: Checkpoint, note: bytes, reader: TileReader) -> bytes:
    """Write the body of `add-checkpoint`; old size 0 needs no proof."""
    proof = consistency_proof(old, checkpoint.size, reader.hash_range) if 0 < old < checkpoint.size else []
    lines = [f"old {old}", *(to_base64(part) for part in proof)]
    return "\n".join(lines).encode() + b"\n\n" + note


async def collect(
    ask: Ask, party: Party, checkpoint: Checkpoint, note: bytes, reader: TileReader
) -> dict[VerifierKey, SignatureLine]:
    """Ask one witness; returns its verified cosignature by its key, or nothing."""
    old = checkpoint.size
    for _ in range(ATTEMPTS_MAX):
        try:
            answer = await ask(_request(party, submission(old, checkpoint, note, reader)))
            if answer.status == 409:
                size = parse_number(answer.body.decode("ascii").strip())
                if size == old == checkpoint.size or size > checkpoint.size:
                    raise SplitViewError(party.key.name)
                old = size
                continue
            if answer.status != 200:
                return {}
            return _verified(answer.body, checkpoint, party.key)
        except (RetryError, VerificationError, UnicodeDecodeError):
            return {}
    return {}


def _request(party: Party, body: bytes) -> Outgoing:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return Outgoing("POST", f"{party.url.rstrip('/')}/add-checkpoint", headers, body, TIMEOUT_S)


def _verified(body: bytes, checkpoint: Checkpoint, key: VerifierKey) -> dict[VerifierKey, SignatureLine]:
    for text in body.decode().splitlines():
        line = parse_signature_line(text)
        if line.is_by(key):
            verify_line(checkpoint, line, key)
            return {key: line}
    return {}
