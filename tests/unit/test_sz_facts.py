"""Facts inside an identifier against the same facts beside it, and devices of every issuer that can be read."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.canonical import compact
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.identifier_checks import HIBC_ALPHABET, hibc_check
from gateway.protocol.udi import UdiFacts, facts_of, parse_udi_gs1_scanned, parse_udi_hibc, parse_udi_ma, recognise
from tests.hospital_bills import changed, findings_of, sample_object

HEADER = "/settlement_list/setlinfo"
PROGRAMME = "/fee_lines/8/programme"
PERMIT = "810000190001010018"
"""Hong Kong residence permit of a man born on 1 January 1900."""


def told(bill: dict[str, Any]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return faults and warnings; the sample's two lines without a national code warn always."""
    findings = findings_of(compact(bill))
    faults, warnings = (
        {(one.code, one.pointer) for one in remarks} for remarks in (findings.faults, findings.warnings)
    )
    return faults, {warning for warning in warnings if warning[0] != "line.code-unmapped"}


def a_bill(places: dict[str, Any]) -> dict[str, Any]:
    bill = sample_object()
    for pointer, value in places.items():
        bill = changed(pointer, value, bill)
    return bill


def holder(number: str, born: str = "", sex: str = "1", kind: str = "04") -> dict[str, Any]:
    """Return a bill of who holds this number; born on the day inside it, or on the sample's where none is inside."""
    born = born or ("1900-01-01" if len(number) == 18 else "1900-03-15")
    return a_bill(
        {f"{HEADER}/certno": number, f"{HEADER}/brdy": born, f"{HEADER}/gend": sex, f"{HEADER}/patn_cert_type": kind}
    )


# Persons


def test_a_number_that_agrees_with_the_patient_is_told_nothing() -> None:
    assert told(holder(PERMIT)) == (set(), set())
    assert told(holder("810000190001010026", sex="2")) == (set(), set())
    assert told(holder("440300190001010007", sex="2", kind="01")) == (set(), set())


def test_a_birth_date_or_sex_beside_the_number_that_is_not_the_one_inside_is_a_fault() -> None:
    assert told(holder(PERMIT, born="1900-01-02")) == ({("certificate.birth-date-differs", f"{HEADER}/brdy")}, set())
    assert told(holder(PERMIT, sex="2")) == ({("certificate.sex-differs", f"{HEADER}/gend")}, set())


def test_the_placeholder_of_a_date_is_a_birth_date_only_where_the_number_says_the_same() -> None:
    assert told(holder(PERMIT, born="1900/01/01")) == (set(), set())
    assert told(holder("H00000001", born="1900-01-01")) == ({("field.missing", f"{HEADER}/brdy")}, set())


@pytest.mark.parametrize("sex", ["0", "9"])
def test_a_sex_that_is_not_stated_contradicts_no_number(sex: str) -> None:
    assert told(holder(PERMIT, sex=sex)) == (set(), set())


@pytest.mark.parametrize(
    ("number", "kind"),
    [("M00000001", "04"), ("H00000001", "05"), (PERMIT, "05"), ("440300190001010007", "04"), ("M0000000102", "04")],
)
def test_a_number_of_another_type_of_certificate_warns(number: str, kind: str) -> None:
    faults, warnings = told(holder(number, sex="0", kind=kind))

    assert faults == set()
    assert warnings == {("certificate.type-differs", f"{HEADER}/patn_cert_type")}


@pytest.mark.parametrize("number", ["A1234563", "QQ00000099", "12345"])
def test_a_number_with_the_form_of_no_document_of_its_type_warns(number: str) -> None:
    assert told(holder(number)) == (set(), {("certificate.form-unknown", f"{HEADER}/certno")})


def test_a_malformed_number_is_told_by_its_scheme_and_compared_with_nothing() -> None:
    assert told(holder("810000190001010019", born="1950-05-05")) == (
        {("identifier.cn_id_gb11643", f"{HEADER}/certno")},
        set(),
    )


# Devices


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        ("lot", "SYNLOT02", "programme.lot-differs"),
        ("expires_on", "2028-02-01", "programme.expiry-differs"),
        ("expires_on", "2027-01-31", "programme.expiry-differs"),
    ],
)
def test_a_lot_or_expiry_beside_the_device_that_is_not_the_one_inside_is_a_fault(
    place: str, value: str, code: str
) -> None:
    assert told(a_bill({f"{PROGRAMME}/{place}": value})) == ({(code, f"{PROGRAMME}/{place}")}, set())


@pytest.mark.parametrize(
    "udi",
    [
        "MA.156.M0.100005.40008100000302.LOTHER.E20280131",
        "MA.156.M0.100005.40008100000302.LOTHER.V280131",
        "0106901234567892" + "17280131",
        "+A99912345/$$3280131OTHER" + hibc_check("+A99912345/$$3280131OTHER").replace(" ", "_"),
    ],
)
def test_facts_are_compared_whoever_issued_the_identifier(udi: str) -> None:
    faults, _ = told(a_bill({f"{PROGRAMME}/udi": udi, f"{PROGRAMME}/expires_on": "2029-01-31"}))

    assert ("programme.expiry-differs", f"{PROGRAMME}/expires_on") in faults
    assert (("programme.lot-differs", f"{PROGRAMME}/lot") in faults) == ("OTHER" in udi)


@pytest.mark.parametrize("stated", ["2028-02-29", "2028-02-01"])
def test_an_expiry_by_month_is_any_day_of_that_month(stated: str) -> None:
    bill = a_bill({f"{PROGRAMME}/udi": "(01)06901234567892(17)280200", f"{PROGRAMME}/expires_on": stated})

    assert told(bill) == (set(), set())


def test_a_lot_in_other_letters_or_absent_is_the_same_lot() -> None:
    for lot in ("synlot01", None, "-"):
        assert told(a_bill({f"{PROGRAMME}/lot": lot})) == (set(), set())


@pytest.mark.parametrize("expires_on", ["2026-02-02", None])
def test_a_use_after_expiry_warns_since_it_may_have_happened(expires_on: str | None) -> None:
    bill = a_bill({f"{PROGRAMME}/udi": "(01)06901234567892(17)260202", f"{PROGRAMME}/expires_on": expires_on})

    assert told(bill) == (set(), {("programme.used-after-expiry", f"{PROGRAMME}/used_at")})


def test_an_expired_product_without_an_identifier_warns_too() -> None:
    bill = a_bill({f"{PROGRAMME}/udi": None, f"{PROGRAMME}/expires_on": "2026-02-02"})

    assert told(bill) == (set(), {("programme.used-after-expiry", f"{PROGRAMME}/used_at")})


def test_a_device_made_after_its_use_or_its_expiry_is_told() -> None:
    later = a_bill({f"{PROGRAMME}/udi": "(01)06901234567892(11)260204(17)280131(10)SYNLOT01"})
    never = a_bill({f"{PROGRAMME}/udi": "(01)06901234567892(11)280201(17)280131"})

    assert told(later) == (set(), {("programme.used-before-made", f"{PROGRAMME}/used_at")})
    assert ("programme.made-after-expiry", f"{PROGRAMME}/udi") in told(never)[0]


def test_one_device_by_its_serial_number_is_on_one_line() -> None:
    bill = sample_object()
    bill["fee_lines"][7]["programme"] = dict(bill["fee_lines"][8]["programme"], trace_code="SYN-TRACE-000002")

    assert ("programme.device-twice", f"{PROGRAMME}/udi") in told(bill)[0]


@pytest.mark.parametrize("udi", ["81000000000000000001", "HELLO", "%", "(1)"])
def test_an_identifier_that_cannot_be_checked_never_passes_in_silence(udi: str) -> None:
    faults, warnings = told(a_bill({f"{PROGRAMME}/udi": udi}))

    assert {code for code, _ in faults | warnings} & {"programme.udi-unchecked", "identifier.udi_gs1"}


# Items and receipts


@pytest.mark.parametrize(("line", "category"), [(0, "08"), (0, "09"), (7, "09"), (9, "08"), (9, "01")])
def test_an_item_code_and_a_category_of_two_kinds_warn(line: int, category: str) -> None:
    bill = a_bill({f"/fee_lines/{line}/med_chrgitm_type": category})
    del bill["settlement_list"]["iteminfo"]

    assert told(bill) == (set(), {("line.category-differs", f"/fee_lines/{line}/med_chrgitm_type")})


def test_the_year_and_region_inside_a_receipts_code_warn_when_they_differ() -> None:
    code = {f"{HEADER}/bill_code": "31060125", "/receipts/0/billCode": "31060125"}

    assert told(a_bill(code)) == (
        set(),
        {("receipt.year-differs", "/receipts/0/billCode"), ("receipt.region-differs", "/receipts/0/billCode")},
    )


# The identifiers themselves


def test_the_facts_of_each_issuer_are_read() -> None:
    gs1 = facts_of("(01)06901234567892(11)260101(17)280131(10)A1(21)S1")
    ma = facts_of("MA.156.M0.100005.40008.M20260101.SS1.LA1.E280131")
    hibc = facts_of("+A99912345/$$0128A1" + hibc_check("+A99912345/$$0128A1"))
    serial = facts_of("+A99912345/$$+3280131S1" + hibc_check("+A99912345/$$+3280131S1"))

    assert gs1 == ma == UdiFacts("A1", "S1", date(2026, 1, 1), date(2028, 1, 31))
    assert hibc == UdiFacts("A1", None, None, date(2028, 1, 31), month_only=True)
    assert serial == UdiFacts(None, "S1", None, date(2028, 1, 31))


def test_a_scanned_gs1_text_gets_its_brackets_where_nothing_is_guessed() -> None:
    assert parse_udi_gs1_scanned("]d2010690123456789217280131") == "(01)06901234567892(17)280131"
    assert parse_udi_gs1_scanned("06901234567892") == "(01)06901234567892"
    assert parse_udi_gs1_scanned("010690123456789210A21B") == "010690123456789210A21B"


@given(st.sampled_from("ABZ"), st.text(HIBC_ALPHABET[:36], min_size=4, max_size=12))
def test_every_one_character_error_in_a_hibc_identifier_is_caught(first: str, rest: str) -> None:
    body = f"+{first}{rest}1"
    whole = body + hibc_check(body).replace(" ", "_")

    assert parse_udi_hibc(whole) == parse_udi_hibc(whole.lower()) == whole
    for place in range(5, len(body)):
        for other in "0123456789":
            if other != whole[place]:
                with pytest.raises(MalformedInputError):
                    parse_udi_hibc(whole[:place] + other + whole[place + 1 :])


def test_a_blank_check_character_is_printed_as_a_line() -> None:
    body = next(body for body in (f"+A999{number}1" for number in range(100, 999)) if hibc_check(body) == " ")

    assert parse_udi_hibc(f"{body}_") == f"{body}_"
    with pytest.raises(MalformedInputError):
        parse_udi_hibc(body)


@pytest.mark.parametrize("text", ["MA.156", "MA.156.M0.1.2.E280231", "MA.156.M0.1.2.M20261301", "MA.156.M0..2"])
def test_a_malformed_ma_identifier_is_refused(text: str) -> None:
    with pytest.raises(MalformedInputError):
        parse_udi_ma(text)


@given(st.text(max_size=30) | st.from_regex(r"\A(\(01\)|01|\+A|MA\.)[0-9A-Z.()/$+]{0,30}\Z"))
def test_facts_of_whatever_an_issuers_scheme_accepts_can_be_read(text: str) -> None:
    parse = recognise(text)
    try:
        normal = None if parse is None else parse(text)
    except MalformedInputError:
        return

    assert normal is None or isinstance(facts_of(normal), UdiFacts)
