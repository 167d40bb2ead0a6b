"""Proofs from tiles equal the recursive definition of RFC 6962; files depend on the entries, not on the batches."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    VerificationError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from audit.tiles import (
    RightEdge,
    Tile,
    TileReader,
    bundles_of,
    pack_entry,
    parse_path,
    read_bundle,
    tile_at,
    tiles_of,
)

SIZE = 600
ENTRIES = [b"entry %d" % at for at in range(SIZE)]


def _cut(size: int) -> int:
    cut = 1
    while cut * 2 < size:
        cut *= 2
    return cut


@cache
def _root(start: int, end: int) -> bytes:
    """RFC 6962 section 2.1, MTH, as written."""
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return sha256(b"\0" + ENTRIES[start]).digest()
    cut = start + _cut(end - start)
    return sha256(b"\1" + _root(start, cut) + _root(cut, end)).digest()


def _path(at: int, start: int, end: int) -> list[bytes]:
    """RFC 6962 section 2.1.1, PATH, as written."""
    if end - start == 1:
        return []
    cut = _cut(end - start)
    if at < cut:
        return [*_path(at, start, start + cut), _root(start + cut, end)]
    return [*_path(at - cut, start + cut, end), _root(start, start + cut)]


def _subproof(old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2, SUBPROOF, as written."""
    if old == end - start:
        return [] if whole else [_root(start, end)]
    cut = _cut(end - start)
    if old <= cut:
        return [*_subproof(old, start, start + cut, whole=whole), _root(start + cut, end)]
    return [*_subproof(old - cut, start + cut, end, whole=False), _root(start, start + cut)]


def _written(size: int, batches: list[int] | None = None) -> tuple[RightEdge, dict[str, bytes]]:
    edge, files = RightEdge(), dict[str, bytes]()
    for end in [*(batches or []), size]:
        edge, new = edge.append(ENTRIES[edge.size : end])
        files |= new
    return edge, files


def _fetch(files: dict[str, bytes]) -> Callable[[str], bytes]:
    def fetch(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    return fetch


@cache
def _reader(size: int) -> TileReader:
    return TileReader(size, _fetch(_written(size)[1]))


def test_the_root_of_tiles_is_the_recursive_root_at_every_size() -> None:
    edge, files = RightEdge(), dict[str, bytes]()

    for size in range(SIZE + 1):
        edge, new = edge.append(ENTRIES[edge.size : size])
        files |= new

        assert edge.root() == _root(0, size)
        assert RightEdge.load(TileReader(size, _fetch(files))) == edge


@given(st.integers(1, SIZE), st.data())
def test_an_inclusion_proof_from_tiles_is_the_recursive_one_and_verifies(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))

    proof = inclusion_proof(index, size, _reader(size).hash_range)

    assert proof == _path(index, 0, size)
    verify_inclusion(index, size, leaf_hash(ENTRIES[index]), proof, _root(0, size))


@given(st.integers(1, SIZE), st.data())
def test_a_consistency_proof_from_tiles_is_the_recursive_one_and_verifies(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))

    proof = consistency_proof(old, size, _reader(size).hash_range)

    assert proof == _subproof(old, 0, size, whole=True)
    verify_consistency(old, size, _root(0, old), _root(0, size), proof)


@given(st.integers(1, SIZE), st.data())
def test_a_changed_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = [leaf_hash(ENTRIES[index]), *inclusion_proof(index, size, _reader(size).hash_range)]
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))

    proof[at] = (int.from_bytes(proof[at]) ^ 1 << bit).to_bytes(32)

    with pytest.raises(VerificationError):
        verify_inclusion(index, size, proof[0], proof[1:], _root(0, size))


class _EqualLeaves:
    """A tree in which every leaf is the same, so that any tile of any size can be made up."""

    def __init__(self) -> None:
        self.by_height = [leaf_hash(b"same")]
        for _ in range(63):
            self.by_height.append(node_hash(self.by_height[-1], self.by_height[-1]))

    def fetch(self, path: str) -> bytes:
        tile = parse_path(path)
        if tile.level is None:
            return pack_entry(b"same") * tile.width
        return self.by_height[8 * tile.level] * tile.width

    def root(self, size: int) -> bytes:
        if size & (size - 1) == 0:
            return self.by_height[size.bit_length() - 1]
        cut = _cut(size)
        return node_hash(self.root(cut), self.root(size - cut))


@given(st.integers(1, 2**40), st.data())
def test_proofs_hold_for_trees_of_any_size(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    tree = _EqualLeaves()
    reader = TileReader(size, tree.fetch)

    inclusion = inclusion_proof(index, size, reader.hash_range)
    consistency = consistency_proof(old, size, reader.hash_range)

    assert RightEdge.load(reader).root() == tree.root(size)
    verify_inclusion(index, size, leaf_hash(b"same"), inclusion, tree.root(size))
    verify_consistency(old, size, tree.root(old), tree.root(size), consistency)


@given(st.lists(st.integers(0, SIZE), max_size=8).map(sorted), st.integers(0, SIZE))
def test_the_files_of_a_size_do_not_depend_on_the_batches(batches: list[int], size: int) -> None:
    before = [end for end in batches if end <= size]

    edge, files = _written(size, before)

    at_once, needed = _written(size)
    assert edge == at_once
    assert needed.keys() == {tile.path for tile in (*tiles_of(size), *bundles_of(size))}
    assert {path: files[path] for path in needed} == needed


@given(st.integers(0, SIZE), st.integers(1, SIZE))
def test_a_path_is_never_written_with_other_bytes(start: int, step: int) -> None:
    edge, written = RightEdge(), dict[str, bytes]()

    for end in range(start, SIZE, step):
        edge, files = edge.append(ENTRIES[edge.size : end])
        again = {path for path, content in files.items() if written.get(path, content) != content}

        assert not again
        written |= files


def test_an_unchanged_upper_tile_is_not_written_again() -> None:
    edge, _ = _written(257)

    _, files = edge.append(ENTRIES[257:258])

    assert sorted(files) == ["tile/0/001.p/2", "tile/entries/001.p/2"]


def test_appending_nothing_writes_nothing() -> None:
    edge, _ = _written(300)

    assert edge.append([]) == (edge, {})


@pytest.mark.parametrize("size", [257, 300, 512, 513])
def test_a_partial_tile_that_is_gone_is_read_from_the_full_one(size: int) -> None:
    _, files = _written(SIZE, [size])
    needed = {tile.path for tile in (*tiles_of(size), *bundles_of(size))}
    tidied = {path: content for path, content in files.items() if ".p/" not in path or path in needed}
    gone = {path for path in tidied if path.endswith((".p/44", "0/001.p/1"))}

    reader = TileReader(size, _fetch({path: tidied[path] for path in tidied.keys() - gone}))

    assert reader.hash_range(0, size) == _root(0, size)
    assert [entry for at in range(3) for entry in reader.entries(at)] == ENTRIES[:size]


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"])
def test_a_file_that_is_missing_or_cut_short_is_named(path: str) -> None:
    _, files = _written(300)

    def read(files: dict[str, bytes]) -> None:
        reader = TileReader(300, _fetch(files))
        reader.hash_range(0, 300)
        reader.hashes(0, 0)
        reader.entries(1)

    for broken in ({**files, path: files[path][:-1]}, {key: files[key] for key in files.keys() - {path}}):
        with pytest.raises(VerificationError) as caught:
            read(broken)
        assert caught.value.path == path


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "tile/0/000"),
        (999, "tile/0/999"),
        (1000, "tile/0/x001/000"),
        (1_234_067, "tile/0/x001/x234/067"),
    ],
)
def test_a_tile_is_named_in_groups_of_three_digits(index: int, path: str) -> None:
    assert Tile(0, index).path == path
    assert parse_path(path) == Tile(0, index)


@given(
    st.builds(Tile, st.none() | st.integers(0, 63), st.integers(0, 10**15), st.integers(1, 256)),
)
def test_a_tile_s_name_is_read_back(tile: Tile) -> None:
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/0/1000",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p",
        "tile/0/\u0660\u0660\u0660",
        "tile/data/000",
        "tile/0/000\n",
        "checkpoint",
    ],
)
def test_a_name_in_another_spelling_is_refused(path: str) -> None:
    with pytest.raises(VerificationError):
        parse_path(path)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_is_read_back(entries: list[bytes]) -> None:
    raw = b"".join(pack_entry(entry) for entry in entries)

    assert read_bundle(raw, len(entries)) == entries
    with pytest.raises(VerificationError):
        read_bundle(raw, len(entries) + 1)
    with pytest.raises(VerificationError):
        read_bundle(raw + b"\0", len(entries))


@given(st.binary(max_size=600), st.integers(0, 256))
def test_a_bundle_of_any_bytes_gives_entries_or_the_one_error(raw: bytes, width: int) -> None:
    try:
        entries = read_bundle(raw, width)
    except VerificationError:
        return

    assert b"".join(pack_entry(entry) for entry in entries) == raw


def test_an_entry_has_at_most_65535_bytes() -> None:
    RightEdge().append([b"x" * 65_535])

    with pytest.raises(VerificationError):
        RightEdge().append([b"x" * 65_536])


def test_sizes_and_proofs_beyond_the_limits_are_refused() -> None:
    some = leaf_hash(b"")

    with pytest.raises(VerificationError, match="outside"):
        verify_inclusion(0, SIZE_MAX + 1, some, [some] * 63, some)
    with pytest.raises(VerificationError, match="63"):
        verify_inclusion(0, SIZE_MAX, some, [some] * 64, some)
    with pytest.raises(VerificationError, match="63"):
        verify_consistency(1, SIZE_MAX, some, some, [some] * 64)
    with pytest.raises(VerificationError, match="32 bytes"):
        verify_consistency(1, 2, some, some, [some[:-1]])


@pytest.mark.parametrize("size", [0, 1, 5])
def test_nothing_proves_consistency_with_the_empty_tree(size: int) -> None:
    with pytest.raises(VerificationError):
        verify_consistency(0, size, EMPTY_ROOT, EMPTY_ROOT, [])
    with pytest.raises(VerificationError):
        consistency_proof(0, size, lambda _start, _end: EMPTY_ROOT)


@given(st.integers(0, 2**40), st.integers(0, 4))
@settings(max_examples=50)
def test_a_tree_reaches_exactly_as_far_as_its_size(size: int, level: int) -> None:
    hashes = size >> 8 * level
    last = tile_at(size, level, hashes // 256)

    assert (last.width if last else 0) == hashes % 256
    assert tile_at(size, level, hashes // 256 + 1) is None
