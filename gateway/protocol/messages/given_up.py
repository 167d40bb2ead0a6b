"""A hospital gives up a submission that the insurer disputes."""

from typing import Literal

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, MessageId
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_DELIVERIES


class GivenUpManifest(Manifest):
    """The hospital gives up a submission that the insurer disputes, whose dispute it names; the claim ends."""

    type: Literal["given_up"] = "given_up"
    in_reply_to: MessageId


SPEC = MessageSpec(
    name="given_up",
    model=GivenUpManifest,
    topics=(HOSPITAL_REQUESTS, INSURER_DELIVERIES),
    authors=frozenset((Author.HOSPITAL,)),
    claim_events=(Event.GIVE_UP,),
)
