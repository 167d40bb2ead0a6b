"""The national JSON with anything anywhere: it is read, and what is wrong is named at its own place."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sz.formats import FORMATS
from adapters.sz.ports import Unreadable
from gateway.protocol.canonical import compact
from tests.hospital_bills import FORMAT, changed, sample_object

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


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), value=_VALUES)
def test_a_bill_with_anything_anywhere_is_read_and_what_is_wrong_is_named(place: str, value: Any) -> None:
    reading = FORMATS[FORMAT].read(compact(changed(place, value)))

    for fault in reading.faults:
        assert Unreadable.of(frozenset({fault.pointer})).touches(place), (place, fault)
