"""R4 JSON in and out: the guarded reader, faults with JSON Pointers, and a writer that keeps decimals as they are.

Money in R4 is a JSON number. The reader takes its digits lexically, the writer writes them back lexically
(`1200.00` stays `1200.00`), and no float stands between. Equal resources give equal bytes.
"""

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.protocol.canonical import read_any_number, read_json_object
from gateway.protocol.errors import Fault, MalformedInputError
from gateway.protocol.fhir.bundle import Bundle
from gateway.protocol.fhir.elements import Element
from gateway.protocol.fhir.resources import Resource
from gateway.protocol.fhir.subset import MODIFIER, Subset, keep_subset, modified_primitives

R = TypeVar("R", bound=Resource)

CONTENT_BYTES_MAX = 8 * 1024 * 1024
"""The cap of a dossier's content once it is inflated."""

FAULTS_MAX = 100

_FAULT_OF_TYPE = {
    "extra_forbidden": "fhir.unknown-element",
    "missing": "fhir.element-missing",
    "none_required": "fhir.element-not-carried",
    "union_tag_invalid": "fhir.resource-not-carried",
    "union_tag_not_found": "fhir.resource-not-carried",
}


def read_bundle(raw: bytes, *, refuse_unknown: bool = False) -> Bundle:
    """Read the content of a dossier, at most 8 MiB; see `read_resource`."""
    return read_resource(Bundle, raw, refuse_unknown=refuse_unknown)


def read_resource(kind: type[R], raw: bytes, *, refuse_unknown: bool = False, bytes_max: int = CONTENT_BYTES_MAX) -> R:
    """Read one resource from JSON bytes; `MalformedInputError` names up to 100 faults at once, without any value.

    Elements outside the subset are left out before anything is validated (`subset.py`), or refused by an accepting edge
    (`refuse_unknown`). Elements that would change the meaning of the rest are always refused:
    `fhir.element-not-carried`. Decimals may have an exponent, as R4's grammar allows. More bytes than `bytes_max` are
    `TooLargeError`.
    """
    # .NET and editors on Windows begin UTF-8 with a mark, which RFC 8259 (section 8.1) lets a reader ignore
    text = raw if refuse_unknown else raw.removeprefix(BOM_UTF8)
    value = read_json_object(text, bytes_max=bytes_max, decimals=True, odd_number=read_any_number)
    # a key may be written with escapes, which no honest writer of this name does
    may_modify = MODIFIER.encode() in raw or b"\\u00" in raw
    return parse_resource(kind, value, refuse_unknown=refuse_unknown, may_modify=may_modify)


def parse_resource(
    kind: type[R], value: Mapping[str, Any], *, refuse_unknown: bool = False, may_modify: bool = True
) -> R:
    """Do what `read_resource` does with an object that `read_json(decimals=True)` has read.

    `may_modify` is False where the text is known to name no `modifierExtension`.
    """
    if value.get("resourceType") != kind.model_fields["resource_type"].default:
        raise MalformedInputError("fhir.malformed", faults=[Fault("fhir.resource-not-carried", "/resourceType")])
    modified = list(islice(modified_primitives(kind, value), FAULTS_MAX)) if may_modify else []
    if modified:
        raise MalformedInputError("fhir.malformed", faults=modified)
    try:
        return _validated(kind, value, refuse_unknown=refuse_unknown)
    except ValidationError as error:
        if refuse_unknown:
            raise _refusal(error, Subset()) from None
    # most contents are good as they are: only where one is not, what lies outside the subset is looked for
    subset = keep_subset(kind, value)
    try:
        return _validated(kind, subset.members, refuse_unknown=False)
    except ValidationError as error:
        raise _refusal(error, subset) from None


def _validated(kind: type[R], value: Mapping[str, Any], *, refuse_unknown: bool) -> R:
    return kind.model_validate(value, extra="forbid" if refuse_unknown else "ignore", by_alias=True, by_name=False)


def _refusal(error: ValidationError, subset: Subset) -> MalformedInputError:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return MalformedInputError("fhir.malformed", faults=[_fault(detail, subset) for detail in details[:FAULTS_MAX]])


def _fault(detail: ErrorDetails, subset: Subset) -> Fault:
    """Name the element, never the value; an unknown name came from outside too, so its parent stands for it."""
    place = detail["loc"][:-1] if detail["type"] == "extra_forbidden" else detail["loc"]
    steps = tuple(step for step in place if isinstance(step, int) or not step[:1].isupper())
    pointer = "".join(f"/{step}" for step in subset.original(steps))
    return Fault(_FAULT_OF_TYPE.get(detail["type"], "fhir.element-malformed"), pointer)


def to_json(element: Element) -> bytes:
    """Write compact UTF-8 JSON in R4's order of elements; absent and empty elements are left out."""
    written: list[str] = []
    _write(element.model_dump(by_alias=True, exclude_none=True), written.append)
    return "".join(written).encode()


def _write(value: Any, out: Callable[[str], None]) -> None:
    if isinstance(value, str):
        out(encode_basestring(value))
    elif isinstance(value, dict):
        _write_members(value, out)
    elif isinstance(value, tuple):
        _write_list(value, out)
    elif isinstance(value, Decimal):
        out(format(value, "f"))
    elif isinstance(value, bool):
        out("true" if value else "false")
    else:
        out(str(value))


def _write_members(members: Mapping[str, Any], out: Callable[[str], None]) -> None:
    separator = "{"
    for name, member in members.items():
        if member != ():
            out(f'{separator}"{name}":')
            _write(member, out)
            separator = ","
    out("{}" if separator == "{" else "}")


def _write_list(members: tuple[Any, ...], out: Callable[[str], None]) -> None:
    out("[")
    for place, member in enumerate(members):
        if place:
            out(",")
        _write(member, out)
    out("]")
