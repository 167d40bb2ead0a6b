from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import Fault, MalformedInputError, TooLargeError
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.bundle import Bundle, BundleEntry
from gateway.protocol.fhir.claim import Claim, Diagnosis, Insurance, Item, ItemDetail, Payee, Procedure, SupportingInfo
from gateway.protocol.fhir.claim_response import (
    ClaimResponse,
)
from gateway.protocol.fhir.elements import (
    Attachment,
    CodeableConcept,
    Coding,
    Extension,
    FhirMoney,
    HumanName,
    Period,
    Quantity,
    Reference,
    fhir_money_of,
)
from gateway.protocol.fhir.resources import (
    Consent,
    ConsentActor,
    ConsentProvision,
    Coverage,
    Organization,
    Patient,
)
from gateway.protocol.fhir.wire import FAULTS_MAX, parse_resource, read_bundle, read_resource, to_json
from gateway.protocol.money import Money

PATIENT = Reference(reference="urn:uuid:5b3ea6d9-31c5-4cf6-b6f3-5e17f5a3a001")
HOSPITAL = Reference(reference="urn:uuid:5b3ea6d9-31c5-4cf6-b6f3-5e17f5a3a002")
COVERAGE = Reference(reference="urn:uuid:5b3ea6d9-31c5-4cf6-b6f3-5e17f5a3a003")


def cny(amount: str) -> FhirMoney:
    return fhir_money_of(Money.parse(amount, "CNY"))


def a_claim(**changes: Any) -> Claim:
    """A self-payer's stay of two lines: a refunded drug and a connect device."""
    drug = Item(
        sequence=1,
        diagnosis_sequence=(1,),
        category=CodeableConcept.of(systems.CHARGE_CATEGORY, "09", "西药费"),
        product_or_service=CodeableConcept.of(systems.NHSA_ITEM, "XB05XAL211B002020400318", "氯化钠注射液"),
        serviced_date="2026-03-01",
        quantity=Quantity(value=Decimal("1.0000"), unit="瓶"),
        unit_price=FhirMoney(value=Decimal("12.500000"), currency="CNY"),
        net=cny("12.50"),
        detail=tuple(
            ItemDetail(
                sequence=sequence,
                product_or_service=CodeableConcept.of(systems.HOSPITAL_ITEM, "SYN-001"),
                net=cny(net),
            )
            for sequence, net in ((1, "25.00"), (2, "-12.50"))
        ),
    )
    device = Item(
        sequence=2,
        product_or_service=CodeableConcept.of(systems.HOSPITAL_ITEM, "SYN-002", "合成器械"),
        net=cny("1187.50"),
        extension=(
            Extension(
                url=systems.PROGRAMME,
                extension=(
                    Extension(url="result", value_code="UNDETERMINED"),
                    Extension(url="udi", value_string="(01)06901234567892"),
                ),
            ),
        ),
    )
    parts: dict[str, Any] = {
        "status": "active",
        "type": CodeableConcept.of(systems.CLAIM_TYPE, "institutional"),
        "use": "claim",
        "patient": PATIENT,
        "billable_period": Period(start="2026-02-27", end="2026-03-02"),
        "created": "2026-03-02T09:00:00+08:00",
        "provider": HOSPITAL,
        "priority": CodeableConcept.of(systems.PROCESS_PRIORITY, "normal"),
        "payee": Payee(type=CodeableConcept.of(systems.PAYEE_TYPE, "provider")),
        "supporting_info": (
            SupportingInfo(
                sequence=1,
                category=CodeableConcept.of(systems.CLAIM_INFORMATION, "attachment"),
                value_attachment=Attachment(
                    content_type="application/pdf",
                    title="出院小结",
                    size=20480,
                    extension=(Extension(url=systems.ATTACHMENT_SHA256, value_string="ab" * 32),),
                ),
            ),
        ),
        "diagnosis": (
            Diagnosis(
                sequence=1,
                diagnosis_codeable_concept=CodeableConcept.of(systems.ICD10_CN, "I10.x00x002", "高血压"),
            ),
        ),
        "procedure": (
            Procedure(
                sequence=1,
                date="2026-02-28",
                procedure_codeable_concept=CodeableConcept.of(systems.ICD9CM3_CN, "38.9301"),
            ),
        ),
        "insurance": (Insurance(sequence=1, focal=True, coverage=COVERAGE),),
        "item": (drug, device),
        "total": cny("1200.00"),
    }
    return Claim(**(parts | changes))


def a_dossier(*, claim: Claim | None = None) -> Bundle:
    patient = Patient(
        identifier=(
            systems.identifier_of("hkid", "qq000000(9)"),
            systems.identifier_of("hrp_format_only", "H12345678"),
        ),
        name=(HumanName(text="合成患者", family="SYNTHETIC", given=("PATIENT",)),),
        gender="female",
        birth_date="1900-01-01",
    )
    hospital = Organization(
        identifier=(systems.identifier_of("nhsa_institution", "H44030302178"),), name="Synthetic Hospital"
    )
    coverage = Coverage(status="active", beneficiary=PATIENT, payor=(Reference(display="Synthetic Insurer"),), order=1)
    consent = Consent(
        status="active",
        scope=CodeableConcept.of(systems.CONSENT_SCOPE, "patient-privacy"),
        category=(CodeableConcept(text="cross-border transfer"),),
        patient=PATIENT,
        date_time="2026-02-27T08:30:00+08:00",
        provision=ConsentProvision(
            type="permit",
            actor=(ConsentActor(role=CodeableConcept(text="recipient"), reference=HOSPITAL),),
            purpose=(Coding(code="CLAIM"),),
            class_=(Coding(code="diagnoses"),),
        ),
    )
    named = ((PATIENT, patient), (HOSPITAL, hospital), (COVERAGE, coverage))
    return Bundle(
        type="collection",
        timestamp="2026-03-02T01:00:00.000Z",
        entry=(
            *(BundleEntry(full_url=reference.reference, resource=resource) for reference, resource in named),
            BundleEntry(resource=claim or a_claim()),
            BundleEntry(resource=consent),
        ),
    )


def _as_object(claim: Claim) -> dict[str, Any]:
    return read_json_object(to_json(claim), decimals=True)


def _without_amounts() -> dict[str, Any]:
    """Return a dossier of patient, hospital and coverage, which `compact` can write."""
    value = read_json_object(to_json(a_dossier()), decimals=True)
    value["entry"] = value["entry"][:3]
    return value


def _refusal(value: dict[str, Any], *, refuse_unknown: bool = False) -> tuple[Fault, ...]:
    with pytest.raises(MalformedInputError) as refused:
        parse_resource(Claim, value, refuse_unknown=refuse_unknown)
    return refused.value.faults


def test_a_dossier_reads_back_as_it_was_written_even_at_an_accepting_edge() -> None:
    dossier = a_dossier()

    read = read_bundle(to_json(dossier), refuse_unknown=True)

    assert read == dossier
    assert to_json(read) == to_json(dossier)


@pytest.mark.parametrize("digits", ["1200.00", "0.00", "-12.50", "12.500000", "24", "0.00000001"])
def test_a_decimal_is_written_with_the_digits_it_was_read_with(digits: str) -> None:
    total = f'"total":{{"value":{digits}}}'.encode()
    value = _as_object(a_claim()) | read_json_object(b"{%s}" % total, decimals=True)

    claim = parse_resource(Claim, value)

    assert to_json(claim).endswith(total + b"}")


def test_an_author_cannot_add_an_element_of_his_own() -> None:
    with pytest.raises(ValidationError):
        a_claim(care_team=())


def test_a_resource_is_frozen() -> None:
    claim = a_claim()

    with pytest.raises(ValidationError):
        claim.status = "cancelled"  # type: ignore[misc]


def test_an_inner_reader_leaves_unknown_elements_out_and_an_edge_names_their_place_without_their_name() -> None:
    value = _as_object(a_claim()) | {"QQ0000009": "secret"}
    value["item"][1]["secretElement"] = {"value": "secret"}

    kept = parse_resource(Claim, value)

    assert kept == a_claim()
    assert _refusal(value, refuse_unknown=True) == (
        Fault("fhir.unknown-element", "/item/1"),
        Fault("fhir.unknown-element", ""),
    )


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda value: value.update(implicitRules="urn:x"), "/implicitRules"),
        (lambda value: value.update(_status={"modifierExtension": [{"url": "urn:x"}]}), "/_status"),
        (lambda value: value["item"][0].update(modifierExtension=[{"url": "urn:x"}]), "/item/0/modifierExtension"),
    ],
)
def test_an_element_that_turns_the_meaning_of_the_rest_is_never_ignored(
    change: Callable[[dict[str, Any]], None], pointer: str
) -> None:
    value = _as_object(a_claim())

    change(value)

    assert _refusal(value) == (Fault("fhir.element-not-carried", pointer),)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda value: value.pop("status"), Fault("fhir.element-missing", "/status")),
        (lambda value: value.update(status="paid"), Fault("fhir.element-malformed", "/status")),
        (lambda value: value.update(insurance=[]), Fault("fhir.element-malformed", "/insurance")),
        (lambda value: value.update(id="claim_1"), Fault("fhir.element-malformed", "/id")),
        (lambda value: value.update(created="2026-02-30"), Fault("fhir.element-malformed", "/created")),
        (lambda value: value.update(created="2026-03-02T09:00:00"), Fault("fhir.element-malformed", "/created")),
        (
            lambda value: value.update(billablePeriod={"start": "2026-03-02", "end": "2026-03-01"}),
            Fault("fhir.element-malformed", "/billablePeriod"),
        ),
        (lambda value: value["item"][0].update(sequence="1"), Fault("fhir.element-malformed", "/item/0/sequence")),
        (lambda value: value["item"][0].update(sequence=0), Fault("fhir.element-malformed", "/item/0/sequence")),
        (lambda value: value["total"].update(value="1200.00"), Fault("fhir.element-malformed", "/total/value")),
        (lambda value: value["total"].update(currency="cny"), Fault("fhir.element-malformed", "/total/currency")),
        (
            lambda value: value["item"][1]["extension"][0].update(valueCode="both"),
            Fault("fhir.element-malformed", "/item/1/extension/0"),
        ),
    ],
)
def test_a_fault_is_named_by_code_and_place(change: Callable[[dict[str, Any]], None], fault: Fault) -> None:
    value = _as_object(a_claim())

    change(value)

    assert _refusal(value) == (fault,)


def test_all_faults_are_named_at_once_but_not_without_end() -> None:
    value = _as_object(a_claim())

    two = _refusal(value | {"status": "paid", "use": "gift"})
    many = _refusal(value | {"item": [{}] * 300})

    assert {fault.pointer for fault in two} == {"/status", "/use"}
    assert len(many) == FAULTS_MAX


def test_a_resource_of_another_kind_or_of_none_is_refused() -> None:
    for value in ({"resourceType": "Patient"}, {}, {"resourceType": ["Claim"]}):
        assert _refusal(value) == (Fault("fhir.resource-not-carried", "/resourceType"),)


def test_an_entry_outside_the_subset_is_left_out_and_moves_no_place() -> None:
    value = _without_amounts()
    value["entry"][1]["resource"] = {"resourceType": "Observation"}
    value["entry"][2]["resource"].pop("status")

    with pytest.raises(MalformedInputError) as refused:
        read_bundle(compact(value))
    with pytest.raises(MalformedInputError) as refused_by_edge:
        read_bundle(compact(value), refuse_unknown=True)

    assert refused.value.faults == (Fault("fhir.element-missing", "/entry/2/resource/status"),)
    assert refused_by_edge.value.faults == (
        Fault("fhir.resource-not-carried", "/entry/1/resource"),
        Fault("fhir.element-missing", "/entry/2/resource/status"),
    )


def test_a_bundle_of_another_type_or_without_one_is_refused() -> None:
    for change in ({"type": "transaction"}, {"type": None}):
        value = _without_amounts() | change
        with pytest.raises(MalformedInputError):
            read_bundle(compact(value))
    without_type = _without_amounts()
    without_type.pop("type")
    with pytest.raises(MalformedInputError):
        read_bundle(compact(without_type))


def test_two_entries_of_one_name_are_refused() -> None:
    value = _without_amounts()
    value["entry"][1]["fullUrl"] = value["entry"][0]["fullUrl"]

    with pytest.raises(MalformedInputError):
        read_bundle(compact(value))


def test_a_bundle_has_no_extensions() -> None:
    dossier = a_dossier()

    with pytest.raises(ValidationError):
        Bundle(type="collection", entry=dossier.entry, extension=(Extension(url="urn:x", value_boolean=True),))


def test_the_only_resource_of_a_kind_is_found_and_two_are_refused() -> None:
    dossier = a_dossier()
    twice = Bundle(type="collection", entry=(*dossier.entry, BundleEntry(resource=a_claim())))

    assert dossier.one(Claim) == a_claim()
    assert len(twice.all_of(Claim)) == 2
    for bundle, kind in ((twice, Claim), (dossier, ClaimResponse)):
        with pytest.raises(MalformedInputError) as refused:
            bundle.one(kind)

        assert refused.value.code == "fhir.not-exactly-one"


def test_content_over_the_cap_is_too_large() -> None:
    with pytest.raises(TooLargeError):
        read_resource(Claim, to_json(a_claim()), bytes_max=100)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_bundle_and_raise_the_one_refusal(raw: bytes) -> None:
    with pytest.raises(MalformedInputError):
        read_bundle(raw)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(_as_object(a_claim()))), JSON_VALUES)
def test_any_value_of_an_element_gives_a_claim_that_writes_or_the_one_refusal(name: str, changed: Any) -> None:
    try:
        claim = parse_resource(Claim, _as_object(a_claim()) | {name: changed})
    except MalformedInputError:
        return

    assert read_resource(Claim, to_json(claim)) == claim
