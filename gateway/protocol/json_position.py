"""Where in a JSON text (RFC 8259) a fault stands that the parser reports without its place: read again, word by word.

Runs only on texts that are refused anyway, in one pass; it never judges whether a text is refused.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_WORD = re.compile(
    r'"(?:[^"\\]|\\.)*+"|[{}\[\]:,]|NaN|-?Infinity|-?[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?', re.DOTALL
)
_CONSTANTS = ("NaN", "Infinity", "-Infinity")


@dataclass(slots=True)
class _Open:
    """An object or list that the reading is in."""

    is_object: bool
    keys: set[str] = field(default_factory=set)
    expects_key: bool = True


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of a character, both counted from 1; a line ends with LF."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def find_fault(text: str, code: str, depth_max: int, number_characters_max: int) -> int | None:
    """Return the offset of the first thing that `code` (`json.…`) complains of; None if there is none."""
    if code == "json.duplicate-key":
        return _find_duplicate_key(text)
    if code == "json.too-deep":
        return _find_depth(text, depth_max + 2)
    complains: dict[str, Callable[[str], bool]] = {
        "json.not-a-number": lambda word: word in _CONSTANTS,
        "json.float-refused": lambda word: _is_number(word) and not {*word}.isdisjoint(".eE"),
        "json.exponent-refused": lambda word: _is_number(word) and not {*word}.isdisjoint("eE"),
        "json.number-too-long": lambda word: _is_number(word) and len(word) > number_characters_max,
        "json.lone-surrogate": _is_half_a_character,
    }
    complaint = complains.get(code)
    if complaint is None:
        return None
    return next((offset for offset, word in _words(text) if complaint(word)), None)


def _words(text: str) -> Iterator[tuple[int, str]]:
    return ((match.start(), match[0]) for match in _WORD.finditer(text))


def _is_number(word: str) -> bool:
    return word[0] in "-0123456789" and word not in _CONSTANTS


def _is_half_a_character(word: str) -> bool:
    if "\\u" not in word:
        return False
    value = _read_string(word)
    return value is not None and any("\ud800" <= character <= "\udfff" for character in value)


def _read_string(word: str) -> str | None:
    """Return a string's value with its escapes resolved; None for any other or a malformed word."""
    try:
        value = json.loads(word)  # noqa: TID251 one string of a text that is refused anyway
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _find_depth(text: str, levels: int) -> int | None:
    depth = 0
    for offset, word in _words(text):
        depth += (word in "{[") - (word in "}]")
        if depth == levels:
            return offset
    return None


def _find_duplicate_key(text: str) -> int | None:
    """Return where a key stands that its object already had."""
    inside: list[_Open] = []
    for offset, word in _words(text):
        if word in "{[":
            inside.append(_Open(word == "{"))
        elif not inside:
            continue
        elif word in "}]":
            inside.pop()
        elif word == ",":
            inside[-1].expects_key = True
        elif inside[-1].is_object and inside[-1].expects_key:
            inside[-1].expects_key = False
            key = _read_string(word)
            if key in inside[-1].keys:
                return offset
            if key is not None:
                inside[-1].keys.add(key)
    return None
