"""What a hospital's habits become: tidied and listed by place, or a fault, never a guess."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from adapters.sz.bill import ReceiptState
from adapters.sz.formats import FORMATS
from adapters.sz.ports import Reading
from adapters.sz.reading import Fields, Notes
from adapters.sz.spelling import OddNumber
from gateway.protocol.canonical import compact
from gateway.protocol.errors import Fault
from tests.hospital_bills import FORMAT, REMOVED, changed, sample, sample_object

HEADER = "/settlement_list/setlinfo"


def read(pointer: str, value: Any) -> Reading:
    return FORMATS[FORMAT].read(compact(changed(pointer, value)))


def a_field(value: Any) -> tuple[Fields, Notes]:
    notes = Notes()
    return Fields({"x": value}, "/at", notes), notes


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("\N{FULLWIDTH LATIN CAPITAL LETTER H}00000001", "H00000001"),
        ("H00000001  ", "H00000001"),
        ("H0000000\N{FULLWIDTH DIGIT ONE}", "H00000001"),
        ("\N{IDEOGRAPHIC SPACE}H00000001", "H00000001"),
    ],
)
def test_codes_lose_blanks_and_full_width_characters_and_the_place_is_listed(written: str, meant: str) -> None:
    reading = read(f"{HEADER}/certno", written)

    assert reading.bill.patient.certificate_no == meant
    assert f"{HEADER}/certno" in reading.normalised
    assert reading.faults == ()


def test_names_keep_their_full_width_characters_and_lose_the_blanks_around_them() -> None:
    reading = read(f"{HEADER}/psn_name", " 测试\N{FULLWIDTH LATIN CAPITAL LETTER A}甲 ")

    assert reading.bill.patient.name == "测试\N{FULLWIDTH LATIN CAPITAL LETTER A}甲"


@pytest.mark.parametrize("marker", ["-", "无", "", "  ", " - ", None])
def test_empty_markers_are_no_values(marker: str | None) -> None:
    optional = read(f"{HEADER}/medcasno", marker)
    required = read(f"{HEADER}/psn_name", marker)

    assert optional.bill.visit.record_no is None
    assert optional.faults == ()
    assert required.faults == (Fault("field.missing", f"{HEADER}/psn_name"),)


def test_the_placeholder_date_is_no_date_and_is_listed() -> None:
    reading = read(f"{HEADER}/setl_end_date", "1900-01-01")

    assert reading.bill.visit.last_day is None
    assert f"{HEADER}/setl_end_date" in reading.normalised


def test_a_receipt_is_red_flushed_by_its_mark_or_by_its_date() -> None:
    for pointer, value in (("flushedRed", "1"), ("flushedRed", True), ("redInvoiceDate", "20260301")):
        assert read(f"/receipts/0/{pointer}", value).bill.receipts[0].state is ReceiptState.RED_FLUSHED
    assert read("/receipts/0/flushedRed", False).bill.receipts[0].state is ReceiptState.LIVE
    assert read("/receipts/0/flushedRed", "9").faults == (Fault("field.not-a-choice", "/receipts/0/flushedRed"),)


@pytest.mark.parametrize(
    ("value", "decimals", "meant"),
    [
        ("12.50", 2, Decimal("12.50")),
        (12, 2, Decimal(12)),
        (Decimal("3.1275"), 4, Decimal("3.1275")),
        ("-0.50", 2, Decimal("-0.50")),
        ("0", 0, Decimal(0)),
        ("1\N{FULLWIDTH DIGIT TWO}.5", 2, Decimal("12.5")),
    ],
)
def test_numbers_are_read_lexically(value: Any, decimals: int, meant: Decimal) -> None:
    fields, notes = a_field(value)

    assert fields.number("x", decimals) == meant
    assert notes.faults == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("12.505", "field.number-precision"),
        (Decimal("1.001"), "field.number-precision"),
        (OddNumber(), "field.not-a-number"),
        ("1e2", "field.not-a-number"),
        ("1,200.00", "field.not-a-number"),
        ("+1", "field.not-a-number"),
        ("01", "field.not-a-number"),
        ("NaN", "field.not-a-number"),
        (True, "field.not-a-number"),
        ([1], "field.not-a-number"),
        (10**16, "field.number-precision"),
        ("", "field.missing"),
        (None, "field.missing"),
    ],
)
def test_what_is_no_plain_number_of_its_scale_is_a_fault(value: Any, code: str) -> None:
    fields, notes = a_field(value)

    assert fields.number("x", 2) == 0
    assert notes.faults == [Fault(code, "/at/x")]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("2026-03-01", date(2026, 3, 1)),
        ("20260301", date(2026, 3, 1)),
        ("2026-03-01 08:30:00", date(2026, 3, 1)),
    ],
)
def test_dates_are_read_in_the_forms_hospitals_write(value: str, meant: date) -> None:
    fields, notes = a_field(value)

    assert fields.day("x") == meant
    assert notes.faults == []


@pytest.mark.parametrize(
    "value", ["2026-02-30", "2026-13-01", "26-03-01", "0001-01-01", "03/01/2026", "1899-12-31", "2200-01-01", "soon"]
)
def test_dates_that_do_not_exist_are_faults(value: str) -> None:
    fields, notes = a_field(value)

    assert fields.day("x") is None
    assert fields.moment("x") is None
    assert {fault.code for fault in notes.faults} == {"field.date-malformed"}


def test_moments_are_hong_kong_time() -> None:
    fields, _ = a_field("2026-03-01 08:30:00")

    moment = fields.moment("x")

    assert moment is not None
    assert moment.isoformat() == "2026-03-01T08:30:00+08:00"


@pytest.mark.parametrize("text", ["a\x00b", "a\u202eb", "a\ufffdb", "a\u200bb", "a\nb"])
def test_hidden_and_replaced_characters_are_refused(text: str) -> None:
    fields, notes = a_field(text)

    assert fields.maybe_text("x") is None
    assert notes.faults == [Fault("field.unreadable-character", "/at/x")]


def test_a_text_is_a_text_and_no_longer_than_its_field() -> None:
    for value, code in ((7, "field.not-text"), ("a" * 41, "field.string-too-long")):
        fields, notes = a_field(value)
        assert fields.maybe_text("x", 40) is None
        assert notes.faults == [Fault(code, "/at/x")]


@pytest.mark.parametrize("value", ["true", 1, "是", None])
def test_a_consent_flag_is_true_only_by_json_true(value: Any) -> None:
    reading = read("/consent/separate_consents/cross_border", value)

    assert reading.bill.consent.separate_consents.cross_border is False
    assert [fault.pointer for fault in reading.faults] == ["/consent/separate_consents/cross_border"]


def test_an_unknown_field_is_told_by_the_object_it_is_in() -> None:
    for pointer, parent in (("/x", ""), (f"{HEADER}/x", HEADER), ("/fee_lines/3/x", "/fee_lines/3")):
        assert read(pointer, "secret").faults == (Fault("field.unknown", parent),)


def test_a_missing_group_is_one_fault() -> None:
    assert read("/consent", REMOVED).faults[0] == Fault("field.missing", "/consent")
    assert read("/settlement_list", REMOVED).faults[0] == Fault("field.missing", "/settlement_list")
    assert len(read("/settlement_list", REMOVED).faults) == 1


def test_personal_extras_and_doctors_are_left_out_by_name_and_never_by_value() -> None:
    reading = FORMATS[FORMAT].read(sample())

    assert {f"{HEADER}/{name}" for name in ("curr_addr", "emp_name", "coner_tel", "naty", "chfpdr_name")} <= set(
        reading.left_out
    )
    assert "/fee_lines/*/bilg_dr_name" in reading.left_out
    assert "合成地址" not in repr(reading)
    assert "合成医师" not in repr(reading)


def test_json_numbers_and_decimal_strings_give_the_same_bill() -> None:
    as_strings = compact(sample_object())
    as_numbers = as_strings.replace(b'"det_item_fee_sumamt":"300.00"', b'"det_item_fee_sumamt":300.00')

    assert as_numbers != as_strings
    assert FORMATS[FORMAT].read(as_numbers).bill == FORMATS[FORMAT].read(as_strings).bill
