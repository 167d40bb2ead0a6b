from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.errors import MalformedInputError, UnavailableError
from gateway.protocol.rules import CONFIDENCES, Rules, shipped_rules
from gateway.protocol.tables import read_table, rows_of

TODAY = date(2026, 3, 2)
HEADER = "id,value,unit,jurisdiction,citation,confidence,effective_from,effective_to,owner\n"
ROW = "review.days,10,days,CN,Regulation of 2024 article 9,verified,2024-12-01,,legal\n"


def test_a_rule_answers_with_the_version_of_its_date() -> None:
    rules = shipped_rules()

    last_of_old = rules.value("connect.review.listed", date(2024, 11, 30))
    first_of_new = rules.value("connect.review.listed", date(2024, 12, 1))

    assert (last_of_old.require_int(), first_of_new.require_int()) == (25, 10)
    assert last_of_old.version == "connect.review.listed@2021-08-25"
    assert first_of_new.version == "connect.review.listed@2024-12-01"


def test_a_date_before_the_first_version_has_no_rule() -> None:
    with pytest.raises(UnavailableError) as refused:
        shipped_rules().value("connect.review.listed", date(2021, 8, 24))

    assert refused.value.code == "rule.not-in-force"


def test_a_version_ends_on_the_day_before_its_effective_to() -> None:
    rules = Rules.load(HEADER + ROW.replace("2024-12-01,,", "2024-12-01,2026-01-01,"))

    assert rules.value("review.days", date(2025, 12, 31)).require() == "10"
    with pytest.raises(UnavailableError):
        rules.value("review.days", date(2026, 1, 1))


def test_a_rule_nobody_wrote_is_not_in_force() -> None:
    with pytest.raises(UnavailableError):
        shipped_rules().value("claim.filing_window.nobody", TODAY)


def test_an_unset_value_stays_unset() -> None:
    row = shipped_rules().value("pilot.params", TODAY)

    assert not row.is_set
    for ask in (row.require, row.require_int, row.require_words):
        with pytest.raises(UnavailableError) as refused:
            ask()

        assert refused.value.code == "rule.unset"


def test_the_kinds_that_third_parties_pay_leave_the_patients_own_money_out() -> None:
    row = shipped_rules().value("claim.paid_by_third_party_kinds", TODAY)

    assert row.require_words() == {"basic_fund", "huiminbao", "voucher", "other_insurer"}
    assert row.confidence == "project choice"


def test_the_numbers_that_the_walk_reads_are_numbers() -> None:
    numbers = {
        "claim.total_tolerance_minor": 0,
        "exchange.clock_window_s": 300,
        "retention.settlement.default": 10,
        "retention.processing_record.floor": 3,
        "gba_contract.filing_days": 10,
        "privacy.guardian_below_age": 14,
        "export.contract.sensitive_below": 10_000,
        "bop.t5": 5,
    }

    read = {rule_id: shipped_rules().value(rule_id, TODAY).require_int() for rule_id in numbers}

    assert read == numbers


def test_a_word_is_no_number() -> None:
    with pytest.raises(MalformedInputError) as refused:
        shipped_rules().value("gba_contract.volume_tiers", TODAY).require_int()

    assert refused.value.code == "rule.not-a-number"


def test_every_shipped_rule_is_in_force_on_some_day_and_says_who_reviews_it() -> None:
    rows = rows_of(read_table("rules.csv"))
    rules = shipped_rules()

    for cells in rows:
        row = rules.value(cells["id"], date.fromisoformat(cells["effective_from"]))

        assert row.citation == cells["citation"]
        assert row.owner in {"legal", "payments", "product", "operations"}
        assert row.confidence in CONFIDENCES
        assert row.confidence != "project choice" or row.citation.startswith("Project choice")
        assert row.confidence != "conflicting" or not row.is_set
    assert {cells["id"] for cells in rows} == rules.ids


@pytest.mark.parametrize("citation", ["", "   "])
def test_a_row_without_citation_does_not_load(citation: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        Rules.load(HEADER + ROW.replace("Regulation of 2024 article 9", citation))

    assert refused.value.code == "rule.without-citation"


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("review.days", ""),
        (",10,", ",,"),
        ("verified", "certain"),
        ("legal", ""),
        ("2024-12-01,,", "2024-12-32,,"),
        ("2024-12-01,,", ",,"),
        ("2024-12-01,,", "2024-12-01,2024-12-01,"),
        ("2024-12-01,,", "2024-12-01,2023-12-01,"),
    ],
)
def test_a_row_with_a_fault_does_not_load(written: str, instead: str) -> None:
    assert written in ROW

    with pytest.raises(MalformedInputError) as refused:
        Rules.load(HEADER + ROW.replace(written, instead))

    assert refused.value.code == "rule.malformed"


def test_a_file_without_its_columns_does_not_load() -> None:
    with pytest.raises(MalformedInputError):
        Rules.load((HEADER + ROW).replace("citation", "source"))
    with pytest.raises(MalformedInputError):
        Rules.load(HEADER + "review.days,10\n")


@given(
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    st.integers(1, 900),
    st.integers(-900, 900),
    st.integers(1, 900),
)
def test_two_versions_load_exactly_when_they_share_no_day(
    start: date, length: int, distance: int, other_length: int
) -> None:
    end, other_start = start + timedelta(days=length), start + timedelta(days=distance)
    other_end = other_start + timedelta(days=other_length)
    text = HEADER + "".join(
        ROW.replace("2024-12-01,,", f"{first},{last},") for first, last in ((start, end), (other_start, other_end))
    )

    if start < other_end and other_start < end:
        with pytest.raises(MalformedInputError) as refused:
            Rules.load(text)

        assert refused.value.code == "rule.overlap"
    else:
        assert Rules.load(text).value("review.days", start).effective_to == end


def test_a_version_after_an_open_one_overlaps_it() -> None:
    with pytest.raises(MalformedInputError):
        Rules.load(HEADER + ROW + ROW.replace("2024-12-01", "2025-12-01"))
