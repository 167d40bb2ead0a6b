"""How hospitals spell one value, and its one normal form: codes, identifiers, numbers, dates, and words for nothing.

What is accepted, and why, is documented in docs/hospitals.md ("How values may be written"). Nothing here guesses: a
text that could be read in two ways (`1,200`, `01`, `02/03/2026`) is refused.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from gateway.protocol.clock import SHENZHEN_AND_HONG_KONG
from gateway.protocol.errors import MalformedInputError

EMPTY = frozenset({"", "-", "--", "－", "—", "——", "无", "無", "null", "NULL"})
"""Words for nothing. The front page of a medical record writes "-" (卫医政发 2011, 84号); `null` is how Java and SQL
exports print an absent value (`String.valueOf` of a null reference), and no name or code of a bill."""

_WIDTHS = ("<wide>", "<narrow>", "<small>", "<noBreak>")
"""Compatibility decompositions that differ in width only (UAX #15, UAX #11); superscripts, circled digits and the like
carry a meaning and are no spelling of a digit."""

_HYPHENS = "\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d"


def _code_characters() -> dict[int, str]:
    folded = {}
    for number in range(0x80, 0x10000):
        kind, _, target = unicodedata.decomposition(chr(number)).partition(" ")
        plain = chr(int(target, 16)) if target and " " not in target else ""
        if (kind in _WIDTHS and plain.isascii() and plain) or (kind == "<compat>" and plain == " "):
            folded[number] = plain
    # En and em quad decompose to the spaces, and stops and hyphens of a Chinese keyboard are typed for the plain ones.
    folded |= dict.fromkeys(map(ord, "\u2000\u2001"), " ")
    folded |= dict.fromkeys(map(ord, "\u3002\uff61"), ".")
    return folded | dict.fromkeys(map(ord, _HYPHENS), "-")


_CODE = _code_characters()
_OPENING, _CLOSING = "\\[{【「『〈《\u3014\u3016\u3018\u27e8", "\\]}】」』〉》\u3015\u3017\u3019\u27e9"
_OTHER_BRACKETS = re.compile(f"[{_OPENING}]([^{_OPENING}{_CLOSING}]*)[{_CLOSING}]")


def fold_code(text: str) -> str:
    """Write a code in plain characters, with ASCII's widths, hyphens and blanks; what is none of those stays."""
    return text.translate(_CODE).strip()


def round_brackets(text: str) -> str:
    """Write pairs of other brackets as round ones, which is how card numbers and device identifiers are printed."""
    return _OTHER_BRACKETS.sub(r"(\1)", text)


def look_alikes(text: str) -> str:
    """Write circled, mathematical and foreign digits and letters as plain ones: to recognise, never to accept."""
    plain = unicodedata.normalize("NFKC", text)
    return "".join(str(unicodedata.decimal(character, character)) for character in plain)


def normal_form(text: str, parse: Callable[[str], str]) -> str:
    """Return an identifier's normal form by its scheme; a refused one only loses its blanks, and stays refused."""
    compact = "".join(text.split())
    for spelling in (compact, round_brackets(compact)):
        try:
            return parse(spelling)
        except MalformedInputError:
            continue
    return compact


_EARLIER = str.maketrans(
    {code: chr(code - 0xFEE0) for code in [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]}
    | {0xFF0D: "-", 0xFF0E: ".", 0xFF0F: "/", 0xFF1A: ":"}
)


def earlier_fold(value: Any) -> str:
    """Fold a code as this format did before brackets, blanks and plus were folded; "" for what is no text.

    Tokens of claim numbers stored then were made over this, so a number is looked up under both.
    """
    text = value.strip() if type(value) is str else ""
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(_EARLIER)


# Numbers


NUMBER_CHARACTERS_MAX = 64
"""16 digits and their zeros are far shorter."""


@dataclass(frozen=True, slots=True)
class OddNumber:
    """Stands for a JSON number with an exponent or too many digits; its field is refused, and the file is read on."""


def odd_number(text: str) -> Decimal | OddNumber:
    """Read a long number by its value, as any other; one with an exponent, or too long, stands for itself."""
    plain = len(text) <= NUMBER_CHARACTERS_MAX and "." in text and "e" not in text and "E" not in text
    return Decimal(text) if plain else OddNumber()


_DECIMAL = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,15})(?:\.[0-9]*)?|\.[0-9]+)", re.ASCII)


def plain_decimal(value: Any) -> Decimal | None:
    """Read a JSON number, or a text of digits with at most one point; None for anything else.

    `.50` is how Oracle writes 0.50. No plus, no leading zeros, no grouping, no exponent: each of them is also how some
    other value, or another field, is written.
    """
    if type(value) is str:
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    return Decimal(value) if type(value) in (int, Decimal) else None


# Dates


_DATE = re.compile(
    r"([12][0-9]{3})(?:([0-9]{2})([0-9]{2})|-([0-9]{1,2})-([0-9]{1,2})|/([0-9]{1,2})/([0-9]{1,2}))", re.ASCII
)
_TIME = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?\s?(Z|[+-][0-9]{2}:?[0-9]{2})?", re.ASCII
)
_PACKED = re.compile(r"([12][0-9]{7})([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
_NATIONAL = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
"""The national interface's own form, which nearly every line of a bill has."""

_USUAL = re.compile(r"[12][0-9]{3}(?:-?[0-9]{2}-?[0-9]{2}|-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2})", re.ASCII)


def is_usual_date(text: str) -> bool:
    """Say whether a date is written in one of the forms of the national interface; any other is listed as tidied."""
    return _USUAL.fullmatch(text) is not None


def read_date(text: str) -> date | None:
    """Read the day of a date or moment, in UTC+8; None if there is no such day."""
    moment = read_moment(text)
    return None if moment is None else moment.date()


def read_moment(text: str) -> datetime | None:
    """Read a date, perhaps with a time, as a moment in UTC+8; None if there is no such moment.

    Year first, then month and day: `2026-03-01`, `20260301`, `2026/3/1`. Time: `08:30`, `08:30:00`, and with fractions
    of a second as `java.sql.Timestamp.toString` writes them (`08:30:00.0`), which are dropped; also `20260301083000`.
    An offset is converted; without one a time is UTC+8.
    """
    if _NATIONAL.fullmatch(text):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=SHENZHEN_AND_HONG_KONG)
        except ValueError:
            return None
    packed = _PACKED.fullmatch(text)
    if packed:
        text = f"{packed[1]} {packed[2]}:{packed[3]}:{packed[4]}"
    day_text, time_text = re.match(r"([^ T]*)[ T]?(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    day = _DATE.fullmatch(day_text)
    time = _TIME.fullmatch(time_text or "00:00")
    if day is None or time is None or text[-1:] in " T":
        return None
    year, month, date_of_month = (part for part in day.groups() if part is not None)
    hour, minute, second, _, offset = time.groups()
    try:
        moment = datetime(
            int(year), int(month), int(date_of_month), int(hour), int(minute), int(second or 0), tzinfo=_zone(offset)
        )
        return moment.astimezone(SHENZHEN_AND_HONG_KONG)
    except (ValueError, OverflowError):
        return None


def _zone(offset: str | None) -> timezone | Any:
    if offset is None:
        return SHENZHEN_AND_HONG_KONG
    if offset == "Z":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    away = timedelta(hours=hours, minutes=minutes)
    return timezone(-away if offset[0] == "-" else away)
