"""Audit rules: what should never be seen in a claim's chain of events. A rule is one file and one line here."""

from collections.abc import Mapping

from audit.ports import Rule
from audit.rules.paid_without_approval import PaidWithoutApproval

RULES: Mapping[str, Rule] = {rule.name: rule for rule in (PaidWithoutApproval(),)}
