"""Every message, one a module of this package: manifests that parties sign, messages that roles write in their stamp.

A new message is a new module with a model and its `SPEC`; nothing here lists them. What is derived from the specs, such
as the readers below, the messages of a topic and the committed JSON Schemas, follows by itself.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.protocol.errors import Fault, InvalidInputError
from gateway.protocol.exchange import Manifest, Message, faults_of
from gateway.protocol.message_spec import MessageSpec
from gateway.protocol.topics import INSURER_DELIVERIES

M = TypeVar("M", bound=Message)


def _spec_of_module(name: str) -> MessageSpec:
    spec = import_module(f"{__name__}.{name}").SPEC
    if not isinstance(spec, MessageSpec) or spec.name != name:
        raise TypeError(f"{name}.SPEC is not the spec of a message called {name}")
    return spec


SPECS: Mapping[str, MessageSpec] = {
    module.name: _spec_of_module(module.name)
    for module in sorted(iter_modules(__path__), key=lambda module: module.name)
}
"""Name of a message → its spec, in alphabetical order."""

SPEC_OF_TYPE: Mapping[str, MessageSpec] = {name: spec for spec in SPECS.values() for name in spec.types}
"""Type on the wire → spec."""

MANIFESTS: Mapping[str, type[Manifest]] = {
    name: spec.model for name, spec in SPEC_OF_TYPE.items() if issubclass(spec.model, Manifest)
}
MESSAGES: Mapping[str, type[Message]] = {
    name: spec.model for name, spec in SPEC_OF_TYPE.items() if not spec.is_manifest
}


def types_on(topic: str) -> tuple[str, ...]:
    """Return the types of every message that a topic carries; none where it carries signed bytes of another kind."""
    return tuple(name for name, spec in SPEC_OF_TYPE.items() if topic in spec.topics)


ROLE_MESSAGE_IDS = tuple(f"{name}-" for name in types_on(INSURER_DELIVERIES) if name in MESSAGES)
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
