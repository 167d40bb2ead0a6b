"""The life of a claim, once for everybody: states, events, actors, guards, and the table of allowed moves. Pure.

`ALLOWED` is the whole life on one screen: from each state, which event, by whom, to where. Core enforces it
(`gateway/claims/claim.py`); the edges, the desk and the client read it. Approved, approved in part and denied are
computed from the decision's entries, never set. Every state that is not an end has a row by which two operators close
the claim, so that nobody's silence holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """Two persons of the operator, by the mechanism of `runtime/operator`; never offered to a party."""


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


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may trigger the event, the states it may lead to (the decision's entries choose), and what else must hold."""

    by: frozenset[Actor]
    to: frozenset[State]
    guard: Guard | None = None


def _rule(by: str, *to: State, guard: Guard | None = None) -> Rule:
    return Rule(frozenset(Actor(name) for name in by.split()), frozenset(to), guard)


BEFORE_DISPUTE = frozenset(State) - {State.DISPUTED, State.GIVEN_UP, State.CLOSED}
"""Where a withdrawn dispute may lead back to: the state that the claim was in, which it keeps."""

_CLOSE = _rule("operator", State.CLOSED)

ALLOWED: Mapping[State, Mapping[Event, Rule]] = {
    State.RECEIVED: {
        Event.ACKNOWLEDGE: _rule("insurer", State.IN_REVIEW),
        Event.RETURN: _rule("insurer", State.RETURNED),
        Event.DISPUTE: _rule("insurer", State.DISPUTED),
        Event.CLOSE: _CLOSE,
    },
    State.IN_REVIEW: {
        Event.RETURN: _rule("insurer", State.RETURNED, guard=Guard.MONEY_FREE),
        Event.DECIDE_PARTLY: _rule("insurer", State.PARTLY_DECIDED),
        Event.DECIDE: _rule("insurer", *DECIDED),
        Event.DISPUTE: _rule("insurer", State.DISPUTED),
        Event.CLOSE: _CLOSE,
    },
    State.PARTLY_DECIDED: {
        Event.DECIDE_PARTLY: _rule("insurer", State.PARTLY_DECIDED),
        Event.DECIDE: _rule("insurer", *DECIDED),
        Event.DISPUTE: _rule("hospital insurer", State.DISPUTED),
        Event.CLOSE: _CLOSE,
    },
    State.APPROVED: {
        Event.DECIDE: _rule("insurer", *DECIDED, guard=Guard.VOIDED),
        Event.DISPUTE: _rule("hospital", State.DISPUTED),
        Event.CLOSE: _rule("operator", State.CLOSED, guard=Guard.VOIDED),
    },
    State.APPROVED_IN_PART: {
        Event.DECIDE: _rule("insurer", *DECIDED, guard=Guard.VOIDED),
        Event.DISPUTE: _rule("hospital", State.DISPUTED),
        Event.CLOSE: _rule("operator", State.CLOSED, guard=Guard.VOIDED),
    },
    State.DENIED: {Event.DISPUTE: _rule("hospital", State.DISPUTED)},
    State.RETURNED: {Event.DISPUTE: _rule("hospital", State.DISPUTED)},
    State.DISPUTED: {
        Event.RETURN: _rule("insurer", State.RETURNED, guard=Guard.RETURN_DISPUTED),
        Event.DECIDE_PARTLY: _rule("insurer", State.PARTLY_DECIDED, guard=Guard.DECISION_DISPUTED),
        Event.DECIDE: _rule("insurer", *DECIDED, guard=Guard.DECISION_DISPUTED),
        Event.WITHDRAW_DISPUTE: _rule("hospital insurer", *BEFORE_DISPUTE, guard=Guard.OWN_DISPUTE),
        Event.GIVE_UP: _rule("hospital", State.GIVEN_UP, guard=Guard.SUBMISSION_DISPUTED),
        Event.CLOSE: _CLOSE,
    },
    State.GIVEN_UP: {},
    State.CLOSED: {},
}

UNASKED = {(Actor.HOSPITAL, Event.DISPUTE)}
"""Moves that an edge makes by itself: the hospital's disputes an answer whose content is not what was signed."""
DECISIONS = (Event.DECIDE, Event.DECIDE_PARTLY)

FIRST_STATE = State.RECEIVED.value
"""Where a claim stands once core has taken it in, and what an edge shows until core has spoken."""
FIRST_REVISION = 1
"""Core takes a claim in at revision 1; every later one is told in its `accepted` or `claim_state`."""
REFUSED = "refused"
"""Told of a submission that core never took in, in the place of a state: no claim is in it."""


def first_actions(actor: Actor) -> tuple[str, ...]:
    """Return what `actor` may do with a claim that has just been received, in table order."""
    return tuple(
        str(event)
        for event, rule in ALLOWED[State.RECEIVED].items()
        if actor in rule.by and rule.guard is None and (actor, event) not in UNASKED
    )
