"""The committed schemas are those of the code, and between two of them only additive changes pass."""

from copy import deepcopy
from typing import Any

import pytest
from pydantic import create_model

from gateway.protocol.messages import MANIFESTS, MESSAGES
from tests.architecture.schemas import FOLDER, breaks, committed, is_additive, models, schema_of

NAMES = sorted(models())


def test_every_message_has_a_schema_and_every_schema_a_message() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)
    assert set(models().values()) >= {*MANIFESTS.values(), *MESSAGES.values()}


@pytest.mark.parametrize("name", NAMES)
def test_a_message_changes_additively_or_gets_a_new_major(name: str) -> None:
    assert list(breaks(committed(name), schema_of(models()[name]))) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_schema_is_that_of_the_code(name: str) -> None:
    assert committed(name) == schema_of(models()[name]), "run: python -m tests.architecture.schemas"


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_an_additive_change_of_itself(name: str) -> None:
    assert is_additive(committed(name), committed(name))


OLD: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["amount", "kind"],
    "$defs": {"Kind": {"type": "string", "enum": ["a", "b"]}},
    "properties": {
        "amount": {"type": "integer", "minimum": 0, "maximum": 100},
        "kind": {"$ref": "#/$defs/Kind"},
        "name": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}], "default": None},
        "token": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2},
        "lines": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 5},
        "free": {"type": "object", "additionalProperties": True},
    },
}


def changed(*path: str, to: Any = None) -> dict[str, Any]:
    """Set (or, without `to`, delete) what stands at `path` in a copy of OLD."""
    new = deepcopy(OLD)
    place = new
    for step in path[:-1]:
        place = place[step]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return new


ADDITIVE = {
    "a new optional field": changed("properties", "note", to={"type": "string"}),
    "a field no longer required": changed("required", to=["amount"]),
    "a new value of an enum": changed("$defs", "Kind", "enum", to=["a", "b", "c"]),
    "a higher maximum": changed("properties", "amount", "maximum", to=200),
    "no maximum": changed("properties", "amount", "maximum"),
    "a lower minimum": changed("properties", "amount", "minimum", to=-5),
    "no pattern": changed("properties", "token", "pattern"),
    "an integer that may be a number": changed("properties", "amount", "type", to="number"),
    "one more branch": changed(
        "properties", "name", "anyOf", to=[{"type": "string", "maxLength": 10}, {"type": "null"}, {"type": "integer"}]
    ),
    "other fields allowed": changed("additionalProperties", to=True),
    "another description": changed("description", to="says it better"),
}
BREAKING = {
    "a removed field": changed("properties", "name"),
    "a renamed field": {
        **OLD,
        "properties": {("title" if name == "name" else name): one for name, one in OLD["properties"].items()},
    },
    "a new required field": {
        **changed("properties", "note", to={"type": "string"}),
        "required": ["amount", "kind", "note"],
    },
    "an optional field made required": changed("required", to=["amount", "kind", "name"]),
    "a value gone from an enum": changed("$defs", "Kind", "enum", to=["a"]),
    "an enum where there was none": changed("properties", "token", "enum", to=["a", "b"]),
    "a lower maximum": changed("properties", "amount", "maximum", to=99),
    "a higher minimum": changed("properties", "amount", "minimum", to=1),
    "a new bound": changed("properties", "token", "maxLength", to=10_000),
    "a higher minimum length": changed("properties", "token", "minLength", to=3),
    "fewer items": changed("properties", "lines", "maxItems", to=4),
    "another pattern": changed("properties", "token", "pattern", to="^[a-y]+$"),
    "another type": changed("properties", "amount", "type", to="string"),
    "other items": changed("properties", "lines", "items", "type", to="string"),
    "a field that may no longer be null": changed("properties", "name", to={"type": "string", "maxLength": 10}),
    "a narrower branch": changed(
        "properties", "name", "anyOf", to=[{"type": "string", "maxLength": 9}, {"type": "null"}]
    ),
    "a free object closed": changed("properties", "free", "additionalProperties", to=False),
    "a free object of one type": changed("properties", "free", "additionalProperties", to={"type": "string"}),
    "a new fixed value": changed("properties", "token", "const", to="x"),
    "a word this check does not know": changed("properties", "token", "not", to={"type": "null"}),
}


@pytest.mark.parametrize("what", ADDITIVE)
def test_an_additive_change_passes(what: str) -> None:
    assert list(breaks(OLD, ADDITIVE[what])) == []


@pytest.mark.parametrize("what", BREAKING)
def test_a_change_that_breaks_a_reader_or_an_author_fails(what: str) -> None:
    assert not is_additive(OLD, BREAKING[what])


def test_a_new_required_field_in_a_real_manifest_fails() -> None:
    submitted = MANIFESTS["submitted"]
    extended: Any = create_model
    stricter = extended("Stricter", __base__=submitted, added=(str, ...))
    wider = extended("Wider", __base__=submitted, added=(str | None, None))

    assert list(breaks(committed("submitted"), schema_of(stricter))) == ["/added: is newly required"]
    assert is_additive(committed("submitted"), schema_of(wider))
