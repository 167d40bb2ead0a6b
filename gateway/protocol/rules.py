"""Values that a law, a circular, a plan or a payer decides, as versioned rows with a citation; code holds none of them.

`tables/rules.csv` is the reviewed file. Columns: id, value, unit, jurisdiction, citation (the instrument and its
article or number), confidence, effective_from, effective_to (half-open; empty means open), owner (who reviews it).
A row without citation does not load, two versions of one rule never overlap, and whoever decides by a rule keeps the
`version` of the row it read. `unset` means that nobody knows: what depends on it says so and does not guess.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Self

from gateway.protocol.errors import MalformedInputError, UnavailableError
from gateway.protocol.tables import read_table, rows_of

UNSET = "unset"
CONFIDENCES = frozenset({"statute", "verified", "secondary", "likely", "unverified", "conflicting", "project choice"})
"""How sure a row is; `conflicting` sources leave a value unset, `project choice` is nobody's law but ours."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One version of one rule, in force on dates in [effective_from, effective_to)."""

    id: str
    value: str
    unit: str
    jurisdiction: str
    citation: str
    confidence: str
    effective_from: date
    effective_to: date | None
    owner: str

    @property
    def version(self) -> str:
        """The name a decision keeps, e.g. `bop.t5@2015-07-01`."""
        return f"{self.id}@{self.effective_from.isoformat()}"

    @property
    def is_set(self) -> bool:
        return self.value != UNSET

    def in_force(self, on: date) -> bool:
        return self.effective_from <= on and (self.effective_to is None or on < self.effective_to)

    def require(self) -> str:
        """Return the value; `UnavailableError("rule.unset")` where nobody knows it."""
        if not self.is_set:
            raise UnavailableError("rule.unset")
        return self.value

    def require_int(self) -> int:
        """Return the value as a whole number of `unit`; `rule.not-a-number` if the row holds none."""
        try:
            return int(self.require())
        except ValueError:
            raise MalformedInputError("rule.not-a-number") from None

    def require_words(self) -> frozenset[str]:
        """Return a value that lists words, e.g. the kinds of payment that third parties made."""
        return frozenset(self.require().split())


class Rules:
    """The rows of one rule file, found by id and date."""

    def __init__(self, rows: Iterable[RuleRow]) -> None:
        """Order the versions of each rule; overlapping ones are `MalformedInputError("rule.overlap")`."""
        versions: dict[str, list[RuleRow]] = {}
        for row in sorted(rows, key=lambda row: (row.id, row.effective_from)):
            versions.setdefault(row.id, []).append(row)
        for earlier, later in (pair for of_one_id in versions.values() for pair in pairwise(of_one_id)):
            if earlier.effective_to is None or earlier.effective_to > later.effective_from:
                raise MalformedInputError("rule.overlap")
        self._versions: Mapping[str, list[RuleRow]] = versions

    @classmethod
    def load(cls, csv_text: str) -> Self:
        """Read a rule file; `MalformedInputError` names what is wrong with it."""
        return cls(_row(cells) for cells in rows_of(csv_text))

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._versions)

    def value(self, rule_id: str, on: date) -> RuleRow:
        """Return the row in force `on` that date; `UnavailableError("rule.not-in-force")` where there is none."""
        for row in self._versions.get(rule_id, ()):
            if row.in_force(on):
                return row
        raise UnavailableError("rule.not-in-force")


def _row(cells: Mapping[str, str]) -> RuleRow:
    try:
        row = RuleRow(
            id=cells["id"],
            value=cells["value"].strip(),
            unit=cells["unit"],
            jurisdiction=cells["jurisdiction"],
            citation=cells["citation"].strip(),
            confidence=cells["confidence"],
            effective_from=date.fromisoformat(cells["effective_from"]),
            effective_to=date.fromisoformat(cells["effective_to"]) if cells["effective_to"] else None,
            owner=cells["owner"],
        )
    except (KeyError, ValueError):
        raise MalformedInputError("rule.malformed") from None
    if not row.citation:
        raise MalformedInputError("rule.without-citation")
    if not (row.id and row.value and row.owner) or row.confidence not in CONFIDENCES:
        raise MalformedInputError("rule.malformed")
    if row.effective_to is not None and row.effective_to <= row.effective_from:
        raise MalformedInputError("rule.malformed")
    return row


@lru_cache
def shipped_rules() -> Rules:
    """Return the reviewed rules that ship with the gateway."""
    return Rules.load(read_table("rules.csv"))
