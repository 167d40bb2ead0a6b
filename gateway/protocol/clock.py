"""The only place that reads the wall clock; everything else takes a `Clock`.

Times are aware UTC datetimes; on the wire RFC 3339 with milliseconds and `Z`.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

from gateway.protocol.errors import MalformedInputError

SHENZHEN_AND_HONG_KONG = timezone(timedelta(hours=8))
"""Both sides keep UTC+8 without daylight saving; business dates are dates there."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 the clock is the one reader of the clock


@dataclass
class VirtualClock:
    """A clock that only moves when told: simulation and tests own it."""

    at: datetime = field(default_factory=lambda: datetime(2026, 3, 2, 1, 0, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at

    def advance(self, step: timedelta) -> None:
        self.at += step


def rfc3339(moment: datetime) -> str:
    """Write `moment` as RFC 3339 in UTC with milliseconds, e.g. `2026-03-02T01:00:00.000Z`."""
    return _in_utc(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 time that names its offset; `MalformedInputError` otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedInputError("time.malformed") from None
    if moment.tzinfo is None:
        raise MalformedInputError("time.without-offset")
    return _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    """Convert to UTC; a moment of year 1 or 9999 may lie outside the calendar there."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise MalformedInputError("time.malformed") from None


def business_date(moment: datetime) -> date:
    """Return the calendar date of `moment` in Shenzhen and Hong Kong."""
    return moment.astimezone(SHENZHEN_AND_HONG_KONG).date()
