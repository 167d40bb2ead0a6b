"""Reading one object of a hospital's file, field by field: what is tidied, what is refused, and where it stood.

Hospital systems write "-" and "无" for nothing, 1900-01-01 for no date, full-width digits and blanks at the end. All
that is normalised and listed by pointer only. A field that cannot be read becomes a fault and a neutral value.
"""

import re
import unicodedata
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from gateway.protocol.clock import SHENZHEN_AND_HONG_KONG
from gateway.protocol.errors import Fault
from gateway.protocol.money import Money

E = TypeVar("E", bound=StrEnum)
D = TypeVar("D", date, datetime)

TEXT_CHARACTERS_MAX = 500
DIGITS_MAX = 16
FAULTS_MAX = 200
NORMALISED_MAX = 500
MINOR_MAX = 10**12
"""One amount of a bill, in minor units; the sum of a whole bill then stays far below 2**53."""

NO_DATE = date(1900, 1, 1)

_EMPTY = frozenset({"", "-", "无"})
_FULL_WIDTH = str.maketrans(
    {code: chr(code - 0xFEE0) for code in [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]}
    | {0xFF0D: "-", 0xFF0E: ".", 0xFF0F: "/", 0xFF1A: ":"}
)
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffd]")
"""Controls, surrogates, direction marks and U+FFFD: signs of a wrong code page or of an attempt to hide text."""

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,8})?", re.ASCII)
_DATE = re.compile(r"([12][0-9]{3})-?([0-9]{2})-?([0-9]{2})", re.ASCII)
_MOMENT = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)


@dataclass(slots=True)
class Notes:
    """What reading found out; one for a whole file, filled by every `Fields` of it."""

    faults: list[Fault] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    normalised: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def broke(self, code: str, pointer: str) -> None:
        self.broken.add(pointer)
        self.also(code, pointer)

    def tidied(self, pointer: str) -> None:
        if len(self.normalised) < NORMALISED_MAX:
            self.normalised.append(pointer)

    def also(self, code: str, pointer: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(code, pointer))


@dataclass(slots=True)
class Fields:
    """One object of the file at `at`. A missing object reads as an empty one whose every field is missing."""

    found: Mapping[str, Any]
    at: str
    notes: Notes

    def expect(self, known: AbstractSet[str], unused: AbstractSet[str] = frozenset()) -> None:
        """Refuse unknown names; an unknown name came from outside too, so the object it is in stands for it."""
        names = self.found.keys()
        if names <= known and names.isdisjoint(unused):
            return
        if not names <= known | unused:
            self.notes.also("field.unknown", self.at)
        general = re.sub(r"/[0-9]+(?=/|$)", "/*", self.at)
        self.notes.left_out.update(f"{general}/{name}" for name in names & unused)

    def text(self, name: str, characters_max: int = TEXT_CHARACTERS_MAX, *, code: bool = False) -> str:
        """Read a text that must be there; `code` also turns full-width characters into plain ones."""
        value = self.maybe_text(name, characters_max, code=code)
        if value is None:
            self.lacks(name)
            return ""
        return value

    def maybe_text(self, name: str, characters_max: int = TEXT_CHARACTERS_MAX, *, code: bool = False) -> str | None:
        """Read a text that may be empty; numbers are no texts, since they have lost their leading zeros."""
        raw = self.found.get(name)
        if raw is None:
            return None
        if type(raw) is not str:
            self.notes.broke("field.not-text", f"{self.at}/{name}")
            return None
        value = raw.strip()
        if not value.isascii():
            value = unicodedata.normalize("NFC", value)
            if code:
                value = value.translate(_FULL_WIDTH)
        if value in _EMPTY:
            if raw:
                self.notes.tidied(f"{self.at}/{name}")
            return None
        if not (value.isascii() and value.isprintable()) and _UNSHOWN.search(value):
            self.notes.broke("field.unreadable-character", f"{self.at}/{name}")
            return None
        if len(value) > characters_max:
            self.notes.broke("field.string-too-long", f"{self.at}/{name}")
            return None
        if value != raw:
            self.notes.tidied(f"{self.at}/{name}")
        return value

    def number(self, name: str, decimals_max: int, *, default: Decimal | None = None) -> Decimal:
        """Read a JSON number or a decimal string lexically: at most 16 digits, `decimals_max` after the point."""
        value = self.maybe_number(name, decimals_max)
        if value is None:
            if default is None:
                self.lacks(name)
            return default or Decimal()
        return value

    def maybe_number(self, name: str, decimals_max: int) -> Decimal | None:
        raw = self.found.get(name)
        if type(raw) is str:
            raw = self.maybe_text(name, 40, code=True)
            if raw is not None and _DECIMAL.fullmatch(raw) is None:
                self.notes.broke("field.not-a-number", f"{self.at}/{name}")
                return None
        if raw is None:
            return None
        if type(raw) not in (int, str, Decimal):
            self.notes.broke("field.not-a-number", f"{self.at}/{name}")
            return None
        try:
            value = Decimal(raw)
            _, digits, exponent = value.as_tuple()
        except InvalidOperation:
            self.notes.broke("field.not-a-number", f"{self.at}/{name}")
            return None
        if len(digits) > DIGITS_MAX or -int(exponent) > decimals_max:
            self.notes.broke("field.number-precision", f"{self.at}/{name}")
            return None
        return value

    def money(self, name: str, currency: str) -> Money:
        value = self.number(name, 2)
        return self._money(name, value, currency)

    def maybe_money(self, name: str, currency: str) -> Money | None:
        value = self.maybe_number(name, 2)
        return None if value is None else self._money(name, value, currency)

    def whole(self, name: str, least: int, most: int) -> int:
        """Read a whole number from `least` to `most`."""
        value = self.number(name, 0)
        if f"{self.at}/{name}" not in self.notes.broken and not least <= value <= most:
            self.notes.broke("field.out-of-range", f"{self.at}/{name}")
        return int(value) if least <= value <= most else least

    def flag(self, name: str) -> bool:
        """Read a consent: only JSON true or false, never a text that might mean either."""
        value = self.found.get(name)
        if type(value) is not bool:
            self.notes.broke("field.missing" if value is None else "field.not-true-or-false", f"{self.at}/{name}")
        return value is True

    def day(self, name: str) -> date | None:
        """Read `2026-03-01` or `20260301`; 1900-01-01 is a placeholder for none."""
        text = self.maybe_text(name, 40, code=True)
        if text is None:
            return None
        match = _DATE.fullmatch(text[:10] if _MOMENT.fullmatch(text) else text)
        try:
            found = date(int(match[1]), int(match[2]), int(match[3])) if match else None
        except ValueError:
            found = None
        return self._dated(name, found, found)

    def moment(self, name: str) -> datetime | None:
        """Read `2026-03-01 08:30:00` in UTC+8, or a date for its midnight; 1900-01-01 is a placeholder for none."""
        text = self.maybe_text(name, 40, code=True)
        if text is None:
            return None
        if _MOMENT.fullmatch(text) is None:
            text = f"{text} 00:00:00"
        try:
            found = datetime.fromisoformat(text) if _MOMENT.fullmatch(text) else None
        except ValueError:
            found = None
        if found is not None:
            found = found.replace(tzinfo=SHENZHEN_AND_HONG_KONG)
        return self._dated(name, found, found.date() if found else None)

    def choice(self, name: str, kind: type[E], default: E, *, required: bool = True) -> E:
        """Read one word of a list; `default` stands in where it is no word of it."""
        text = self.maybe_text(name, 40, code=True)
        if text is None:
            if required:
                self.lacks(name)
            return default
        try:
            return kind(text)
        except ValueError:
            self.notes.broke("field.not-a-choice", f"{self.at}/{name}")
            return default

    def words(self, name: str, kind: type[E]) -> frozenset[E]:
        """Read a list of words of one list."""
        found = set()
        for index, value in enumerate(self._list(name, required=True)):
            try:
                found.add(kind(value))
            except ValueError:
                self.notes.broke("field.not-a-choice", f"{self.at}/{name}/{index}")
        return frozenset(found)

    def object(self, name: str, *, required: bool = True) -> "Fields":
        """Descend into an object; one that is missing or is none reads as empty, and only that is a fault."""
        value = self.found.get(name)
        if isinstance(value, dict):
            return Fields(value, f"{self.at}/{name}", self.notes)
        if value is not None or required:
            code = "field.missing" if value is None else "field.not-an-object"
            self.notes.broke(code, f"{self.at}/{name}")
        return Fields({}, f"{self.at}/{name}", Notes())

    def objects(self, name: str, items_max: int, *, required: bool = True) -> "list[Fields]":
        """Descend into a list of objects; more than `items_max` of them are not read."""
        values = self._list(name, required=required)
        if len(values) > items_max:
            self.notes.broke("field.too-many", f"{self.at}/{name}")
            return []
        found = []
        for index, value in enumerate(values):
            if isinstance(value, dict):
                found.append(Fields(value, f"{self.at}/{name}/{index}", self.notes))
            else:
                self.notes.broke("field.not-an-object", f"{self.at}/{name}/{index}")
        return found

    def _list(self, name: str, *, required: bool) -> list[Any]:
        value = self.found.get(name)
        if isinstance(value, list) and (value or not required):
            return value
        if value is not None or required:
            missing = value is None or value == []
            self.notes.broke("field.missing" if missing else "field.not-a-list", f"{self.at}/{name}")
        return []

    def _dated(self, name: str, found: D | None, on: date | None) -> D | None:
        pointer = f"{self.at}/{name}"
        if on is None or not NO_DATE <= on < date(2200, 1, 1):
            self.notes.broke("field.date-malformed", pointer)
            return None
        if on == NO_DATE:
            self.notes.tidied(pointer)
            return None
        return found

    def _money(self, name: str, value: Decimal, currency: str) -> Money:
        minor = int(value.scaleb(2))
        if abs(minor) > MINOR_MAX:
            self.notes.broke("field.out-of-range", f"{self.at}/{name}")
            return Money.zero(currency)
        return Money(minor, currency)

    def lacks(self, name: str) -> None:
        """Say that a field that must be there is not, unless it is known to be unreadable."""
        pointer = f"{self.at}/{name}"
        if pointer not in self.notes.broken:
            self.notes.broke("field.missing", pointer)
