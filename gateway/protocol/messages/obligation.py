"""Core asks settlement to pay what a final decision obliges.

An obligation carries the insurer's signed *decided* manifest; settlement verifies it itself. Its id comes from
(claim id, decision version), so the same decision never obliges twice.
"""

from typing import Literal

from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import SETTLEMENT_REQUESTS


class ObligationAsked(Message):
    """Core asks settlement to pay: amount in minor units, benefit less what was obligated before; negative refunds."""

    type: Literal["obligation"] = "obligation"
    obligation_id: str
    case_id: str
    claim_id: str
    claim_version: int
    decision_version: int
    payer: str
    payee: str
    amount_minor: int
    currency: Literal["CNY", "HKD"]
    decision: str
    """The compact JWS of the *decided* manifest."""


SPEC = MessageSpec(
    name="obligation",
    model=ObligationAsked,
    topics=(SETTLEMENT_REQUESTS,),
    authors=frozenset((Author.CORE,)),
)
