"""Checks of identifiers: check digits and forms, by the scheme that each field is of."""

from adapters.sz import schemes
from adapters.sz.findings import SHA256, Findings
from adapters.sz.schemes import Parser
from gateway.protocol.identifiers import parse_hkid
from gateway.protocol.product_identifiers import (
    parse_e_receipt,
    parse_hk_drug_reg,
    parse_icd9cm3_cn_nhsa,
    parse_icd10_cn_nhsa,
    parse_nhsa_institution,
)

CERTIFICATE_TYPES = frozenset({"01", "04", "05", "06", "07", "08", "14", "90", "99"})
"""National list of certificate types; a site that keeps its own maps it in its format."""


def check(findings: Findings) -> None:
    _check_persons(findings)
    _check_codes(findings)
    _check_lines(findings)
    _check_receipts(findings)


def _refuse(findings: Findings, parse: Parser, text: str | None, pointer: str) -> None:
    """Refuse a text that its scheme refuses; an unreadable or absent one has been told already."""
    code = schemes.refused(parse, text) if text else None
    if code is not None:
        findings.fault(code, pointer)


def _check_persons(findings: Findings) -> None:
    bill = findings.bill
    _refuse(findings, parse_hkid, bill.coverage.hkid, "/coverage/hkid")
    patient = bill.patient
    if not patient.certificate_type or not patient.certificate_no:
        return
    if patient.certificate_type not in CERTIFICATE_TYPES:
        findings.fault("certificate.type-unknown", "/patient/certificate_type")
        return
    parse = schemes.certificate_parser(patient.certificate_type, patient.certificate_no)
    if parse is not None:
        _refuse(findings, parse, patient.certificate_no, "/patient/certificate_no")
    elif patient.certificate_type in schemes.MAINLAND_PERMITS and not schemes.is_passport_form(patient.certificate_no):
        findings.warn("certificate.form-unknown", "/patient/certificate_no")


def _check_codes(findings: Findings) -> None:
    bill = findings.bill
    _refuse(findings, parse_nhsa_institution, bill.institution_code, "/institution_code")
    for index, diagnosis in enumerate(bill.diagnoses):
        _refuse(findings, parse_icd10_cn_nhsa, diagnosis.code, f"/diagnoses/{index}/code")
    if findings.sound("/diagnoses") and sum(diagnosis.main for diagnosis in bill.diagnoses) != 1:
        findings.fault("bill.main-diagnosis", "/diagnoses")
    for index, procedure in enumerate(bill.procedures):
        _refuse(findings, parse_icd9cm3_cn_nhsa, procedure.code, f"/procedures/{index}/code")


def _check_lines(findings: Findings) -> None:
    serials: set[str] = set()
    traced: set[str] = set()
    for index, line in enumerate(findings.bill.lines):
        stood_before = line.serial in serials and bool(line.serial)
        if stood_before:
            findings.fault("line.serial-twice", f"/lines/{index}/serial")
        serials.add(line.serial)
        _check_item_code(findings, line.national_code, f"/lines/{index}/national_code")
        if line.programme is not None:
            # the codes of a line that stands twice are not told as well
            _check_programme(findings, index, set() if stood_before else traced)


def _check_item_code(findings: Findings, code: str | None, pointer: str) -> None:
    """Refuse drug and service codes of a wrong form; consumables, patent medicine and unknown layouts only warn."""
    if code is None:
        findings.warn("line.code-unmapped", pointer)
        return
    parse = schemes.item_code_parser(code)
    if parse is not None:
        _refuse(findings, parse, code, pointer)
    elif not schemes.is_consumable_or_patent(code):
        findings.warn("line.code-unmapped", pointer)


def _check_programme(findings: Findings, index: int, traced: set[str]) -> None:
    """Check evidence that is there; what is missing leaves the use undetermined and refuses nothing."""
    line = findings.bill.lines[index]
    evidence = line.programme
    if evidence is None:
        return
    at = f"/lines/{index}/programme"
    _refuse(findings, parse_hk_drug_reg, evidence.hk_reg_no, f"{at}/hk_reg_no")
    _refuse(findings, parse_icd10_cn_nhsa, evidence.indication_code, f"{at}/indication_code")
    if evidence.udi:
        _refuse(findings, schemes.udi, evidence.udi, f"{at}/udi")
        if not schemes.is_udi_checked(evidence.udi):
            findings.warn("programme.udi-unchecked", f"{at}/udi")
    if evidence.consent_hash and not SHA256.fullmatch(evidence.consent_hash):
        findings.fault("field.not-a-hash", f"{at}/consent_hash")
    if evidence.trace_code and line.refund_of is None:
        if evidence.trace_code in traced:
            findings.fault("programme.trace-code-twice", f"{at}/trace_code")
        traced.add(evidence.trace_code)
    if not (evidence.approval_no and evidence.trace_code and evidence.consent_hash):
        findings.warn("programme.evidence-missing", at)


def _check_receipts(findings: Findings) -> None:
    seen: set[tuple[str, str]] = set()
    for index, receipt in enumerate(findings.bill.receipts):
        if receipt.code and receipt.number and receipt.check_code:
            text = f"{receipt.code}|{receipt.number}|{receipt.check_code}"
            _refuse(findings, parse_e_receipt, text, f"/receipts/{index}")
        if (receipt.code, receipt.number) in seen and receipt.number:
            findings.fault("receipt.twice", f"/receipts/{index}")
        seen.add((receipt.code, receipt.number))
    figures = findings.bill.figures
    named = (figures.receipt_code, figures.receipt_number)
    if None not in named and findings.sound("/receipts") and named not in seen:
        findings.fault("receipt.not-the-settlement-lists", "/figures/receipt_number")
