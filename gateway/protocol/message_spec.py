"""What a message is, in one value: its model, its topics, who writes it, what travels sealed, how it moves a claim.

Each module of `gateway/protocol/messages` holds one model and its `SPEC`. Topics, schemas, readers, edges and pages ask
the specs, so that a new message is a new file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import get_args

from gateway.protocol.claim_life import Event
from gateway.protocol.exchange import Manifest, Message


class Author(StrEnum):
    """Who writes a message. Parties sign manifests; roles of the gateway write theirs inside their stamp."""

    HOSPITAL = "hospital"
    INSURER = "insurer"
    CORE = "core"
    SETTLEMENT = "settlement"


PARTIES = frozenset((Author.HOSPITAL, Author.INSURER))


class Content(StrEnum):
    """What `content_sha256` of a manifest is the hash of."""

    NONE = "none"
    """There is no hash, and no dossier."""
    REPEATED = "repeated"
    """The hash repeats that of the claim's content; there is no dossier."""
    SEALED = "sealed"
    """The hash is that of the message's own dossier."""


def types_of(model: type[Message]) -> tuple[str, ...]:
    """Return what may stand in the field `type` of a message: one name, or more where several share a model."""
    return get_args(model.model_fields["type"].annotation)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSpec:
    """`name` is that of the module and of the committed schema; the types on the wire are those of `model.type`.

    `topics` carry the message, in the order of a claim's way. `claim_events` are the moves of `claim_life.ALLOWED` that
    a message of a party asks for; none where it makes the claim.
    """

    name: str
    model: type[Message]
    topics: tuple[str, ...]
    authors: frozenset[Author]
    content: Content = Content.NONE
    claim_events: tuple[Event, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        return types_of(self.model)

    @property
    def is_manifest(self) -> bool:
        return issubclass(self.model, Manifest)

    @property
    def has_dossier(self) -> bool:
        return self.content is Content.SEALED

    @property
    def has_content_hash(self) -> bool:
        return self.content is not Content.NONE

    def moved_by(self, allowed_actions: Sequence[str]) -> bool:
        """Say whether one of the moves that the message asks for is among those that its author may make."""
        return any(event in allowed_actions for event in self.claim_events)
