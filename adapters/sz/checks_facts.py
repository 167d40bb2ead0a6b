"""Checks of facts that stand inside an identifier against the same facts beside it.

A fact that the scheme's standard fixes refuses the bill when it differs: one of the two is wrong, and the wrong person,
device or lot would be claimed for. What practice allows to differ, or no public source fixes, warns.
"""

from datetime import date

from adapters.sz import schemes
from adapters.sz.bill import BillLine, Gender, ProgrammeEvidence
from adapters.sz.findings import Findings
from gateway.protocol.product_identifiers import parse_e_receipt, parse_nhsa_institution
from gateway.protocol.udi import UdiFacts, facts_of

CATEGORY_OF_CODE = {"X": "09", "Z": "11", "T": "10", "C": "08"}
"""Charge category by the first character of a national item code: western drug, patent medicine, herbal pieces,
consumable. A service, whose code begins with a digit, is of any other category."""


def check(findings: Findings) -> None:
    _check_certificate(findings)
    devices: set[str] = set()
    serials: set[str] = set()
    for index, line in enumerate(findings.bill.lines):
        _check_category(findings, line, f"/lines/{index}/category")
        if line.programme is not None:
            # the device of a line that stands twice is not told as well
            before = set() if line.serial in serials else devices
            _check_device(findings, line, line.programme, f"/lines/{index}/programme", before)
        serials.add(line.serial)
    _check_receipts(findings)


def _check_certificate(findings: Findings) -> None:
    """Hold birth date (characters 7 to 14) and sex (17: odd male, even female) of GB 11643 against the patient's.

    A Home Return Permit begins with H for Hong Kong and M for Macao, which have certificate types of their own.
    """
    patient = findings.bill.patient
    number = patient.certificate_no
    parser = schemes.certificate_parser(patient.certificate_type, number)
    if parser is None or schemes.refused(parser, number) is not None:
        return
    born = schemes.birth_date_in(patient.certificate_type, number)
    if born is not None:
        if patient.birth_date is not None and patient.birth_date != born:
            findings.fault("certificate.birth-date-differs", "/patient/birth_date")
        sex = Gender.MALE if int(number[16]) % 2 else Gender.FEMALE
        if patient.gender in (Gender.MALE, Gender.FEMALE) and patient.gender is not sex:
            findings.fault("certificate.sex-differs", "/patient/gender")
    # Residence permits have no type of their own in the national list: they come under 01 and 99, too.
    expected = _TYPE_OF_NUMBER.get(number[:6] if number[0].isdecimal() else number[0])
    if patient.certificate_type in _TYPES_WITH_PLACE and patient.certificate_type != expected:
        findings.warn("certificate.type-differs", "/patient/certificate_type")


_TYPES_WITH_PLACE = frozenset({"04", "05", "06"})
_TYPE_OF_NUMBER = {"H": "04", "M": "05", "810000": "04", "820000": "05", "830000": "06"}


def _check_category(findings: Findings, line: BillLine, pointer: str) -> None:
    """Warn where code and charge category name different kinds of item: hospitals map some of them in their own way."""
    code = line.national_code
    if not code or not line.category:
        return
    if code[0].isdecimal():
        differs = line.category in CATEGORY_OF_CODE.values()
    elif code[0] == "X" or schemes.is_consumable_or_patent(code):
        differs = line.category != CATEGORY_OF_CODE[code[0]]
    else:
        return
    if differs:
        findings.warn("line.category-differs", pointer)


def _check_device(findings: Findings, line: BillLine, evidence: ProgrammeEvidence, at: str, devices: set[str]) -> None:
    identifier = evidence.udi or ""
    known = schemes.is_udi_checked(identifier) and schemes.refused(schemes.udi, identifier) is None
    facts = facts_of(identifier) if known else UdiFacts()
    if evidence.lot and facts.lot and evidence.lot.casefold() != facts.lot.casefold():
        findings.fault("programme.lot-differs", f"{at}/lot")
    if evidence.expires_on and facts.expires_on and not _same_expiry(evidence.expires_on, facts):
        findings.fault("programme.expiry-differs", f"{at}/expires_on")
    if facts.made_on and facts.expires_on and facts.expires_on < facts.made_on:
        findings.fault("programme.made-after-expiry", f"{at}/udi")
    _check_use(findings, line, evidence, facts, at)
    if facts.serial and line.refund_of is None:
        if identifier in devices:
            findings.fault("programme.device-twice", f"{at}/udi")
        devices.add(identifier)


def _check_use(findings: Findings, line: BillLine, evidence: ProgrammeEvidence, facts: UdiFacts, at: str) -> None:
    """Warn of a use that the identifier's dates speak against: it may have happened, and the insurer has to know."""
    used = evidence.used_at or line.charged_at
    if used is None:
        return
    pointer = f"{at}/used_at"
    expires = evidence.expires_on or facts.expires_on
    if expires is not None and used.date() > expires:
        findings.warn("programme.used-after-expiry", pointer)
    if facts.made_on is not None and used.date() < facts.made_on:
        findings.warn("programme.used-before-made", pointer)


def _same_expiry(stated: date, facts: UdiFacts) -> bool:
    expires = facts.expires_on
    if expires is None or stated == expires:
        return True
    return facts.month_only and (stated.year, stated.month) == (expires.year, expires.month)


def _check_receipts(findings: Findings) -> None:
    """Hold region (digits 1 and 2) and year (7 and 8) of a receipt's code against the institution's and its date.

    Only a warning: a code may be that of a central body, or taken from last year's stock in January.
    """
    institution = findings.bill.institution_code
    region = institution[1:3] if schemes.refused(parse_nhsa_institution, institution) is None else ""
    for index, receipt in enumerate(findings.bill.receipts):
        code = receipt.code
        if schemes.refused(parse_e_receipt, f"{code}|{receipt.number}|{receipt.check_code}") is not None:
            continue
        if receipt.issued_on is not None and code[6:8] != f"{receipt.issued_on.year % 100:02d}":
            findings.warn("receipt.year-differs", f"/receipts/{index}/code")
        if region and code[:2] not in (region, "00"):
            findings.warn("receipt.region-differs", f"/receipts/{index}/code")
