"""A search for strings that must not be in a file, however they are written there.

Found are: the bytes in clear (UTF-8, UTF-16, JSON's `\\u` escapes), base64 in both alphabets at all three alignments,
hex, and any of these inside gzip and zlib streams and inside base64 of such. SQLite files are searched as bytes (free
pages and write-ahead log included) and also value by value, since a value may be cut in two by a page's end.
"""

import base64
import contextlib
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.protocol.canonical import compact

DEPTH_MAX = 3
INFLATED_MAX = 16 << 20
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24,}")
_HEX_RUN = re.compile(rb"(?:[0-9a-fA-F]{2}){12,}")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_SQLITE = b"SQLite format 3\x00"


def needles(canary: str) -> frozenset[bytes]:
    """Return every spelling of a canary that can be searched for without decoding."""
    raw = canary.encode()
    escaped = canary.encode("ascii", "backslashreplace")
    clear = (
        raw,
        escaped,
        escaped.upper().replace(rb"\U", rb"\u"),
        canary.encode("utf-16-le"),
        canary.encode("utf-16-be"),
    )
    spelled = {
        form for one in {raw, escaped} for form in (*_aligned(one), one.hex().encode(), one.hex().upper().encode())
    }
    return frozenset(spelled | set(clear))


def _aligned(raw: bytes) -> Iterator[bytes]:
    """Yield what base64 of anything that holds `raw` must hold, at each of three alignments."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw)
        sure = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield sure
        yield sure.translate(bytes.maketrans(b"+/", b"-_"))


class Search:
    """`holds` tells whether bytes hold any of the canaries."""

    def __init__(self, canaries: Iterable[str]) -> None:
        spelled = sorted(set().union(*(needles(canary) for canary in canaries)))
        self._needles = re.compile(b"|".join(re.escape(one) for one in spelled))

    def holds(self, raw: bytes, depth: int = 0) -> bool:
        if self._needles.search(raw):
            return True
        return depth < DEPTH_MAX and any(self.holds(inner, depth + 1) for inner in _decoded(raw))

    def in_file(self, path: Path) -> bool:
        """Tell whether a file holds a canary; a SQLite database is also read value by value."""
        raw = path.read_bytes()
        return self.holds(raw) or (raw.startswith(_SQLITE) and any(self.holds(value) for value in _values(path)))

    def files(self, root: Path, *, but: Iterable[Path] = ()) -> list[Path]:
        """List the files below `root`, outside of the folders `but`, that hold a canary."""
        spared = tuple(but)
        searched = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return [path for path in searched if not any(path.is_relative_to(one) for one in spared) and self.in_file(path)]


def _decoded(raw: bytes) -> Iterator[bytes]:
    for start in _PACKED.finditer(raw):
        yield from _inflated(raw[start.start() :])
    for run in _BASE64_RUN.finditer(raw):
        text = run.group().translate(bytes.maketrans(b"-_", b"+/"))
        for skipped in range(4):  # the run may begin with letters that belong to what stands before
            yield base64.b64decode(text[skipped : len(text) - (len(text) - skipped) % 4])
    for run in _HEX_RUN.finditer(raw):
        yield bytes.fromhex(run.group().decode())


def _inflated(packed: bytes) -> Iterator[bytes]:
    """Yield what a stream inflates to, as far as it does; most places that look like one are none."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    found = b""
    with contextlib.suppress(zlib.error):
        for at in range(0, len(packed), 4096):
            found += inflater.decompress(packed[at : at + 4096], INFLATED_MAX)
            if inflater.eof or len(found) > INFLATED_MAX:
                break
    if found:
        yield found


def _values(path: Path) -> Iterator[bytes]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 names from the file's own schema
                for value in row:
                    yield value if isinstance(value, bytes) else compact(value)
