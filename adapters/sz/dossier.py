"""The content of a claim's dossier: an R4 collection Bundle of claim, patient, hospital, coverage and consent.

Only `minimise` calls this. Everything that says what a person has or got is in here and nowhere else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property, lru_cache

from adapters.sz import vocabulary as names
from adapters.sz.bill import BillLine, Coverage, HospitalBill, Netted, ProgrammeEvidence, RefundPair
from gateway.protocol.canonical import b64url
from gateway.protocol.charges import CHARGE_CATEGORIES
from gateway.protocol.claims import Eligibility
from gateway.protocol.clock import rfc3339
from gateway.protocol.fhir import resources, systems
from gateway.protocol.fhir.bundle import Bundle, BundleEntry
from gateway.protocol.fhir.claim import Claim, Diagnosis, Insurance, Item, ItemDetail, Payee, Procedure, SupportingInfo
from gateway.protocol.fhir.elements import (
    CodeableConcept,
    Coding,
    Extension,
    FhirMoney,
    HumanName,
    Identifier,
    Period,
    Quantity,
    Reference,
    fhir_money_of,
)
from gateway.protocol.registry import Route

PATIENT = Reference(reference="urn:szhk:resource:patient")
HOSPITAL = Reference(reference="urn:szhk:resource:hospital")
COVERAGE = Reference(reference="urn:szhk:resource:coverage")
CLAIM = Reference(reference="urn:szhk:resource:claim")
CONSENT = Reference(reference="urn:szhk:resource:consent")

CACHED_MAX = 8192
"""A hospital's items and prices recur from bill to bill; they are immutable and name no person."""

_NORMAL = CodeableConcept.of(systems.PROCESS_PRIORITY, "normal")
_INPATIENT = CodeableConcept.of(systems.CLAIM_TYPE, "institutional")
_OUTPATIENT = CodeableConcept.of(systems.CLAIM_TYPE, "professional")
_RECEIPT = CodeableConcept.of(systems.CLAIM_INFORMATION, "info")
_E_RECEIPT = CodeableConcept.of(names.INFORMATION, "e-receipt")
_PRINCIPAL = (CodeableConcept.of(names.DIAGNOSIS_TYPE, "principal"),)
_PRIVACY = CodeableConcept.of(systems.CONSENT_SCOPE, "patient-privacy")
_RESULT = Extension(url="result", value_code=Eligibility.UNDETERMINED.value)


@dataclass(frozen=True)
class Submission:
    """A bill that has passed every check, and what is made for this one submission.

    `nonce` and `salt` are 32 random bytes each: one hides the content from guessing by its hash, the other the
    consent. `case_id` is also the log's random reference to the case.
    """

    bill: HospitalBill
    netted: Netted
    hospital: str
    route: Route
    msg_id: str
    case_id: str
    claim_id: str
    claim_version: int
    nonce: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    at: datetime

    @cached_property
    def consent(self) -> bytes:
        """The consent's bytes, written once: they stand in the dossier and under the commitment."""
        return self.bill.consent.encode()


def bundle(submission: Submission) -> Bundle:
    """Put the dossier's content together."""
    bill = submission.bill
    entries = (
        (CLAIM, _claim(submission)),
        (PATIENT, _patient(bill)),
        (HOSPITAL, _hospital(bill)),
        (COVERAGE, _coverage(bill.coverage, bill.billing.payer_rank)),
        (CONSENT, _consent(submission)),
    )
    return Bundle(
        type="collection",
        timestamp=rfc3339(submission.at),
        entry=tuple(BundleEntry(full_url=at.reference, resource=resource) for at, resource in entries),
    )


def _claim(submission: Submission) -> Claim:
    bill, netted = submission.bill, submission.netted
    billing, visit = bill.billing, bill.visit
    ids = (
        (names.CLAIM_ID, submission.claim_id),
        (names.CASE_ID, submission.case_id),
        (names.CLAIM_NUMBER, billing.claim_number),
    )
    refunds = {pair.original.serial: pair for pair in netted.pairs}
    kept = {line.serial for line in netted.lines}
    return Claim(
        identifier=_identifiers((*ids, (names.VISIT, visit.visit_id), (names.RECORD_NUMBER, visit.record_no))),
        extension=(
            Extension(url=names.NONCE, value_string=b64url(submission.nonce)),
            Extension(url=names.CLAIM_VERSION, value_integer=submission.claim_version),
            *_billing(bill),
            *(_refunded(pair) for serial, pair in refunds.items() if serial not in kept),
        ),
        status="active",
        type=_INPATIENT if visit.inpatient else _OUTPATIENT,
        use="claim",
        patient=PATIENT,
        billable_period=Period(start=str(visit.begins), end=str(visit.ends)),
        created=rfc3339(submission.at),
        provider=HOSPITAL,
        priority=_NORMAL,
        payee=Payee(
            type=CodeableConcept.of(systems.PAYEE_TYPE, "provider" if billing.payee == "hospital" else "subscriber")
        ),
        supporting_info=tuple(_receipts(bill)),
        diagnosis=tuple(
            Diagnosis(
                sequence=place,
                diagnosis_codeable_concept=CodeableConcept.of(systems.ICD10_CN, found.code, found.name),
                type=_PRINCIPAL if found.main else (),
            )
            for place, found in enumerate(bill.diagnoses, 1)
        ),
        procedure=tuple(
            Procedure(
                sequence=place,
                date=str(found.on) if found.on else None,
                procedure_codeable_concept=CodeableConcept.of(systems.ICD9CM3_CN, found.code, found.name),
            )
            for place, found in enumerate(bill.procedures, 1)
        ),
        insurance=(Insurance(sequence=1, focal=True, coverage=COVERAGE),),
        item=tuple(_item(place, line, refunds.get(line.serial)) for place, line in enumerate(netted.lines, 1)),
        total=fhir_money_of(billing.total),
    )


def _identifiers(pairs: Iterable[tuple[str, str | None]]) -> tuple[Identifier, ...]:
    return tuple(Identifier(system=system, value=value) for system, value in pairs if value)


def _billing(bill: HospitalBill) -> Iterator[Extension]:
    """Say who pays whom once more, so that the reader can hold it against the manifest."""
    billing = bill.billing
    yield Extension(
        url=names.BILLING,
        extension=(
            Extension(url="billing_mode", value_code=billing.billing_mode.value),
            Extension(url="payee", value_code=billing.payee.value),
            Extension(url="payer_rank", value_integer=billing.payer_rank),
            Extension(url="unpaid", value_money=fhir_money_of(billing.unpaid)),
            Extension(url="asked", value_money=fhir_money_of(billing.asked)),
        ),
    )
    for payment in billing.paid:
        yield Extension(
            url=names.PAID,
            extension=(
                Extension(url="kind", value_code=payment.kind.value),
                Extension(url="amount", value_money=fhir_money_of(payment.amount)),
                Extension(url="order", value_integer=payment.order),
            ),
        )


def _receipts(bill: HospitalBill) -> Iterator[SupportingInfo]:
    for place, receipt in enumerate(bill.receipts, 1):
        yield SupportingInfo(
            sequence=place,
            category=_RECEIPT,
            code=_E_RECEIPT,
            timing_date=str(receipt.issued_on) if receipt.issued_on else None,
            value_string=f"{receipt.code}|{receipt.number}|{receipt.check_code}",
            extension=(Extension(url=names.RECEIPT_AMOUNT, value_money=fhir_money_of(receipt.amount)),),
        )


@lru_cache(maxsize=64)
def _category(code: str) -> CodeableConcept:
    return CodeableConcept.of(systems.CHARGE_CATEGORY, code, CHARGE_CATEGORIES[code].zh_hans)


@lru_cache(maxsize=CACHED_MAX)
def _coded(national_code: str | None, hospital_code: str | None, text: str) -> CodeableConcept:
    known = ((systems.NHSA_ITEM, national_code), (systems.HOSPITAL_ITEM, hospital_code))
    return CodeableConcept(coding=tuple(Coding(system=system, code=code) for system, code in known if code), text=text)


def _product(line: BillLine) -> CodeableConcept:
    text = line.name if line.specification is None else f"{line.name} {line.specification}"
    return _coded(line.national_code, line.hospital_code, text)


@lru_cache(maxsize=CACHED_MAX)
def _quantity(digits: str) -> Quantity:
    return Quantity(value=Decimal(digits))


@lru_cache(maxsize=CACHED_MAX)
def _price(digits: str, currency: str) -> FhirMoney:
    return FhirMoney(value=Decimal(digits), currency=currency)


_money = lru_cache(maxsize=CACHED_MAX)(fhir_money_of)


def _item(place: int, line: BillLine, pair: RefundPair | None) -> Item:
    extensions = [Extension(url=names.SERIAL, value_string=line.serial)]
    if line.programme is not None:
        extensions.append(_programme(line.programme))
    return Item(
        sequence=place,
        extension=tuple(extensions),
        category=_category(line.category),
        product_or_service=_product(line),
        serviced_date=str(line.charged_at.date()) if line.charged_at else None,
        quantity=_quantity(str(line.quantity)),
        unit_price=_price(str(line.unit_price), line.amount.currency),
        net=_money(line.amount),
        detail=() if pair is None else tuple(_details(pair)),
    )


def _details(pair: RefundPair) -> Iterator[ItemDetail]:
    """Keep a charge and its refunds as the hospital wrote them under the line that is left of them."""
    for place, line in enumerate((pair.original, *pair.refunds), 1):
        yield ItemDetail(
            sequence=place,
            extension=(Extension(url=names.SERIAL, value_string=line.serial),),
            product_or_service=_product(line),
            quantity=_quantity(str(line.quantity)),
            unit_price=_price(str(line.unit_price), line.amount.currency),
            net=_money(line.amount),
        )


def _refunded(pair: RefundPair) -> Extension:
    """Keep a line that was refunded whole, although it is no item any more."""
    return Extension(
        url=names.REFUNDED_LINE,
        extension=tuple(
            Extension(
                url="original" if line.refund_of is None else "refund",
                extension=(
                    Extension(url="serial", value_string=line.serial),
                    Extension(url="item", value_codeable_concept=_product(line)),
                    Extension(url="quantity", value_decimal=line.quantity),
                    Extension(url="amount", value_money=fhir_money_of(line.amount)),
                ),
            )
            for line in (pair.original, *pair.refunds)
        ),
    )


def _programme(evidence: ProgrammeEvidence) -> Extension:
    """Write the facts of a 港澳药械通 use; the result is undetermined until a catalogue release can tell."""
    texts = (
        ("product_key", evidence.product_key),
        ("approval_no", evidence.approval_no),
        ("hk_reg_no", evidence.hk_reg_no),
        ("udi", evidence.udi),
        ("lot", evidence.lot),
        ("expires_on", str(evidence.expires_on) if evidence.expires_on else None),
        ("trace_code", evidence.trace_code),
        ("used_at", rfc3339(evidence.used_at) if evidence.used_at else None),
        ("indication_code", evidence.indication_code),
        ("consent_hash", evidence.consent_hash),
    )
    told = (Extension(url=name, value_string=text) for name, text in texts if text)
    return Extension(url=systems.PROGRAMME, extension=(_RESULT, *told))


def _patient(bill: HospitalBill) -> resources.Patient:
    patient, coverage = bill.patient, bill.coverage
    certificate = names.CERTIFICATE.format(patient.certificate_type)
    written = ((patient.name, "zh-Hans"), (coverage.insured_name_hant, "zh-Hant"), (coverage.insured_name_en, "en"))
    return resources.Patient(
        identifier=(
            systems.identifier_of("hkid", coverage.hkid),
            *_identifiers([(certificate, patient.certificate_no)]),
        ),
        name=tuple(HumanName(id=language, text=text) for text, language in written if text),
        gender=patient.gender.value,
        birth_date=str(patient.birth_date) if patient.birth_date else None,
        extension=(Extension(url=names.RESIDENCY, value_code=coverage.residency.value),),
    )


def _hospital(bill: HospitalBill) -> resources.Organization:
    code = systems.identifier_of("nhsa_institution", bill.institution_code)
    return resources.Organization(identifier=(code,), name=bill.institution_name)


def _coverage(coverage: Coverage, rank: int) -> resources.Coverage:
    parties = (("carrier", coverage.carrier), ("administrator", coverage.administrator), ("payer", coverage.payer))
    return resources.Coverage(
        identifier=(Identifier(system=names.POLICY, value=coverage.policy_number),),
        status="active",
        type=CodeableConcept.of(names.POLICY_KIND, coverage.policy_kind.value),
        beneficiary=PATIENT,
        payor=tuple(
            Reference(identifier=Identifier(system=names.PARTY, value=code), display=role)
            for role, code in parties
            if code
        ),
        order=rank,
    )


def _consent(submission: Submission) -> resources.Consent:
    consent = submission.bill.consent
    flags = consent.separate_consents
    given = (
        ("sensitive", flags.sensitive),
        ("provide_to_other_processor", flags.provide_to_other_processor),
        ("cross_border", flags.cross_border),
    )
    recipient = Reference(identifier=Identifier(system=names.PARTY, value=submission.route.reader))
    return resources.Consent(
        extension=(
            Extension(url=names.CONSENT_TEXT, value_string=submission.consent.decode()),
            Extension(url=names.CONSENT_SALT, value_string=b64url(submission.salt)),
        ),
        identifier=_identifiers([("urn:szhk:id:consent", consent.consent_id)]),
        status="active",
        scope=_PRIVACY,
        category=(CodeableConcept(text="cross-border claim"),),
        patient=PATIENT,
        date_time=rfc3339(consent.given_at) if consent.given_at else None,
        provision=resources.ConsentProvision(
            type="permit",
            actor=(resources.ConsentActor(role=CodeableConcept(text="recipient"), reference=recipient),),
            action=tuple(CodeableConcept.of(names.CONSENT_ACTION, name) for name, flag in given if flag),
            purpose=tuple(Coding(system=names.PURPOSE, code=purpose) for purpose in sorted(consent.purposes)),
            class_=tuple(Coding(system=names.DATA_CATEGORY, code=kind) for kind in sorted(consent.data_categories)),
        ),
    )
