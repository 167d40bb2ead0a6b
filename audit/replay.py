"""Re-hashes a whole log against a signed root and names every file that does not fit.

From the root downwards: the unfinished tiles must join to the root, each full tile must fold to its hash in the
tile above, each bundle's entries must hash to their level-0 tile. So a file is blamed only by one that is itself
proved. Faults are collected, not raised; entries come out only where they are proved.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from audit.merkle import HASH_BYTES, VerificationError, fold, leaf_hash
from audit.tiles import (
    TILE_HASHES,
    TILE_HEIGHT,
    Fetch,
    RightEdge,
    Tile,
    TileReader,
    level_count,
    parse_path,
    read_bundle,
    split_hashes,
    tile_at,
)

T = TypeVar("T")


class Replay:
    """One walk over the tree of `reader`, whose root must be `root`.

    Run `entries` to its end, then, for a folder, `check_surplus`. `faults` grows meanwhile; `unjudged` names files
    that this checkpoint says nothing about.
    """

    def __init__(self, reader: TileReader, root: bytes) -> None:
        self._reader = reader
        self._root = root
        self._edge_proved = False
        self._distrusted: set[tuple[int | None, int]] = set()
        self.faults: list[VerificationError] = []
        self.unjudged: list[str] = []
        self.files_judged = 0

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of every entry that the root proves, in log order."""
        self._edge_proved = self._judge_edge()
        if not self._edge_proved:
            return
        size = self._reader.size
        for level in range(level_count(size) - 2, 0, -1):
            for index in range(size >> TILE_HEIGHT * (level + 1)):
                self._check_full_tile(level, index)
        for index in range(-(-size // TILE_HASHES)):
            proved = self._proved_bundle(index)
            yield from enumerate(proved or (), start=index * TILE_HASHES)

    def check_surplus(self, paths: Iterable[str], fetch: Fetch) -> None:
        """Judge files that a folder holds beyond those that this size needs, such as partial tiles of older sizes.

        Where not even the unfinished tiles are proved there is nothing to judge them by.
        """
        if not self._edge_proved:
            return
        for path in paths:
            if path == "checkpoint":
                continue
            try:
                tile = parse_path(path)
            except VerificationError:
                self.unjudged.append(path)
                continue
            reached = tile_at(self._reader.size, tile.level, tile.index)
            if reached is None or tile.width > reached.width:
                self.unjudged.append(path)
            if reached and reached != tile and (tile.level, tile.index) not in self._distrusted:
                self._check_surplus_tile(tile, fetch)

    def _judge_edge(self) -> bool:
        stored = self._read(self._reader.edge)
        if stored is None:
            return False
        if RightEdge(self._reader.size, tuple(stored)).root() == self._root:
            self.files_judged += sum(1 for hashes in stored if hashes)
            return True
        self._blame_edge(stored)
        return False

    def _blame_edge(self, stored: Sequence[Sequence[bytes]]) -> None:
        """Find which unfinished tile does not fit what lies below it; else the checkpoint fits no tile."""
        size, rebuilt = self._reader.size, list[tuple[bytes, ...]]()
        for level, hashes in enumerate(stored):
            index = size >> TILE_HEIGHT * (level + 1)
            below = self._read(lambda: self._hashes_below(level, index, len(hashes)))  # noqa: B023 called at once
            rebuilt.append(tuple(hashes if below is None else below))
            if rebuilt[-1] != tuple(hashes):
                self._fault("its hashes are not those of what lies below it", level, index)
        if RightEdge(size, tuple(rebuilt)).root() != self._root:
            self.faults.append(VerificationError("it signs another root than its tiles have", path="checkpoint"))

    def _hashes_below(self, level: int, index: int, width: int) -> list[bytes]:
        if level == 0:
            return [leaf_hash(entry) for entry in self._reader.entries(index)]
        first = index * TILE_HASHES
        return [fold(self._reader.hashes(level - 1, first + at)) for at in range(width)]

    def _check_full_tile(self, level: int, index: int) -> None:
        expected = self._hash_above(level, index)
        hashes = self._read(lambda: self._reader.hashes(level, index))
        if hashes is None:
            self._distrusted.add((level, index))
        elif expected is None or fold(hashes) != expected:
            self._distrusted.add((level, index))
            if expected is not None:
                self._fault("it does not hash to what the tile above says", level, index)
        self.files_judged += 1

    def _proved_bundle(self, index: int) -> list[bytes] | None:
        """Return the bundle's entries if the tree proves them; blame the bundle, or the tile above it, or both."""
        hashes = self._read(lambda: self._reader.hashes(0, index))
        entries = self._read(lambda: self._reader.entries(index))
        leaves = None if entries is None else [leaf_hash(entry) for entry in entries]
        self.files_judged += 1
        if index < self._reader.size // TILE_HASHES:
            self.files_judged += 1
            expected = self._hash_above(0, index)
            tile_is_proved = expected is not None and hashes is not None and fold(hashes) == expected
            bundle_is_proved = expected is not None and leaves is not None and fold(leaves) == expected
            if expected is not None and hashes is not None and not tile_is_proved:
                self._fault("it does not hash to what the tile above says", 0, index)
        else:
            expected, tile_is_proved, bundle_is_proved = b"", hashes is not None, leaves == hashes
        if not tile_is_proved:
            self._distrusted.add((0, index))
        if bundle_is_proved:
            return entries
        self._distrusted.add((None, index))
        if expected is not None and leaves is not None:
            at = _first_difference(leaves, hashes) if tile_is_proved and hashes else None
            entry = None if at is None else index * TILE_HASHES + at
            self._fault("it does not hash to its leaf in the tree", None, index, entry)
        return None

    def _hash_above(self, level: int, index: int) -> bytes | None:
        above = (level + 1, index // TILE_HASHES)
        if above in self._distrusted:
            return None
        return self._reader.hashes(*above)[index % TILE_HASHES]

    def _check_surplus_tile(self, tile: Tile, fetch: Fetch) -> None:
        try:
            raw = fetch(tile.path)
        except FileNotFoundError:
            return  # tidied away since the folder was listed
        self.files_judged += 1
        try:
            held, proved = _parts(raw, tile), self._parts_proved(tile)
        except VerificationError as error:
            self.faults.append(error.located(tile.path))
            return
        at = _first_difference(held, proved)
        if at is not None:
            entry = tile.index * TILE_HASHES + at if tile.level is None else None
            self.faults.append(VerificationError("it differs from the proved tree", path=tile.path, index=entry))

    def _parts_proved(self, tile: Tile) -> list[bytes]:
        if tile.level is None:
            return self._reader.entries(tile.index)
        return self._reader.hashes(tile.level, tile.index)

    def _read(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except VerificationError as error:
            self.faults.append(error)
            return None

    def _fault(self, reason: str, level: int | None, index: int, entry: int | None = None) -> None:
        path = self._reader.path(level, index)
        self.faults.append(VerificationError(reason, path=path, index=entry))


def _parts(raw: bytes, tile: Tile) -> list[bytes]:
    if tile.level is None:
        return read_bundle(raw, tile.width)
    if len(raw) != tile.width * HASH_BYTES:
        raise VerificationError("the tile has another length than its name says")
    return split_hashes(raw)


def _first_difference(left: Sequence[bytes], right: Sequence[bytes]) -> int | None:
    """Return the first place where two lists differ as far as both reach."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), None)
