"""The Merkle tree of RFC 6962 section 2.1 (the same as RFC 9162 section 2.1): hashes, proofs, their verification.

Proof core: stdlib and cryptography only, nothing else of ours, so that a stranger can run it alone. Hashes are
32 bytes of SHA-256; a leaf is `H(00 || entry)`, a node `H(01 || left || right)`. Whatever does not verify, and
whatever bytes are malformed, raises `VerificationError`, the one error type of the proof core.
"""

import hashlib
from collections.abc import Callable, Sequence

HASH_BYTES = 32
PROOF_HASHES_MAX = 63
SIZE_MAX = 2**63 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()

HashRange = Callable[[int, int], bytes]
"""(start, end) -> root of the subtree over the leaves [start, end), as RFC 6962 defines MTH(D[start:end])."""


class VerificationError(ValueError):
    """Bytes that are malformed or do not verify; names the served file and the entry at fault where known."""

    def __init__(self, reason: str, *, path: str = "", index: int | None = None) -> None:
        self.reason = reason
        self.path = path
        self.index = index
        entry = "" if index is None else f"entry {index}"
        super().__init__(": ".join(part for part in (path, entry, reason) if part))

    def located(self, path: str, index: int | None = None) -> "VerificationError":
        """Return the same error with a place, keeping the place it already had."""
        return VerificationError(
            self.reason, path=self.path or path, index=self.index if self.index is not None else index
        )


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of neighbouring subtree roots of equal height."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def split_point(size: int) -> int:
    """Return the largest power of two strictly below `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, hash_range: HashRange) -> list[bytes]:
    """Make the audit path of leaf `index` in the tree of `size` leaves, the leaf's sibling first."""
    if not 0 <= index < size <= SIZE_MAX:
        raise VerificationError("the index is outside the tree")
    start, end, siblings = 0, size, list[tuple[int, int]]()
    while end - start > 1:
        middle = start + split_point(end - start)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((start, middle))
            start = middle
    return [hash_range(*sibling) for sibling in reversed(siblings)]


def consistency_proof(old: int, new: int, hash_range: HashRange) -> list[bytes]:
    """Make the proof that the tree of `old` leaves is a prefix of the tree of `new` leaves."""
    if not 0 < old <= new <= SIZE_MAX:
        raise VerificationError("no consistency proof exists between these sizes")
    start, end, parts = 0, new, list[tuple[int, int]]()
    while end != old:
        middle = start + split_point(end - start)
        if old <= middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((start, middle))
            start = middle
    if start:
        parts.append((start, end))
    return [hash_range(*part) for part in reversed(parts)]


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check an audit path (RFC 9162 section 2.1.3.2); `leaf` is the leaf hash, `path` starts at its sibling."""
    if not 0 <= index < size <= SIZE_MAX:
        raise VerificationError("the index is outside the tree")
    _check_hashes([leaf, *path], PROOF_HASHES_MAX + 1)
    position, last, computed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise VerificationError("the inclusion proof is too long")
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            position, last = _skip_left_edge(position, last)
        else:
            computed = node_hash(computed, sibling)
        position, last = position >> 1, last >> 1
    if last or computed != root:
        raise VerificationError("the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162 section 2.1.4.2).

    `old` = 0 is always refused here: every tree extends the empty one, so such a proof proves nothing. Protocols
    that let a client start from nothing decide that before they call.
    """
    if not 0 < old <= new <= SIZE_MAX:
        raise VerificationError("no consistency proof exists between these sizes")
    _check_hashes(path, PROOF_HASHES_MAX)
    if old == new:
        if path or old_root != new_root:
            raise VerificationError("two roots of one size differ, or their proof is not empty")
        return
    if not path:
        raise VerificationError("the consistency proof is empty")
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_computed = new_computed = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise VerificationError("the consistency proof is too long")
        if position & 1 or position == last:
            old_computed, new_computed = node_hash(step, old_computed), node_hash(step, new_computed)
            position, last = _skip_left_edge(position, last)
        else:
            new_computed = node_hash(new_computed, step)
        position, last = position >> 1, last >> 1
    if last or old_computed != old_root or new_computed != new_root:
        raise VerificationError("the consistency proof does not lead to both roots")


def _skip_left_edge(position: int, last: int) -> tuple[int, int]:
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _check_hashes(hashes: Sequence[bytes], count_max: int) -> None:
    if len(hashes) > count_max:
        raise VerificationError("a proof holds at most 63 hashes")
    if any(len(item) != HASH_BYTES for item in hashes):
        raise VerificationError("a hash is not 32 bytes long")
