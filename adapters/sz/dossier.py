"""The content of a claim's dossier: an R4 collection Bundle of claim, patient, hospital, coverage and consent.

Only `minimise` calls this. Everything that says what a person has or got is in here and nowhere else. The bundle is
written as JSON members rather than through the models of `gateway.protocol.fhir`: the bill has just been checked field
by field, and a second validation would cost more than sealing and signing together. Tests read every dossier back
through those models, unknown elements refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any

from adapters.sz.bill import BillLine, Coverage, HospitalBill, Netted, ProgrammeEvidence, RefundPair
from adapters.sz.r4_json import lexical
from gateway.protocol.canonical import b64url
from gateway.protocol.charges import CHARGE_CATEGORIES
from gateway.protocol.claim_terms import Eligibility
from gateway.protocol.clock import rfc3339
from gateway.protocol.fhir import systems
from gateway.protocol.identifiers import parse_hkid
from gateway.protocol.money import Money
from gateway.protocol.registry import Route

R4 = dict[str, Any]
"""An element or resource: members in R4's names and order; amounts and quantities are `r4_json.lexical`."""

PATIENT = "urn:szhk:resource:patient"
HOSPITAL = "urn:szhk:resource:hospital"
COVERAGE = "urn:szhk:resource:coverage"
CLAIM = "urn:szhk:resource:claim"
CONSENT = "urn:szhk:resource:consent"

CACHED_MAX = 8192
"""A hospital's items recur from bill to bill; what is cached is never changed and names no person."""


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


def bundle(submission: Submission) -> R4:
    """Put the dossier's content together."""
    bill = submission.bill
    entries = (
        (CLAIM, _claim(submission)),
        (PATIENT, _patient(bill)),
        (HOSPITAL, _hospital(bill)),
        (COVERAGE, _coverage(bill.coverage, bill.billing.payer_rank)),
        (CONSENT, _consent(submission)),
    )
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": rfc3339(submission.at),
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


# Datatypes


def _concept(system: str, code: str, display: str | None = None) -> R4:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]}


def _money(amount: Money) -> R4:
    return {"value": lexical(Decimal(amount.amount_minor).scaleb(-2)), "currency": amount.currency}


def _identifier(system: str, value: str) -> R4:
    return {"system": system, "value": value}


def _party(code: str) -> R4:
    return {"identifier": _identifier(systems.PARTY, code)}


# The claim


def _claim(submission: Submission) -> R4:
    bill, visit = submission.bill, submission.bill.visit
    payee = "provider" if bill.billing.payee == "hospital" else "subscriber"
    claim: R4 = {
        "resourceType": "Claim",
        "extension": list(_claim_extensions(submission)),
        "identifier": list(_claim_identifiers(submission)),
        "status": "active",
        "type": _concept(systems.CLAIM_TYPE, "institutional" if visit.inpatient else "professional"),
        "use": "claim",
        "patient": {"reference": PATIENT},
        "billablePeriod": {"start": str(visit.begins), "end": str(visit.ends)},
        "created": rfc3339(submission.at),
        "provider": {"reference": HOSPITAL},
        "priority": _concept(systems.PROCESS_PRIORITY, "normal"),
        "payee": {"type": _concept(systems.PAYEE_TYPE, payee)},
        "supportingInfo": list(_receipts(bill)),
        "diagnosis": list(_diagnoses(bill)),
    }
    if bill.procedures:
        claim["procedure"] = list(_procedures(bill))
    claim["insurance"] = [{"sequence": 1, "focal": True, "coverage": {"reference": COVERAGE}}]
    claim["item"] = list(_items(submission.netted))
    claim["total"] = _money(bill.billing.total)
    return claim


def _claim_identifiers(submission: Submission) -> Iterator[R4]:
    bill = submission.bill
    yield _identifier(systems.CLAIM_ID, submission.claim_id)
    yield _identifier(systems.CASE_ID, submission.case_id)
    yield _identifier(systems.CLAIM_NUMBER, bill.billing.claim_number)
    yield _identifier(systems.VISIT, bill.visit.visit_id)
    if bill.visit.record_no:
        yield _identifier(systems.RECORD_NUMBER, bill.visit.record_no)


def _claim_extensions(submission: Submission) -> Iterator[R4]:
    """Say who pays whom once more, so that the reader can hold it against the manifest; keep lines refunded whole."""
    billing = submission.bill.billing
    yield {"url": systems.NONCE, "valueString": b64url(submission.nonce)}
    yield {"url": systems.CLAIM_VERSION, "valueInteger": submission.claim_version}
    told = [
        {"url": "billing_mode", "valueCode": billing.billing_mode.value},
        {"url": "payee", "valueCode": billing.payee.value},
        {"url": "payer_rank", "valueInteger": billing.payer_rank},
        {"url": "unpaid", "valueMoney": _money(billing.unpaid)},
        {"url": "asked", "valueMoney": _money(billing.asked)},
    ]
    yield {"extension": told, "url": systems.BILLING}
    for payment in billing.paid:
        paid = [
            {"url": "kind", "valueCode": payment.kind.value},
            {"url": "amount", "valueMoney": _money(payment.amount)},
            {"url": "order", "valueInteger": payment.order},
        ]
        yield {"extension": paid, "url": systems.PAID}
    kept = {line.serial for line in submission.netted.lines}
    for pair in submission.netted.pairs:
        if pair.original.serial not in kept:
            yield {"extension": [_refunded(line) for line in pair.lines], "url": systems.REFUNDED_LINE}


def _refunded(line: BillLine) -> R4:
    told = [
        {"url": "serial", "valueString": line.serial},
        {"url": "item", "valueCodeableConcept": _product(line)},
        {"url": "quantity", "valueDecimal": lexical(line.quantity)},
        {"url": "amount", "valueMoney": _money(line.amount)},
    ]
    return {"extension": told, "url": "original" if line.refund_of is None else "refund"}


def _receipts(bill: HospitalBill) -> Iterator[R4]:
    for place, receipt in enumerate(bill.receipts, 1):
        issued = {"timingDate": str(receipt.issued_on)} if receipt.issued_on else {}
        yield {
            "extension": [{"url": systems.RECEIPT_AMOUNT, "valueMoney": _money(receipt.amount)}],
            "sequence": place,
            "category": _concept(systems.CLAIM_INFORMATION, "info"),
            "code": _concept(systems.INFORMATION, "e-receipt"),
            **issued,
            "valueString": f"{receipt.code}|{receipt.number}|{receipt.check_code}",
        }


def _diagnoses(bill: HospitalBill) -> Iterator[R4]:
    for place, found in enumerate(bill.diagnoses, 1):
        diagnosis: R4 = {
            "sequence": place,
            "diagnosisCodeableConcept": _concept(systems.ICD10_CN, found.code, found.name),
        }
        if found.main:
            diagnosis["type"] = [_concept(systems.DIAGNOSIS_TYPE, "principal")]
        yield diagnosis


def _procedures(bill: HospitalBill) -> Iterator[R4]:
    for place, found in enumerate(bill.procedures, 1):
        on = {"date": str(found.on)} if found.on else {}
        concept = _concept(systems.ICD9CM3_CN, found.code, found.name)
        yield {"sequence": place, **on, "procedureCodeableConcept": concept}


# Lines


@lru_cache(maxsize=64)
def _category(code: str) -> R4:
    return _concept(systems.CHARGE_CATEGORY, code, CHARGE_CATEGORIES[code].zh_hans)


@lru_cache(maxsize=CACHED_MAX)
def _coded(national_code: str | None, hospital_code: str | None, text: str) -> R4:
    known = ((systems.NHSA_ITEM, national_code), (systems.HOSPITAL_ITEM, hospital_code))
    codings = [{"system": system, "code": code} for system, code in known if code]
    return ({"coding": codings} if codings else {}) | {"text": text}


def _product(line: BillLine) -> R4:
    text = line.name if line.specification is None else f"{line.name} {line.specification}"
    return _coded(line.national_code, line.hospital_code, text)


def _items(netted: Netted) -> Iterator[R4]:
    pairs = {pair.original.serial: pair for pair in netted.pairs}
    for place, line in enumerate(netted.lines, 1):
        extensions: list[R4] = [{"url": systems.SERIAL, "valueString": line.serial}]
        if line.programme is not None:
            extensions.append(_programme(line.programme))
        item: R4 = {
            "extension": extensions,
            "sequence": place,
            "category": _category(line.category),
            "productOrService": _product(line),
        }
        if line.charged_at:
            item["servicedDate"] = str(line.charged_at.date())
        item["quantity"] = {"value": lexical(line.quantity)}
        item["unitPrice"] = {"value": lexical(line.unit_price), "currency": line.amount.currency}
        item["net"] = _money(line.amount)
        if line.serial in pairs:
            item["detail"] = list(_details(pairs[line.serial]))
        yield item


def _details(pair: RefundPair) -> Iterator[R4]:
    """Keep a charge and its refunds as the hospital wrote them under the line that is left of them."""
    for place, line in enumerate(pair.lines, 1):
        yield {
            "extension": [{"url": systems.SERIAL, "valueString": line.serial}],
            "sequence": place,
            "productOrService": _product(line),
            "quantity": {"value": lexical(line.quantity)},
            "unitPrice": {"value": lexical(line.unit_price), "currency": line.amount.currency},
            "net": _money(line.amount),
        }


def _programme(evidence: ProgrammeEvidence) -> R4:
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
    told: list[R4] = [{"url": "result", "valueCode": Eligibility.UNDETERMINED.value}]
    told += ({"url": name, "valueString": text} for name, text in texts if text)
    return {"extension": told, "url": systems.PROGRAMME}


# Persons, policy, consent


def _patient(bill: HospitalBill) -> R4:
    patient, coverage = bill.patient, bill.coverage
    certificate = systems.CERTIFICATE.format(patient.certificate_type)
    written = ((patient.name, "zh-Hans"), (coverage.insured_name_hant, "zh-Hant"), (coverage.insured_name_en, "en"))
    return {
        "resourceType": "Patient",
        "extension": [{"url": systems.RESIDENCY, "valueCode": coverage.residency.value}],
        "identifier": [
            _identifier(systems.HKID, parse_hkid(coverage.hkid)),
            _identifier(certificate, patient.certificate_no),
        ],
        "name": [{"id": language, "text": text} for text, language in written if text],
        "gender": patient.gender.value,
        "birthDate": str(patient.birth_date),
    }


def _hospital(bill: HospitalBill) -> R4:
    code = _identifier(systems.INSTITUTION, bill.institution_code)
    return {"resourceType": "Organization", "identifier": [code], "name": bill.institution_name}


def _coverage(coverage: Coverage, rank: int) -> R4:
    parties = (("carrier", coverage.carrier), ("administrator", coverage.administrator), ("payer", coverage.payer))
    return {
        "resourceType": "Coverage",
        "identifier": [_identifier(systems.POLICY, coverage.policy_number)],
        "status": "active",
        "type": _concept(systems.POLICY_KIND, coverage.policy_kind.value),
        "beneficiary": {"reference": PATIENT},
        "payor": [_party(code) | {"display": role} for role, code in parties if code],
        "order": rank,
    }


def _consent(submission: Submission) -> R4:
    consent = submission.bill.consent
    flags = consent.separate_consents
    given = (
        ("sensitive", flags.sensitive),
        ("provide_to_other_processor", flags.provide_to_other_processor),
        ("cross_border", flags.cross_border),
    )
    recipient = {"role": {"text": "recipient"}, "reference": _party(submission.route.reader)}
    return {
        "resourceType": "Consent",
        "extension": [
            {"url": systems.CONSENT_TEXT, "valueString": submission.consent.decode()},
            {"url": systems.CONSENT_SALT, "valueString": b64url(submission.salt)},
        ],
        "identifier": [_identifier(systems.CONSENT_ID, consent.consent_id)],
        "status": "active",
        "scope": _concept(systems.CONSENT_SCOPE, "patient-privacy"),
        "category": [{"text": "cross-border claim"}],
        "patient": {"reference": PATIENT},
        **({"dateTime": rfc3339(consent.given_at)} if consent.given_at else {}),
        "provision": {
            "type": "permit",
            "actor": [recipient],
            "action": [_concept(systems.CONSENT_ACTION, name) for name, flag in given if flag],
            "purpose": [{"system": systems.PURPOSE, "code": purpose.value} for purpose in sorted(consent.purposes)],
            "class": [
                {"system": systems.DATA_CATEGORY, "code": kind.value} for kind in sorted(consent.data_categories)
            ],
        },
    }
