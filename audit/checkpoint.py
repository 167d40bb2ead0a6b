"""Checkpoints of a log (C2SP tlog-checkpoint), cosignatures by witnesses (tlog-cosignature), policies (tlog-policy).

A checkpoint body is `origin LF size LF base64(root) LF`; lines beyond these three are refused, since nobody can
check them. The log signs the body as a note under its origin. A witness adds one line that also holds its time:
Ed25519 (type 04) over `cosignature/v1`, the time and the body; ML-DSA-44 (type 06) over a binary message with the
witness's name, time, origin, size and root.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from audit.merkle import HASH_BYTES, SIZE_MAX, VerificationError
from audit.note import (
    ED25519,
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    Note,
    SignatureLine,
    Signer,
    VerifierKey,
    check_text,
    from_base64,
    parse_note,
    parse_vkey,
    sign_text,
    to_base64,
)

COSIGNATURE_KINDS = frozenset({ED25519_COSIGNATURE, MLDSA44_COSIGNATURE})
POLICY_LINES_MAX = 1000

_SIGNATURE_BYTES = {ED25519_COSIGNATURE: 64, MLDSA44_COSIGNATURE: 2420}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def parse_number(text: str) -> int:
    """Read a decimal number without sign or leading zeros, at most 2^63 - 1."""
    if not _NUMBER.fullmatch(text) or int(text) > SIZE_MAX:
        raise VerificationError("a number is malformed")
    return int(text)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: its origin, its size in entries, its root hash (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> bytes:
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n".encode()


def parse_checkpoint(body: bytes) -> Checkpoint:
    """Read a checkpoint body, the text of its note: exactly three lines."""
    lines = check_text(body).split("\n")
    if len(lines) != 4 or not lines[0]:
        raise VerificationError("the checkpoint does not have exactly three lines")
    root = from_base64(lines[2])
    if len(root) != HASH_BYTES:
        raise VerificationError("the checkpoint's root is not 32 bytes long")
    return Checkpoint(lines[0], parse_number(lines[1]), root)


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> Note:
    """Sign as the log: every signer bears the origin as its name (two of them while a key is being rotated)."""
    parse_checkpoint(checkpoint.body)
    if not signers or any(signer.vkey.name != checkpoint.origin for signer in signers):
        raise VerificationError("a log signs under its origin")
    return Note(checkpoint.body, tuple(sign_text(checkpoint.body, signer) for signer in signers))


def cosign(checkpoint: Checkpoint, signer: Signer, time_s: int) -> SignatureLine:
    """Cosign as a witness at `time_s` (Unix seconds); the form follows the key's type, 04 or 06."""
    key = signer.vkey
    signature = signer.sign(_cosigned_message(checkpoint, key, time_s))
    return SignatureLine(key.name, key.key_id, time_s.to_bytes(8) + signature)


def _cosigned_message(checkpoint: Checkpoint, key: VerifierKey, time_s: int) -> bytes:
    if key.kind == ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {time_s}\n".encode() + checkpoint.body
    if key.kind != MLDSA44_COSIGNATURE:
        raise VerificationError("this key type does not cosign")
    return b"".join(
        (
            b"subtree/v1\n\0",
            _short(key.name),
            time_s.to_bytes(8),
            _short(checkpoint.origin),
            (0).to_bytes(8),
            checkpoint.size.to_bytes(8),
            checkpoint.root,
        )
    )


def _short(text: str) -> bytes:
    raw = text.encode()
    if not 0 < len(raw) <= 255:
        raise VerificationError("a name or origin is longer than 255 bytes")
    return bytes([len(raw)]) + raw


def verify_line(checkpoint: Checkpoint, line: SignatureLine, key: VerifierKey) -> int | None:
    """Check one line by its key; returns a cosignature's time in Unix seconds, None for a log's own signature."""
    if not line.is_by(key):
        raise VerificationError("the line is by another key")
    if key.kind not in COSIGNATURE_KINDS:
        if key.name != checkpoint.origin:
            raise VerificationError("the log's key does not bear the checkpoint's origin")
        key.verify(checkpoint.body, line.payload)
        return None
    if len(line.payload) != 8 + _SIGNATURE_BYTES[key.kind]:
        raise VerificationError("the cosignature has the wrong length")
    time_s = int.from_bytes(line.payload[:8])
    if time_s > SIZE_MAX:
        raise VerificationError("the cosignature's time is out of range")
    key.verify(_cosigned_message(checkpoint, key, time_s), line.payload[8:])
    return time_s


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint whose known lines all verified: who signed it as the log, who cosigned it and when (Unix s)."""

    checkpoint: Checkpoint
    note: Note
    signed_by: tuple[VerifierKey, ...]
    cosigned_by: Mapping[VerifierKey, int]


def open_checkpoint(
    raw: bytes, log_keys: Iterable[VerifierKey], witness_keys: Iterable[VerifierKey] = ()
) -> OpenedCheckpoint:
    """Read and verify a signed checkpoint.

    Lines by unknown keys are passed over; a line by a known key that fails refuses the whole note, and so does the
    want of a verified signature by the log. Whether the cosignatures suffice is for `Policy.is_met_by`.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    signed_by = tuple(
        key
        for key in log_keys
        if key.kind == ED25519
        for line in note.lines_by(key)
        if verify_line(checkpoint, line, key) is None
    )
    if not signed_by:
        raise VerificationError("no known log key has signed the checkpoint")
    cosigned_by = {
        key: time_s
        for key in witness_keys
        for line in note.lines_by(key)
        if (time_s := verify_line(checkpoint, line, key)) is not None
    }
    return OpenedCheckpoint(checkpoint, note, signed_by, cosigned_by)


@dataclass(frozen=True, slots=True)
class Party:
    """A log or a witness of a policy: its key and, if the policy tells it, its URL."""

    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Has witnessed a checkpoint when at least `threshold` of its members (witnesses or groups) have."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose checkpoints count, and which witnesses must have cosigned them; `quorum` None asks for no witness."""

    logs: tuple[Party, ...] = ()
    witnesses: Mapping[str, Party] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    @classmethod
    def all_of(cls, witnesses: Sequence[VerifierKey]) -> "Policy":
        """Ask for a cosignature by every one of these keys (none if there are none)."""
        if not witnesses:
            return cls()
        named = {str(key): Party(key) for key in witnesses}
        return cls(witnesses=named, groups={"all": Group(len(named), tuple(named))}, quorum="all")

    @property
    def witness_keys(self) -> tuple[VerifierKey, ...]:
        return tuple(party.key for party in self.witnesses.values())

    def is_met_by(self, cosigners: AbstractSet[VerifierKey]) -> bool:
        """Tell whether these keys, whose cosignatures were verified, make up the quorum."""
        return self.quorum is None or self._has_witnessed(self.quorum, cosigners)

    def _has_witnessed(self, name: str, cosigners: AbstractSet[VerifierKey]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].key in cosigners
        group = self.groups[name]
        return sum(self._has_witnessed(member, cosigners) for member in group.members) >= group.threshold


def parse_policy(raw: bytes) -> Policy:
    """Read a policy file: `log`, `witness`, `group` and exactly one `quorum` line; names only from lines above."""
    if len(raw) > POLICY_LINES_MAX * 4096 or re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", raw):
        raise VerificationError("the policy is too large or holds control bytes")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError:
        raise VerificationError("the policy is not valid UTF-8") from None
    if len(lines) > POLICY_LINES_MAX:
        raise VerificationError("the policy has too many lines")
    reading = _PolicyReading()
    for line in lines:
        words = [word for word in re.split(r"[ \t]+", line) if word]
        if words and not words[0].startswith("#"):
            reading.take(words)
    return reading.finish()


class _PolicyReading:
    """The half-read policy; one `take` for each line."""

    def __init__(self) -> None:
        self.logs: list[Party] = []
        self.witnesses: dict[str, Party] = {}
        self.groups: dict[str, Group] = {}
        self.quorums: list[str] = []
        self.grouped: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self.logs.append(self._party(vkey, url, {ED25519}))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._check_new(name)
                self.witnesses[name] = self._party(vkey, url, COSIGNATURE_KINDS)
            case ["group", name, threshold, first, *rest]:
                members = (first, *rest)
                self._check_new(name)
                self._check_members(members)
                self.groups[name] = Group(_threshold(threshold, len(members)), members)
            case ["quorum", name] if name == "none" or self._knows(name):
                self.quorums.append(name)
            case _:
                raise VerificationError("a line of the policy is malformed or names what no line above defines")

    def finish(self) -> Policy:
        if len(self.quorums) != 1:
            raise VerificationError("a policy has exactly one quorum line")
        quorum = None if self.quorums[0] == "none" else self.quorums[0]
        return Policy(tuple(self.logs), self.witnesses, self.groups, quorum)

    def _knows(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _check_new(self, name: str) -> None:
        if name == "none" or self._knows(name):
            raise VerificationError("a name of the policy is defined twice")

    def _check_members(self, members: tuple[str, ...]) -> None:
        for member in members:
            if not self._knows(member) or member in self.grouped:
                raise VerificationError("a group's member is unknown, or already in a group")
            self.grouped.add(member)

    def _party(self, vkey: str, url: list[str], kinds: AbstractSet[int]) -> Party:
        key = parse_vkey(vkey)
        known = [party.key.public for party in (*self.logs, *self.witnesses.values())]
        if key.kind not in kinds or key.public in known:
            raise VerificationError("a key of the policy has the wrong type or stands there twice")
        return Party(key, *url)


def _threshold(text: str, members: int) -> int:
    threshold = {"any": 1, "all": members}.get(text)
    threshold = parse_number(text) if threshold is None else threshold
    if not 1 <= threshold <= members:
        raise VerificationError("a group asks for more members than it has, or for none")
    return threshold
