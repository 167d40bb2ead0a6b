"""Every message is read from its bytes by its type, strictly where it is accepted and tolerantly further in."""

from typing import Any

import pytest

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import InvalidInputError
from gateway.protocol.exchange import Message
from gateway.protocol.messages import MANIFESTS, SPEC_OF_TYPE, parse, parse_manifest, parse_role_message
from tests.message_samples import SAMPLES

KINDS = sorted(SAMPLES)


def on_the_wire(kind: str) -> dict[str, Any]:
    return read_json_object(compact(SAMPLES[kind].model_dump(mode="json", exclude_none=True)))


def read(wire: dict[str, Any], *, accepting: bool = False) -> Message:
    return parse_manifest(wire, accepting=accepting) if wire["type"] in MANIFESTS else parse_role_message(wire)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_read_from_its_bytes_as_the_model_of_its_spec(kind: str) -> None:
    message = read(on_the_wire(kind), accepting=True)

    assert type(message) is SPEC_OF_TYPE[kind].model
    assert message == SAMPLES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_inner_reader_ignores_a_field_that_it_does_not_know(kind: str) -> None:
    assert read(on_the_wire(kind) | {"of_a_later_version": 1}) == SAMPLES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_message_is_accepted_an_unknown_field_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse(SPEC_OF_TYPE[kind].model, on_the_wire(kind) | {"of_a_later_version": 1}, accepting=True)

    assert [fault.code for fault in refused.value.faults] == ["field.extra-forbidden"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_party_cannot_sign_what_a_role_writes_nor_a_role_write_what_a_party_signs(kind: str) -> None:
    wire = on_the_wire(kind)

    with pytest.raises(InvalidInputError, match=r"message\.type-unknown"):
        parse_role_message(wire) if kind in MANIFESTS else parse_manifest(wire, accepting=True)
