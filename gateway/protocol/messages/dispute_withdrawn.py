"""A party takes its own dispute back."""

from typing import Literal

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, MessageId
from gateway.protocol.message_spec import Author, MessageSpec
from gateway.protocol.topics import HOSPITAL_NOTICES, HOSPITAL_REQUESTS, INSURER_DELIVERIES, INSURER_RESPONSES


class DisputeWithdrawnManifest(Manifest):
    """The author takes back its own dispute, whose `msg_id` it names: the claim stands as it did before."""

    type: Literal["dispute_withdrawn"] = "dispute_withdrawn"
    in_reply_to: MessageId


SPEC = MessageSpec(
    name="dispute_withdrawn",
    model=DisputeWithdrawnManifest,
    topics=(HOSPITAL_REQUESTS, INSURER_DELIVERIES, INSURER_RESPONSES, HOSPITAL_NOTICES),
    authors=frozenset((Author.HOSPITAL, Author.INSURER)),
    claim_events=(Event.WITHDRAW_DISPUTE,),
)
