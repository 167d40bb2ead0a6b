"""A role refused a message of a party, and says why."""

from typing import Literal

from pydantic import Field

from gateway.protocol.exchange import Message
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES


class Rejected(Message):
    """A role refused a party's message; the code says why, `allowed_actions` what would have been allowed."""

    type: Literal["rejected"] = "rejected"
    case_id: str
    claim_id: str
    in_reply_to: str
    to: str
    code: str
    faults: tuple[str, ...] = Field(default=(), strict=False)
    state: str | None = None
    allowed_actions: tuple[str, ...] = Field(default=(), strict=False)


SPEC = MessageSpec(
    name="rejected",
    model=Rejected,
    topics=(HOSPITAL_NOTICES, INSURER_DELIVERIES),
    authors=frozenset((Author.CORE,)),
)
