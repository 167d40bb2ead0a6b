import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.errors import MalformedInputError
from gateway.runtime.web.paging import Cursors

CURSORS = Cursors(bytes(range(32)))
VALUES = st.lists(st.one_of(st.integers(0, 2**53 - 1), st.text(max_size=40)), max_size=4)


@given(VALUES)
def test_a_cursor_gives_its_values_back(values: list[str | int]) -> None:
    assert CURSORS.read("claims/hosp-nanshan", CURSORS.write("claims/hosp-nanshan", values)) == tuple(values)


def test_a_cursor_opens_no_other_tenants_list() -> None:
    cursor = CURSORS.write("claims/hosp-nanshan", [7])

    with pytest.raises(MalformedInputError):
        CURSORS.read("claims/hosp-other", cursor)


def test_a_cursor_of_another_role_is_refused() -> None:
    cursor = Cursors(bytes(reversed(range(32)))).write("feed/ins-harbour", [7])

    with pytest.raises(MalformedInputError):
        CURSORS.read("feed/ins-harbour", cursor)


@given(st.text(max_size=600))
def test_any_text_is_refused_with_one_error(text: str) -> None:
    with pytest.raises(MalformedInputError) as caught:
        CURSORS.read("feed/ins-harbour", text)

    assert caught.value.code == "cursor.malformed"


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_cursor_is_refused(place: int, flip: int) -> None:
    cursor = CURSORS.write("feed/ins-harbour", [7, "case_1"])
    characters = list(cursor)
    place %= len(characters)
    characters[place] = chr(ord(characters[place]) ^ flip)

    with pytest.raises(MalformedInputError):
        CURSORS.read("feed/ins-harbour", "".join(characters))
