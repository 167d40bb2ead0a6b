"""Core asks settlement to stop an obligation."""

from typing import Literal

from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import SETTLEMENT_REQUESTS


class VoidAsked(Message):
    """Core asks to stop an obligation before money moves; the answer is `voided` or `too_late`."""

    type: Literal["void_asked"] = "void_asked"
    obligation_id: str
    case_id: str
    claim_id: str
    reason_code: str


SPEC = MessageSpec(
    name="void_asked",
    model=VoidAsked,
    topics=(SETTLEMENT_REQUESTS,),
    authors=frozenset((Author.CORE,)),
)
