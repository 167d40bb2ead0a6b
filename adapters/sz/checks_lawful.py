"""Checks of whether the record may cross at all: known parties, a route with mechanism and filing, a consent in force.

A consent that is missing or short in any part is reason G022; each part has a code of its own, so that the hospital
knows what to ask the patient for.
"""

from datetime import date

from adapters.sz.consent import Category, Consent, Purpose, SubjectRole
from adapters.sz.findings import SHA256, Findings
from gateway.protocol.errors import NotFoundError
from gateway.protocol.registry import Route

NEEDED_CATEGORIES = frozenset(Category)


def check(findings: Findings) -> None:
    _check_parties(findings)
    _check_route(findings)
    _check_consent(findings)


def _check_parties(findings: Findings) -> None:
    coverage, parties = findings.bill.coverage, findings.around.directory.parties
    insurers, administrators = ("insurer",), ("administrator", "insurer")
    for name, code, kinds in (
        ("carrier", coverage.carrier, insurers),
        ("administrator", coverage.administrator, administrators),
        ("payer", coverage.payer, administrators),
    ):
        if code and (code not in parties or parties[code].kind not in kinds):
            findings.fault("coverage.party-unknown", f"/coverage/{name}")
    if not (coverage.insured_name_hant or coverage.insured_name_en) and findings.sound("/coverage"):
        findings.fault("coverage.name-missing", "/coverage/insured_name_en")


def _check_route(findings: Findings) -> None:
    """Find the filed route; an administrator or a currency that it does not name has no way over the border."""
    coverage, around = findings.bill.coverage, findings.around
    parties = around.directory.parties
    if coverage.carrier not in parties or coverage.payer not in parties:
        return
    try:
        route = around.directory.route(around.hospital, coverage.carrier, coverage.payer, around.now)
    except NotFoundError:
        findings.fault("route.none", "/coverage/carrier")
        return
    if route.administrator != coverage.administrator and findings.sound("/coverage/administrator"):
        findings.fault("route.other-administrator", "/coverage/administrator")
        return
    if route.currency != findings.bill.billing.currency and findings.sound("/billing/currency"):
        findings.fault("route.other-currency", "/billing/currency")
    findings.route = route


def _check_consent(findings: Findings) -> None:
    consent, around = findings.bill.consent, findings.around
    if not findings.sound("/consent"):
        return
    _check_given(findings, consent)
    flags = consent.separate_consents
    separate = (consent.sensitive, flags.sensitive, flags.provide_to_other_processor, flags.cross_border)
    if not all(separate):
        findings.fault("consent.flag-missing", "/consent/separate_consents")
    if Purpose.CLAIM not in consent.purposes:
        findings.fault("consent.purpose-missing", "/consent/purposes")
    if not consent.data_categories >= NEEDED_CATEGORIES:
        findings.fault("consent.category-missing", "/consent/data_categories")
    if consent.exporter.party != around.hospital:
        findings.fault("consent.other-exporter", "/consent/exporter")
    for name, value in (("notice_version_hash", consent.notice_version_hash), ("evidence_hash", consent.evidence_hash)):
        if SHA256.fullmatch(value) is None:
            findings.fault("field.not-a-hash", f"/consent/{name}")
    if findings.route is not None:
        _check_way(findings, consent, findings.route)


def _check_way(findings: Findings, consent: Consent, route: Route) -> None:
    """Check that the person was told of this reader, this mechanism and this filing."""
    if not consent.names(route.reader, Purpose.CLAIM):
        findings.fault("consent.recipient-not-named", "/consent/recipients")
    if consent.mechanism_ref is None:
        findings.fault("consent.filing-missing", "/consent/mechanism_ref")
    elif (consent.mechanism, consent.mechanism_ref) != (route.mechanism, route.filing_ref):
        findings.fault("consent.other-mechanism", "/consent/mechanism")


def _check_given(findings: Findings, consent: Consent) -> None:
    """Check that the consent is in force now and was given by who may give it (PIPL 15, 31)."""
    around, born = findings.around, findings.bill.patient.birth_date
    if consent.withdrawn_at is not None:
        findings.fault("consent.withdrawn", "/consent/withdrawn_at")
    if consent.given_at is None:
        return
    if consent.given_at > around.now:
        findings.fault("consent.not-yet-given", "/consent/given_at")
    if consent.retention_until is not None and consent.retention_until < around.today:
        findings.fault("consent.expired", "/consent/retention_until")
    if born is not None and consent.subject_role is not SubjectRole.GUARDIAN:
        age = _age(born, consent.given_at.date())
        if age < around.rules.guardian_below_age:
            findings.fault("consent.guardian-missing", "/consent/subject_role")


def _age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))
