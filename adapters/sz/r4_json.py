"""Writing R4 JSON: amounts and quantities are JSON numbers with exactly the digits they have, and no float is near.

No JSON writer has a number type for that, so each is a text that begins with NUL, which no text of a bill holds
(`reading.py` refuses it), and these marks are taken off with their quotes afterwards.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.protocol.canonical import compact

_MARK = b'"\\u0000'


def lexical(value: Decimal) -> str:
    """Stand in for a JSON number until `encode` writes it."""
    return f"\0{value:f}"


def encode(value: Mapping[str, Any]) -> bytes:
    """Write members in their order as compact UTF-8; the same value gives the same bytes."""
    first, *marked = compact(value).split(_MARK)
    return first + b"".join([part.replace(b'"', b"", 1) for part in marked])
