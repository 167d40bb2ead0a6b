"""Core took a message of an insurer."""

from typing import Literal

from pydantic import Field

from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.messages.claim_state import DisputeStanding
from gateway.protocol.topics import INSURER_DELIVERIES


class Accepted(Message):
    """Core took a party's message."""

    type: Literal["accepted"] = "accepted"
    case_id: str
    claim_id: str
    in_reply_to: str
    to: str
    state: str
    revision: int
    allowed_actions: tuple[str, ...] = Field(strict=False)
    dispute: DisputeStanding | None = None


SPEC = MessageSpec(
    name="accepted",
    model=Accepted,
    topics=(INSURER_DELIVERIES,),
    authors=frozenset((Author.CORE,)),
)
