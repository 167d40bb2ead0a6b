"""What partners may write in R4 beside what we read, and what they may not: no correct answer is disputed for it."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.client.comparison import compare
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import Fault, MalformedInputError
from gateway.protocol.exchange import unpack
from gateway.protocol.fhir.bundle import Bundle
from gateway.protocol.fhir.claim import Claim
from gateway.protocol.fhir.claim_response import ClaimResponse
from gateway.protocol.fhir.elements import money_of
from gateway.protocol.fhir.resources import Patient
from gateway.protocol.fhir.wire import parse_resource, read_bundle, read_resource
from gateway.protocol.money import Money
from tests.claims_in_transit import a_bundle, a_minimised

URL = "https://insurer.example/ext/queue"
CASES = Path(__file__).parents[2].parent / "shared" / "cases"

VALUES: dict[str, Any] = {
    "valueBase64Binary": "AAAA",
    "valueBoolean": True,
    "valueCanonical": "https://insurer.example/profile|1",
    "valueCode": "a",
    "valueDate": "2026",
    "valueDateTime": "2026-03-02T09:00:00+08:00",
    "valueDecimal": Decimal("1.5"),
    "valueId": "a-1",
    "valueInstant": "2026-03-02T09:00:00.000+08:00",
    "valueInteger": 1,
    "valueMarkdown": "*a*",
    "valueOid": "urn:oid:1.2.3",
    "valuePositiveInt": 1,
    "valueString": "a",
    "valueTime": "09:00:00",
    "valueUnsignedInt": 0,
    "valueUri": "urn:a",
    "valueUrl": "https://insurer.example",
    "valueUuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    "valueAddress": {"city": "a"},
    "valueAge": {"value": 1, "unit": "a"},
    "valueAnnotation": {"text": "a"},
    "valueAttachment": {"title": "a"},
    "valueCodeableConcept": {"text": "a"},
    "valueCoding": {"code": "A"},
    "valueContactPoint": {"value": "a"},
    "valueCount": {"value": 1},
    "valueDistance": {"value": 1},
    "valueDuration": {"value": 1},
    "valueHumanName": {"text": "a"},
    "valueIdentifier": {"value": "a"},
    "valueMoney": {"value": Decimal("1.00"), "currency": "HKD"},
    "valuePeriod": {"start": "2026"},
    "valueQuantity": {"value": 1},
    "valueRange": {"low": {"value": 1}},
    "valueRatio": {"numerator": {"value": 1}},
    "valueReference": {"display": "a"},
    "valueSampledData": {"origin": {"value": 0}, "period": 1, "dimensions": 1},
    "valueSignature": {"when": "2026-03-02T09:00:00Z"},
    "valueTiming": {"event": ["2026"]},
    "valueContactDetail": {"name": "a"},
    "valueContributor": {"type": "author", "name": "a"},
    "valueDataRequirement": {"type": "Patient"},
    "valueExpression": {"language": "text/fhirpath"},
    "valueParameterDefinition": {"use": "in", "type": "string"},
    "valueRelatedArtifact": {"type": "citation"},
    "valueTriggerDefinition": {"type": "named-event"},
    "valueUsageContext": {"code": {"code": "a"}, "valueCodeableConcept": {"text": "a"}},
    "valueDosage": {"text": "a"},
    "valueMeta": {"versionId": "1"},
}
"""One of each type that R4 4.0.1 lets an extension hold (section 2.1.28.0.1, "Open Type")."""


def a_response(**members: Any) -> dict[str, Any]:
    return {
        "resourceType": "ClaimResponse",
        "status": "active",
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "institutional"}]},
        "use": "claim",
        "patient": {"reference": "urn:uuid:5b3ea6d9-31c5-4cf6-b6f3-5e17f5a3a001"},
        "created": "2026-03-03T10:00:00+08:00",
        "insurer": {"display": "Synthetic Insurer"},
        "outcome": "complete",
        "item": [
            {
                "itemSequence": 2,
                "adjudication": [
                    {
                        "category": {"text": "benefit"},
                        "amount": {"value": Decimal("1000.00"), "currency": "CNY"},
                    }
                ],
            }
        ],
    } | members


def amount_of(response: ClaimResponse) -> Money:
    amount = response.item[0].adjudication[0].amount
    assert amount is not None
    return money_of(amount)


ALL = Money(100_000, "CNY")


@pytest.mark.parametrize("name", VALUES)
def test_an_unknown_extension_is_left_out_whatever_the_type_of_its_value(name: str) -> None:
    value = a_response()
    value["insurer"]["extension"] = [{"url": URL, name: VALUES[name]}]
    value["item"][0]["extension"] = [{"url": URL, name: VALUES[name]}, {"url": "urn:szhk:entry", "valueInteger": 0}]

    response = parse_resource(ClaimResponse, value)

    assert amount_of(response) == ALL
    assert [one.value_integer for one in response.item[0].extension if one.url == "urn:szhk:entry"] == [0]


@pytest.mark.parametrize(
    "extension",
    [
        {"url": URL},
        {"url": URL, "_valueString": {"extension": [{"url": URL, "valueCode": "unknown"}]}},
        {"url": URL, "extension": [{"url": "a", "valueCoding": {}}, {"url": "b", "valueString": "x"}]},
        {"url": URL, "extension": [{"url": "a", "extension": [{"url": "b", "valueRatio": {}}]}]},
        {"url": URL, "valueDecimal": Decimal("NaN")},
        {"url": URL, "valueString": "x", "extension": [{"url": "a", "valueString": "x"}]},
        {"url": URL, "valueInteger": "one"},
        {"valueString": "without a url"},
    ],
)
def test_an_unknown_extension_is_left_out_before_its_invariants_are_checked(extension: dict[str, Any]) -> None:
    value = a_response(extension=[extension])

    response = parse_resource(ClaimResponse, value)

    assert (response.extension, amount_of(response)) == ((), ALL)


def test_extensions_deep_in_one_another_cost_no_more_than_their_length() -> None:
    deep: dict[str, Any] = {"url": URL, "valueCoding": {}}
    for _ in range(28):
        deep = {"url": URL, "extension": [deep, {"url": URL, "valueCoding": {}}]}

    # work that doubled at every level would never end here
    response = parse_resource(ClaimResponse, a_response(extension=[deep] * 50))

    assert (response.extension, amount_of(response)) == ((), ALL)


UNKNOWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "text and meta": lambda value: value.update(
        text={"status": "generated", "div": "<div/>"}, meta={"versionId": "1"}, language="zh-HK"
    ),
    "a contained resource": lambda value: value.update(
        contained=[{"resourceType": "Organization", "id": "org", "active": False}], insurer={"reference": "#org"}
    ),
    "a primitive's extensions": lambda value: value.update(
        _status={"extension": [{"url": URL, "valueCoding": {"code": "a"}}]}, _created={"id": "a"}
    ),
    "an element of R4 outside the subset": lambda value: value.update(payment={"type": {"text": "a"}, "amount": {}}),
    "a modifierExtension on an element that is left out": lambda value: value.update(
        payment={"modifierExtension": [{"url": URL, "valueBoolean": True}]}
    ),
    "an element of a later version": lambda value: value.update(traceNumber=[{"value": "a"}], decision={"text": "a"}),
    "a number without end outside the subset": lambda value: value.update(
        payment={"amount": {"value": Decimal("NaN")}}
    ),
    "an unknown element deep down": lambda value: value["item"][0]["adjudication"][0]["amount"].update(
        _value={"extension": [{"url": URL, "valueTime": "09:00:00"}]}, precision=2
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_lies_outside_the_subset_is_left_out(what: str) -> None:
    value = a_response(extension=[{"url": URL, "valueCoding": {}}])

    UNKNOWN[what](value)

    assert amount_of(parse_resource(ClaimResponse, value)) == ALL


def test_a_null_in_a_list_of_primitives_is_left_out_with_its_extensions() -> None:
    value = {
        "resourceType": "Patient",
        "name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": URL, "valueCode": "a"}]}]}],
    }

    assert parse_resource(Patient, value).name[0].given == ("A",)


def test_entries_of_other_resources_are_left_out_of_a_bundle() -> None:
    value = read_json_object(unpack(a_minimised().packed), decimals=True)
    for resource in ({"resourceType": "Observation", "status": "final"}, {"resourceType": "Provenance"}):
        value["entry"].insert(0, {"fullUrl": "urn:x", "resource": resource})
    value["entry"].append({"fullUrl": "urn:y"})

    bundle = parse_resource(Bundle, value)

    assert bundle.one(Claim) == a_bundle().one(Claim)


REFUSED: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "modifierExtension on the resource": (
        "/modifierExtension",
        lambda value: value.update(modifierExtension=[{"url": URL, "valueBoolean": True}]),
    ),
    "modifierExtension deep down": (
        "/item/0/adjudication/0/modifierExtension",
        lambda value: value["item"][0]["adjudication"][0].update(modifierExtension=[]),
    ),
    "modifierExtension in an unknown extension": (
        "/extension/1/modifierExtension",
        lambda value: value["extension"].append({"url": URL, "modifierExtension": [{"url": URL}]}),
    ),
    "modifierExtension beside a primitive": (
        "/_outcome",
        lambda value: value.update(_outcome={"modifierExtension": [{"url": URL}]}),
    ),
    "implicitRules": ("/implicitRules", lambda value: value.update(implicitRules="https://insurer.example/rules")),
    "an unknown status": ("/status", lambda value: value.update(status="superseded")),
    "an identifier of unknown use": ("/identifier/0/use", lambda value: value.update(identifier=[{"use": "void"}])),
    "added items": ("/addItem", lambda value: value.update(addItem=[{}])),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_turn_the_meaning_of_the_rest_is_never_left_out(what: str) -> None:
    pointer, change = REFUSED[what]
    value = a_response(extension=[{"url": URL, "valueCoding": {}}])

    change(value)

    with pytest.raises(MalformedInputError) as refused:
        parse_resource(ClaimResponse, value)
    assert pointer in {fault.pointer for fault in refused.value.faults}


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("Patient", {"active": False}),
        ("Patient", {"link": [{"type": "replaced-by"}]}),
        ("Patient", {"name": [{"use": "invented"}]}),
        ("Organization", {"active": False}),
        ("Organization", {"active": 1}),
    ],
)
def test_a_record_that_is_out_of_use_or_joined_to_another_is_refused(kind: str, members: dict[str, Any]) -> None:
    value = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": kind} | members}]}

    with pytest.raises(MalformedInputError):
        parse_resource(Bundle, value)


@pytest.mark.parametrize("members", [{"active": True}, {"deceasedBoolean": False}, {"deceasedDateTime": "2026-03-02"}])
def test_a_modifier_with_a_value_that_is_understood_is_kept(members: dict[str, Any]) -> None:
    resource = {"resourceType": "Patient"} | members
    value = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}

    kept = parse_resource(Bundle, value).entry[0].resource.model_dump(by_alias=True, exclude_unset=True)

    assert kept == resource


def test_a_quantity_that_is_only_a_bound_is_refused() -> None:
    value = read_json_object(unpack(a_minimised().packed), decimals=True)
    claim = next(one["resource"] for one in value["entry"] if one["resource"]["resourceType"] == "Claim")
    index = next(index for index, item in enumerate(claim["item"]) if "quantity" in item)
    claim["item"][index]["quantity"]["comparator"] = "<"

    with pytest.raises(MalformedInputError) as refused:
        parse_resource(Bundle, value)

    assert [fault.code for fault in refused.value.faults] == ["fhir.element-not-carried"]


def test_places_are_those_of_what_was_sent_although_members_are_left_out() -> None:
    foreign = {"url": URL, "valueCoding": {}}
    value = a_response()
    value["item"][0]["extension"] = [foreign, foreign, {"url": "urn:szhk:entry", "valueInteger": "0"}]
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"resource": {"resourceType": "Basic"}},
            {"resource": value},
            {"resource": {"resourceType": "Patient"}},
        ],
    }

    with pytest.raises(MalformedInputError) as refused:
        parse_resource(Bundle, bundle)

    assert refused.value.faults == (
        Fault("fhir.element-malformed", "/entry/1/resource/item/0/extension/2/valueInteger"),
    )


@pytest.mark.parametrize("number", ["1000.00", "1000", "1.0E+3", "1e3", "1000e-0", "100000E-2", "1000.000000000000000"])
def test_a_decimal_is_read_by_its_value_and_not_by_its_spelling(number: str) -> None:
    raw = compact(a_response()).replace(b'"1000.00"', number.encode())

    assert amount_of(read_resource(ClaimResponse, raw)) == ALL


@pytest.mark.parametrize("number", ["1e999999999", "1e17", "1000.001", "1000.0000000001", "NaN", "1e-999999999"])
def test_a_decimal_that_is_no_amount_is_refused(number: str) -> None:
    raw = compact(a_response()).replace(b'"1000.00"', number.encode())

    with pytest.raises(MalformedInputError):
        amount_of(read_resource(ClaimResponse, raw))


@pytest.mark.parametrize("number", ["1e999999999", "1.0E+3", "0.00000000000000000001", "9" * 500])
def test_a_number_outside_the_subset_disturbs_nobody(number: str) -> None:
    raw = compact(a_response(payment={"amount": {"value": "here"}})).replace(b'"here"', number.encode())

    assert amount_of(read_resource(ClaimResponse, raw.replace(b'"1000.00"', b"1000.00"))) == ALL


def test_a_key_that_stands_twice_is_refused_also_outside_the_subset() -> None:
    raw = compact(a_response(payment={})).replace(b'"payment":{}', b'"payment":{"a":1,"a":2}')

    with pytest.raises(MalformedInputError, match=r"json\.duplicate-key"):
        read_resource(ClaimResponse, raw)


@pytest.mark.parametrize("name", ["valueString", "valueCoding"])
def test_an_extension_of_the_bundle_itself_is_left_out_whatever_the_type_of_its_value(name: str) -> None:
    value = read_json_object(unpack(a_minimised().packed), decimals=True)
    value["extension"] = [{"url": URL, name: VALUES[name]}]

    assert parse_resource(Bundle, value) == a_bundle()


def test_a_byte_order_mark_before_a_partners_content_is_passed_over() -> None:
    raw = unpack(a_minimised().packed)

    assert read_bundle(b"\xef\xbb\xbf" + raw) == read_bundle(raw)
    with pytest.raises(MalformedInputError):
        read_bundle(b"\xef\xbb\xbf" + raw, refuse_unknown=True)


def test_an_old_identifier_is_never_looked_up() -> None:
    value = read_json_object(unpack(a_minimised().packed), decimals=True)
    claim = next(one["resource"] for one in value["entry"] if one["resource"]["resourceType"] == "Claim")
    current = claim["identifier"]
    claim["identifier"] = [{"use": "old", "system": one["system"], "value": "another"} for one in current] + current

    assert compare(parse_resource(Bundle, value), a_minimised().manifest) == ()


def test_a_bundle_is_read_with_the_same_tolerance() -> None:
    raw = unpack(a_minimised().packed)
    marked = raw.replace(b'"resourceType":"Claim"', b'"resourceType":"Claim","accident":{"date":"2026-03-01"}')

    assert read_bundle(marked) == read_bundle(raw)


@pytest.mark.parametrize(
    "created",
    ["2026", "2026-03", "2026-03-03T10:00:00.123456789012Z", "2016-12-31T23:59:60Z", "2026-03-03T10:00:00-00:00"],
)
def test_a_time_is_read_in_every_form_of_r4(created: str) -> None:
    assert parse_resource(ClaimResponse, a_response(created=created)).created == created


def test_a_diagnosis_or_procedure_by_reference_is_read() -> None:
    value = read_json_object(unpack(a_minimised().packed), decimals=True)
    claim = next(one["resource"] for one in value["entry"] if one["resource"]["resourceType"] == "Claim")
    claim["diagnosis"] = [{"sequence": 1, "diagnosisReference": {"reference": "Condition/1"}}]
    claim["procedure"] = [{"sequence": 1, "procedureReference": {"reference": "Procedure/1"}}]

    kept = parse_resource(Bundle, value).one(Claim)

    assert (len(kept.diagnosis), len(kept.procedure)) == (1, 1)


@pytest.mark.skipif(not CASES.exists(), reason="the folder of shared cases is not beside this checkout")
@pytest.mark.parametrize("name", ["fhir-01-unknown-extension-valuecoding", "fhir-02-decimal-with-exponent"])
def test_a_case_that_was_once_disputed_is_read(name: str) -> None:
    assert amount_of(read_resource(ClaimResponse, (CASES / f"{name}.json").read_bytes())) == ALL
