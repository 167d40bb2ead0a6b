"""Messages between claims and settlement: one obligation a final decision, and what became of the money.

An obligation carries the insurer's signed *decided* manifest; settlement verifies it itself. Its id comes from
(claim id, decision version), so the same decision never obliges twice.
"""

from typing import Literal

from pydantic import Field

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.exchange import Message

REASON_LENGTH_MAX = 350
"""A bank's own reason is Max35Text in any script (ISO 20022); what cannot be printed in it is escaped to ten signs."""


def obligation_id(claim_id: str, decision_version: int) -> str:
    """Derive the id that is unique for ever for one decision of one claim."""
    return "obl_" + sha256_hex(f"{claim_id}\n{decision_version}".encode())[:32]


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


class VoidAsked(Message):
    """Core asks to stop an obligation before money moves; the answer is `voided` or `too_late`."""

    type: Literal["void_asked"] = "void_asked"
    obligation_id: str
    case_id: str
    claim_id: str
    reason_code: str


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
