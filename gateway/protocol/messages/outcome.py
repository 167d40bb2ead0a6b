"""Settlement tells core what became of the money; one model, a type for each thing that may become of it."""

from typing import Literal

from pydantic import Field

from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import SETTLEMENT_OUTCOMES

REASON_LENGTH_MAX = 350
"""A bank's own reason is Max35Text in any script (ISO 20022); what cannot be printed in it is escaped to ten signs."""

OutcomeType = Literal["instructed", "sent", "received", "returned_to_open", "reconciled", "voided", "too_late"]


class Outcome(Message):
    """Settlement tells core what became of an obligation; `reference` is the batch's EndToEndId."""

    type: OutcomeType
    obligation_id: str
    case_id: str
    claim_id: str
    amount_minor: int
    currency: str
    at: str
    reference: str | None = None
    reason_code: str | None = Field(default=None, max_length=REASON_LENGTH_MAX)
    """Our own code, an ISO 20022 external code, or the bank's own words, made visible."""


SPEC = MessageSpec(
    name="outcome",
    model=Outcome,
    topics=(SETTLEMENT_OUTCOMES,),
    authors=frozenset((Author.SETTLEMENT,)),
)
