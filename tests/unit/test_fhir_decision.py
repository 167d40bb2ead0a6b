from typing import Any

import pytest

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import Fault, MalformedInputError
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.claim_response import (
    Adjudication,
    ClaimResponse,
    ProcessNote,
    ResponseItem,
    ResponseTotal,
)
from gateway.protocol.fhir.elements import CodeableConcept, FhirMoney, Reference, fhir_money_of, money_of
from gateway.protocol.fhir.wire import parse_resource, read_resource, to_json
from gateway.protocol.money import Money, total
from gateway.protocol.reasons import reason

PATIENT = Reference(reference="urn:uuid:5b3ea6d9-31c5-4cf6-b6f3-5e17f5a3a001")


def cny(amount: str) -> FhirMoney:
    return fhir_money_of(Money.parse(amount, "CNY"))


def a_decision() -> ClaimResponse:
    figures = (("submitted", "1187.50"), ("benefit", "1000.00"))
    return ClaimResponse(
        status="active",
        type=CodeableConcept.of(systems.CLAIM_TYPE, "institutional"),
        use="claim",
        patient=PATIENT,
        created="2026-03-03T10:00:00+08:00",
        insurer=Reference(display="Synthetic Insurer"),
        outcome="complete",
        item=(
            ResponseItem(
                item_sequence=2,
                note_number=(1,),
                adjudication=tuple(
                    Adjudication(
                        category=CodeableConcept.of(systems.ADJUDICATION, code),
                        reason=CodeableConcept.of(systems.REASON, "G004") if code == "benefit" else None,
                        amount=cny(amount),
                    )
                    for code, amount in figures
                ),
            ),
        ),
        total=(ResponseTotal(category=CodeableConcept.of(systems.ADJUDICATION, "benefit"), amount=cny("1000.00")),),
        process_note=(ProcessNote(number=1, type="display", text="已達每年上限"),),
    )


def _as_object(decision: ClaimResponse) -> dict[str, Any]:
    return read_json_object(to_json(decision), decimals=True)


def test_a_decision_reads_back_as_it_was_written() -> None:
    decision = a_decision()

    assert read_resource(ClaimResponse, to_json(decision), refuse_unknown=True) == decision


def test_the_figures_and_reasons_of_a_decision_are_read_by_their_codes() -> None:
    decision = read_resource(ClaimResponse, to_json(a_decision()))

    figures = [
        (figure.category.code_of(systems.ADJUDICATION), figure)
        for item in decision.item
        for figure in item.adjudication
    ]

    benefits = [money_of(figure.amount) for code, figure in figures if code == "benefit" and figure.amount]
    reasons = [figure.reason.code_of(systems.REASON) for _, figure in figures if figure.reason]
    assert total(benefits, "CNY") == money_of(decision.total[0].amount) == Money.parse("1000.00", "CNY")
    assert [reason(code).name for code in reasons if code] == ["BENEFIT_LIMIT_REACHED"]


def test_money_for_a_line_that_nobody_claimed_is_refused_and_not_ignored() -> None:
    value = _as_object(a_decision()) | {"addItem": [{"itemSequence": [9]}]}

    with pytest.raises(MalformedInputError) as refused:
        parse_resource(ClaimResponse, value)

    assert refused.value.faults == (Fault("fhir.element-not-carried", "/addItem"),)


def test_a_payment_in_an_answer_is_left_out_by_an_inner_reader_and_refused_by_an_edge() -> None:
    value = _as_object(a_decision()) | {"payment": {"amount": {"value": 1, "currency": "CNY"}}}

    assert parse_resource(ClaimResponse, value) == a_decision()
    with pytest.raises(MalformedInputError):
        parse_resource(ClaimResponse, value, refuse_unknown=True)


def test_an_adjudicated_line_without_figures_is_refused() -> None:
    value = _as_object(a_decision())
    value["item"][0]["adjudication"] = []

    with pytest.raises(MalformedInputError) as refused:
        parse_resource(ClaimResponse, value)

    assert refused.value.faults == (Fault("fhir.element-malformed", "/item/0/adjudication"),)
