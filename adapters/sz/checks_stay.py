"""Checks of time and place: the stay runs forward, charges lie inside it, nothing lies in the future."""

from datetime import date, timedelta

from adapters.sz.findings import Findings
from adapters.sz.schemes import refused
from gateway.protocol.charges import CHARGE_CATEGORIES
from gateway.protocol.product_identifiers import parse_nhsa_institution

CHARGES_OUTSIDE_MIN = 3
"""Fewer charges outside the stay are told each for itself, even where a bill has no others."""


def check(findings: Findings) -> None:
    begins, ends = _check_stay(findings)
    earliest, latest = _check_against_charges(findings, begins, ends)
    _check_lines(findings, earliest, latest)
    today = findings.around.today
    for index, procedure in enumerate(findings.bill.procedures):
        if procedure.on is not None and _outside(procedure.on, earliest, latest):
            findings.fault("procedure.outside-stay", f"/procedures/{index}/on")
    for index, receipt in enumerate(findings.bill.receipts):
        if receipt.issued_on is not None and receipt.issued_on > today:
            findings.fault("date.future", f"/receipts/{index}/issued_on")
    born = findings.bill.patient.birth_date
    if born is not None and (born > today or (begins is not None and born > begins)):
        findings.fault("patient.born-later", "/patient/birth_date")
    code = findings.bill.institution_code
    if code and code not in findings.around.site.institution_codes and refused(parse_nhsa_institution, code) is None:
        findings.fault("bill.other-hospital", "/institution_code")


def _check_stay(findings: Findings) -> tuple[date | None, date | None]:
    """Check the stay and return its first and last day, or None where they cannot be relied on."""
    visit = findings.bill.visit
    first, last = ("/visit/admitted_at", "/visit/discharged_at") if visit.inpatient else _SERVICE
    if not findings.sound("/visit/admitted_at", "/visit/discharged_at", *_SERVICE):
        return None, None
    if visit.begins is None or visit.ends is None:
        findings.fault("stay.dates-missing", first if visit.begins is None else last)
        return None, None
    backwards = visit.ends < visit.begins
    if visit.admitted_at and visit.discharged_at:
        backwards = visit.discharged_at < visit.admitted_at
    if backwards:
        findings.fault("stay.ends-before-start", last)
        return None, None
    if visit.ends > findings.around.today or (visit.discharged_at and visit.discharged_at > findings.around.now):
        findings.fault("date.future", last)
    return visit.begins, visit.ends


_SERVICE = ("/visit/first_day", "/visit/last_day")


def _check_against_charges(
    findings: Findings, begins: date | None, ends: date | None
) -> tuple[date | None, date | None]:
    """Tell a first or last day that most charges speak against once, and return the days to hold each charge against.

    A wrong admission date would else be told by every line before it.
    """
    days = [line.charged_at.date() for line in findings.bill.lines if line.charged_at is not None]
    if begins is None or ends is None:
        return None, None
    inpatient = findings.bill.visit.inpatient
    first, last = ("/visit/admitted_at", "/visit/discharged_at") if inpatient else _SERVICE
    near = timedelta(days=findings.around.rules.days_outside_stay)
    earlier, later = [day for day in days if day < begins], [day for day in days if day > ends]
    if _most(earlier, days) and sum(day < begins - near for day in earlier) >= CHARGES_OUTSIDE_MIN:
        findings.fault("stay.charges-outside", first)
        begins = min(earlier)
    if _most(later, days) and sum(day > ends + near for day in later) >= CHARGES_OUTSIDE_MIN:
        findings.fault("stay.charges-outside", last)
        ends = max(later)
    return begins, ends


def _most(some: list[date], days: list[date]) -> bool:
    return 2 * len(some) > len(days)


def _check_lines(findings: Findings, begins: date | None, ends: date | None) -> None:
    """Refuse a charge outside the stay; one within the rule's days of it only warns.

    Emergency care of the evening before belongs to the stay, and charges of the last day are booked past midnight.
    """
    now = findings.around.now
    near = timedelta(days=findings.around.rules.days_outside_stay)
    for index, line in enumerate(findings.bill.lines):
        if line.category and line.category not in CHARGE_CATEGORIES:
            findings.fault("charge.category-unknown", f"/lines/{index}/category")
        charged = line.charged_at
        if charged is not None:
            if charged > now:
                findings.fault("date.future", f"/lines/{index}/charged_at")
            elif _outside(charged.date(), begins, ends, near):
                findings.fault("line.outside-stay", f"/lines/{index}/charged_at")
            elif _outside(charged.date(), begins, ends):
                findings.warn("line.near-stay", f"/lines/{index}/charged_at")
        if line.programme is not None and line.programme.used_at is not None and line.programme.used_at > now:
            findings.fault("date.future", f"/lines/{index}/programme/used_at")


def _outside(day: date, begins: date | None, ends: date | None, near: timedelta = timedelta()) -> bool:
    return begins is not None and ends is not None and not begins - near <= day <= ends + near
