"""What travels with one entry: the source's signature, commitments and their opening, and the tlog-proof file.

An entry is the canonical body, LF, a signature line `— <name> <base64(key id || signature)>`, LF. The source's
Ed25519 key (type 01) signs `szhk-leaf/1 LF body LF`, so an entry is a signed note without its first and its empty
line, and no entry can pass for another note. A proof file is C2SP tlog-proof: index, audit path, checkpoint.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.checkpoint import parse_number
from audit.leaf import Leaf
from audit.merkle import PROOF_HASHES_MAX, VerificationError, leaf_hash, verify_inclusion
from audit.note import (
    SignatureLine,
    Signer,
    VerifierKey,
    check_text,
    from_base64,
    parse_signature_line,
    sign_text,
    to_base64,
)

ENTRY_DOMAIN = b"szhk-leaf/1\n"
FIELD_DOMAIN = b"szhk/1|"
COMMITMENT_DOMAIN = b"szhk-commit/1"
SECRET_BYTES = 32
PROOF_HEADER = "c2sp.org/tlog-proof@v1"


def sign_entry(body: bytes, signer: Signer) -> bytes:
    """Make an entry of a canonical body (one line, without LF); the signer bears the source's name."""
    if b"\n" in body or not body:
        raise VerificationError("an entry's body is one line")
    return body + b"\n" + str(sign_text(ENTRY_DOMAIN + body + b"\n", signer)).encode()


def split_entry(entry: bytes) -> tuple[bytes, SignatureLine]:
    """Part an entry into its body and its signature line, nothing verified."""
    lines = check_text(entry).split("\n")
    if len(lines) != 3 or not lines[0]:
        raise VerificationError("an entry has exactly two lines")
    return lines[0].encode(), parse_signature_line(lines[1])


def open_entry(entry: bytes, verifiers: Iterable[VerifierKey]) -> tuple[bytes, str]:
    """Verify an entry by the sources' keys; returns its body and the name of the source that signed it."""
    body, line = split_entry(entry)
    for key in verifiers:
        if line.is_by(key):
            key.verify(ENTRY_DOMAIN + body + b"\n", line.payload)
            return body, key.name
    raise VerificationError("the entry is signed by no known source key")


def field_key(secret: bytes, eid: str, field: str) -> bytes:
    """Derive the key that opens one field of one event from its case's 32-byte secret (HKDF-SHA256, RFC 5869)."""
    if len(secret) != SECRET_BYTES:
        raise VerificationError("a case's secret is 32 bytes long")
    info = FIELD_DOMAIN + eid.encode() + b"|" + field.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def commit(key: bytes, eid: str, field: str, canonical_value: bytes) -> str:
    """Return the commitment to a value (its RFC 8785 bytes) under its field key, in base64."""
    message = b"\0".join((COMMITMENT_DOMAIN, eid.encode(), field.encode(), canonical_value))
    return to_base64(hmac.new(key, message, hashlib.sha256).digest())


def check_disclosure(leaf: Leaf, field: str, key: bytes, canonical_value: bytes) -> None:
    """Check that a disclosed value and field key open the commitment in this leaf."""
    committed = leaf.commitments.get(field)
    if committed is None:
        raise VerificationError("the entry holds no commitment to this field")
    if not hmac.compare_digest(commit(key, leaf.eid, field, canonical_value).encode(), committed.encode()):
        raise VerificationError("the disclosed value does not open the commitment")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An offline proof that an entry is in a log; `extra` is not authenticated (here: the entry itself)."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def __bytes__(self) -> bytes:
        lines = [PROOF_HEADER, *([f"extra {to_base64(self.extra)}"] if self.extra else [])]
        lines += [f"index {self.index}", *map(to_base64, self.path), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    def verify(self, entry: bytes, size: int, root: bytes) -> None:
        """Check the path to the root of a checkpoint that the caller has opened; `checkpoint` is not read here."""
        verify_inclusion(self.index, size, leaf_hash(entry), self.path, root)


def parse_proof(raw: bytes) -> TlogProof:
    """Read a proof file; the checkpoint in it is left as bytes for `open_checkpoint`."""
    head, empty, checkpoint = raw.partition(b"\n\n")
    lines = check_text(head + b"\n").split("\n")[:-1]
    if not empty or lines.pop(0) != PROOF_HEADER:
        raise VerificationError("this is no tlog-proof of version 1")
    extra = from_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
    if not lines or not lines[0].startswith("index "):
        raise VerificationError("the proof names no index")
    path = tuple(from_base64(line) for line in lines[1:])
    if len(path) > PROOF_HASHES_MAX:
        raise VerificationError("a proof holds at most 63 hashes")
    return TlogProof(parse_number(lines[0][6:]), path, checkpoint, extra)
