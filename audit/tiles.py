"""Tiles and entry bundles of a log (C2SP tlog-tiles): their names, their bytes, writing them, reading them.

A hash tile holds up to 256 hashes of one level side by side; hash i of tile n at level l is the root of the leaves
[(256n+i)*256^l, (256n+i+1)*256^l). An entry bundle holds the entries under one level-0 tile, each as a big-endian
uint16 length and the bytes. A tile that is not full is *partial*, `.p/<width>`, and is never hashed upward.
Nothing here does I/O: a writer gets paths and bytes, a reader gives `fetch`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from audit.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    VerificationError,
    fold,
    leaf_hash,
    node_hash,
    split_point,
)

TILE_HASHES = 256
TILE_HEIGHT = 8
TILE_BYTES = TILE_HASHES * HASH_BYTES
LEVEL_MAX = 63
ENTRY_BYTES_MAX = 0xFFFF
BUNDLE_BYTES_MAX = TILE_HASHES * (2 + ENTRY_BYTES_MAX)
LEAF_TILES_KEPT_MAX = 1024

Fetch = Callable[[str], bytes]
"""path below the log's base -> bytes; raises `FileNotFoundError` exactly where the log answers 404."""

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile file: level 0 to 63, or None for an entry bundle; index; width 1 to 256 (256 = full)."""

    level: int | None
    index: int
    width: int = TILE_HASHES

    @property
    def path(self) -> str:
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{name}" + ("" if self.is_full else f".p/{self.width}")

    @property
    def is_full(self) -> bool:
        return self.width == TILE_HASHES

    @property
    def full(self) -> "Tile":
        return Tile(self.level, self.index)


def parse_path(path: str) -> Tile:
    """Read a tile's path; only the one spelling that tlog-tiles allows."""
    matched = _PATH.fullmatch(path)
    if matched is None:
        raise VerificationError("no tile has such a name")
    level, name, width = matched.groups()
    tile = Tile(
        None if level == "entries" else int(level),
        int(name.replace("x", "").replace("/", "")),
        TILE_HASHES if width is None else int(width),
    )
    if tile.path != path or not 0 < tile.width <= TILE_HASHES or (tile.level or 0) > LEVEL_MAX:
        raise VerificationError("no tile has such a name")
    return tile


def tile_at(size: int, level: int | None, index: int) -> Tile | None:
    """Return the tile as it stands in a tree of `size` leaves, None where the tree does not reach it."""
    width = min(TILE_HASHES, (size >> TILE_HEIGHT * (level or 0)) - index * TILE_HASHES)
    return Tile(level, index, width) if width > 0 else None


def level_count(size: int) -> int:
    """Return how many tile levels a tree of `size` leaves has (0 for the empty tree)."""
    return -(-size.bit_length() // TILE_HEIGHT)


def tiles_of(size: int) -> Iterator[Tile]:
    """List every hash tile a log of `size` must serve, level by level."""
    for level in range(level_count(size)):
        yield from _row(size >> TILE_HEIGHT * level, level)


def bundles_of(size: int) -> Iterator[Tile]:
    """List every entry bundle a log of `size` must serve."""
    return _row(size, None)


def _row(hashes: int, level: int | None) -> Iterator[Tile]:
    for index in range(hashes // TILE_HASHES):
        yield Tile(level, index)
    if hashes % TILE_HASHES:
        yield Tile(level, hashes // TILE_HASHES, hashes % TILE_HASHES)


def pack_entry(entry: bytes) -> bytes:
    """Write one entry as it stands in a bundle; an entry has at most 65,535 bytes."""
    if len(entry) > ENTRY_BYTES_MAX:
        raise VerificationError("an entry has at most 65,535 bytes")
    return len(entry).to_bytes(2) + entry


def read_bundle(raw: bytes, width: int) -> list[bytes]:
    """Read the `width` entries of a bundle; nothing may be left over."""
    entries, at = list[bytes](), 0
    while at < len(raw):
        start = at + 2
        at = start + int.from_bytes(raw[at:start])
        if start > len(raw) or at > len(raw):
            raise VerificationError("the bundle ends inside an entry")
        entries.append(raw[start:at])
    if len(entries) != width:
        raise VerificationError("the bundle has another number of entries than its name says")
    return entries


def split_hashes(raw: bytes) -> list[bytes]:
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]


@dataclass(frozen=True, slots=True)
class RightEdge:
    """What a writer must know of a tree to go on: the unfinished tile of each level and the unfinished bundle.

    `append` gives the next edge and the files to write for it, full tiles and the partials of the new size. The
    bytes at a path depend on the entries alone, never on how they were cut into batches.
    """

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()
    bundle: bytes = b""

    @classmethod
    def load(cls, reader: "TileReader") -> "RightEdge":
        """Read the edge back from the files that a log serves, tiles and bundle."""
        tail = reader.entries(reader.size // TILE_HASHES)
        return cls(reader.size, reader.edge(), b"".join(pack_entry(entry) for entry in tail))

    def append(self, entries: Sequence[bytes]) -> "tuple[RightEdge, dict[str, bytes]]":
        """Add entries in order; returns the new edge and path -> bytes of every file that is new at its size."""
        levels, bundle, size = [list(level) for level in self.levels], bytearray(self.bundle), self.size
        files: dict[str, bytes] = {}
        for entry in entries:
            bundle += pack_entry(entry)
            _push(levels, 0, leaf_hash(entry))
            size += 1
            if size % TILE_HASHES == 0:
                files[Tile(None, size // TILE_HASHES - 1).path] = bytes(bundle)
                bundle.clear()
                _carry(levels, size, files)
        for level, hashes in enumerate(levels):
            height = TILE_HEIGHT * level
            if hashes and size >> height != self.size >> height:
                files[Tile(level, size >> height + TILE_HEIGHT, len(hashes)).path] = b"".join(hashes)
        if entries and bundle:
            files[Tile(None, size // TILE_HASHES, size % TILE_HASHES).path] = bytes(bundle)
        return RightEdge(size, tuple(tuple(level) for level in levels), bytes(bundle)), files

    def root(self) -> bytes:
        """Compute the root of the whole tree: perfect subtrees joined from the right, level 0 first."""
        root: bytes | None = None
        for hashes in self.levels:
            for chunk in reversed(list(_perfect_chunks(hashes))):
                root = fold(chunk) if root is None else node_hash(fold(chunk), root)
        return EMPTY_ROOT if root is None else root


def _push(levels: list[list[bytes]], level: int, item: bytes) -> None:
    if level == len(levels):
        levels.append([])
    levels[level].append(item)


def _carry(levels: list[list[bytes]], size: int, files: dict[str, bytes]) -> None:
    level = 0
    while len(levels[level]) == TILE_HASHES:
        full, levels[level] = levels[level], []
        level += 1
        files[Tile(level - 1, (size >> TILE_HEIGHT * level) - 1).path] = b"".join(full)
        _push(levels, level, fold(full))


def _perfect_chunks(hashes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    at = 0
    while at < len(hashes):
        width = 1 << ((len(hashes) - at).bit_length() - 1)
        yield hashes[at : at + width]
        at += width


class TileReader:
    """Reads one tree of `size` leaves through `fetch`; checks lengths, not hashes: proofs are checked by their root.

    Where a log no longer serves a partial tile, the full one stands in and is cut. Tiles
    above the leaves are read once and kept, so that what was judged is what is used; leaf tiles only lately read.
    """

    def __init__(self, size: int, fetch: Fetch) -> None:
        self.size = size
        self._fetch = fetch
        self._leaf_tiles: dict[Tile, list[bytes]] = {}
        self._upper_tiles: dict[Tile, list[bytes]] = {}
        self._stand_ins: dict[Tile, Tile] = {}

    def path(self, level: int | None, index: int) -> str:
        """Return the name of the file that was read, or is to be read, for this tile or bundle."""
        tile = tile_at(self.size, level, index) or Tile(level, index)
        return self._stand_ins.get(tile, tile).path

    def edge(self) -> tuple[tuple[bytes, ...], ...]:
        """Return the hashes of the unfinished tile of each level."""
        shifts = (TILE_HEIGHT * (level + 1) for level in range(level_count(self.size)))
        return tuple(tuple(self.hashes(level, self.size >> shift)) for level, shift in enumerate(shifts))

    def hashes(self, level: int, index: int) -> list[bytes]:
        """Return the hashes of a tile as far as this tree reaches, an empty list beyond it."""
        tile = tile_at(self.size, level, index)
        if tile is None:
            return []
        kept = self._leaf_tiles if level == 0 else self._upper_tiles
        if tile not in kept:
            raw, served = self._raw(tile)
            if len(raw) != served.width * HASH_BYTES:
                raise VerificationError("the tile has another length than its name says", path=served.path)
            if len(kept) >= LEAF_TILES_KEPT_MAX and level == 0:
                kept.pop(next(iter(kept)))
            kept[tile] = split_hashes(raw)[: tile.width]
        return kept[tile]

    def entries(self, index: int) -> list[bytes]:
        """Return the entries of bundle `index` as far as this tree reaches, an empty list beyond it."""
        tile = tile_at(self.size, None, index)
        if tile is None:
            return []
        raw, served = self._raw(tile)
        try:
            return read_bundle(raw, served.width)[: tile.width]
        except VerificationError as error:
            raise error.located(served.path) from None

    def entry(self, index: int) -> bytes:
        if not 0 <= index < self.size:
            raise VerificationError("the index is outside the tree")
        return self.entries(index // TILE_HASHES)[index % TILE_HASHES]

    def hash_range(self, start: int, end: int) -> bytes:
        """Return the root over the leaves [start, end); the `HashRange` that proofs are made from."""
        count = end - start
        if count & (count - 1) or start % count:
            middle = start + split_point(count)
            return node_hash(self.hash_range(start, middle), self.hash_range(middle, end))
        level, height = divmod(count.bit_length() - 1, TILE_HEIGHT)
        index, at = divmod(start >> TILE_HEIGHT * level, TILE_HASHES)
        return fold(self.hashes(level, index)[at : at + (1 << height)])

    def _raw(self, tile: Tile) -> tuple[bytes, Tile]:
        for candidate in _candidates(tile):
            try:
                raw = self._fetch(candidate.path)
            except FileNotFoundError:
                continue
            if candidate != tile:
                self._stand_ins[tile] = candidate
            return raw, candidate
        raise VerificationError("the log does not serve this file", path=tile.path)


def _candidates(tile: Tile) -> Iterable[Tile]:
    return (tile,) if tile.is_full else (tile, tile.full)
