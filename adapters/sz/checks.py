"""Every check of a bill before anything of it may cross, all faults at once.

A check that needs something unreadable is left out, since the reading has named that already. What only hints at a
mistake, such as a national code whose layout no public source confirms, warns and never refuses.
"""

from collections.abc import Mapping
from datetime import date

from adapters.sz import checks_facts, checks_identifiers, checks_lawful, checks_money, checks_stay
from adapters.sz.bill import Netted
from adapters.sz.findings import Circumstances, Findings, RuleValues
from adapters.sz.ports import Reading
from gateway.protocol.claim_terms import PaidKind
from gateway.protocol.rules import Rules


def read_rules(rules: Rules, on: date) -> RuleValues:
    """Read the rows in force that day; `UnavailableError` where one is unset or missing."""
    kinds = rules.value("claim.paid_by_third_party_kinds", on)
    tolerance = rules.value("claim.total_tolerance_minor", on)
    age = rules.value("privacy.guardian_below_age", on)
    days = rules.value("claim.charge_days_outside_stay", on)
    return RuleValues(
        third_party_kinds=frozenset(PaidKind(kind) for kind in kinds.require_words()),
        tolerance_minor=tolerance.require_int(),
        guardian_below_age=age.require_int(),
        days_outside_stay=days.require_int(),
        versions=(kinds.version, tolerance.version, age.version, days.version),
    )


def check(reading: Reading, netted: Netted, places: Mapping[str, str], around: Circumstances) -> Findings:
    """Check a bill as read; the findings also name the route it will take, if there is one."""
    findings = Findings(reading, places, netted, around)
    checks_identifiers.check(findings)
    checks_facts.check(findings)
    checks_stay.check(findings)
    checks_money.check(findings)
    checks_lawful.check(findings)
    return findings
