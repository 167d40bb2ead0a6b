import re
import string
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.identifier_checks import (
    GB_32100_ALPHABET,
    gb_32100_check,
    gs1_check,
    hkid_check,
    mod_11_10_check,
    mod_97_10_check,
)
from gateway.protocol.identifiers import (
    SCHEMES,
    mint,
    mint_uuid4,
    parse_cn_id_gb11643,
    parse_cnaps,
    parse_hkid,
    parse_hrp_format_only,
    parse_lei,
    parse_uetr,
    parse_uscc_gb32100,
)
from gateway.protocol.product_identifiers import parse_nhsa_service
from gateway.protocol.udi import parse_udi_gs1

FULL_WIDTH = str.maketrans(string.digits, "".join(chr(0xFF10 + digit) for digit in range(10)))

ONE_OF_EACH = {
    "hkid": "QQ0000009",
    "cn_id_gb11643": "81000019000101000X",
    "hrp_format_only": "H12345678",
    "uscc_gb32100": "12440300MBTE00014B",
    "org_code_gb11714": "MBTE00014",
    "gtin14": "06901234567892",
    "udi_gs1": "(01)06901234567892(17)150707(10)A213B1",
    "udi_hibc": "+BLUEUNICORN7N",
    "udi_ma": "MA.156.M0.100005.40008100000302.L20260101.E280131",
    "hk_drug_reg": "HK-12345",
    "vhis_cert": "S00017-01-000-02",
    "nhsa_institution": "H44030302178",
    "nhsa_drug": "XB05XAL211B002020400318",
    "nhsa_service": "001102000010000-110200001",
    "icd10_cn_nhsa": "I10.x00x002",
    "icd9cm3_cn_nhsa": "96.7201",
    "nmpa_device": "国械注许20203130001",
    "nmpa_drug": "国药准字HC20210001",
    "e_receipt": "44060125|0000000001|a1b2c3",
    "cnaps": "10258400001" + mod_11_10_check("10258400001"),
    "lei": "0000SYNTHETIC00001" + mod_97_10_check("0000SYNTHETIC00001"),
    "bic": "SYNTCNSHXXX",
    "uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d",
}


def _outcome(scheme: str, text: str) -> str:
    """Return the normal form, or all that the refusal says: the code."""
    try:
        return SCHEMES[scheme](text)
    except MalformedInputError as refused:
        return str(refused)


def _is_valid(scheme: str, text: str) -> bool:
    return _outcome(scheme, text) != f"identifier.{scheme}"


def _one_character_errors(text: str, alphabet: str = string.digits) -> list[str]:
    return [
        text[:place] + other + text[place + 1 :]
        for place, character in enumerate(text)
        if character in alphabet
        for other in alphabet
        if other != character
    ]


def _adjacent_swaps(text: str) -> list[str]:
    return [
        text[:place] + right + left + text[place + 2 :]
        for place, (left, right) in enumerate(pairwise(text))
        if left != right
    ]


def test_every_scheme_has_a_valid_sample_here() -> None:
    assert set(ONE_OF_EACH) == set(SCHEMES)
    assert all(SCHEMES[scheme](text) == text for scheme, text in ONE_OF_EACH.items())


@pytest.mark.parametrize("scheme", SCHEMES)
@given(text=st.text())
@example(text="")
@example(text="\N{LATIN SMALL LETTER DOTLESS I}1234567")
@example(text="\ud800")
def test_any_text_gives_its_normal_form_or_the_one_refusal(scheme: str, text: str) -> None:
    outcome = _outcome(scheme, text)

    assert outcome == f"identifier.{scheme}" or SCHEMES[scheme](outcome) == outcome


@pytest.mark.parametrize("scheme", SCHEMES)
def test_full_width_digits_blanks_and_line_ends_are_left_to_the_adapter(scheme: str) -> None:
    text = ONE_OF_EACH[scheme]

    for spoilt in (text.translate(FULL_WIDTH), f" {text}", f"{text} ", f"{text}\n"):
        assert spoilt == text or not _is_valid(scheme, spoilt)


@pytest.mark.parametrize("number", ["QQ0000009", "QQ0000017", "A1234563", "G123456A"])
def test_every_one_digit_error_in_a_hong_kong_identity_number_is_caught(number: str) -> None:
    assert not [wrong for wrong in _one_character_errors(number) if _is_valid("hkid", wrong)]


def test_a_printed_hong_kong_identity_number_is_compacted() -> None:
    assert parse_hkid("qq000000(9)") == "QQ0000009"
    assert parse_hkid("g123456(a)") == "G123456A"


@pytest.mark.parametrize("text", ["A123456(3", "A1234563)", "A123456()3", "A123456((3))", "A 1234563"])
def test_a_half_printed_hong_kong_identity_number_is_refused(text: str) -> None:
    with pytest.raises(MalformedInputError):
        parse_hkid(text)


def test_digits_and_check_digit_alone_name_three_persons() -> None:
    numbers = {prefix + "000000" + hkid_check(prefix + "000000") for prefix in ("C", "EC", "PC")}

    assert {number[-7:] for number in numbers} == {"0000009"}
    assert {parse_hkid(number) for number in numbers} == numbers


def test_a_letter_eleven_places_away_is_not_caught_by_the_check_digit() -> None:
    checks = {letter: hkid_check(f"{letter}000000") for letter in string.ascii_uppercase}

    missed = [
        (letter, other) for letter in checks for other in checks if letter != other and checks[letter] == checks[other]
    ]

    assert len(missed) == 38
    assert ("A", "L") in missed


def test_a_birth_date_that_never_was_is_refused() -> None:
    body = "81000019000230001"

    checks = [body + check for check in "0123456789X"]

    assert not [number for number in checks if _is_valid("cn_id_gb11643", number)]


def test_a_lower_case_x_becomes_a_capital() -> None:
    assert parse_cn_id_gb11643("81000019000101000x") == "81000019000101000X"


def test_the_issue_count_of_a_home_return_permit_stays_behind_the_holders_number() -> None:
    first, renewed = parse_hrp_format_only("H1234567800"), parse_hrp_format_only("H1234567812")

    assert first[:9] == renewed[:9] == parse_hrp_format_only("H12345678")


def test_the_organisation_code_inside_counts_only_in_strict_mode() -> None:
    code = "12440300MBTE00015E"

    assert parse_uscc_gb32100(code, strict=False) == code
    with pytest.raises(MalformedInputError):
        parse_uscc_gb32100(code)


def test_every_one_character_error_and_swap_in_a_social_credit_code_is_caught() -> None:
    body = "12440300MBTE00014"
    code = body + gb_32100_check(body)

    wrong = [*_one_character_errors(code, GB_32100_ALPHABET), *_adjacent_swaps(code)]

    assert not [text for text in wrong if text != code and _is_valid("uscc_gb32100", text)]


def test_every_one_digit_error_in_a_bank_branch_code_is_caught() -> None:
    for serial in range(0, 10_000, 97):
        body = f"1025840{serial:04d}"
        code = parse_cnaps(body + mod_11_10_check(body))

        assert not [wrong for wrong in _one_character_errors(code) if _is_valid("cnaps", wrong)]


def test_nearly_every_swap_in_a_bank_branch_code_is_caught() -> None:
    bodies = [f"1025840{serial:04d}" for serial in range(0, 10_000, 97)]
    swaps = [swap for body in bodies for swap in _adjacent_swaps(body + mod_11_10_check(body))]

    missed = [swap for swap in swaps if _is_valid("cnaps", swap)]

    assert 0 < len(missed) < len(swaps) * 0.03


def test_every_digit_or_letter_taken_for_another_and_every_swap_in_a_legal_entity_identifier_is_caught() -> None:
    body = "0000SYNTHETIC00001"
    code = parse_lei(body + mod_97_10_check(body))

    wrong = [
        *_one_character_errors(code, string.digits),
        *_one_character_errors(code, string.ascii_uppercase),
        *_adjacent_swaps(code),
    ]

    assert not [text for text in wrong if _is_valid("lei", text)]


def test_check_digits_that_mod_97_never_writes_are_refused() -> None:
    twins = {"02": "99", "97": "00", "98": "01"}
    bodies = {mod_97_10_check(f"{serial:018d}"): f"{serial:018d}" for serial in range(200)}

    for written, twin in twins.items():
        assert _is_valid("lei", bodies[written] + written)
        assert not _is_valid("lei", bodies[written] + twin)


@pytest.mark.parametrize(
    "text",
    [
        "(17)150707(01)06901234567892",
        "(01)06901234567892(17)150707(17)150708",
        "(01)06901234567892(17)150230",
        "(01)06901234567892(17)151307",
        "(01)06901234567892(17)15070",
        "(01)06901234567892(10)" + "A" * 21,
        "(01)06901234567892(10)A(B",
        "(01)06901234567892(99)X",
        "0106901234567892",
    ],
)
def test_a_device_identifier_with_a_wrong_element_is_refused(text: str) -> None:
    with pytest.raises(MalformedInputError):
        parse_udi_gs1(text)


def test_day_zero_of_a_device_identifier_means_the_last_of_the_month() -> None:
    assert parse_udi_gs1("(01)06901234567892(17)150200") == "(01)06901234567892(17)150200"


@given(st.text(string.digits, min_size=13, max_size=13))
def test_every_one_digit_error_in_a_trade_item_number_is_caught(body: str) -> None:
    number = body + gs1_check(body)

    assert not [wrong for wrong in _one_character_errors(number) if _is_valid("gtin14", wrong)]


def test_a_service_code_longer_than_its_field_is_refused() -> None:
    assert parse_nhsa_service("0" * 15 + "-" + "1" * 34)
    with pytest.raises(MalformedInputError):
        parse_nhsa_service("0" * 15 + "-" + "1" * 35)


def test_a_minted_id_names_its_kind_and_carries_128_bits() -> None:
    minted = {mint("claim") for _ in range(1_000)}

    assert len(minted) == 1_000
    assert all(re.fullmatch(r"claim_[a-z2-7]{26}", one) for one in minted)


def test_a_minted_reference_is_a_version_4_uuid_in_lower_case() -> None:
    minted = {mint_uuid4() for _ in range(1_000)}

    assert len(minted) == 1_000
    assert all(parse_uetr(one) == one for one in minted)


@pytest.mark.parametrize(
    "text",
    [
        "EB6305C9-1F7F-49DE-AED0-16487C27B42D",
        "eb6305c9-1f7f-19de-aed0-16487c27b42d",
        "eb6305c9-1f7f-49de-ced0-16487c27b42d",
        "eb6305c91f7f49deaed016487c27b42d",
    ],
)
def test_a_reference_of_another_version_variant_or_case_is_refused(text: str) -> None:
    with pytest.raises(MalformedInputError):
        parse_uetr(text)
