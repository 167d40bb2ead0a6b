"""Working days of the two sides: reviewed tables with a citation for every date and a fence at `confirmed_through`.

Outside the confirmed years a calendar does not guess; it raises `UnavailableError("calendar.unconfirmed")` until the
next official notice has been entered and reviewed. Dates are dates in UTC+8. A calendar file is CSV with the columns
kind, value, title, citation and the kinds `name` (value its name, title its label), `weekend` (weekday names, or
`none`), `confirmed_from`, `confirmed_through`, `closed` (a holiday) and `open` (a weekend day that is worked).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal, Self

from gateway.protocol.errors import GatewayError, MalformedInputError, UnavailableError
from gateway.protocol.tables import read_table, rows_of

_DAY = timedelta(days=1)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ONCE = ("name", "weekend", "confirmed_from", "confirmed_through")


@dataclass(frozen=True, slots=True)
class Calendar:
    """One place's or rail's working days; `weekend` counts Monday as 0, `closed` and `opened` are exceptions to it."""

    name: str
    label: str
    confirmed_from: date
    confirmed_through: date
    weekend: frozenset[int] = frozenset({5, 6})
    closed: frozenset[date] = frozenset()
    opened: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        """Refuse contradictions; the last day of all is left free, so that a search always meets the fence."""
        if not self.confirmed_from <= self.confirmed_through < date.max or self.closed & self.opened:
            raise MalformedInputError("calendar.malformed")
        if any(not self._confirms(day) for day in self.closed | self.opened):
            raise MalformedInputError("calendar.malformed")

    @classmethod
    def always_open(cls, name: str, label: str) -> Self:
        """Make the calendar of a sandbox, on which every day is a working day; `label` must say so."""
        return cls(name, label, date.min, date.max - _DAY, weekend=frozenset())

    def is_open(self, day: date) -> bool:
        """Say whether `day` is worked; `UnavailableError("calendar.unconfirmed")` outside the confirmed dates."""
        if not self._confirms(day):
            raise UnavailableError("calendar.unconfirmed")
        if day in self.opened:
            return True
        return day.weekday() not in self.weekend and day not in self.closed

    def next_open(self, day: date) -> date:
        """Return `day` itself if it is worked, else the first working day after it."""
        while not self.is_open(day):
            day += _DAY
        return day

    def add_working_days(self, day: date, count: int) -> date:
        """Return T+`count`: the `count`-th working day after `day`; 0 gives `next_open(day)`."""
        if count < 0:
            raise GatewayError("calendar.negative-count")
        if count == 0:
            return self.next_open(day)
        for _ in range(count):
            day = self.next_open(day + _DAY)
        return day

    def _confirms(self, day: date) -> bool:
        return self.confirmed_from <= day <= self.confirmed_through


def joint_value_date(calendars: Sequence[Calendar], day: date, *, cutoff_passed: bool) -> date:
    """Return the first day that every calendar works: from `day` on, or after it once its cut-off has passed."""
    if not calendars:
        raise UnavailableError("calendar.unconfirmed")
    if cutoff_passed:
        day += _DAY
    while not all(calendar.is_open(day) for calendar in calendars):
        day += _DAY
    return day


def load_calendar(csv_text: str) -> Calendar:
    """Read a calendar file; `MalformedInputError`, as a rule `calendar.malformed`, for all that is not a whole one.

    A row without citation, an unknown kind, a date entered twice, a worked day that is no weekend, or a date outside
    the confirmed ones refuses the file.
    """
    try:
        rows = rows_of(csv_text)
        found = [(row["kind"], row["value"], row["title"], row["citation"].strip()) for row in rows]
        single = {kind: (value, title) for kind, value, title, _ in found if kind in _ONCE}
        closed = [date.fromisoformat(value) for kind, value, *_ in found if kind == "closed"]
        opened = [date.fromisoformat(value) for kind, value, *_ in found if kind == "open"]
        weekend = _weekend(single["weekend"][0])
        confirmed = [date.fromisoformat(single[kind][0]) for kind in ("confirmed_from", "confirmed_through")]
        name, label = single["name"]
    except (KeyError, ValueError):
        raise MalformedInputError("calendar.malformed") from None
    expected = len(single) + len(set(closed)) + len(set(opened))
    cited = all(citation for *_, citation in found)
    if len(found) != expected or not cited or not name or any(day.weekday() not in weekend for day in opened):
        raise MalformedInputError("calendar.malformed")
    return Calendar(name, label, confirmed[0], confirmed[1], weekend, frozenset(closed), frozenset(opened))


def _weekend(names: str) -> frozenset[int]:
    return frozenset() if names == "none" else frozenset(_WEEKDAYS.index(name) for name in names.split())


@lru_cache
def shipped_calendar(name: Literal["cn", "hk"]) -> Calendar:
    """Return the reviewed calendar of the mainland or of Hong Kong."""
    return load_calendar(read_table(f"calendar-{name}.csv"))
