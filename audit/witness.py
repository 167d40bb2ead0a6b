"""A witness (C2SP tlog-witness): cosigns only what is consistent with what it cosigned before.

It compares and stores before it answers: if we die between, the log asks again with the stored size and gets the
same head cosigned. It never cosigns two roots of one size, nor a smaller tree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from audit import store
from audit.checkpoint import OpenedCheckpoint, cosign, open_checkpoint, parse_checkpoint, parse_number
from audit.merkle import EMPTY_ROOT, VerificationError, verify_consistency
from audit.note import Signer, VerifierKey, from_base64, parse_note
from gateway.protocol.clock import Clock
from gateway.runtime.storage.database import Database, Transaction

PROOF_HASHES_MAX = 63


@dataclass(frozen=True)
class Deps:
    database: Database
    clock: Clock
    signer: Signer
    logs: tuple[VerifierKey, ...]
    """The logs it watches; a checkpoint of any other origin is 404."""


class WitnessRefusalError(Exception):
    """Not cosigned: the status of the protocol, and for 409 the size that this witness is at."""

    def __init__(self, status: int, size: int | None = None) -> None:
        self.status = status
        self.size = size
        super().__init__(status)


@dataclass(frozen=True, slots=True)
class Submission:
    """The body of `add-checkpoint`: `old <size>`, proof hashes, an empty line, the signed checkpoint."""

    old: int
    proof: Sequence[bytes]
    checkpoint: bytes


def parse_submission(raw: bytes) -> Submission:
    """Read an `add-checkpoint` body; `WitnessRefusalError(400)` if it is not one."""
    head, _, checkpoint = raw.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
        if not first.startswith("old ") or len(hashes) > PROOF_HASHES_MAX:
            raise WitnessRefusalError(400)
        return Submission(parse_number(first[4:]), [from_base64(line) for line in hashes], checkpoint)
    except (UnicodeDecodeError, VerificationError):
        raise WitnessRefusalError(400) from None


async def add_checkpoint(deps: Deps, raw: bytes) -> bytes:
    """Check a submission against what was cosigned before, store it, and return the cosignature line."""
    submission = parse_submission(raw)
    opened = _open(deps, submission)
    if submission.old > opened.checkpoint.size:
        raise WitnessRefusalError(400)

    async def work(tx: Transaction) -> None:
        await _compare_and_store(tx, submission, opened)

    await deps.database.write(work)
    line = cosign(opened.checkpoint, deps.signer, int(deps.clock.now().timestamp()))
    return str(line).encode()


def _open(deps: Deps, submission: Submission) -> OpenedCheckpoint:
    try:
        origin = parse_checkpoint(parse_note(submission.checkpoint).text).origin
    except VerificationError:
        raise WitnessRefusalError(400) from None
    keys = [key for key in deps.logs if key.name == origin]
    if not keys:
        raise WitnessRefusalError(404)
    try:
        return open_checkpoint(submission.checkpoint, keys)
    except VerificationError:
        raise WitnessRefusalError(403) from None


async def _compare_and_store(tx: Transaction, submission: Submission, opened: OpenedCheckpoint) -> None:
    head = opened.checkpoint
    known = await store.load_witnessed(tx, head.origin)
    size = 0 if known is None else int(known.size)
    root = EMPTY_ROOT if known is None else bytes(known.root)
    if submission.old != size:
        raise WitnessRefusalError(409, size)
    if head.size == size and head.root != root:
        raise WitnessRefusalError(422) if known is None else WitnessRefusalError(409, size)
    if size == 0:
        if submission.proof or (head.size == 0 and head.root != EMPTY_ROOT):
            raise WitnessRefusalError(422)
    else:
        try:
            verify_consistency(size, head.size, root, head.root, submission.proof)
        except VerificationError:
            raise WitnessRefusalError(422) from None
    await store.save_witnessed(tx, head.origin, head.size, head.root, bytes(opened.note))
