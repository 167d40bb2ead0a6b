"""An insurer has opened a claim, found it as signed, and takes it into review."""

from typing import Literal

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, MessageId
from gateway.protocol.message_spec import Author, Content, MessageSpec
from gateway.protocol.topics import INSURER_RESPONSES


class AcknowledgedManifest(Manifest):
    """The insurer has opened the claim, found it as signed, and takes it into review (`content_sha256` repeats it).

    Where it is authored or accepted `content_sha256` is required, the claim's own; earlier messages may lack it.
    """

    type: Literal["acknowledged"] = "acknowledged"
    based_on: int
    in_reply_to: MessageId


SPEC = MessageSpec(
    name="acknowledged",
    model=AcknowledgedManifest,
    topics=(INSURER_RESPONSES,),
    authors=frozenset((Author.INSURER,)),
    content=Content.REPEATED,
    claim_events=(Event.ACKNOWLEDGE,),
)
