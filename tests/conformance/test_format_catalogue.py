"""What every hospital format keeps, parametrised by the catalogue: one more file and line, and it is tested here."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sz.bill import HospitalBill
from adapters.sz.formats import FORMATS
from adapters.sz.formats.national_json import names
from adapters.sz.ports import HospitalFormat, Reading, Unreadable, place_in_file
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import MalformedInputError
from tests.hospital_bills import SAMPLES, changed, sample, sample_object

SHARED = Path(__file__).parents[2].parent / "shared"
KINDS = [pytest.param(found, id=name) for name, found in FORMATS.items()]

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.text(max_size=12)
    | st.sampled_from(
        ["-", "无", "1900-01-01", "2026-02-30", "\N{FULLWIDTH DIGIT ONE}2.5", "-0", "9" * 16, "1.1234567", "CNY"]
    )
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def read(form: HospitalFormat, raw: bytes) -> Reading | None:
    try:
        return form.read(raw)
    except MalformedInputError:
        return None


def places_of(value: Any, at: str = "") -> list[str]:
    """Return a pointer to everything inside a JSON value."""
    if isinstance(value, dict):
        inside = [(f"{at}/{name}", one) for name, one in value.items()]
    elif isinstance(value, list):
        inside = [(f"{at}/{index}", one) for index, one in enumerate(value)]
    else:
        return []
    return [place for pointer, one in inside for place in (pointer, *places_of(one, pointer))]


PLACES = places_of(sample_object())


@pytest.mark.parametrize("form", KINDS)
@given(raw=st.binary(max_size=200))
def test_any_bytes_give_a_reading_or_the_one_error(form: HospitalFormat, raw: bytes) -> None:
    found = read(form, raw)

    assert found is None or isinstance(found.bill, HospitalBill)


@pytest.mark.parametrize("form", KINDS)
@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), value=_VALUES)
def test_a_bill_with_anything_anywhere_is_read_and_what_is_wrong_is_named(
    form: HospitalFormat, place: str, value: Any
) -> None:
    found = read(form, compact(changed(place, value)))

    assert found is not None
    for fault in found.faults:
        assert Unreadable.of(frozenset({fault.pointer})).touches(place), (place, fault)


@pytest.mark.parametrize("form", KINDS)
def test_the_same_bytes_give_the_same_reading(form: HospitalFormat) -> None:
    for name in (*SAMPLES, "wrong"):
        assert form.read(sample(name)) == form.read(sample(name))


@pytest.mark.parametrize("form", KINDS)
def test_reading_does_no_input_or_output(form: HospitalFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a format does no I/O")

    raw = sample()
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)

    assert form.read(raw).faults == ()


@pytest.mark.parametrize("form", KINDS)
def test_a_format_is_known_by_its_own_name(form: HospitalFormat) -> None:
    assert FORMATS[form.name] is form


@pytest.mark.parametrize("form", KINDS)
def test_places_of_the_noun_translate_with_their_indexes(form: HospitalFormat) -> None:
    for pointer, place in form.places.items():
        numbered = pointer.replace("*", "7")
        assert place_in_file(numbered, form.places) == place.replace("*", "7", pointer.count("*"))
    assert place_in_file("/lines/7/nothing", form.places) == place_in_file("/lines/7", form.places)


@pytest.fixture
def published() -> dict[str, Any]:
    path = SHARED / "vectors" / "domain" / "formats.json"
    if not path.is_file():
        pytest.skip("../shared/vectors/domain/formats.json is absent")
    return read_json_object(path.read_bytes())


def _split(listed: list[str]) -> set[str]:
    """Undo the list's shorthand: `bilg_dr_codg/name` are two names with one beginning, `a/b` are two names."""
    found: set[str] = set()
    for one in listed:
        first, *others = one.split("/")
        stem = first.rpartition("_")[0]
        found |= {first, *(f"{stem}_{other}" if stem else other for other in others)}
    return found


@pytest.mark.parametrize(
    ("listed", "known"),
    [
        (lambda found: [row[0] for row in found["nhsa_fee_line"]], names.FEE_LINE | names.FEE_LINE_UNUSED),
        (
            lambda found: (
                found["nhsa_settlement_list_4101"]["setlinfo_used"]
                + found["nhsa_settlement_list_4101"]["setlinfo_drop_for_minimisation"]
            ),
            names.SETLINFO | names.SETLINFO_UNUSED,
        ),
        (lambda found: found["nhsa_settlement_list_4101"]["diseinfo"], names.DISEINFO),
        (lambda found: found["nhsa_settlement_list_4101"]["oprninfo"], names.OPRNINFO | names.OPRNINFO_UNUSED),
        (lambda found: found["nhsa_settlement_list_4101"]["iteminfo"], names.ITEMINFO | names.ITEMINFO_UNUSED),
        (lambda found: list(found["e_receipt"]), names.E_RECEIPT | names.E_RECEIPT_UNUSED),
    ],
    ids=["fee line", "setlinfo", "diseinfo", "oprninfo", "iteminfo", "e-receipt"],
)
def test_every_published_national_field_name_is_known(
    published: dict[str, Any], listed: Callable[[dict[str, Any]], list[str]], known: frozenset[str]
) -> None:
    assert _split(listed(published)) <= known


def test_what_must_be_dropped_is_never_read_into_a_bill(published: dict[str, Any]) -> None:
    dropped = set(published["nhsa_settlement_list_4101"]["setlinfo_drop_for_minimisation"])

    assert dropped == names.SETLINFO_DROPPED
    assert dropped.isdisjoint(names.SETLINFO)
