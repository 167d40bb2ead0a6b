"""What every audit rule of the catalogue keeps."""

import pytest

from audit.leaf import Leaf
from audit.ports import Rule
from audit.rules import RULES

AT = "2026-03-02T01:00:00.000Z"


def a_leaf(number: int, typ: str, **clear: str) -> Leaf:
    eid = f"ev_{number:04d}"
    body = {"v": 1, "typ": typ, "eid": eid, "src": "core", "sq": number, "t": AT, "clr": clear}
    return Leaf(typ, eid, "core", number, AT, "case_1", None, {}, body)


DECIDED = a_leaf(1, "claim.decided", claim_id="claim_1")
ASKED = a_leaf(2, "obligation.asked", claim_id="claim_1", obligation_id="obl_1")
INSTRUCTED = a_leaf(3, "payment.instructed", claim_id="claim_1", obligation_id="obl_1")
LAWFUL = (DECIDED, ASKED, INSTRUCTED)


@pytest.fixture(params=sorted(RULES))
def rule(request: pytest.FixtureRequest) -> Rule:
    return RULES[request.param]


def test_a_rule_is_listed_under_its_own_name(rule: Rule) -> None:
    assert RULES[rule.name] is rule


def test_nothing_is_found_in_no_events(rule: Rule) -> None:
    assert rule.findings([]) == []


def test_nothing_is_found_in_a_lawful_claim(rule: Rule) -> None:
    assert rule.findings(LAWFUL) == []


def test_the_same_events_give_the_same_findings(rule: Rule) -> None:
    events = [INSTRUCTED, a_leaf(4, "payment.instructed", claim_id="claim_2", obligation_id="obl_2")]

    assert rule.findings(events) == rule.findings(events)


def test_a_finding_names_an_event_that_was_shown(rule: Rule) -> None:
    events = [INSTRUCTED]

    assert {finding.eid for finding in rule.findings(events)} <= {leaf.eid for leaf in events}


def test_an_event_without_clear_fields_does_not_break_a_rule(rule: Rule) -> None:
    bare = Leaf("payment.instructed", "ev_1", "core", 1, "t", "case_1", None, {}, {"typ": "payment.instructed"})

    assert isinstance(rule.findings([bare]), list)


def test_a_payment_without_a_final_decision_is_found() -> None:
    [finding] = RULES["paid-without-approval"].findings([ASKED, INSTRUCTED])

    assert (finding.subject, finding.eid) == ("obl_1", INSTRUCTED.eid)


def test_a_payment_of_an_obligation_that_nobody_asked_for_is_found() -> None:
    other = a_leaf(5, "payment.instructed", claim_id="claim_1", obligation_id="obl_other")

    [finding] = RULES["paid-without-approval"].findings([*LAWFUL, other])

    assert finding.subject == "obl_other"


def test_an_approval_that_reaches_the_log_after_the_payment_counts() -> None:
    assert RULES["paid-without-approval"].findings([INSTRUCTED, ASKED, DECIDED]) == []
