"""Which banks a core pays through, as its profile files say: whole, without contradiction, one bank for each payer."""

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

import pytest

from gateway.protocol.errors import MalformedInputError, NotFoundError
from settlement.banks import Banks, cutoff_passed, read_profile
from settlement.documents import read_batch, write_batch
from settlement.payment import Agent
from tests.settlement_builders import a_batch, a_profile, the_payer

OPTIONS: dict[str, Any] = {
    "base_url": "http://bank.test",
    "token": "synthetic-secret",
    "charge_bearer": "SHAR",
    "rmb_purpose_field": "unset",
    "timeout_s": 10,
}
OWN: dict[str, Any] = {"bank": "B", "channel": "iso20022_http", "rail": "r", "answer_within_s": 60}
GOOD = {**OWN, "options": OPTIONS}
WRONG_OPTIONS: list[dict[str, Any]] = [
    {"rmb_purpose_field": "guess"},
    {"charge_bearer": "OUR"},
    {"charge_bearer": {}},
    {"timeout_s": 0},
    {"timeout_s": True},
    {"timeout_s": "10"},
    {"token": ""},
    {"surprise": 1},
]


def test_a_profile_keeps_its_secret_out_of_its_representation() -> None:
    profile = a_profile()

    assert profile.options.token == "synthetic-secret"
    assert profile.options.token not in repr(profile)


@pytest.mark.parametrize(("written", "meant"), [("unset", None), ("RgltryRptg", "RgltryRptg")])
def test_an_unset_purpose_field_stays_unset(written: str, meant: str | None) -> None:
    assert a_profile(written).options.rmb_purpose_field == meant


def test_a_profile_from_before_options_had_a_place_reads_as_the_same() -> None:
    assert read_profile({**OWN, **OPTIONS}) == read_profile(GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"answer_within_s": 10.5},
        {"answer_within_s": True},
        {"answer_within_s": 0},
        {"bank": 7},
        {"bank": ""},
        {"channel": "pigeon"},
        {"channel": []},
        {"surprise": 1},
        {"options": []},
        {"options": None},
        {"cutoff": "24:00"},
        {"cutoff": "9:00"},
        {"cutoff": 9},
        {"serves": "999"},
        {"serves": [999]},
        {"serves": [""]},
        *({"options": {**OPTIONS, **wrong}} for wrong in WRONG_OPTIONS),
    ],
)
def test_a_profile_that_is_not_as_described_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedInputError) as refusal:
        read_profile({**GOOD, **change})

    assert refusal.value.code == "bank-profile.malformed"


@pytest.mark.parametrize("missing", [*OWN, "options"])
def test_a_profile_with_a_field_missing_is_refused(missing: str) -> None:
    with pytest.raises(MalformedInputError):
        read_profile({name: value for name, value in GOOD.items() if name != missing})


@pytest.mark.parametrize(
    "files",
    [
        [],
        [GOOD, GOOD],
        [GOOD, {**GOOD, "bank": "C"}],
        [{**GOOD, "serves": ["999"]}, {**GOOD, "bank": "C", "serves": ["024", "999"]}],
    ],
    ids=["none", "one name twice", "two that serve everybody", "one payer's bank served twice"],
)
def test_profiles_that_contradict_each_other_are_refused(files: list[dict[str, Any]]) -> None:
    with pytest.raises(MalformedInputError):
        Banks.read(files)


def test_a_payment_takes_the_bank_that_serves_the_payers_account() -> None:
    banks = Banks.read([GOOD, {**GOOD, "bank": "C", "serves": ["999"]}])
    elsewhere = replace(the_payer(), agent=Agent("HKNCC", "024"))

    assert [banks.of_payer(holder).bank for holder in (the_payer(), elsewhere)] == ["C", "B"]


def test_a_payer_whom_no_bank_serves_is_told_so() -> None:
    banks = Banks.read([{**GOOD, "serves": ["024"]}])

    with pytest.raises(NotFoundError) as refusal:
        banks.of_payer(the_payer())

    assert refusal.value.code == "payment.no-bank"


def test_a_batch_stays_with_the_bank_that_it_was_made_for() -> None:
    made = replace(a_batch(), bank="B")

    later = Banks.read([GOOD, {**GOOD, "bank": "C", "serves": ["999"]}])
    gone = Banks.read([{**GOOD, "bank": "C"}])

    assert later.of_batch(made).bank == "B"
    with pytest.raises(NotFoundError):
        gone.of_batch(made)


def test_a_stored_batch_from_before_there_were_several_banks_takes_its_payers() -> None:
    stored = write_batch(a_batch())
    del stored["bank"]

    batch = read_batch(stored, "draft")

    assert batch == a_batch()
    assert Banks.read([GOOD]).of_batch(batch).bank == "B"


def test_the_bank_is_no_part_of_what_was_approved() -> None:
    assert replace(a_batch(), bank="B").batch_hash == a_batch().batch_hash


@pytest.mark.parametrize(("utc_hour", "passed"), [(6, False), (7, True), (15, True)])
def test_a_cut_off_is_a_time_of_day_in_shenzhen_and_hong_kong(utc_hour: int, passed: bool) -> None:
    profile = read_profile({**GOOD, "cutoff": "15:00"})

    assert profile.cutoff == time(15)
    assert cutoff_passed(profile, datetime(2026, 3, 2, utc_hour, tzinfo=UTC)) is passed
    assert not cutoff_passed(read_profile(GOOD), datetime(2026, 3, 2, utc_hour, tzinfo=UTC))
