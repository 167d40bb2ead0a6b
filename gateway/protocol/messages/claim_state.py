"""Core tells a party where a claim stands."""

from typing import Literal

from pydantic import Field

from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES


class DisputeStanding(Message):
    """Who has stopped a claim (party codes), by which message, about which message of the other party."""

    by: str
    against: str
    msg_id: str
    in_reply_to: str


class ClaimState(Message):
    """Core tells a party of a claim where it stands. Payment dates are text of RFC 3339.

    The hospital hears of every change, the insurer (`to`) of what it did not do itself and may answer. `dispute`
    stands while the claim is disputed; `reason` and `receipts` say why operators closed it and what became of those.
    """

    type: Literal["claim_state"] = "claim_state"
    case_id: str
    claim_id: str
    claim_version: int
    revision: int
    state: str
    payment_state: str
    event: str
    at: str
    allowed_actions: tuple[str, ...] = Field(strict=False)
    reference: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    reason_code: str | None = None
    """Why a payment was refused or stopped, as settlement heard it."""
    to: str | None = None
    dispute: DisputeStanding | None = None
    reason: str | None = None
    receipts: str | None = None


SPEC = MessageSpec(
    name="claim_state",
    model=ClaimState,
    topics=(HOSPITAL_NOTICES, INSURER_DELIVERIES),
    authors=frozenset((Author.CORE,)),
)
