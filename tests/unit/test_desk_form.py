from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hk.desk.form import read_decision, read_return
from gateway.client.authoring import DecisionEntry
from gateway.protocol.errors import Fault, InvalidInputError

ENTRY = {"lines": [0], "benefit": "300.00", "patient": "0.00", "other_payer": "0.00", "adjusted": "0.00"}
CANARY = "QQ-canary-1900"


def a_decision(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"final": True, "entries": list(entries) or [ENTRY]} | changes


def test_a_decision_is_read_into_minor_units_with_texts_by_language() -> None:
    text = {"en": "Over the limit.", "zh_hant": "超出限額。"}
    adjusted = ENTRY | {
        "benefit": "0.00",
        "adjusted": "300.00",
        "bearer": "patient",
        "class_code": "G004",
        "text": text,
    }

    read = read_decision(a_decision(adjusted, text={"en": "On the whole."}), "CNY")

    assert read.event == "decide"
    assert read.texts == {"en": "On the whole."}
    assert read.entries == (
        DecisionEntry(
            lines=(0,),
            benefit_minor=0,
            adjusted_minor=30_000,
            bearer="patient",
            class_code="G004",
            texts={"en": "Over the limit.", "zh-Hant": "超出限額。"},
        ),
    )


def test_a_decision_on_a_part_is_another_event() -> None:
    assert read_decision(a_decision(final=False), "CNY").event == "decide_partly"


def test_every_fault_is_named_in_one_answer() -> None:
    wrong = ENTRY | {"benefit": "1200", "patient": "-0.01", "class_code": "G028"}

    with pytest.raises(InvalidInputError) as refused:
        read_decision(a_decision(ENTRY, wrong), "CNY")

    assert refused.value.faults == (
        Fault("money.malformed", "/entries/1/benefit"),
        Fault("money.negative", "/entries/1/patient"),
        Fault("reason.unknown", "/entries/1/class_code"),
    )


def test_the_name_of_an_unknown_member_is_not_repeated_its_parent_is_named() -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_decision(a_decision(ENTRY | {CANARY: 1}), "CNY")

    assert refused.value.faults == (Fault("field.extra-forbidden", "/entries/0"),)


def test_a_return_needs_a_known_code_and_an_english_text() -> None:
    assert read_return({"class_code": "G001", "text": {"en": "No such member."}}).class_code == "G001"
    for wrong in ({"class_code": "G001"}, {"class_code": "G001", "text": {"zh_hans": "无"}}, {"class_code": "X"}):
        with pytest.raises(InvalidInputError):
            read_return(wrong)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([CANARY, "G001", "300.00", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ENTRY, "entries", "final", "text", "en", CANARY]), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["final", "entries", "text", "class_code", CANARY]), _JSON, max_size=4))
def test_any_object_is_read_or_refused_with_places_that_are_ours(found: dict[str, Any]) -> None:
    faults = [*faults_of(read_decision, found, "CNY"), *faults_of(read_return, found)]

    assert CANARY not in repr(faults)


def faults_of(read: Callable[..., Any], *words: Any) -> tuple[Fault, ...]:
    """Return what reading named; nothing but `InvalidInputError` may be raised."""
    try:
        read(*words)
    except InvalidInputError as refused:
        return refused.faults
    return ()
