"""One good sample of every type of message; `tests/unit/test_messages.py` reads each as its receivers do."""

from collections.abc import Mapping

from gateway.protocol.exchange import Message
from gateway.protocol.messages import types_on
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState, DisputeStanding
from gateway.protocol.messages.obligation import ObligationAsked
from gateway.protocol.messages.outcome import Outcome
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.topics import SETTLEMENT_OUTCOMES
from tests.parties import (
    HOSPITAL,
    INSURER,
    a_decision,
    a_disputed,
    a_giving_up,
    a_returned,
    a_submitted,
    a_withdrawal,
    an_acknowledged,
)

CASE, CLAIM = "case_synthetic01", "claim_synthetic01"
AT = "2026-01-05T02:00:00Z"
STANDING = DisputeStanding(by=INSURER, against=HOSPITAL, msg_id="msg_dispute00001", in_reply_to="msg_submitted001")

_OF_ROLES: tuple[Message, ...] = (
    ClaimState(
        case_id=CASE,
        claim_id=CLAIM,
        claim_version=1,
        revision=2,
        state="disputed",
        payment_state="none",
        event="disputed",
        at=AT,
        allowed_actions=("give_up",),
        dispute=STANDING,
    ),
    Accepted(
        case_id=CASE,
        claim_id=CLAIM,
        in_reply_to="msg_dispute00001",
        to=INSURER,
        state="disputed",
        revision=2,
        allowed_actions=("withdraw_dispute",),
        dispute=STANDING,
    ),
    Rejected(
        case_id=CASE,
        claim_id=CLAIM,
        in_reply_to="msg_decided00001",
        to=INSURER,
        code="claim.stale",
        allowed_actions=("decide",),
    ),
    ObligationAsked(
        case_id=CASE,
        claim_id=CLAIM,
        obligation_id="obl_synthetic01",
        claim_version=1,
        decision_version=1,
        payer=INSURER,
        payee=HOSPITAL,
        amount_minor=120_000,
        currency="HKD",
        decision="header.payload.signature",
    ),
    VoidAsked(case_id=CASE, claim_id=CLAIM, obligation_id="obl_synthetic01", reason_code="disputed"),
)

_OF_PARTIES: tuple[Message, ...] = (
    a_submitted(),
    an_acknowledged(),
    a_returned(),
    a_disputed(),
    a_withdrawal(),
    a_giving_up(),
    a_decision(),
)

_OUTCOME = {
    "case_id": CASE,
    "claim_id": CLAIM,
    "obligation_id": "obl_synthetic01",
    "amount_minor": 120_000,
    "currency": "HKD",
    "at": AT,
}

SAMPLES: Mapping[str, Message] = {
    **{str(message.model_dump()["type"]): message for message in (*_OF_PARTIES, *_OF_ROLES)},
    **{kind: Outcome.model_validate(_OUTCOME | {"type": kind}) for kind in types_on(SETTLEMENT_OUTCOMES)},
}
