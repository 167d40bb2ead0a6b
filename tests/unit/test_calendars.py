from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.protocol.calendars import Calendar, joint_value_date, load_calendar, shipped_calendar
from gateway.protocol.errors import GatewayError, MalformedInputError, UnavailableError
from gateway.protocol.tables import read_table, rows_of

CN, HK = shipped_calendar("cn"), shipped_calendar("hk")
BOTH = (CN, HK)
YEAR = [date(2026, 1, 1) + timedelta(days=count) for count in range(365)]
WORKING_WEEKENDS = [(1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10)]

SMALL = """kind,value,title,citation
name,rail,A rail that works on one Saturday,operator's notice
weekend,saturday sunday,,operator's notice
confirmed_from,2026-01-01,,operator's notice
confirmed_through,2026-12-31,,operator's notice
closed,2026-07-01,a holiday,operator's notice
open,2026-10-10,worked,operator's notice
"""


def test_2026_has_248_working_days_on_the_mainland_247_in_hong_kong_and_236_on_both_sides() -> None:
    cn_days, hk_days = ({day for day in YEAR if calendar.is_open(day)} for calendar in BOTH)

    assert (len(cn_days), len(hk_days), len(cn_days & hk_days)) == (248, 247, 236)


def test_the_longest_gap_between_joint_days_of_2026_runs_from_13_to_24_february() -> None:
    joint = [day for day in YEAR if all(calendar.is_open(day) for calendar in BOTH)]

    gap, start = max((later - earlier, earlier) for earlier, later in pairwise(joint))

    assert (gap.days, start) == (11, date(2026, 2, 13))


@pytest.mark.parametrize(("month", "day"), WORKING_WEEKENDS)
def test_a_mainland_working_weekend_is_no_day_for_a_payment_between_the_two_sides(month: int, day: int) -> None:
    weekend_day = date(2026, month, day)

    assert weekend_day.weekday() >= 5
    assert CN.is_open(weekend_day)
    assert not HK.is_open(weekend_day)
    assert joint_value_date(BOTH, weekend_day, cutoff_passed=False) > weekend_day


def test_every_other_weekend_day_of_2026_is_closed_on_both_sides() -> None:
    worked = [day for day in YEAR if day.weekday() >= 5 and (CN.is_open(day) or HK.is_open(day))]

    assert worked == [date(2026, month, day) for month, day in WORKING_WEEKENDS]


def test_the_cut_off_of_13_february_costs_eleven_days() -> None:
    before = joint_value_date(BOTH, date(2026, 2, 13), cutoff_passed=False)
    after = joint_value_date(BOTH, date(2026, 2, 13), cutoff_passed=True)

    assert (before, after) == (date(2026, 2, 13), date(2026, 2, 24))


@pytest.mark.parametrize(
    ("day", "cn_open", "hk_open"),
    [(2, True, True), (3, True, False), (6, False, False), (7, True, False), (8, True, True)],
)
def test_easter_and_ching_ming_shut_the_two_sides_on_different_days(day: int, cn_open: bool, hk_open: bool) -> None:
    april = date(2026, 4, day)

    assert (CN.is_open(april), HK.is_open(april)) == (cn_open, hk_open)
    assert joint_value_date(BOTH, april, cutoff_passed=False) == (april if cn_open and hk_open else date(2026, 4, 8))


@pytest.mark.parametrize(
    ("start", "due"),
    [
        (date(2026, 9, 24), date(2026, 9, 24)),
        (date(2026, 9, 25), date(2026, 9, 28)),
        (date(2026, 9, 26), date(2026, 9, 28)),
        (date(2026, 10, 1), date(2026, 10, 8)),
        (date(2026, 10, 10), date(2026, 10, 12)),
    ],
)
def test_value_dates_from_mid_autumn_to_national_day(start: date, due: date) -> None:
    assert joint_value_date(BOTH, start, cutoff_passed=False) == due


def test_five_working_days_over_national_day_count_the_worked_saturday() -> None:
    credited = date(2026, 9, 29)

    due = CN.add_working_days(credited, 5)

    assert due == date(2026, 10, 12)
    assert [CN.add_working_days(credited, count).day for count in range(1, 6)] == [30, 8, 9, 10, 12]


def test_hong_kong_counts_the_same_five_days_without_that_saturday() -> None:
    assert HK.add_working_days(date(2026, 9, 29), 5) == date(2026, 10, 7)


def test_no_working_days_from_a_holiday_is_the_next_working_day() -> None:
    assert CN.add_working_days(date(2026, 10, 3), 0) == date(2026, 10, 8)
    assert CN.add_working_days(date(2026, 10, 8), 0) == date(2026, 10, 8)


def test_working_days_are_not_counted_backwards() -> None:
    with pytest.raises(GatewayError) as refused:
        CN.add_working_days(date(2026, 10, 8), -1)

    assert refused.value.code == "calendar.negative-count"


@given(st.dates(min_value=date(2027, 1, 1)))
@example(date(2027, 1, 1))
@example(date.max)
def test_any_date_from_2027_on_is_refused_until_it_is_confirmed(day: date) -> None:
    for calendar in BOTH:
        with pytest.raises(UnavailableError) as refused:
            calendar.is_open(day)

        assert refused.value.code == "calendar.unconfirmed"


def test_a_day_before_the_confirmed_years_is_refused_too() -> None:
    with pytest.raises(UnavailableError):
        CN.is_open(date(2025, 12, 31))


def test_a_value_date_that_would_fall_into_2027_is_refused() -> None:
    with pytest.raises(UnavailableError):
        joint_value_date(BOTH, date(2026, 12, 31), cutoff_passed=True)
    with pytest.raises(UnavailableError):
        CN.add_working_days(date(2026, 12, 30), 2)


def test_no_calendar_at_all_confirms_no_value_date() -> None:
    with pytest.raises(UnavailableError):
        joint_value_date((), date(2026, 3, 2), cutoff_passed=False)


@given(st.dates(max_value=date(9999, 12, 30)))
def test_a_calendar_that_is_always_open_works_every_day(day: date) -> None:
    sandbox = Calendar.always_open("sandbox", "Synthetic: every day is a working day")

    assert sandbox.next_open(day) == day


def test_an_always_open_calendar_meets_its_fence_on_the_last_day_of_all() -> None:
    sandbox = Calendar.always_open("sandbox", "Synthetic: every day is a working day")

    with pytest.raises(UnavailableError):
        joint_value_date((sandbox,), date(9999, 12, 30), cutoff_passed=True)


def test_a_calendar_file_of_a_rail_may_work_where_its_side_does_not() -> None:
    rail = load_calendar(SMALL)

    assert rail.name == "rail"
    assert rail.label == "A rail that works on one Saturday"
    assert rail.is_open(date(2026, 10, 10))
    assert joint_value_date((CN, rail), date(2026, 10, 10), cutoff_passed=False) == date(2026, 10, 10)
    assert not rail.is_open(date(2026, 7, 1))


def test_a_calendar_file_may_have_no_weekend() -> None:
    text = SMALL.replace("saturday sunday", "none").replace("open,2026-10-10,worked,operator's notice\n", "")

    calendar = load_calendar(text)

    assert calendar.is_open(date(2026, 10, 10))


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("open,2026-10-10,worked,operator's notice", "open,2026-10-10,worked,"),
        ("open,2026-10-10", "open,2026-10-09"),
        ("open,2026-10-10", "closed,2026-07-01"),
        ("open,2026-10-10", "worked,2026-10-10"),
        ("closed,2026-07-01", "closed,2026-10-10"),
        ("closed,2026-07-01", "closed,2027-07-01"),
        ("closed,2026-07-01", "closed,2026-02-30"),
        ("confirmed_through,2026-12-31", "confirmed_through,2025-12-31"),
        ("confirmed_through,2026-12-31", "confirmed_through,9999-12-31"),
        ("saturday sunday", "caturday"),
        ("weekend,saturday sunday,,operator's notice\n", ""),
        ("name,rail", "name,"),
        ("kind,value", "sort,value"),
        ("closed,2026-07-01,a holiday,operator's notice", "closed,2026-07-01"),
        ("closed,2026-07-01,a holiday", 'closed,2026-07-01,"a holiday'),
    ],
)
def test_a_calendar_file_with_a_fault_is_refused_whole(written: str, instead: str) -> None:
    assert written in SMALL

    with pytest.raises(MalformedInputError):
        load_calendar(SMALL.replace(written, instead))


@given(st.text())
def test_any_other_text_is_no_calendar(text: str) -> None:
    with pytest.raises(MalformedInputError):
        load_calendar(text)


def test_hong_kong_has_seventeen_general_holidays_beside_sundays() -> None:
    holidays = [row["value"] for row in rows_of(read_table("calendar-hk.csv")) if row["kind"] == "closed"]

    assert len(holidays) == 17
    assert not [day for day in holidays if date.fromisoformat(day).weekday() == 6]
