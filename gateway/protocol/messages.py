"""Every message type and its model: manifests that parties author, messages that roles author inside their stamp.

The committed JSON Schemas and the reader of every topic come from these two tables.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.protocol.claims import (
    Accepted,
    AcknowledgedManifest,
    ClaimState,
    DisputedManifest,
    DisputeWithdrawnManifest,
    GivenUpManifest,
    Rejected,
    ReturnedManifest,
    SubmittedManifest,
)
from gateway.protocol.decisions import DecidedManifest
from gateway.protocol.errors import Fault, InvalidInputError
from gateway.protocol.exchange import Manifest, Message, faults_of
from gateway.protocol.settlements import ObligationAsked, Outcome, VoidAsked

M = TypeVar("M", bound=Message)

MANIFESTS: Mapping[str, type[Manifest]] = {
    "submitted": SubmittedManifest,
    "acknowledged": AcknowledgedManifest,
    "returned": ReturnedManifest,
    "disputed": DisputedManifest,
    "dispute_withdrawn": DisputeWithdrawnManifest,
    "given_up": GivenUpManifest,
    "decided": DecidedManifest,
}

MESSAGES: Mapping[str, type[Message]] = {
    "claim_state": ClaimState,
    "accepted": Accepted,
    "rejected": Rejected,
    "obligation": ObligationAsked,
    "void_asked": VoidAsked,
    "instructed": Outcome,
    "sent": Outcome,
    "received": Outcome,
    "returned_to_open": Outcome,
    "reconciled": Outcome,
    "voided": Outcome,
    "too_late": Outcome,
}


ROLE_MESSAGE_IDS = ("accepted-", "rejected-", "claim_state-")
"""Beginnings of the ids under which a role presents what it authored itself: no party may use them."""


def role_message_id(kind: str, about: str) -> str:
    """Name a role's own message in a party's inbox: its type, and what it is about."""
    return f"{kind}-{about}"


def check_message_id(msg_id: str) -> None:
    """Refuse an id that a role's own message may have: `InvalidInputError`, `message.id-reserved`."""
    if msg_id.startswith(ROLE_MESSAGE_IDS):
        raise InvalidInputError("message.id-reserved", faults=[Fault("message.id-reserved", "/msg_id")])


def parse_manifest(found: Mapping[str, Any], *, accepting: bool) -> Manifest:
    """Validate a manifest by its `type`; an accepting edge refuses unknown fields, an inner reader ignores them."""
    model = MANIFESTS.get(str(found.get("type")))
    if model is None:
        raise InvalidInputError("message.type-unknown")
    return parse(model, found, accepting=accepting)


def parse_role_message(found: Mapping[str, Any]) -> Message:
    """Validate a message that a role authored, as an inner reader."""
    model = MESSAGES.get(str(found.get("type")))
    if model is None:
        raise InvalidInputError("message.type-unknown")
    return parse(model, found, accepting=False)


def parse(model: type[M], found: Mapping[str, Any], *, accepting: bool) -> M:
    """Validate `found` as `model`; `InvalidInputError` with every fault named."""
    try:
        return model.model_validate(found, extra="forbid" if accepting else "ignore")
    except ValidationError as error:
        raise InvalidInputError("message.invalid", faults=faults_of(error)) from None
