"""Signed notes (C2SP signed-note): text, signature lines, verifier keys (vkeys), and signing with Ed25519.

A note is a text that ends in LF, an empty line, and lines `— <name> <base64(key id || signature)>`. A key is known
by its name *and* its 4-byte id. Types used here: 01 Ed25519 over the text; 04 and 06 are cosignatures of a
checkpoint (`audit/checkpoint.py`); others are carried, never verified. Base64 is standard, padded, and only in its
one canonical spelling, so that no bit of a note can change without being seen.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from audit.merkle import VerificationError

ED25519 = 0x01
ECDSA = 0x02
ED25519_COSIGNATURE = 0x04
MLDSA44_COSIGNATURE = 0x06

NOTE_BYTES_MAX = 1 << 20
SIGNATURES_MAX = 100

_DASH = "— "
_NAME = re.compile(r"[^\s+]+")
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")
_PUBLIC_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, MLDSA44_COSIGNATURE: 1312}


def to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def from_base64(text: str) -> bytes:
    """Decode standard base64 with padding (RFC 4648 section 4), only in its canonical spelling."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError("base64 is malformed") from None
    if to_base64(raw) != text:
        raise VerificationError("base64 is not in its canonical spelling")
    return raw


def check_name(name: str) -> str:
    """Return a key's name: not empty, no Unicode space, no plus sign."""
    if not _NAME.fullmatch(name):
        raise VerificationError("a key name is empty or holds a space or a plus sign")
    return name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name: `name+hex8(key id)+base64(type || public key)`."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        if self.kind == ECDSA:
            return hashlib.sha256(self.public).digest()[:4]
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.kind]) + self.public)}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a raw signature: Ed25519 (RFC 8032) or ML-DSA-44 with empty context (FIPS 204), by type."""
        if self.kind not in _PUBLIC_BYTES:
            raise VerificationError("signatures of this key type are not verified here")
        try:
            if self.kind == MLDSA44_COSIGNATURE:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise VerificationError("the signature does not verify") from None
        except ValueError:
            raise VerificationError("the public key is malformed") from None


def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey; its id must be the hash of its name, type and key."""
    matched = _VKEY.fullmatch(text)
    if matched is None:
        raise VerificationError("the verifier key is malformed")
    raw = from_base64(matched[3])
    key = VerifierKey(matched[1], raw[0], raw[1:])
    if len(key.public) != _PUBLIC_BYTES.get(key.kind, len(key.public)) or not key.public:
        raise VerificationError("the verifier key has the wrong length for its type")
    if key.key_id.hex() != matched[2]:
        raise VerificationError("the verifier key's id is not the hash of its name and key")
    return key


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line `— <name> <base64(key id || payload)>`; the payload's form depends on the key's type."""

    name: str
    key_id: bytes
    payload: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.payload)}\n"

    def is_by(self, key: VerifierKey) -> bool:
        return self.name == key.name and self.key_id == key.key_id


def parse_signature_line(line: str) -> SignatureLine:
    """Read one signature line, without its LF."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise VerificationError("a signature line is malformed")
    raw = from_base64(encoded)
    if len(raw) < 5:
        raise VerificationError("a signature line is too short")
    return SignatureLine(check_name(name), raw[:4], raw[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text (its final LF included) and its signature lines, verified or not."""

    text: bytes
    lines: tuple[SignatureLine, ...]

    def __bytes__(self) -> bytes:
        return self.text + b"\n" + "".join(str(line) for line in self.lines).encode()

    def plus(self, lines: Iterable[SignatureLine]) -> "Note":
        return Note(self.text, (*self.lines, *lines))

    def lines_by(self, key: VerifierKey) -> list[SignatureLine]:
        return [line for line in self.lines if line.is_by(key)]


def parse_note(raw: bytes) -> Note:
    """Read a note: UTF-8 without control bytes, at most 1 MiB, 1 to 100 lines after the last empty line."""
    if len(raw) > NOTE_BYTES_MAX:
        raise VerificationError("the note is too large")
    check_text(raw)
    cut = raw.rfind(b"\n\n")
    if cut < 0:
        raise VerificationError("the note has no signatures")
    lines = raw[cut + 2 :].decode().removesuffix("\n").split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise VerificationError("the note has too many signatures")
    return Note(raw[: cut + 1], tuple(parse_signature_line(line) for line in lines))


def check_text(raw: bytes) -> str:
    """Return text that may stand in a note: valid UTF-8, ends in LF, no other control byte below 20."""
    if not raw.endswith(b"\n"):
        raise VerificationError("the text does not end in a line feed")
    if _CONTROL.search(raw):
        raise VerificationError("the text holds control bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise VerificationError("the text is not valid UTF-8") from None


class Signer(Protocol):
    """What a key store offers: the public key under its name, and raw signatures. Files, HSMs, cloud keys."""

    @property
    def vkey(self) -> VerifierKey: ...

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature over `message`: 64 bytes of Ed25519, or 2,420 of ML-DSA-44."""


@dataclass(frozen=True)
class Ed25519Signer:
    """Signs notes (type 01), or checkpoints as a witness (type 04), with an Ed25519 key held in memory."""

    name: str
    private: Ed25519PrivateKey
    kind: int = ED25519

    @property
    def vkey(self) -> VerifierKey:
        return VerifierKey(check_name(self.name), self.kind, self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


@dataclass(frozen=True)
class MLDSA44Signer:
    """Cosigns checkpoints (type 06) with an ML-DSA-44 key held in memory; its signatures are randomised."""

    name: str
    private: MLDSA44PrivateKey

    @property
    def vkey(self) -> VerifierKey:
        public = self.private.public_key().public_bytes_raw()
        return VerifierKey(check_name(self.name), MLDSA44_COSIGNATURE, public)

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


def sign_text(message: bytes, signer: Signer) -> SignatureLine:
    """Sign with a type 01 key; over a note's text, or whatever its format says is signed."""
    if signer.vkey.kind != ED25519:
        raise VerificationError("only an Ed25519 note key signs a text")
    return SignatureLine(signer.vkey.name, signer.vkey.key_id, signer.sign(message))
