"""The core's view of one claim: its life cycle as one table, and the guards of each move. Pure.

`ALLOWED` is the whole life on one screen: from each state, which event, by whom, to where. Approved, approved in part
and denied are computed from the decision's entries, never set. Payment is a machine of its own (`payment.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.claims.payment import PaymentEvent, PaymentState, after
from gateway.protocol.claims import BillingMode, PaidKind, Payee, SubmittedManifest
from gateway.protocol.decisions import DecidedManifest, unbalanced
from gateway.protocol.errors import (
    ConflictError,
    Fault,
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    StaleError,
)
from gateway.protocol.registry import Route


class State(StrEnum):
    RECEIVED = "received"
    IN_REVIEW = "in_review"
    RETURNED = "returned"
    DISPUTED = "disputed"
    PARTLY_DECIDED = "partly_decided"
    APPROVED = "approved"
    APPROVED_IN_PART = "approved_in_part"
    DENIED = "denied"


class Event(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    RETURN = "return"
    DECIDE_PARTLY = "decide_partly"
    DECIDE = "decide"
    DISPUTE = "dispute"


class Actor(StrEnum):
    HOSPITAL = "hospital"
    INSURER = "insurer"


DECIDED = (State.APPROVED, State.APPROVED_IN_PART, State.DENIED)
LIVE = frozenset(State) - {State.RETURNED}
"""A receipt is held by a live claim; a returned one lets go of it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may trigger the event, and the states it may lead to (the decision's entries choose among several)."""

    by: frozenset[Actor]
    to: frozenset[State]


def _rule(by: str, *to: State) -> Rule:
    return Rule(frozenset(Actor(name) for name in by.split()), frozenset(to))


_DISPUTE = _rule("hospital insurer", State.DISPUTED)

ALLOWED: Mapping[State, Mapping[Event, Rule]] = {
    State.RECEIVED: {
        Event.ACKNOWLEDGE: _rule("insurer", State.IN_REVIEW),
        Event.RETURN: _rule("insurer", State.RETURNED),
        Event.DISPUTE: _rule("insurer", State.DISPUTED),
    },
    State.IN_REVIEW: {
        Event.RETURN: _rule("insurer", State.RETURNED),
        Event.DECIDE_PARTLY: _rule("insurer", State.PARTLY_DECIDED),
        Event.DECIDE: _rule("insurer", *DECIDED),
        Event.DISPUTE: _DISPUTE,
    },
    State.PARTLY_DECIDED: {
        Event.DECIDE_PARTLY: _rule("insurer", State.PARTLY_DECIDED),
        Event.DECIDE: _rule("insurer", *DECIDED),
        Event.DISPUTE: _DISPUTE,
    },
    State.APPROVED: {Event.DISPUTE: _rule("hospital", State.DISPUTED)},
    State.APPROVED_IN_PART: {Event.DISPUTE: _rule("hospital", State.DISPUTED)},
    State.DENIED: {Event.DISPUTE: _rule("hospital", State.DISPUTED)},
    State.RETURNED: {},
    State.DISPUTED: {},
}


UNASKED = {(Actor.HOSPITAL, Event.DISPUTE)}
"""Moves that an edge makes by itself: the hospital's disputes an answer whose content is not what was signed."""


def allowed_actions(state: State, actor: Actor) -> tuple[str, ...]:
    """Return what `actor` may be offered now, in table order."""
    return tuple(
        str(event) for event, rule in ALLOWED[state].items() if actor in rule.by and (actor, event) not in UNASKED
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """Amounts are minor units of `currency`; `reader` is the party that opens dossiers and answers."""

    claim_id: str
    case_id: str
    claim_version: int
    msg_id: str
    hospital: str
    reader: str
    payer: str
    billing_mode: BillingMode
    payee: Payee
    currency: str
    line_amounts_minor: tuple[int, ...]
    asked_minor: int
    state: State
    payment_state: PaymentState
    decision_version: int
    obligated_minor: int
    obligation_id: str | None
    revision: int

    @classmethod
    def receive(cls, manifest: SubmittedManifest, route: Route, third_party_kinds: frozenset[PaidKind]) -> "Claim":
        """Take a submitted claim in: the route must be the filed one, and no more asked than third parties left."""
        faults = []
        if manifest.recipients != (route.reader,) or manifest.administrator != route.administrator:
            faults.append(Fault("claim.recipient-not-on-route", "/recipients"))
        if (manifest.mechanism.value, manifest.filing_ref) != (route.mechanism, route.filing_ref):
            faults.append(Fault("claim.mechanism-not-on-route", "/mechanism"))
        if manifest.currency != route.currency:
            faults.append(Fault("claim.currency-not-on-route", "/currency"))
        if manifest.asked_minor > manifest.asked_at_most(third_party_kinds):
            faults.append(Fault("claim.asked-over-rest", "/asked_minor"))
        if faults:
            raise InvalidInputError("claim.refused", faults=faults)
        return cls(
            claim_id=manifest.claim_id,
            case_id=manifest.case_id,
            claim_version=manifest.claim_version,
            msg_id=manifest.msg_id,
            hospital=manifest.sender,
            reader=route.reader,
            payer=manifest.payer,
            billing_mode=manifest.billing_mode,
            payee=manifest.payee,
            currency=manifest.currency,
            line_amounts_minor=manifest.line_amounts_minor,
            asked_minor=manifest.asked_minor,
            state=State.RECEIVED,
            payment_state=PaymentState.NONE,
            decision_version=0,
            obligated_minor=0,
            obligation_id=None,
            revision=1,
        )

    def actor(self, party: str) -> Actor:
        """Tell what `party` is on this claim; a stranger hears that there is no such claim."""
        if party == self.hospital:
            return Actor.HOSPITAL
        if party == self.reader:
            return Actor.INSURER
        raise NotFoundError("claim.unknown")

    def acknowledge(self, by: str, based_on: int) -> "Claim":
        return self._move(Event.ACKNOWLEDGE, by, based_on, State.IN_REVIEW)

    def return_unprocessed(self, by: str, based_on: int) -> "Claim":
        return self._move(Event.RETURN, by, based_on, State.RETURNED)

    def dispute(self, by: str) -> "Claim":
        """Stop the claim: content and manifest differ. No `based_on`: whoever saw it says so at once."""
        return self._move(Event.DISPUTE, by, None, State.DISPUTED)

    def decide(self, decision: DecidedManifest, hospital_bears: frozenset[str] = frozenset()) -> "Claim":
        """Take a decision whose entries explain the bill: each line once, sums exact, no more than was asked.

        `hospital_bears` lists the class codes that the route's contract lets the hospital bear.
        """
        event = Event.DECIDE if decision.final else Event.DECIDE_PARTLY
        faults = unbalanced(decision, self.line_amounts_minor)
        if decision.currency != self.currency:
            faults.append(Fault("decision.currency", "/currency"))
        if decision.benefit_minor > self.asked_minor:
            faults.append(Fault("decision.over-asked", "/entries"))
        faults += [
            Fault("decision.hospital-does-not-bear", f"/entries/{index}/bearer")
            for index, entry in enumerate(decision.entries)
            if entry.bearer == "hospital" and entry.class_code not in hospital_bears
        ]
        moved = self._move(event, decision.sender, decision.based_on, self._decided_state(decision))
        if decision.decision_version != self.decision_version + 1:
            raise ConflictError("decision.version", allowed_actions=self.actions_of(decision.sender))
        if faults:
            raise InvalidInputError("decision.refused", faults=faults, allowed_actions=self.actions_of(decision.sender))
        return replace(moved, decision_version=decision.decision_version)

    def oblige(self, benefit_minor: int, obligation_id: str) -> "Claim":
        """Note that settlement was asked for what is not yet obligated; once per final decision."""
        asked = after(self.payment_state, PaymentEvent.ASKED)
        return replace(self, obligated_minor=benefit_minor, obligation_id=obligation_id, payment_state=asked)

    def pay(self, event: PaymentEvent) -> "Claim":
        """Move the payment machine on what settlement reports."""
        return replace(self, payment_state=after(self.payment_state, event), revision=self.revision + 1)

    def settle_outside(self) -> "Claim":
        """The insured has paid and is paid by the insurer: no obligation, no money through the gateway."""
        return replace(self, payment_state=after(self.payment_state, PaymentEvent.SETTLED_OUTSIDE))

    def actions_of(self, party: str) -> tuple[str, ...]:
        return allowed_actions(self.state, self.actor(party))

    def _decided_state(self, decision: DecidedManifest) -> State:
        if not decision.final:
            return State.PARTLY_DECIDED
        if decision.benefit_minor == 0:
            return State.DENIED
        return State.APPROVED if decision.benefit_minor == self.asked_minor else State.APPROVED_IN_PART

    def _move(self, event: Event, by: str, based_on: int | None, to: State) -> "Claim":
        actor = self.actor(by)
        rule = ALLOWED[self.state].get(event)
        if rule is None or actor not in rule.by or to not in rule.to:
            raise IllegalTransitionError("claim.illegal-move", allowed_actions=allowed_actions(self.state, actor))
        if based_on is not None and based_on != self.revision:
            raise StaleError("claim.stale", allowed_actions=allowed_actions(self.state, actor))
        return replace(self, state=to, revision=self.revision + 1)
