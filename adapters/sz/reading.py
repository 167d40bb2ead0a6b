"""Reading one object of a hospital's file, field by field: what is tidied, what is refused, and where it stood.

Hospital systems write "-" and "无" for nothing, 1900-01-01 for no date, full-width digits and blanks at the end. All
that is normalised (`spelling.py`) and listed by pointer only. A field that cannot be read becomes a fault and a neutral
value.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any, TypeVar

from adapters.sz.spelling import (
    EMPTY,
    fold_code,
    is_usual_date,
    normal_form,
    plain_decimal,
    read_date,
    read_moment,
)
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

_AMOUNT_MAX = f"{MINOR_MAX // 100}.00"

_EXACT = Context(prec=200)
"""More digits than any number of a bill may be written with, so that nothing is rounded."""

NO_DATE = date(1900, 1, 1)
LAST_DATE = date(2199, 12, 31)

_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\ufffd]"
)
"""Controls, surrogates, direction marks and U+FFFD: signs of a wrong code page or of an attempt to hide text."""

_UNSHOWN_IN_CODES = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""What else shows as nothing (Default_Ignorable_Code_Point, UAX #44, and the blank Braille pattern). Variation
selectors choose the form of a character of a name; in a code they only make one number look like another."""


@dataclass(slots=True)
class Notes:
    """What reading found out; one for a whole file, filled by every `Fields` of it."""

    faults: list[Fault] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    normalised: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def broke(self, code: str, pointer: str, **facts: int | str) -> None:
        self.broken.add(pointer)
        self.also(code, pointer, **facts)

    def tidied(self, pointer: str) -> None:
        if len(self.normalised) < NORMALISED_MAX and self.normalised[-1:] != [pointer]:
            self.normalised.append(pointer)

    def also(self, code: str, pointer: str, **facts: int | str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(code, pointer, facts))


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
                value = fold_code(value)
        if value in EMPTY:
            if raw:
                self.notes.tidied(f"{self.at}/{name}")
            return None
        if not (value.isascii() and value.isprintable()) and (
            _UNSHOWN.search(value) or (code and _UNSHOWN_IN_CODES.search(value))
        ):
            self.notes.broke("field.unreadable-character", f"{self.at}/{name}")
            return None
        if len(value) > characters_max:
            self.notes.broke("field.string-too-long", f"{self.at}/{name}", maxLength=characters_max)
            return None
        if value != raw:
            self.notes.tidied(f"{self.at}/{name}")
        return value

    def identifier(self, name: str, characters_max: int, parse: Callable[[str], str]) -> str:
        """Read an identifier that must be there in the normal form of its scheme, whichever way it is spelt."""
        value = self.maybe_identifier(name, characters_max, parse)
        if value is None:
            self.lacks(name)
            return ""
        return value

    def maybe_identifier(self, name: str, characters_max: int, parse: Callable[[str], str]) -> str | None:
        """Read an identifier that may be empty; one that `parse` refuses is left to the checks, which name it."""
        # Blanks and brackets that the normal form does not have do not count.
        text = self.maybe_text(name, 2 * characters_max, code=True)
        if text is None:
            return None
        value = normal_form(text, parse)
        if len(value) > characters_max:
            self.notes.broke("field.string-too-long", f"{self.at}/{name}", maxLength=characters_max)
            return None
        if value != text:
            self.notes.tidied(f"{self.at}/{name}")
        return value

    def number(self, name: str, decimals_max: int, *, default: Decimal | None = None) -> Decimal:
        """Read a JSON number or a decimal string lexically: at most 16 digits, `decimals_max` after the point.

        The value decides, not the spelling: zeros at the end of the fraction are no digits of it.
        """
        value = self.maybe_number(name, decimals_max)
        if value is None:
            if default is None:
                self.lacks(name)
            return default or Decimal()
        return value

    def maybe_number(self, name: str, decimals_max: int) -> Decimal | None:
        raw = self.found.get(name)
        text = self.maybe_text(name, 40, code=True) if type(raw) is str else raw
        if text is None:
            return None
        pointer = f"{self.at}/{name}"
        value = plain_decimal(text)
        if value is None:
            self.notes.broke("field.not-a-number", pointer)
            return None
        kept = _without_zeros(value, decimals_max)
        if kept is None:
            self.notes.broke("field.number-precision", pointer, digits=DIGITS_MAX, decimals=decimals_max)
            return None
        if kept is not value:
            self.notes.tidied(pointer)
        return kept

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
            self.notes.broke("field.out-of-range", f"{self.at}/{name}", minimum=least, maximum=most)
        return int(value) if least <= value <= most else least

    def flag(self, name: str) -> bool:
        """Read a consent: only JSON true or false, never a text that might mean either."""
        value = self.found.get(name)
        if type(value) is not bool:
            self.notes.broke("field.missing" if value is None else "field.not-true-or-false", f"{self.at}/{name}")
        return value is True

    def day(self, name: str, *, confirmed: date | None = None) -> date | None:
        """Read a day, in UTC+8, in one of the forms of `spelling.py`; 1900-01-01 is a placeholder for none.

        It is a date like others where another field says the same, as `confirmed` then is.
        """
        text = self.maybe_text(name, 40, code=True)
        if text is None:
            return None
        day = read_date(text)
        if day is not None and day == confirmed:
            return day
        return self._dated(name, text, day, day)

    def moment(self, name: str) -> datetime | None:
        """Read `2026-03-01 08:30:00` in UTC+8, or a date for its midnight; 1900-01-01 is a placeholder for none."""
        text = self.maybe_text(name, 40, code=True)
        if text is None:
            return None
        moment = read_moment(text)
        return self._dated(name, text, moment, moment.date() if moment else None)

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
            self.notes.broke("field.too-many", f"{self.at}/{name}", maxItems=items_max)
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

    def _dated(self, name: str, text: str, value: D | None, on: date | None) -> D | None:
        pointer = f"{self.at}/{name}"
        if on is None:
            self.notes.broke("field.date-malformed", pointer)
            return None
        if not NO_DATE <= on <= LAST_DATE:
            self.notes.broke("field.date-malformed", pointer, minimum=str(NO_DATE), maximum=str(LAST_DATE))
            return None
        if on == NO_DATE or not is_usual_date(text):
            self.notes.tidied(pointer)
        return None if on == NO_DATE else value

    def _money(self, name: str, value: Decimal, currency: str) -> Money:
        minor = int(value.scaleb(2))
        if abs(minor) > MINOR_MAX:
            self.notes.broke("field.out-of-range", f"{self.at}/{name}", minimum=f"-{_AMOUNT_MAX}", maximum=_AMOUNT_MAX)
            return Money.zero(currency)
        return Money(minor, currency)

    def lacks(self, name: str) -> None:
        """Say that a field that must be there is not, unless it is known to be unreadable."""
        pointer = f"{self.at}/{name}"
        if pointer not in self.notes.broken:
            self.notes.broke("field.missing", pointer)


def _without_zeros(value: Decimal, decimals_max: int) -> Decimal | None:
    """Leave off zeros that the field has no room for; None if the value itself has more digits than the field keeps."""
    sign, digits, exponent = value.as_tuple()
    if 0 <= -int(exponent) <= decimals_max and len(digits) <= DIGITS_MAX and not (sign and value.is_zero()):
        return value
    if value.is_zero():
        return Decimal((0, (0,), -min(-int(exponent), decimals_max)))
    shortest = value.normalize(_EXACT)
    needed = max(-int(shortest.as_tuple().exponent), 0)
    before_point = max(value.adjusted() + 1, 0)
    if needed > decimals_max or before_point + needed > DIGITS_MAX:
        return None
    decimals = min(-int(exponent), decimals_max, DIGITS_MAX - before_point)
    return value.quantize(Decimal((0, (1,), -decimals)), context=_EXACT)
