"""Bytes in and bytes out: the guarded JSON reader, RFC 8785 canonical bytes, hashes and base64url.

`read_json` is the one reader of outside JSON. It refuses what lenient readers let pass: duplicate keys, NaN and
Infinity, invalid UTF-8, nesting over 64, sizes over the caller's limit and, unless asked for decimals, any number
that is no integer. It raises `MalformedInputError` (with line and column) or `TooLargeError` and nothing else.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

import rfc8785
from pydantic_core import to_json

from gateway.protocol.errors import MalformedInputError, TooLargeError
from gateway.protocol.json_position import find_fault, position

BODY_BYTES_MAX = 1 << 20
DEPTH_MAX = 64
NUMBER_CHARACTERS_MAX = 1000
NO_NUMBER = Decimal("NaN")
_PLAIN_CHARACTERS_MAX = 20
_WHOLE_DIGITS_MAX = 18
_PLAIN_DECIMALS_MAX = 8
_EXPONENT_DIGITS_MAX = 4

_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(
    raw: bytes,
    *,
    bytes_max: int = BODY_BYTES_MAX,
    decimals: bool = False,
    odd_number: Callable[[str], Any] | None = None,
) -> Any:
    """Read one JSON text. `decimals` reads numbers with a point as `Decimal`, lexically; else they are refused.

    `odd_number` is called with the text of a number that has an exponent or more digits than `_is_odd` allows, and
    what it returns stands in the value; without it an exponent, or an integer of more than 20 characters, refuses the
    whole text. A refusal has line and column, from 1, among its facts where the place is known.
    """
    if len(raw) > bytes_max:
        raise TooLargeError("json.too-large", facts={"bytes_max": bytes_max})
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        raise _malformed("json.not-utf8", before, len(before)) from None
    try:
        value = json.loads(  # noqa: TID251 the guarded reader itself
            text,
            object_pairs_hook=_object_without_twins,
            parse_constant=_refuse_constant,
            parse_float=partial(_read_decimal, odd_number=odd_number) if decimals else _refuse_float,
            parse_int=partial(_read_int, odd_number=odd_number) if odd_number else _read_int,
        )
    except MalformedInputError as error:
        raise _malformed(error.code, text) from None
    except RecursionError:
        raise _malformed("json.too-deep", text) from None
    except json.JSONDecodeError as error:
        raise _malformed("json.malformed", text, error.pos) from None
    if _too_deep(value):
        raise _malformed("json.too-deep", text)
    if "\\u" in text and _HALF_A_CHARACTER.search(text) and not _encodable(value):
        raise _malformed("json.lone-surrogate", text)
    return value


def _malformed(code: str, text: str, offset: int | None = None) -> MalformedInputError:
    """Make the error with line and column; a second reading finds the place where the parser does not tell it."""
    if offset is None:
        offset = find_fault(text, code, DEPTH_MAX, _PLAIN_CHARACTERS_MAX)
    if offset is None:
        return MalformedInputError(code)
    line, column = position(text, offset)
    return MalformedInputError(code, facts={"line": line, "column": column})


def read_json_object(
    raw: bytes,
    *,
    bytes_max: int = BODY_BYTES_MAX,
    decimals: bool = False,
    odd_number: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """Read one JSON object; any other JSON value is `json.not-an-object`."""
    value = read_json(raw, bytes_max=bytes_max, decimals=decimals, odd_number=odd_number)
    if not isinstance(value, dict):
        raise MalformedInputError("json.not-an-object")
    return value


def _object_without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedInputError("json.duplicate-key")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise MalformedInputError("json.not-a-number")


def _refuse_float(_: str) -> NoReturn:
    raise MalformedInputError("json.float-refused")


def _read_decimal(text: str, odd_number: Callable[[str], Any] | None) -> Any:
    if odd_number is not None and _is_odd(text):
        return odd_number(text)
    if "e" in text or "E" in text:
        raise MalformedInputError("json.exponent-refused")
    return Decimal(text)


def _read_int(text: str, odd_number: Callable[[str], Any] | None = None) -> Any:
    if len(text) <= _PLAIN_CHARACTERS_MAX:
        return int(text)
    if odd_number is not None:
        return odd_number(text)
    raise MalformedInputError("json.number-too-long")


def _is_odd(text: str) -> bool:
    """Tell a number that is not written plainly: with an exponent, or with more digits than any field has."""
    fraction = text.partition(".")[2]
    return "e" in text or "E" in text or len(text) > _WHOLE_DIGITS_MAX or len(fraction) > _PLAIN_DECIMALS_MAX


def read_any_number(text: str) -> Decimal:
    """Read a number as R4 allows partners to write it: exactly, `1.0E+3` as 1000, trailing zeros dropped.

    One that no field could hold (over 18 digits before the point) becomes `NO_NUMBER`, which no field takes and which
    harms nobody where it is left out. The length of the text and of the exponent is bounded first, so that
    `1e999999999` costs nothing.
    """
    coefficient, _, exponent = text.lower().partition("e")
    if len(coefficient) > NUMBER_CHARACTERS_MAX:
        return NO_NUMBER
    if not coefficient.strip("-0."):
        return Decimal(0)
    if len(exponent.lstrip("+-").lstrip("0")) > _EXPONENT_DIGITS_MAX:
        return NO_NUMBER
    number = Decimal(text)
    sign, digits, power = number.as_tuple()
    if not isinstance(power, int) or number.adjusted() >= _WHOLE_DIGITS_MAX:
        return NO_NUMBER
    kept = list(digits)
    while power < 0 and kept[-1] == 0 and len(kept) > 1:
        kept.pop()
        power += 1
    return Decimal((sign, (*kept, *[0] * max(power, 0)), min(power, 0)))


def _encodable(value: Any) -> bool:
    """Tell whether every string in `value` can be written again: a lone surrogate escape cannot."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()  # noqa: TID251 only tried, never sent
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def canonical(value: Any) -> bytes:
    """Serialise by RFC 8785 (JCS): leaf bodies, commitments, batch hashes and registry releases."""
    return rfc8785.dumps(value)


def compact(value: Any) -> bytes:
    """Serialise once, compactly, for bytes that are signed and sent as they are."""
    return to_json(value)


def pretty(value: Any) -> str:
    """Write JSON for people: indented, Chinese readable."""
    return json.dumps(value, ensure_ascii=False, indent=2)  # noqa: TID251 for people only


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def b64url(data: bytes) -> str:
    """Encode base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parse_b64url(text: str) -> bytes:
    """Decode base64url without padding; `MalformedInputError` for anything else."""
    data = _decode(lambda: base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    if b64url(data) != text:  # padding, the other alphabet or stray last bits: one value, one spelling
        raise MalformedInputError("base64.malformed")
    return data


def parse_b64(text: str) -> bytes:
    """Decode standard base64 with padding; `MalformedInputError` for anything else."""
    return _decode(lambda: base64.b64decode(text, validate=True))


def _decode(decode: Callable[[], bytes]) -> bytes:
    try:
        return decode()
    except (binascii.Error, ValueError):
        raise MalformedInputError("base64.malformed") from None
