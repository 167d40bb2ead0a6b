"""Every vector of the domain's identifier table, and python-stdnum as a second opinion where it has the scheme."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import bic, ean, lei
from stdnum.cn import ric, uscc
from stdnum.exceptions import InvalidComponent, InvalidFormat, ValidationError
from stdnum.iso7064 import mod_11_2, mod_11_10, mod_97_10

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.identifier_checks import (
    gb_11643_check,
    gb_32100_check,
    gs1_check,
    mod_11_10_check,
    mod_97_10_check,
)
from gateway.protocol.identifiers import SCHEMES, parse_bic, parse_cn_id_gb11643, parse_uscc_gb32100

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "domain" / "id-check-vectors.json"
DIGITS = st.characters(categories=["Nd"], max_codepoint=0x7F)
USCC_BODY = st.text("0123456789ABCDEFGHJKLMNPQRTUWXY", min_size=9, max_size=9)


def _vectors() -> list[Any]:
    if not VECTORS.exists():
        reason = "the shared vector folder is not beside this checkout"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    found = read_json_object(VECTORS.read_bytes())["vectors"]
    return [pytest.param(vector, id=f"{vector['scheme']}-{index}") for index, vector in enumerate(found)]


@pytest.mark.parametrize("vector", _vectors())
def test_a_vector_is_accepted_or_refused_as_its_table_says(vector: dict[str, Any]) -> None:
    parse = SCHEMES[vector["scheme"]]

    if vector["valid"]:
        normal = parse(vector["value"])

        assert parse(normal) == normal
    else:
        with pytest.raises(MalformedInputError) as refused:
            parse(vector["value"])

        assert refused.value.code == f"identifier.{vector['scheme']}"


@pytest.mark.skipif(not VECTORS.exists(), reason="the shared vector folder is not beside this checkout")
def test_the_vector_table_is_whole_and_each_of_its_schemes_has_a_parser() -> None:
    vectors = read_json_object(VECTORS.read_bytes())["vectors"]

    assert len(vectors) == 91
    assert {vector["scheme"] for vector in vectors} == set(SCHEMES) - {
        "cnaps",
        "lei",
        "bic",
        "uetr",
        "udi_hibc",
        "udi_ma",
    }


@given(st.text(DIGITS, min_size=1, max_size=20))
def test_digit_checks_agree_with_stdnum(body: str) -> None:
    assert mod_11_10_check(body) == mod_11_10.calc_check_digit(body)
    assert mod_97_10_check(body) == mod_97_10.calc_check_digits(body)
    assert gs1_check(body) == ean.calc_check_digit(body)


@given(st.text(DIGITS, min_size=17, max_size=17))
def test_the_identity_number_check_agrees_with_stdnum(body: str) -> None:
    assert gb_11643_check(body) == mod_11_2.calc_check_digit(body)


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=18, max_size=18))
def test_a_legal_entity_identifier_we_complete_is_one_for_stdnum(body: str) -> None:
    completed = body + mod_97_10_check(body)

    assert SCHEMES["lei"](completed) == lei.validate(completed)


@given(st.text(DIGITS, min_size=6, max_size=6), USCC_BODY)
def test_a_social_credit_code_we_complete_is_one_for_stdnum(region: str, organisation: str) -> None:
    body = f"91{region}{organisation}"
    completed = body + gb_32100_check(body)

    assert parse_uscc_gb32100(completed, strict=False) == uscc.validate(completed)


def test_stdnum_knows_less_than_the_standard_and_is_no_judge_there() -> None:
    residence_permit, registering_authority = "81000019000101000X", "Y1440300MBTE00014G"

    assert parse_cn_id_gb11643(residence_permit) == residence_permit
    assert parse_uscc_gb32100(registering_authority) == registering_authority
    with pytest.raises(InvalidComponent):
        ric.validate(residence_permit)
    with pytest.raises(InvalidFormat):
        uscc.validate(registering_authority)


@given(st.from_regex(r"\A[A-Z]{6}[0-9A-Z]{2}([0-9A-Z]{3})?\Z"))
def test_a_bank_code_that_stdnum_takes_is_taken(text: str) -> None:
    try:
        expected = bic.validate(text)
    except ValidationError:
        return

    assert parse_bic(text) == expected
