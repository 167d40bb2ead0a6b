"""A ZIP of CSV tables, opened within bounds: known names once, stored or deflated, sizes counted while inflating.

A table is UTF-8 (perhaps with a mark) or GB18030, which is what Windows programs in the mainland write; its first row
names the columns. The names of entries without the UTF-8 flag are GB18030 too (APPNOTE.TXT 4.4.4, bit 11).
"""

import csv
import io
import struct
import zipfile
import zlib
from codecs import BOM_UTF8

from adapters.sz.formats.csv_tables.names import LISTS, TABLES, YES_OR_NO
from adapters.sz.reading import Notes
from gateway.protocol.errors import MalformedInputError

ENTRIES_MAX = 20
INFLATED_BYTES_MAX = 8 << 20
CELL_CHARACTERS_MAX = 4_000
ROWS_MAX = 5_000
_PIECE = 64 * 1024
_UTF8_NAME, _ENCRYPTED = 0x800, 0x1
_WORDS = {"是": True, "否": False}

Row = dict[str, object]


def open_tables(raw: bytes, notes: Notes) -> dict[str, list[Row]]:
    """Return each table's rows by their columns; `MalformedInputError` for what is no such bundle at all."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as bundle:
            return {name: _rows(name, text, notes) for name, text in _texts(bundle).items()}
    except (zipfile.BadZipFile, zlib.error, csv.Error, EOFError, OSError, struct.error, UnicodeError, ValueError):
        raise MalformedInputError("csv.malformed") from None
    except (NotImplementedError, RuntimeError):  # another compression, or a password
        raise MalformedInputError("csv.malformed") from None


def _texts(bundle: zipfile.ZipFile) -> dict[str, str]:
    entries = bundle.infolist()
    if len(entries) > ENTRIES_MAX:
        raise MalformedInputError("csv.malformed")
    left = INFLATED_BYTES_MAX
    texts: dict[str, str] = {}
    for entry in entries:
        name = _name(entry)
        kept = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not entry.flag_bits & _ENCRYPTED
        if name in texts or not kept or name not in TABLES:
            raise MalformedInputError("csv.malformed")
        inflated = bytearray()
        with bundle.open(entry) as stream:
            while piece := stream.read(_PIECE):
                inflated += piece
                if len(inflated) > left:
                    raise MalformedInputError("csv.malformed")
        left -= len(inflated)
        texts[name] = _decoded(bytes(inflated))
    return texts


def _name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name; `zipfile` reads one without the UTF-8 flag as code page 437, byte by byte."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.filename
    return entry.filename.encode("cp437").decode("gb18030")


def _decoded(raw: bytes) -> str:
    try:
        return raw.removeprefix(BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("gb18030")


def _rows(name: str, text: str, notes: Notes) -> list[Row]:
    """Read a table; a row longer or shorter than its heading is a fault of that row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    heading = [column.strip() for column in next(reader, [])]
    if not heading or len(set(heading)) != len(heading):
        raise MalformedInputError("csv.malformed")
    rows: list[Row] = []
    for cells in reader:
        if not any(cells):
            continue
        if len(rows) == ROWS_MAX or any(len(cell) > CELL_CHARACTERS_MAX for cell in cells):
            raise MalformedInputError("csv.malformed")
        if len(cells) != len(heading):
            notes.broke("csv.row-length", f"/{name}/{len(rows)}", minItems=len(heading), maxItems=len(heading))
        rows.append({column: _value(column, cell) for column, cell in zip(heading, cells, strict=False)})
    return rows


def _value(column: str, cell: str) -> object:
    """Return a cell's text; 是 and 否 of a consent as what they say, and lists as lists. Nothing else is read here."""
    if column in YES_OR_NO:
        return _WORDS.get(cell.strip(), cell or None)
    if column in LISTS:
        return [word for part in cell.replace("；", ";").split(";") if (word := part.strip())]
    return cell or None
