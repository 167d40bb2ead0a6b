"""Golden values: roots, verifier keys and signature lines that outside tools agreed on, for entries `record <i>`."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit.checkpoint import Checkpoint, cosign, sign_checkpoint
from audit.note import ED25519_COSIGNATURE, Ed25519Signer, MLDSA44Signer
from audit.tiles import RightEdge, bundles_of, tiles_of

ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "3b367d6db7bc51726d918b18e9a79e0fce53f867fbe38671f609e6bb59d46035",
    2: "5c34a11205877ecf2c4f28e25495d08301b33dbfb862419f7946fa6fdf8124ef",
    255: "12d20e0393b2b10464b55a5269dd066f0b836ea9512a34f13e3ad5c72575f43b",
    256: "dc9349f9787ed0086da6d97f679c51a5198f98e456e95b1d87fa3abc012fec31",
    257: "7bc95338d9eb756fddd6fcde386a6cd7692116c13bf5abef15dfb7e5358e68ae",
    300: "830df5c90aea65909c10e3ebcd7f9ba72de727a4209e04ca9fc1b59b48badae5",
    65_535: "b6b5e41ae18d95f27664e44411b35f4104fc7946031cb6b5e08c2d5fb08d3a8f",
    65_536: "1a282a1c4af74dba856a32f9ea63a23259cff8bdd7955affe669e18c2db15aed",
    65_537: "25e9829b8e55d5b4faf5e832b4707478b79095616521d9aa1deb80ffe24634f8",
    70_000: "db95a5c3802aae796452d22b34d53e749c9bc06fbe9ad229954d80d8eaa3ee16",
}
LOG_VKEY = "audit.example.org/szhk/2026+a290ba9e+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
LOG_LINE = (
    "— audit.example.org/szhk/2026 opC6ntESn/c+xezXmGI8trpAxwqFPmhzzALGgEazAApfhzA4Foj0W/njkVf6oZPvg9+gGhycL11h"
    "oulR2QRGoWXoRgg=\n"
)
WITNESS_VKEY = "witness.sz.example.org/w1+e7056f5e+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
WITNESS_TIME_S = 1_790_000_000
WITNESS_LINE = (
    "— witness.sz.example.org/w1 5wVvXgAAAABqsTuAjtjDA06QTj8SVW075U2DL67Hkon7hiuQzQbofcdkV+h4yFd4Jm1JItZC4roe4x"
    "E05rdtyfjaWJIDKnwfWyh6Cg==\n"
)


@pytest.fixture(scope="module")
def edges() -> dict[int, RightEdge]:
    edge, found = RightEdge(), dict[int, RightEdge]()
    for size in ROOTS:
        edge, _ = edge.append([b"record %d" % at for at in range(edge.size, size)])
        found[size] = edge
    return found


@pytest.mark.parametrize("size", ROOTS)
def test_the_root_of_a_size_is_the_golden_one(size: int, edges: dict[int, RightEdge]) -> None:
    assert edges[size].size == size
    assert edges[size].root().hex() == ROOTS[size]


def test_the_log_s_key_and_its_line_over_size_300_are_the_golden_ones() -> None:
    signer = Ed25519Signer("audit.example.org/szhk/2026", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

    note = sign_checkpoint(Checkpoint(signer.name, 300, bytes.fromhex(ROOTS[300])), [signer])

    assert str(signer.vkey) == LOG_VKEY
    assert [str(line) for line in note.lines] == [LOG_LINE]


def test_the_witness_s_key_and_its_line_over_size_300_are_the_golden_ones() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    witness = Ed25519Signer("witness.sz.example.org/w1", private, ED25519_COSIGNATURE)
    head = Checkpoint("audit.example.org/szhk/2026", 300, bytes.fromhex(ROOTS[300]))

    assert str(witness.vkey) == WITNESS_VKEY
    assert str(cosign(head, witness, WITNESS_TIME_S)) == WITNESS_LINE


def test_the_post_quantum_witness_s_key_id_is_the_golden_one() -> None:
    witness = MLDSA44Signer("witness.hk.example.org/w1", MLDSA44PrivateKey.from_seed_bytes(b"\x02" * 32))

    assert witness.vkey.key_id.hex() == "7432e065"


def test_the_layout_of_seventy_thousand_entries_is_the_golden_one() -> None:
    by_level: dict[int | None, list[str]] = {}
    for tile in (*tiles_of(70_000), *bundles_of(70_000)):
        by_level.setdefault(tile.level, []).append(tile.path)

    assert {level: len(paths) for level, paths in by_level.items()} == {0: 274, 1: 2, 2: 1, None: 274}
    assert [paths[-1] for paths in by_level.values()] == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    ]
