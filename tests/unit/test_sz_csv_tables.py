"""A bill as a ZIP of CSV tables: how Windows programs write it, and what is not taken for one."""

import io
import zipfile
from collections.abc import Callable

import pytest

from adapters.sz.formats import FORMATS
from adapters.sz.formats.csv_tables import bundle, names
from gateway.protocol.errors import MalformedInputError

FORM = FORMATS["csv_tables"]
SAMPLE = FORM.sample()
Entries = dict[str, bytes]


def entries() -> Entries:
    with zipfile.ZipFile(io.BytesIO(SAMPLE)) as opened:
        return {entry.filename: opened.read(entry) for entry in opened.infolist()}


def packed(tables: Entries, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as opened:
        for name, raw in tables.items():
            opened.writestr(name, raw)
    return made.getvalue()


def with_table(name: str, raw: bytes) -> bytes:
    return packed(entries() | {name: raw})


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.encode("gb18030"),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\r\n", "\n").encode(),
        lambda text: (text + "\r\n,,\r\n").encode(),
    ],
    ids=["GB18030", "UTF-8 with a mark", "line ends of Unix", "empty rows at the end"],
)
def test_a_table_reads_the_same_however_a_program_writes_its_text(write: Callable[[str], bytes]) -> None:
    tables = {name: write(raw.decode()) for name, raw in entries().items()}

    reading = FORM.read(packed(tables))

    assert reading.faults == ()
    assert reading.bill == FORM.read(SAMPLE).bill


def test_names_that_windows_writes_without_the_utf_8_flag_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_windows_does(self: zipfile.ZipInfo) -> tuple[bytes, int]:
        return self.filename.encode("gb18030"), self.flag_bits

    monkeypatch.setattr(zipfile.ZipInfo, "_encodeFilenameFlags", as_windows_does)
    raw = packed(entries())
    monkeypatch.undo()

    assert names.LINES.encode("gb18030") in raw
    assert FORM.read(raw).bill == FORM.read(SAMPLE).bill


def test_a_cell_in_quotes_may_hold_commas() -> None:
    text = entries()[names.LINES].decode().replace("三人间床位费", '"床位费,三人间"')

    reading = FORM.read(with_table(names.LINES, text.encode()))

    assert reading.faults == ()
    assert reading.bill.lines[0].name == "床位费,三人间"


def test_tables_that_may_be_empty_may_be_left_out() -> None:
    tables = {name: raw for name, raw in entries().items() if name not in names.OPTIONAL}

    reading = FORM.read(packed(tables))

    assert reading.faults == ()
    assert (reading.bill.procedures, reading.bill.billing.paid, reading.bill.figures.categories) == ((), (), {})


def test_two_rows_where_a_bill_has_one_are_too_many() -> None:
    text = entries()[names.VISIT].decode()

    reading = FORM.read(with_table(names.VISIT, (text + text.splitlines()[1]).encode()))

    assert ("field.too-many", f"/{names.VISIT}") in {(fault.code, fault.pointer) for fault in reading.faults}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="another format"),
        pytest.param(SAMPLE[:-30], id="cut short"),
        pytest.param(with_table("说明.txt", b"x"), id="a file that is no table"),
        pytest.param(with_table("../明细.csv", b"x"), id="a path"),
        pytest.param(with_table(names.LINES, b""), id="a table without a heading"),
        pytest.param(with_table(names.LINES, "序号,序号\r\n1,2\r\n".encode()), id="a column twice"),
        pytest.param(with_table(names.LINES, b"\xff\xff\xff\r\n"), id="neither UTF-8 nor GB18030"),
        pytest.param(with_table(names.LINES, '序号\r\n"1'.encode()), id="a quotation mark that is not closed"),
        pytest.param(packed(entries(), zipfile.ZIP_BZIP2), id="another compression"),
        pytest.param(
            with_table(names.LINES, ("序号\r\n" + "1\r\n" * (bundle.ROWS_MAX + 1)).encode()), id="too many rows"
        ),
        pytest.param(with_table(names.LINES, b"x" * (bundle.INFLATED_BYTES_MAX + 1)), id="a bomb"),
    ],
)
def test_what_is_no_such_bundle_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(MalformedInputError) as refusal:
        FORM.read(raw)

    assert refusal.value.code == "csv.malformed"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_table_twice_is_refused_since_readers_disagree_which_one_counts() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, raw in (*entries().items(), (names.LINES, b"x")):
            opened.writestr(name, raw)

    with pytest.raises(MalformedInputError):
        FORM.read(made.getvalue())


def test_inflating_stops_at_the_limit_and_not_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "INFLATED_BYTES_MAX", 100)

    with pytest.raises(MalformedInputError):
        FORM.read(SAMPLE)
