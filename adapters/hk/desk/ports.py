"""What a connector to an insurer's own system must offer: one file in `connectors/` and one line in its catalogue.

A connector translates and does no I/O: a claim into a question, the system's answer into a decision. The runtime
sends and receives; the desk balances, signs and posts as it does for people. No answer is never a decision.
"""

from typing import Protocol

from adapters.hk.desk.form import ReadDecision
from gateway.client.opened import OpenedClaim
from gateway.protocol.outgoing import Incoming, Outgoing


class Connector(Protocol):
    @property
    def name(self) -> str: ...

    def ask(self, claim: OpenedClaim) -> Outgoing:
        """Write the claim as the insurer's system takes it; the same claim gives the same bytes."""

    def read(self, answer: Incoming, claim: OpenedClaim) -> ReadDecision | None:
        """Read the system's answer; None while it has not decided. What cannot be read is `MalformedInputError`."""
