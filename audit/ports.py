"""What an audit rule offers: it reads the events of one claim, in log order, and names what should not be there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from audit.leaf import Leaf


@dataclass(frozen=True, slots=True)
class Finding:
    """One exception: about what (a claim or obligation id) and which event shows it."""

    subject: str
    eid: str


class Rule(Protocol):
    """Pure: the same events give the same findings, whatever else the log holds."""

    @property
    def name(self) -> str: ...

    def findings(self, events: Sequence[Leaf]) -> list[Finding]:
        """Look at all events of one claim (`cref`), oldest first."""
