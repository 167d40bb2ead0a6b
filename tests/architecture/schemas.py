"""JSON Schemas (2020-12) of every message, and what may change in one: `python -m tests.architecture.schemas` writes.

A change is additive when every message that was valid stays valid and keeps its meaning: a new optional field, a new
value among those a reader already has to expect. Everything else is a new major, thus a new topic.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.protocol.canonical import pretty, read_json_object
from gateway.protocol.exchange import Message, Stamp
from gateway.protocol.messages import SPECS
from gateway.protocol.registry import Release

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"

Schema = Mapping[str, Any]

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
EXACT = ("pattern", "format", "const", "uniqueItems", "multipleOf")
WORDS = ("title", "description", "default", "examples")
UNDERSTOOD = frozenset(
    (*LOWER_BOUNDS, *UPPER_BOUNDS, *EXACT, *WORDS, "type", "enum", "anyOf", "items", "properties", "required")
) | {"additionalProperties", "$defs", "$ref"}


def models() -> dict[str, type[Message]]:
    """Name of each schema file → model: one a message spec, and what carries messages or is signed by itself."""
    return {**{name: spec.model for name, spec in SPECS.items()}, "stamp": Stamp, "release": Release}


def schema_of(model: type[Message]) -> dict[str, Any]:
    return model.model_json_schema(mode="validation")


def committed(name: str) -> dict[str, Any]:
    """Read a committed schema; `FileNotFoundError` if there is none."""
    return read_json_object((FOLDER / f"{name}.json").read_bytes())


def write_all() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, model in models().items():
        (FOLDER / f"{name}.json").write_text(pretty(schema_of(model)) + "\n", encoding="utf-8")


def is_additive(old: Schema, new: Schema) -> bool:
    return not list(breaks(old, new))


def breaks(old: Schema, new: Schema) -> Iterator[str]:
    """Name every way in which `new` refuses or forgets what `old` knew."""
    yield from _breaks(_resolved(old, old), _resolved(new, new), "")


def _resolved(schema: Any, root: Schema) -> Any:
    """Put definitions in the place of references; our messages hold no recursive model."""
    if isinstance(schema, list):
        return [_resolved(one, root) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return {**_resolved(target, root), **_resolved({k: v for k, v in schema.items() if k != "$ref"}, root)}
    return {key: _resolved(value, root) for key, value in schema.items() if key != "$defs"}


def _breaks(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for word in sorted((set(old) | set(new)) - UNDERSTOOD):
        yield f"{where}: {word} is not understood by this check"
    yield from _narrowed_type(old, new, where)
    yield from _narrowed_bounds(old, new, where)
    for word in EXACT:
        if word in new and new[word] != old.get(word):
            yield f"{where}: {word} is new or another"
    if "items" in new:
        yield from _breaks(old.get("items", {}), new["items"], f"{where}/items")
    yield from _changed_fields(old, new, where)


def _narrowed_type(old: Schema, new: Schema, where: str) -> Iterator[str]:
    if "type" in new and new["type"] != old.get("type") and not _widened_number(old, new):
        yield f"{where}: type is another"
    if "enum" in new and not set(old.get("enum", ["a value no longer listed"])) <= set(new["enum"]):
        yield f"{where}: a value of the enum is gone"
    if "anyOf" in old or "anyOf" in new:
        branches = new.get("anyOf", [new])
        for index, branch in enumerate(old.get("anyOf", [old])):
            plain = {key: value for key, value in branch.items() if key not in WORDS}
            if not any(is_additive(plain, {k: v for k, v in one.items() if k not in WORDS}) for one in branches):
                yield f"{where}/anyOf/{index}: is no longer taken"


def _widened_number(old: Schema, new: Schema) -> bool:
    return old.get("type") == "integer" and new["type"] == "number"


def _narrowed_bounds(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for word in LOWER_BOUNDS:
        if word in new and (word not in old or new[word] > old[word]):
            yield f"{where}: {word} is new or higher"
    for word in UPPER_BOUNDS:
        if word in new and (word not in old or new[word] < old[word]):
            yield f"{where}: {word} is new or lower"


def _changed_fields(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, now = old.get("properties", {}), new.get("properties", {})
    for name in before:
        if name not in now:
            yield f"{where}/{name}: is gone"
        else:
            yield from _breaks(before[name], now[name], f"{where}/{name}")
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield f"{where}/{name}: is newly required"
    others, others_now = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if others_now is False and others is not False:
        yield f"{where}: other fields were allowed"
    if isinstance(others_now, dict) and others is not False:
        yield from _breaks(others if isinstance(others, dict) else {}, others_now, f"{where}/*")


if __name__ == "__main__":
    write_all()
