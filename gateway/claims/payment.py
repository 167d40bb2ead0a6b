"""The payment machine of one claim, moved by settlement on bank evidence alone. Pure.

One obligation at a time: another amount is asked for only when the former is reconciled or voided, so what is
obligated and not voided is at most what the newest decision approves, except where it says `recoup_needed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from gateway.protocol.errors import IllegalTransitionError


class PaymentState(StrEnum):
    NONE = "none"
    ASKED = "asked"
    INSTRUCTED = "instructed"
    FUNDS_SENT = "funds_sent"
    FUNDS_RECEIVED = "funds_received"
    RECONCILED = "reconciled"
    VOIDED = "voided"
    RECOUP_NEEDED = "recoup_needed"
    RECOUP_CLOSED = "recoup_closed"
    """Two operators have ended the recoup: no more money moves on this claim through the gateway."""
    SETTLED_OUTSIDE = "settled_outside"


class PaymentEvent(StrEnum):
    ASKED = "asked"
    INSTRUCTED = "instructed"
    SENT = "sent"
    RECEIVED = "received"
    RETURNED_TO_OPEN = "returned_to_open"
    RECONCILED = "reconciled"
    VOIDED = "voided"
    TOO_LATE = "too_late"
    REFUND_ASKED = "refund_asked"
    RECOUP_CLOSED = "recoup_closed"
    SETTLED_OUTSIDE = "settled_outside"


_P = PaymentState
_E = PaymentEvent

_BANK_NEWS = (_E.INSTRUCTED, _E.SENT, _E.RECEIVED, _E.RETURNED_TO_OPEN, _E.RECONCILED)

ALLOWED: Mapping[PaymentState, Mapping[PaymentEvent, PaymentState]] = {
    _P.NONE: {_E.ASKED: _P.ASKED, _E.SETTLED_OUTSIDE: _P.SETTLED_OUTSIDE},
    _P.ASKED: {_E.INSTRUCTED: _P.INSTRUCTED, _E.VOIDED: _P.VOIDED, _E.TOO_LATE: _P.RECOUP_NEEDED},
    _P.INSTRUCTED: {
        _E.SENT: _P.FUNDS_SENT,
        _E.RECEIVED: _P.FUNDS_RECEIVED,
        _E.RETURNED_TO_OPEN: _P.ASKED,
        _E.TOO_LATE: _P.RECOUP_NEEDED,
    },
    _P.FUNDS_SENT: {
        _E.RECEIVED: _P.FUNDS_RECEIVED,
        _E.RETURNED_TO_OPEN: _P.ASKED,
        _E.TOO_LATE: _P.RECOUP_NEEDED,
    },
    _P.FUNDS_RECEIVED: {_E.SENT: _P.FUNDS_RECEIVED, _E.RECONCILED: _P.RECONCILED, _E.TOO_LATE: _P.RECOUP_NEEDED},
    _P.RECONCILED: {_E.ASKED: _P.ASKED, _E.REFUND_ASKED: _P.RECOUP_NEEDED, _E.TOO_LATE: _P.RECOUP_NEEDED},
    _P.VOIDED: {_E.ASKED: _P.ASKED, _E.REFUND_ASKED: _P.RECOUP_NEEDED},
    _P.RECOUP_NEEDED: {
        **dict.fromkeys(_BANK_NEWS, _P.RECOUP_NEEDED),
        _E.VOIDED: _P.VOIDED,
        _E.TOO_LATE: _P.RECOUP_NEEDED,
        _E.RECOUP_CLOSED: _P.RECOUP_CLOSED,
    },
    _P.RECOUP_CLOSED: dict.fromkeys((*_BANK_NEWS, _E.VOIDED, _E.TOO_LATE), _P.RECOUP_CLOSED),
    _P.SETTLED_OUTSIDE: {_E.SETTLED_OUTSIDE: _P.SETTLED_OUTSIDE},
}
"""`sent` after `received`: debit and credit advices come from two banks, in either order.

`asked` again: what was voided by a new decision, or more than was paid by a later one. Money at the bank that came
back (`returned_to_open`) while it is to be recouped is voided after all.
"""

AT_REST = frozenset((_P.NONE, _P.VOIDED, _P.RECONCILED))
"""No obligation is on its way: a decision of another amount may ask for money."""
VOIDABLE = frozenset((_P.ASKED, _P.INSTRUCTED, _P.FUNDS_SENT, _P.FUNDS_RECEIVED, _P.RECONCILED))
"""There is an obligation that settlement may be asked to stop; whether it still can, settlement says."""
MONEY_FREE = frozenset((_P.NONE, _P.VOIDED))
ENDED = frozenset((_P.NONE, _P.RECONCILED, _P.RECOUP_CLOSED, _P.SETTLED_OUTSIDE, _P.VOIDED))
"""Nothing more is expected of anybody, as far as the payment alone can tell."""


def after(state: PaymentState, event: PaymentEvent) -> PaymentState:
    """Return the state that `event` leads to; `IllegalTransitionError` if there is no such move."""
    if event not in ALLOWED[state]:
        raise IllegalTransitionError("payment.illegal-move")
    return ALLOWED[state][event]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPayment:
    """What the money of a claim does. `obligated_minor` is what settlement was asked for and has not voided.

    `money_state` is what the payment does beneath `recoup_needed`: it comes back when the dispute that made it needed
    ends. `void_obligation_id` is set while settlement has not said whether it could still stop that obligation.
    """

    payment_state: PaymentState
    obligated_minor: int
    obligation_id: str | None
    money_state: PaymentState | None = None
    void_obligation_id: str | None = None

    @property
    def money_now(self) -> PaymentState:
        """Return what the newest obligation does, whether or not it is to be recouped."""
        return self.money_state or self.payment_state

    @property
    def is_recouped(self) -> bool:
        return self.payment_state in (PaymentState.RECOUP_NEEDED, PaymentState.RECOUP_CLOSED)

    @property
    def may_void(self) -> bool:
        """Say whether there is an obligation that settlement has not been asked to stop."""
        return self.obligation_id is not None and self.void_obligation_id is None and self.money_now in VOIDABLE

    @property
    def may_close_recoup(self) -> bool:
        """Say whether there is a recoup that operators may end: settlement has said what became of the money."""
        return self.payment_state is PaymentState.RECOUP_NEEDED and self.void_obligation_id is None

    def has_heard(self, event: PaymentEvent, obligation_id: str) -> bool:
        """Say whether the answer to a void adds nothing: its obligation was voided, or a newer one came after it.

        Settlement's operators may void an obligation that core asks to stop at the same time, which gives two answers.
        """
        answer = event in (PaymentEvent.VOIDED, PaymentEvent.TOO_LATE)
        return answer and (obligation_id != self.obligation_id or self.money_now is PaymentState.VOIDED)

    def oblige(self, benefit_minor: int, obligation_id: str) -> Self:
        """Note that settlement was asked for what is not yet obligated; once per final decision."""
        event = PaymentEvent.ASKED if benefit_minor >= self.obligated_minor else PaymentEvent.REFUND_ASKED
        return replace(
            self,
            obligated_minor=benefit_minor,
            obligation_id=obligation_id,
            payment_state=after(self.money_now, event),
            money_state=None,
        )

    def ask_void(self) -> Self:
        """Note that settlement was asked to stop the obligation."""
        return replace(self, void_obligation_id=self.obligation_id)

    def follow(self, event: PaymentEvent, amount_minor: int, *, stopped: bool) -> Self:
        """Move on what settlement reports; `stopped` says that the claim's decision does not hold now."""
        if event is PaymentEvent.VOIDED and amount_minor < 0:
            # a refund request that settlement has ended: what was paid too much is nobody's to move any more
            return self.recoup_closed()
        if event is PaymentEvent.VOIDED:
            return replace(
                self,
                payment_state=after(self.payment_state, event),
                money_state=None,
                obligated_minor=self.obligated_minor - amount_minor,
                void_obligation_id=None,
            )
        if event is PaymentEvent.TOO_LATE:
            return self._too_late(stopped=stopped)
        beneath = None if self.money_state is None else after(self.money_state, event)
        return replace(self, payment_state=after(self.payment_state, event), money_state=beneath)

    def _too_late(self, *, stopped: bool) -> Self:
        answered = replace(self, void_obligation_id=None)
        if not stopped or self.payment_state is PaymentState.RECOUP_CLOSED:
            return answered
        beneath = self.money_state if self.payment_state is PaymentState.RECOUP_NEEDED else self.payment_state
        return replace(answered, payment_state=after(self.payment_state, PaymentEvent.TOO_LATE), money_state=beneath)

    def rightful(self) -> Self:
        """End what a dispute did to money that could not be stopped: it goes on, or stays, where it is."""
        return replace(self, payment_state=self.money_now, money_state=None)

    def approved_as_obligated(self) -> Self:
        """Take a final decision that approves exactly what settlement was asked for: there is nothing to ask."""
        rightful = self.rightful()
        if rightful.payment_state is PaymentState.VOIDED and self.obligated_minor:
            # an addition to money that had arrived was voided, and is no longer approved
            return replace(rightful, payment_state=PaymentState.RECONCILED)
        return rightful

    def recoup_closed(self) -> Self:
        return replace(self, payment_state=after(self.payment_state, PaymentEvent.RECOUP_CLOSED), money_state=None)

    def settle_outside(self) -> Self:
        """The insured has paid and is paid by the insurer: no obligation, no money through the gateway."""
        return replace(self, payment_state=after(self.payment_state, PaymentEvent.SETTLED_OUTSIDE))
