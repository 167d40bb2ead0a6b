"""The payment machine of one claim, moved by settlement on bank evidence alone. Pure."""

from collections.abc import Mapping
from enum import StrEnum

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
    SETTLED_OUTSIDE = "settled_outside"


_P = PaymentState
_E = PaymentEvent

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
    _P.RECONCILED: {_E.TOO_LATE: _P.RECOUP_NEEDED},
    _P.VOIDED: {},
    _P.RECOUP_NEEDED: dict.fromkeys((_E.SENT, _E.RECEIVED, _E.RETURNED_TO_OPEN, _E.RECONCILED), _P.RECOUP_NEEDED),
    _P.SETTLED_OUTSIDE: {},
}
"""`sent` after `received`: debit and credit advices come from two banks, in either order."""


def after(state: PaymentState, event: PaymentEvent) -> PaymentState:
    """Return the state that `event` leads to; `IllegalTransitionError` if there is no such move."""
    if event not in ALLOWED[state]:
        raise IllegalTransitionError("payment.illegal-move")
    return ALLOWED[state][event]
