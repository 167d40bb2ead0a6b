"""The closed set of differences: three stages of reading, and pointers generated from the answered manifest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.differences import BY_HOSPITAL, BY_INSURER, difference_faults, is_difference
from gateway.protocol.errors import Fault
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from tests.parties import a_disputed


@pytest.mark.parametrize("stage", ["/dossier", "/content_sha256", "/content"])
def test_the_three_stages_of_reading_are_differences_of_every_manifest(stage: str) -> None:
    assert is_difference(stage, BY_INSURER)
    assert is_difference(stage, BY_HOSPITAL)


@pytest.mark.parametrize("name", SubmittedManifest.model_fields)
def test_every_field_of_a_claim_may_differ(name: str) -> None:
    assert is_difference(f"/{name}", BY_INSURER)


@pytest.mark.parametrize("name", DecidedManifest.model_fields)
def test_every_field_of_a_decision_may_differ(name: str) -> None:
    assert is_difference(f"/{name}", BY_HOSPITAL)


@pytest.mark.parametrize(
    "pointer",
    ["/line_amounts_minor/0", "/line_amounts_minor/4999", "/paid/3/amount_minor", "/programme/worst", "/recipients/0"],
)
def test_a_pointer_may_go_into_lists_and_objects_of_a_claim(pointer: str) -> None:
    assert is_difference(pointer, BY_INSURER)


@pytest.mark.parametrize("pointer", ["/entries/0", "/entries/12/benefit_minor", "/entries/0/lines/4999", "/class_code"])
def test_a_pointer_may_go_into_the_entries_of_an_answer(pointer: str) -> None:
    assert is_difference(pointer, BY_HOSPITAL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "asked_minor",
        "/asked_minor/",
        "/asked_minor/0",
        "/line_amounts_minor/5000",
        "/line_amounts_minor/00",
        "/line_amounts_minor/-1",
        "/line_amounts_minor/٣",
        "/paid/amount_minor",
        "/total_minor",
        "/entries/0",
        "/Chan Tai Man",
        "/A1234563",
        "dossier.cannot-open",
        "/asked_minor\n",
    ],
)
def test_any_other_text_is_no_difference_of_a_claim(text: str) -> None:
    assert not is_difference(text, BY_INSURER)


@given(st.text(max_size=40))
def test_text_of_a_person_is_never_a_difference(text: str) -> None:
    assert not is_difference(f"/{text} 陳大文", BY_INSURER + BY_HOSPITAL)


def test_a_dispute_names_one_to_fifty_differences_and_every_wrong_one_is_named() -> None:
    amounts = tuple(f"/line_amounts_minor/{index}" for index in range(50))

    assert difference_faults(a_disputed(differences=amounts), BY_INSURER) == []
    assert difference_faults(a_disputed(differences=()), BY_INSURER) == [Fault("dispute.no-difference", "/differences")]
    assert difference_faults(a_disputed(differences=("/asked_minor", "A1234563", "/x")), BY_INSURER) == [
        Fault("dispute.difference-unknown", "/differences/1"),
        Fault("dispute.difference-unknown", "/differences/2"),
    ]
