"""Writing R4 JSON: amounts and quantities are JSON numbers with exactly the digits they have, and no float is near.

The standard encoder does the work. It cannot write a `Decimal`, so each is marked by a NUL, which no text of a bill
holds (`reading.py` refuses it), and the marks are taken off with their quotes afterwards.
"""

from collections.abc import Mapping
from decimal import Decimal
from json import JSONEncoder
from typing import Any

_MARK = '"\\u0000'


def _mark(value: object) -> str:
    if not isinstance(value, Decimal):
        raise TypeError("only decimals are written lexically")
    return f"\0{value:f}"


_ENCODER = JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_mark)


def encode(value: Mapping[str, Any]) -> bytes:
    """Write members in their order as compact UTF-8; the same value gives the same bytes."""
    first, *marked = _ENCODER.encode(value).split(_MARK)
    return (first + "".join([part.replace('"', "", 1) for part in marked])).encode()
