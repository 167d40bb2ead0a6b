"""One value, many spellings: none of them changes what a bill says, what its dossier holds or what its tokens are."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sz.formats import FORMATS
from adapters.sz.ports import Reading
from adapters.sz.spelling import earlier_fold, fold_code, read_date, read_moment
from gateway.protocol.canonical import compact
from gateway.protocol.errors import Fault
from tests.crossings import crossing, dossier_of
from tests.hospital_bills import FORMAT, changed, findings_of, sample, sample_object

HEADER = "/settlement_list/setlinfo"
PROGRAMME = "/fee_lines/8/programme"

MONEY = (
    "/fee_lines/0/det_item_fee_sumamt",
    "/receipts/0/amount",
    "/receipts/0/personalCashPayment",
    "/receipts/0/otherPayment",
    "/billing/total",
    "/billing/unpaid",
    "/billing/asked",
    "/billing/paid/0/amount",
    "/settlement_list/iteminfo/0/amt",
    f"{HEADER}/psn_selfpay",
    f"{HEADER}/psn_ownpay",
    f"{HEADER}/acct_pay",
    f"{HEADER}/psn_cashpay",
)
OTHER_NUMBERS = {
    "/fee_lines/0/cnt": 4,
    "/fee_lines/10/pric": 6,
    "/billing/payer_rank": 0,
    "/billing/paid/0/order": 0,
    "/consent/version": 0,
}
"""With the decimals that each keeps."""

IDENTIFIERS = {
    "/coverage/hkid": ("QQ0000009", ("QQ000000(9)", "qq000000(9)", "QQ000000[9]", "QQ000000【9】", "QQ 000000 (9)")),
    f"{HEADER}/fixmedins_code": ("H44030599999", ("h44030599999", "H 440305 99999")),
    f"{HEADER}/certno": ("H00000001", ("h00000001", "H 0000 0001")),
    f"{HEADER}/bill_no": ("0000000101", ("000 000 0101",)),
    "/settlement_list/diseinfo/0/diag_code": ("I49.500", ("i49.500", "I49。500")),
    "/settlement_list/diseinfo/1/diag_code": ("I10.x00x002", ("I10.X00X002", "i10.X00x002")),
    "/settlement_list/oprninfo/0/oprn_oprt_code": ("37.8301", ("37。8301", " 37.8301")),
    "/fee_lines/0/med_list_codg": (
        "001109000010100-110900001",
        ("001109000010100\u2013110900001", "001109000010100 -110900001"),
    ),
    "/fee_lines/7/med_list_codg": ("C0202051000100000001", ("c0202051000100000001",)),
    "/fee_lines/9/med_list_codg": ("XJ01DBT029B001010199901", ("xj01dbt029b001010199901",)),
    "/receipts/0/billCode": ("44060126", ("4406 0126",)),
    "/receipts/0/billNumber": ("0000000101", ("000 000 0101",)),
    "/receipts/0/checkCode": ("a1b2c3", ("a1b 2c3",)),
    "/billing/currency": ("CNY", ("cny",)),
    f"{PROGRAMME}/udi": (
        "(01)06901234567892(17)280131(10)SYNLOT01(21)SYN0001",
        (
            "(01) 06901234567892 (17) 280131 (10) SYNLOT01 (21) SYN0001",
            "[01]06901234567892[17]280131[10]SYNLOT01[21]SYN0001",
        ),
    ),
    f"{PROGRAMME}/indication_code": ("I49.500", ("i49.500",)),
    f"{PROGRAMME}/consent_hash": (
        "725da075f038708f97d5de1f2c9ef531fc54954a61c1b20b490eeeb6fe092cdc",
        ("725DA075F038708F97D5DE1F2C9EF531FC54954A61C1B20B490EEEB6FE092CDC",),
    ),
}
"""Each identifier of the sample bill: its normal form, and spellings of it in plain characters."""

OTHER_CODES = {
    "/billing/claim_number": "SYN-(2026)+A|1",
    "/coverage/policy_number": "SYN-POL+(1)|A",
    f"{HEADER}/medcasno": "MR(1)+2|3/4:5",
    "/fee_lines/0/feedetl_sn": "S(1)+2|3",
    f"{PROGRAMME}/lot": "SYNLOT01",
    f"{PROGRAMME}/trace_code": "T(1)+2|3",
    f"{PROGRAMME}/approval_no": "SYN(1)",
}
"""Codes of nobody's scheme: they lose widths and outer blanks, and nothing else."""

WIDE = str.maketrans({chr(number): chr(number + 0xFEE0) for number in range(0x21, 0x7F)} | {" ": "\u3000"})
SPACES = "\u0020\u00a0\u2003\u2009\u202f\u3000"


def read(pointer: str, value: Any) -> Reading:
    return FORMATS[FORMAT].read(compact(changed(pointer, value)))


def value_at(pointer: str) -> Any:
    place: Any = sample_object()
    for step in pointer.removeprefix("/").split("/"):
        place = place[int(step)] if isinstance(place, list) else place[step]
    return place


# Numbers


@pytest.mark.parametrize("pointer", [*MONEY, *OTHER_NUMBERS])
@given(zeros=st.integers(0, 20), as_text=st.booleans())
@settings(max_examples=10, deadline=None)
def test_zeros_at_the_end_of_a_fraction_change_no_number_of_a_bill(pointer: str, zeros: int, as_text: bool) -> None:
    plain = Decimal(str(value_at(pointer)))
    text = f"{plain:f}" if "." in f"{plain:f}" else f"{plain:f}.0"
    spelling = f"{text}{'0' * zeros}"
    mark = '"@"'
    raw = compact(changed(pointer, "@")).decode()

    reading = FORMATS[FORMAT].read(raw.replace(mark, f'"{spelling}"' if as_text else spelling).encode())

    assert reading.faults == ()
    assert reading.bill == FORMATS[FORMAT].read(sample()).bill


@pytest.mark.parametrize(("pointer", "decimals"), [*((pointer, 2) for pointer in MONEY), *OTHER_NUMBERS.items()])
def test_a_digit_that_the_field_does_not_keep_is_a_fault_with_its_bounds(pointer: str, decimals: int) -> None:
    [fault] = read(pointer, f"1.{'0' * decimals}1").faults

    assert fault == Fault("field.number-precision", pointer)
    assert fault.facts == {"digits": 16, "decimals": decimals}


@pytest.mark.parametrize("number", ["1e3", "1E3", "1.5e1", "3e-1", "1e400", "9" * 21, "0." + "1" * 70])
def test_an_exponent_or_an_endless_number_names_its_place_and_the_rest_is_still_read(number: str) -> None:
    bill = compact(changed("/billing/asked", "@", changed("/coverage/hkid", "QQ0000001"))).decode()

    faults = findings_of(bill.replace('"@"', number).encode()).faults

    assert {(fault.code, fault.pointer) for fault in faults} == {
        ("field.not-a-number", "/billing/asked"),
        ("identifier.hkid", "/coverage/hkid"),
    }


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (".50", "0.50"),
        ("-.5", "-0.5"),
        ("5.", "5"),
        ("0.00", "0"),
        ("-0.00", "0"),
        ("300.0000".translate(WIDE), "300.00"),
    ],
)
def test_a_number_without_a_digit_before_or_after_its_point_is_that_number(written: str, meant: str) -> None:
    assert read("/billing/asked", written).bill.billing.asked.amount_minor == Decimal(meant) * 100


@pytest.mark.parametrize(
    "written", ["+5", "05", "1,000.00", "1 000", "1\uff0c000", "5元", ".", "-", "1.2.3", "1e3", "\u0663"]
)
def test_a_number_that_could_mean_two_things_is_never_guessed(written: str) -> None:
    assert [fault.code for fault in read("/billing/asked", written).faults] in (
        ["field.not-a-number"],
        ["field.missing"],
    )


def test_a_range_names_its_bounds() -> None:
    [fault] = read("/billing/payer_rank", 10).faults

    assert (fault.code, fault.facts) == ("field.out-of-range", {"minimum": 1, "maximum": 9})


# Identifiers


@pytest.mark.parametrize("pointer", IDENTIFIERS)
@given(wide=st.booleans(), blank=st.sampled_from(SPACES), data=st.data())
@settings(max_examples=30, deadline=None)
def test_no_spelling_of_an_identifier_changes_the_bill_or_its_dossier(
    pointer: str, wide: bool, blank: str, data: st.DataObject
) -> None:
    normal, spellings = IDENTIFIERS[pointer]
    spelling = data.draw(st.sampled_from((normal, *spellings)))
    inside = data.draw(st.integers(0, len(spelling)))
    written = spelling[:inside] + blank + spelling[inside:]
    raw = compact(changed(pointer, written.translate(WIDE) if wide else written))

    findings = findings_of(raw)

    assert findings.faults == ()
    assert findings.bill == findings_of(sample()).bill
    assert pointer in findings.reading.normalised
    assert dossier_of(raw) == dossier_of(sample())
    assert crossing(raw).manifest == crossing(sample()).manifest


@pytest.mark.parametrize("pointer", OTHER_CODES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_no_width_of_a_code_changes_the_bill_or_its_tokens(pointer: str, data: st.DataObject) -> None:
    code = OTHER_CODES[pointer]
    wide = data.draw(st.lists(st.booleans(), min_size=len(code), max_size=len(code)))
    written = "".join(one.translate(WIDE) if is_wide else one for one, is_wide in zip(code, wide, strict=True))
    plain, spelt = (compact(changed(pointer, text)) for text in (code, f"\u3000{written}\u00a0"))

    assert FORMATS[FORMAT].read(spelt).bill == FORMATS[FORMAT].read(plain).bill
    assert crossing(spelt).manifest == crossing(plain).manifest


def test_an_identity_card_that_ends_in_a_small_x_reaches_the_dossier_as_a_capital() -> None:
    bill = changed(f"{HEADER}/certno", "81000019000101000x", changed(f"{HEADER}/brdy", "1900-01-01"))
    raw = compact(changed(f"{HEADER}/gend", "2", bill))

    dossier = dossier_of(raw)

    assert "81000019000101000X" in dossier
    assert "81000019000101000x" not in dossier
    assert f"{HEADER}/certno" in FORMATS[FORMAT].read(raw).normalised


@pytest.mark.parametrize(
    ("pointer", "wrong", "code"),
    [
        (f"{PROGRAMME}/udi", "(01)06901234567891(17)280131", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "[01]06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "010690123456789117280131", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "]d2010690123456789117280131", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "{01}06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "「01」06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "《01》06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "\u207d01\u207e06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "\U0001d7ce\U0001d7cf06901234567891", "identifier.udi_gs1"),
        (f"{PROGRAMME}/udi", "\u0660\u066106901234567891", "identifier.udi_gs1"),
        ("/fee_lines/10/med_list_codg", "\U0001d417A02BCA012A001010100001", "identifier.nhsa_drug"),
        ("/fee_lines/10/med_list_codg", "\u24cdA02", "identifier.nhsa_drug"),
        (f"{PROGRAMME}/udi", "+BLUEUNICORN7M", "identifier.udi_hibc"),
        (f"{PROGRAMME}/udi", "+blueunicorn7m", "identifier.udi_hibc"),
        (f"{PROGRAMME}/udi", "ma.156.m0.100005.400.E281399", "identifier.udi_ma"),
        (f"{HEADER}/certno", "h0000001", "identifier.hrp_format_only"),
        (f"{HEADER}/certno", "81000019000101001x", "identifier.cn_id_gb11643"),
        (f"{HEADER}/certno", "440300190001010008", "identifier.cn_id_gb11643"),
        ("/fee_lines/9/med_list_codg", "xj01", "identifier.nhsa_drug"),
        ("/fee_lines/0/med_list_codg", "00110", "identifier.nhsa_service"),
        (f"{PROGRAMME}/hk_reg_no", "hk-1", "identifier.hk_drug_reg"),
    ],
)
@given(wide=st.booleans(), blank_at=st.tuples(st.sampled_from(["", *SPACES]), st.integers(0, 8)))
@settings(max_examples=12, deadline=None)
def test_a_wrong_identifier_is_refused_in_every_spelling(
    pointer: str, wrong: str, code: str, wide: bool, blank_at: tuple[str, int]
) -> None:
    blank, place = blank_at
    written = wrong[:place] + blank + wrong[place:]
    bill = compact(changed(pointer, written.translate(WIDE) if wide else written))

    assert (code, pointer) in {(fault.code, fault.pointer) for fault in findings_of(bill).faults}


def test_the_token_of_a_number_stored_by_an_earlier_state_is_known_beside_todays() -> None:
    wide, plain = (compact(changed("/billing/claim_number", text)) for text in ("SYN(1)".translate(WIDE), "SYN(1)"))

    first, second = crossing(wide), crossing(plain)

    assert first.manifest.claim_token == second.manifest.claim_token
    assert second.earlier_claim_token is None
    assert first.earlier_claim_token not in (None, first.manifest.claim_token)
    assert earlier_fold("1-A".translate(WIDE)) == fold_code("1-A".translate(WIDE)) == "1-A"


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once_and_plain_text_stays(text: str) -> None:
    assert fold_code(fold_code(text)) == fold_code(text)
    if text.isascii():
        assert fold_code(text) == text.strip()


@pytest.mark.parametrize("text", ["①", "²", "Ⅱ", "㈠", "甲", "①" + "2".translate(WIDE)])
def test_what_only_looks_like_a_digit_is_no_spelling_of_it(text: str) -> None:
    assert not fold_code(text).isascii()


# Words for nothing, and dates


@pytest.mark.parametrize("marker", ["-", "--", "－", "—", "——", "无", "無", "null", "NULL", " NULL ", "", None])
def test_words_for_nothing_are_no_values_in_texts_numbers_and_dates(marker: str | None) -> None:
    assert read(f"{HEADER}/medcasno", marker).bill.visit.record_no is None
    assert read(f"{HEADER}/acct_pay", marker).bill.figures.account_paid is None
    assert read("/consent/withdrawn_at", marker).bill.consent.withdrawn_at is None
    assert read("/billing/total", marker).faults == (Fault("field.missing", "/billing/total"),)


@pytest.mark.parametrize("name", ["Null", "NULL Ah", "无名"])
def test_a_name_that_only_contains_such_a_word_is_a_name(name: str) -> None:
    assert read(f"{HEADER}/psn_name", name).bill.patient.name == name


@pytest.mark.parametrize(
    "written",
    [
        "2026-02-02 09:30:00",
        "2026-02-02T09:30:00",
        "2026-02-02 09:30:00.0",
        "2026-02-02 09:30:00.000000",
        "2026/02/02 09:30:00",
        "2026/2/2 9:30",
        "2026-2-2 9:30:00",
        "20260202093000",
        "20260202 09:30:00",
        "2026-02-02T09:30:00+08:00",
        "2026-02-02T01:30:00Z",
        "2026-02-01T20:30:00.000-0500",
        "2026/02/02 09:30:00".translate(WIDE),
    ],
)
def test_a_moment_is_read_in_every_form_that_has_one_meaning(written: str) -> None:
    assert read(f"{HEADER}/adm_time", written).bill == FORMATS[FORMAT].read(sample()).bill
    assert read("/receipts/0/invoiceDate", "2026/02/06").bill == FORMATS[FORMAT].read(sample()).bill


@pytest.mark.parametrize(
    "written",
    [
        "02/02/2026",
        "2026-02/02",
        "26-02-02",
        "2026-02",
        "2026-02-02 24:00:00",
        "2026-02-02 9",
        "2026-02-02 09:30:61",
        "2026-02-02T09:30:00+99:00",
        "2026-02-02 09:30:00 PM",
        "2026-02-02 T",
        "1770000000",
    ],
)
def test_a_moment_with_two_meanings_or_none_is_refused(written: str) -> None:
    assert read(f"{HEADER}/adm_time", written).faults == (Fault("field.date-malformed", f"{HEADER}/adm_time"),)


def test_a_date_in_an_unusual_form_is_listed_and_one_in_the_national_form_is_not() -> None:
    pointer = f"{HEADER}/adm_time"

    assert pointer in read(pointer, "2026/02/02 09:30:00").normalised
    assert pointer not in read(pointer, "2026-02-02 09:30:00").normalised


@given(st.text(alphabet="0123456789-/: .TZ+", max_size=30) | st.text(max_size=12))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    moment = read_moment(text)

    assert moment is None or (moment.utcoffset() is not None and read_date(text) == moment.date())


def test_a_byte_order_mark_is_passed_over_and_listed() -> None:
    reading = FORMATS[FORMAT].read(b"\xef\xbb\xbf" + sample())

    assert reading.bill == FORMATS[FORMAT].read(sample()).bill
    assert "" in reading.normalised


@pytest.mark.parametrize(
    "unseen",
    ["\u200b", "\u061c", "\u180e", "\u206a", "\u3164", "\u2800", "\ufe0f", "\u034f", "\U000e0041"],
)
@pytest.mark.parametrize(
    "pointer",
    [f"{PROGRAMME}/udi", f"{PROGRAMME}/trace_code", f"{PROGRAMME}/lot", "/billing/claim_number", "/coverage/hkid"],
)
def test_a_character_that_nobody_sees_makes_no_second_spelling_of_a_code(pointer: str, unseen: str) -> None:
    place: Any = sample_object()
    for step in pointer.removeprefix("/").split("/"):
        place = place[int(step)] if isinstance(place, list) else place[step]

    for text in (unseen + place, place[:3] + unseen + place[3:]):
        faults = [(one.code, one.pointer) for one in findings_of(compact(changed(pointer, text))).faults]

        assert faults == [("field.unreadable-character", pointer)]


def test_a_variation_selector_of_a_name_is_no_fault() -> None:
    name = "葛\U000e0100城"

    assert findings_of(compact(changed(f"{HEADER}/fixmedins_name", name))).faults == ()
