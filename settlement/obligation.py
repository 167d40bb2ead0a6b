"""An obligation: what one payer owes one hospital for one final decision of one claim.

`ALLOWED` is its whole life cycle, and no state is without a way out. A transition is a verb on the frozen noun and
gives a new noun, or raises `IllegalTransitionError` with what would be allowed. Batches move their members; core only
opens and voids; operators close what nobody pays. The bank's evidence may come in any order (SET-16): a credit seen
before its debit leaves the obligation `received`, and the debit that follows changes nothing about that. An obligation
is in at most one live batch (SET-3): `batch_id` is set while it is in one, and `attempt` counts the batches it has
ever been in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, Self, TypeVar

from gateway.protocol.errors import IllegalTransitionError, InvalidInputError
from gateway.protocol.money import Money
from gateway.protocol.settlements import obligation_id

StateT = TypeVar("StateT", bound=StrEnum)


class Actor(StrEnum):
    """Who may trigger a transition in settlement."""

    CORE = "core"
    """`gateway.claims`, by message."""
    JOB = "job"
    """Settlement's own timers: the maker of batches."""
    TREASURER = "treasurer"
    """A person of the payer who approves batches."""
    BANK = "bank"
    """The bank's answers and notifications, read by a channel."""
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Rule(Generic[StateT]):
    """Where an event leads, and who may trigger it. `guard` is the sentence that the verb enforces besides."""

    to: StateT
    by: frozenset[Actor]
    guard: str = ""


class State(StrEnum):
    OPEN = "open"
    HELD = "held"
    BATCHED = "batched"
    INSTRUCTED = "instructed"
    SENT = "sent"
    """The payer's bank has debited; the hospital's credit is awaited."""
    RECEIVED = "received"
    """The hospital's bank has credited, whether or not the debit was seen before."""
    RECONCILED = "reconciled"
    VOIDED = "voided"
    CLOSED = "closed"
    """Two operators have ended it with a reason: nothing is paid or asked back through the gateway."""
    REFUND_REQUESTED = "refund_requested"
    """A negative amount: the hospital owes. No payment is made from it here."""


class Event(StrEnum):
    HOLD = "hold"
    RELEASE = "release"
    VOID = "void"
    BATCH = "batch"
    INSTRUCT = "instruct"
    ACCEPT = "accept"
    REJECT = "reject"
    DEBIT_SEEN = "debit_seen"
    CREDIT_SEEN = "credit_seen"
    RECONCILE = "reconcile"
    CLOSE = "close"
    RETURN = "return"
    SETTLE = "settle"


def rule(to: StateT, *by: Actor, guard: str = "") -> Rule[StateT]:
    return Rule(to, frozenset(by), guard)


_VOID = rule(State.VOIDED, Actor.CORE)
_CLOSE = rule(State.CLOSED, Actor.OPERATOR, guard="two persons, before money moved")
_SETTLE = rule(State.RECONCILED, Actor.OPERATOR, guard="two persons, with its batch, on the bank's written word")

ALLOWED: Mapping[State, Mapping[Event, Rule[State]]] = {
    State.OPEN: {
        Event.HOLD: rule(State.HELD, Actor.JOB),
        Event.BATCH: rule(State.BATCHED, Actor.JOB),
        Event.VOID: _VOID,
        Event.CLOSE: _CLOSE,
    },
    State.HELD: {
        Event.RELEASE: rule(State.OPEN, Actor.JOB, Actor.OPERATOR),
        Event.VOID: _VOID,
        Event.CLOSE: _CLOSE,
    },
    State.BATCHED: {
        Event.INSTRUCT: rule(State.INSTRUCTED, Actor.JOB),
        Event.VOID: rule(State.VOIDED, Actor.CORE, guard="its batch goes on without it and loses its approvals"),
        Event.CLOSE: _CLOSE,
    },
    State.INSTRUCTED: {
        Event.ACCEPT: rule(State.INSTRUCTED, Actor.BANK),
        Event.REJECT: rule(State.OPEN, Actor.BANK, Actor.OPERATOR, guard="with its batch"),
        Event.DEBIT_SEEN: rule(State.SENT, Actor.BANK),
        Event.CREDIT_SEEN: rule(State.RECEIVED, Actor.BANK),
        Event.SETTLE: _SETTLE,
    },
    State.SENT: {
        Event.ACCEPT: rule(State.SENT, Actor.BANK),
        Event.CREDIT_SEEN: rule(State.RECEIVED, Actor.BANK),
        Event.RETURN: rule(State.OPEN, Actor.OPERATOR, guard="two persons, with its batch: the money came back"),
        Event.SETTLE: _SETTLE,
    },
    State.RECEIVED: {
        Event.ACCEPT: rule(State.RECEIVED, Actor.BANK),
        Event.DEBIT_SEEN: rule(State.RECEIVED, Actor.BANK),
        Event.RECONCILE: rule(State.RECONCILED, Actor.JOB, guard="its batch has seen debit and credit in full"),
        Event.SETTLE: _SETTLE,
    },
    State.RECONCILED: {
        Event.ACCEPT: rule(State.RECONCILED, Actor.BANK),
    },
    State.VOIDED: {},
    State.CLOSED: {},
    State.REFUND_REQUESTED: {Event.VOID: _VOID, Event.CLOSE: _CLOSE},
}

ENDED = frozenset((State.RECONCILED, State.VOIDED, State.CLOSED))
"""Nothing more happens. From every other state there is a way here whoever keeps silent, but not for all of them."""


@dataclass(frozen=True, slots=True)
class Obligation:
    """`amount` is positive to pay, negative for a refund request; `payee` is the hospital's code."""

    obligation_id: str
    case_id: str
    claim_id: str
    decision_version: int
    payer: str
    payee: str
    amount: Money
    state: State
    batch_id: str | None = None
    attempt: int = 0
    reason_code: str | None = None
    """Why it is held or voided, or the bank's reason (ISO 20022 external code) for the last rejection."""
    end_to_end_id: str | None = None
    """The payment's reference at the bank, kept after a rejection so that the next attempt can name it."""

    @classmethod
    def opened(
        cls, *, case_id: str, claim_id: str, decision_version: int, payer: str, payee: str, amount: Money
    ) -> Self:
        """Open by a final decision. Zero is no obligation: `InvalidInputError` (`obligation.zero`)."""
        if amount.amount_minor == 0:
            raise InvalidInputError("obligation.zero")
        return cls(
            obligation_id=obligation_id(claim_id, decision_version),
            case_id=case_id,
            claim_id=claim_id,
            decision_version=decision_version,
            payer=payer,
            payee=payee,
            amount=amount,
            state=State.OPEN if amount.amount_minor > 0 else State.REFUND_REQUESTED,
        )

    def allowed_actions(self, by: Actor) -> tuple[str, ...]:
        """Return the events that `by` may trigger now, in table order."""
        return tuple(event.value for event, found in ALLOWED[self.state].items() if by in found.by)

    def can(self, event: Event, by: Actor) -> bool:
        found = ALLOWED[self.state].get(event)
        return found is not None and by in found.by

    def hold(self, reason_code: str, *, by: Actor) -> Self:
        return replace(self, state=self._next(Event.HOLD, by), reason_code=reason_code)

    def release(self, *, by: Actor) -> Self:
        return replace(self, state=self._next(Event.RELEASE, by), reason_code=None)

    def void(self, reason_code: str, *, by: Actor = Actor.CORE) -> Self:
        """Stop before money moves. Where `can(Event.VOID, CORE)` is false the answer to core is *too late*."""
        return replace(self, state=self._next(Event.VOID, by), batch_id=None, reason_code=reason_code)

    def batch(self, batch_id: str, end_to_end_id: str, *, by: Actor = Actor.JOB) -> Self:
        return replace(
            self,
            state=self._next(Event.BATCH, by),
            batch_id=batch_id,
            end_to_end_id=end_to_end_id,
            attempt=self.attempt + 1,
        )

    def instruct(self, *, by: Actor = Actor.JOB) -> Self:
        return replace(self, state=self._next(Event.INSTRUCT, by), reason_code=None)

    def accept(self, *, by: Actor = Actor.BANK) -> Self:
        """Note that the bank took the payment: progress only, whenever the news arrives."""
        return replace(self, state=self._next(Event.ACCEPT, by))

    def reject(self, reason_code: str, *, by: Actor = Actor.BANK) -> Self:
        """Open again after the bank's refusal; `end_to_end_id` stays as the link to the old attempt."""
        return replace(self, state=self._next(Event.REJECT, by), batch_id=None, reason_code=reason_code)

    def debit_seen(self, *, by: Actor = Actor.BANK) -> Self:
        return replace(self, state=self._next(Event.DEBIT_SEEN, by))

    def credit_seen(self, *, by: Actor = Actor.BANK) -> Self:
        return replace(self, state=self._next(Event.CREDIT_SEEN, by))

    def reconcile(self, *, by: Actor = Actor.JOB) -> Self:
        return replace(self, state=self._next(Event.RECONCILE, by))

    def close(self, reason_code: str, *, by: Actor = Actor.OPERATOR) -> Self:
        """End it before money moves, by two operators; towards core it is voided."""
        return replace(self, state=self._next(Event.CLOSE, by), batch_id=None, reason_code=reason_code)

    def give_back(self, reason_code: str, *, by: Actor = Actor.OPERATOR) -> Self:
        """Open again after the money came back to the payer."""
        return replace(self, state=self._next(Event.RETURN, by), batch_id=None, reason_code=reason_code)

    def settle(self, *, by: Actor = Actor.OPERATOR) -> Self:
        """Take the bank's written word for what its notifications do not show."""
        return replace(self, state=self._next(Event.SETTLE, by))

    def _next(self, event: Event, by: Actor) -> State:
        if not self.can(event, by):
            raise IllegalTransitionError("obligation.wrong-state", allowed_actions=self.allowed_actions(by))
        return ALLOWED[self.state][event].to
