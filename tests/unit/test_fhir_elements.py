from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import ConflictError, Fault, MalformedInputError
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.elements import (
    CodeableConcept,
    Coding,
    FhirMoney,
    HumanName,
    Period,
    fhir_money_of,
    money_of,
)
from gateway.protocol.fhir.resources import (
    OperationOutcome,
    Patient,
)
from gateway.protocol.fhir.wire import parse_resource, read_resource, to_json
from gateway.protocol.money import AMOUNT_MINOR_MAX, Money


def test_equal_resources_give_equal_bytes_in_the_standards_names_and_order() -> None:
    concept = CodeableConcept.of("urn:x", "c", '氯化钠 "0.9%"\n')

    patient = Patient(birth_date="1900-01-01", gender="male", name=(HumanName(given=("QQ",)),))

    assert to_json(concept) == '{"coding":[{"system":"urn:x","code":"c","display":"氯化钠 \\"0.9%\\"\\n"}]}'.encode()
    assert to_json(patient) == (
        b'{"resourceType":"Patient","name":[{"given":["QQ"]}],"gender":"male","birthDate":"1900-01-01"}'
    )


@given(st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX), st.sampled_from(["CNY", "HKD"]))
def test_money_survives_its_way_through_r4(amount_minor: int, currency: str) -> None:
    amount = Money(amount_minor, currency)

    written = to_json(fhir_money_of(amount))

    assert written == f'{{"value":{amount},"currency":"{currency}"}}'.encode()
    assert money_of(FhirMoney.model_validate(read_json_object(written, decimals=True), by_alias=True)) == amount


@pytest.mark.parametrize(("value", "minor"), [("100", 10_000), ("100.5", 10_050), ("100.5000", 10_050), ("-0.0", 0)])
def test_money_of_another_scale_is_read_by_value(value: str, minor: int) -> None:
    assert money_of(FhirMoney(value=Decimal(value), currency="HKD")) == Money(minor, "HKD")


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (FhirMoney(value=Decimal("0.005"), currency="CNY"), "money.malformed"),
        (FhirMoney(value=Decimal("1.00")), "money.malformed"),
        (FhirMoney(currency="CNY"), "money.malformed"),
        (FhirMoney(value=Decimal("1.00"), currency="USD"), "money.currency-unknown"),
        (FhirMoney(value=Decimal("90071992547409.92"), currency="CNY"), "money.out-of-range"),
    ],
)
def test_money_that_is_none_of_ours_is_refused(amount: FhirMoney, code: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        money_of(amount)

    assert refused.value.code == code


@pytest.mark.parametrize("value", [1.5, True, "1.50", Decimal("NaN"), Decimal("1E+3"), Decimal("1.000000001")])
def test_an_author_cannot_write_a_decimal_that_is_none(value: Any) -> None:
    with pytest.raises(ValidationError):
        FhirMoney(value=value, currency="CNY")


def test_a_lone_surrogate_is_refused_on_reading() -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_resource(Patient, rb'{"resourceType":"Patient","name":[{"text":"\ud800"}]}')

    assert refused.value.code == "json.lone-surrogate"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026", "2026"),
        ("2026-03", "2026-03-02"),
        ("2026-03-02", "2026-03"),
        ("2026-03-02T09:00:00+08:00", "2026-03-02"),
        ("2026-03-02T09:00:00+08:00", "2026-03-02T01:00:00Z"),
    ],
)
def test_a_period_may_be_as_coarse_as_r4_allows(start: str, end: str) -> None:
    assert Period(start=start, end=end).end == end


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026", "2025"),
        ("2026-03", "2026-02-28"),
        ("2026-03-02T09:00:00+08:00", "2026-03-02T00:59:59Z"),
    ],
)
def test_a_period_that_ends_before_it_starts_is_refused(start: str, end: str) -> None:
    with pytest.raises(ValidationError):
        Period(start=start, end=end)


def test_a_code_is_found_by_its_system() -> None:
    concept = CodeableConcept(coding=(Coding(system="urn:a", code="1"), Coding(system="urn:b", code="2")))

    assert (concept.code_of("urn:b"), concept.code_of("urn:c")) == ("2", None)


def test_an_identifier_is_checked_by_its_scheme_on_writing_and_on_reading() -> None:
    written = systems.identifier_of("hkid", "qq000000(9)")
    forged = written.model_copy(update={"value": "QQ0000008"})

    assert (written.system, written.value) == ("urn:szhk:id:hkid", "QQ0000009")
    assert systems.find_identifier("hkid", (written,)) == "QQ0000009"
    assert systems.find_identifier("lei", (written,)) is None
    for refused in ((forged,), (written, written)):
        with pytest.raises(MalformedInputError):
            systems.find_identifier("hkid", refused)
    with pytest.raises(MalformedInputError):
        systems.identifier_of("hkid", "QQ0000008")


def test_an_error_shown_as_an_operation_outcome_is_one_of_the_subset() -> None:
    error = ConflictError("claim.stale", faults=[Fault("fhir.element-missing", "/status")])

    outcome = parse_resource(OperationOutcome, error.operation_outcome(), refuse_unknown=True)

    assert outcome.issue[0].expression == ("/status",)
    assert outcome.issue[0].details is not None
    assert outcome.issue[0].details.code_of("urn:szhk:problem") == "fhir.element-missing"
