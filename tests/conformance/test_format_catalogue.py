"""What every hospital format keeps, parametrised by the catalogue: one more folder and line, and it is tested here.

The suite asks the plug-in for a sample and for ways to spoil it; it knows no format's fields.
"""

import socket
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sz.bill import HospitalBill
from adapters.sz.checks import check
from adapters.sz.findings import Findings
from adapters.sz.formats import FORMATS
from adapters.sz.ports import HospitalFormat, Mutation, Reading, place_in_file
from gateway.protocol.errors import MalformedInputError
from tests.hospital_bills import around

FORMS = [pytest.param(form, id=name) for name, form in FORMATS.items()]
MUTATIONS = [
    pytest.param(form, mutation, id=f"{name}: {mutation.name}")
    for name, form in FORMATS.items()
    for mutation in form.mutations()
]


def read(form: HospitalFormat, raw: bytes) -> Reading | None:
    try:
        return form.read(raw)
    except MalformedInputError:
        return None


def findings_of(form: HospitalFormat, raw: bytes) -> Findings:
    reading = form.read(raw)
    return check(reading, reading.bill.net_refunds(), form.places, around())


def test_there_are_at_least_two_formats() -> None:
    assert len(FORMATS) >= 2


@pytest.mark.parametrize("form", FORMS)
def test_a_format_is_known_by_its_own_name_and_says_what_it_comes_as(form: HospitalFormat) -> None:
    assert FORMATS[form.name] is form
    assert form.media_types
    assert all(name == name.lower() and name.count("/") == 1 for name in form.media_types)


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_is_read_and_checked_without_faults(form: HospitalFormat) -> None:
    assert form.read(form.sample()).faults == ()
    assert findings_of(form, form.sample()).faults == ()


def test_the_samples_of_all_formats_are_the_same_bill() -> None:
    bills = {name: form.read(form.sample()).bill for name, form in FORMATS.items()}

    assert all(bill == bills["national_json"] for bill in bills.values()), bills


@pytest.mark.parametrize("form", FORMS)
def test_a_format_has_ways_to_go_wrong_each_with_a_name_of_its_own(form: HospitalFormat) -> None:
    names = [mutation.name for mutation in form.mutations()]

    assert len(names) >= 8
    assert len(set(names)) == len(names)
    assert all(mutation.faults and mutation.raw != form.sample() for mutation in form.mutations())


@pytest.mark.parametrize(("form", "mutation"), MUTATIONS)
def test_what_is_wrong_is_named_at_its_own_place(form: HospitalFormat, mutation: Mutation) -> None:
    named = {(fault.code, fault.pointer) for fault in findings_of(form, mutation.raw).faults}

    assert mutation.faults <= named


@pytest.mark.parametrize("form", FORMS)
@given(raw=st.binary(max_size=200))
def test_any_bytes_give_a_reading_or_the_one_error(form: HospitalFormat, raw: bytes) -> None:
    reading = read(form, raw)

    assert reading is None or isinstance(reading.bill, HospitalBill)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 1 << 20), replaced=st.integers(0, 12), by=st.binary(max_size=12))
def test_a_sample_damaged_anywhere_gives_a_reading_or_the_one_error(
    form: HospitalFormat, at: int, replaced: int, by: bytes
) -> None:
    raw = form.sample()
    begin = at % len(raw)

    reading = read(form, raw[:begin] + by + raw[begin + replaced :])

    assert reading is None or isinstance(reading.bill, HospitalBill)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bytes_give_the_same_reading(form: HospitalFormat) -> None:
    for raw in (form.sample(), *(mutation.raw for mutation in form.mutations())):
        assert form.read(raw) == form.read(raw)


@pytest.mark.parametrize("form", FORMS)
def test_reading_does_no_input_or_output(form: HospitalFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a format does no I/O")

    raw = form.sample()
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)

    assert form.read(raw).faults == ()


@pytest.mark.parametrize("form", FORMS)
def test_places_of_the_noun_translate_with_their_indexes(form: HospitalFormat) -> None:
    for pointer, place in form.places.items():
        numbered = pointer.replace("*", "7")
        assert place_in_file(numbered, form.places) == place.replace("*", "7", pointer.count("*"))
    assert place_in_file("/lines/7/nothing", form.places) == place_in_file("/lines/7", form.places)


def test_all_formats_have_a_place_for_what_the_checks_name() -> None:
    places = [set(form.places) for form in FORMATS.values()]

    assert all(
        {"/lines/*/amount", "/receipts/*", "/billing/total", "/consent", "/coverage/hkid"} <= one for one in places
    )
