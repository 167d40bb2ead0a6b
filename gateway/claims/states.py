"""The words of a claim's life: states, events, actors, guards, and why operators close a claim. Pure.

The table that joins them is `ALLOWED` in `claim.py`.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    RECEIVED = "received"
    IN_REVIEW = "in_review"
    RETURNED = "returned"
    DISPUTED = "disputed"
    PARTLY_DECIDED = "partly_decided"
    APPROVED = "approved"
    APPROVED_IN_PART = "approved_in_part"
    DENIED = "denied"
    GIVEN_UP = "given_up"
    """The hospital has given up a submission that the insurer disputes."""
    CLOSED = "closed"
    """Two operators have ended a claim that somebody's silence would have left open permanently."""


class Event(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    RETURN = "return"
    DECIDE_PARTLY = "decide_partly"
    DECIDE = "decide"
    DISPUTE = "dispute"
    WITHDRAW_DISPUTE = "withdraw_dispute"
    GIVE_UP = "give_up"
    CLOSE = "close"


class Actor(StrEnum):
    HOSPITAL = "hospital"
    INSURER = "insurer"
    OPERATOR = "operator"
    """Two persons of the operator, by the mechanism of `runtime/operations.py`; never offered to a party."""


class Guard(StrEnum):
    """What must hold of the claim besides its state; `Claim.holds` says whether it does."""

    OWN_DISPUTE = "the actor has raised the dispute"
    DECISION_DISPUTED = "the hospital disputes a decision"
    RETURN_DISPUTED = "the hospital disputes a return"
    SUBMISSION_DISPUTED = "the insurer disputes the submission, and no money is out"
    MONEY_FREE = "nothing is obligated and nothing is being voided"
    VOIDED = "the money of the decision was voided"


DECIDED = (State.APPROVED, State.APPROVED_IN_PART, State.DENIED)
ENDS = frozenset((State.RETURNED, State.GIVEN_UP, State.CLOSED, *DECIDED))
"""Nobody has to act any more, as far as the claim alone can tell; an approved claim still waits for its money."""
LETS_GO = frozenset((State.RETURNED, State.GIVEN_UP))
"""A receipt is held by a live claim; these let go of it, and a closed one as the row of its reason says."""


class Receipts(StrEnum):
    RELEASED = "released"
    """The bill may be claimed under a new number."""
    KEPT = "kept"
    """No other claim of the same payer rank may ever hold them."""


CLOSE_REASONS: Mapping[str, Receipts] = {
    "insurer-silent": Receipts.RELEASED,
    "hospital-silent": Receipts.RELEASED,
    "agreed-with-parties": Receipts.RELEASED,
    "settled-elsewhere": Receipts.KEPT,
    "fraud-suspected": Receipts.KEPT,
    "test": Receipts.RELEASED,
}
"""Why two operators close a claim → what becomes of its receipts."""
