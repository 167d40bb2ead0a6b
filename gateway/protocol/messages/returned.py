"""An insurer cannot process a claim and says why; the claim ends."""

from typing import Literal

from pydantic import Field

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, MessageId
from gateway.protocol.message_spec import Author, Content, MessageSpec
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_RESPONSES


class ReturnedManifest(Manifest):
    """The insurer cannot process the claim; the text is in the dossier, the class code is clear."""

    type: Literal["returned"] = "returned"
    based_on: int
    in_reply_to: MessageId
    class_code: str = Field(pattern=r"^G[0-9]{3}$")


SPEC = MessageSpec(
    name="returned",
    model=ReturnedManifest,
    topics=(INSURER_RESPONSES, HOSPITAL_NOTICES),
    authors=frozenset((Author.INSURER,)),
    content=Content.SEALED,
    claim_events=(Event.RETURN,),
)
