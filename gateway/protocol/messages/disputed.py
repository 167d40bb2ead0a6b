"""A party says that the content of a message is not what was signed; the claim stops."""

from typing import Literal

from pydantic import Field

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, MessageId
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import HOSPITAL_NOTICES, HOSPITAL_REQUESTS, INSURER_DELIVERIES, INSURER_RESPONSES


class DisputedManifest(Manifest):
    """Content and manifest of `in_reply_to` differ. It blocks money until people have looked."""

    type: Literal["disputed"] = "disputed"
    in_reply_to: MessageId
    differences: tuple[str, ...] = Field(max_length=50, strict=False)


SPEC = MessageSpec(
    name="disputed",
    model=DisputedManifest,
    topics=(HOSPITAL_REQUESTS, INSURER_DELIVERIES, INSURER_RESPONSES, HOSPITAL_NOTICES),
    authors=frozenset((Author.HOSPITAL, Author.INSURER)),
    claim_events=(Event.DISPUTE,),
)
