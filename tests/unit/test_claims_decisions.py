"""Decisions on a claim: what the entries must explain, what is computed from them, and which faults are named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.claims.claim import Claim
from gateway.protocol.claim_life import DECIDED, State
from gateway.protocol.errors import ConflictError, InvalidInputError
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from tests.parties import a_decision, a_submitted, an_entry, the_route


def received(manifest: SubmittedManifest | None = None) -> Claim:
    return Claim.receive(manifest or a_submitted(), the_route(), frozenset())


def in_state(state: State) -> Claim:
    return replace(received(), state=state, revision=7)


@pytest.mark.parametrize("version", [1, 2, 4])
def test_a_decision_must_be_the_next_version(version: int) -> None:
    claim = replace(in_state(State.PARTLY_DECIDED), decision_version=2)

    with pytest.raises(ConflictError, match=r"decision\.version"):
        claim.decide(a_decision(based_on=claim.revision, decision_version=version))

    assert claim.decide(a_decision(based_on=claim.revision, decision_version=3)).decision_version == 3


def faults_of_decision(decision: DecidedManifest) -> set[tuple[str, str]]:
    claim = replace(in_state(State.IN_REVIEW), revision=2)
    with pytest.raises(InvalidInputError, match=r"decision\.refused") as refused:
        claim.decide(decision)
    return {(fault.code, fault.pointer) for fault in refused.value.faults}


def test_entries_that_do_not_explain_the_bill_are_refused_all_at_once() -> None:
    short_and_twice = (
        an_entry(0, benefit=99_999),
        an_entry(0, benefit=100_000),
        an_entry(7, benefit=0),
    )

    found = faults_of_decision(a_decision(entries=short_and_twice))

    assert found == {
        ("decision.entry-unbalanced", "/entries/0"),
        ("decision.line-twice", "/entries/0/lines"),
        ("decision.line-twice", "/entries/1/lines"),
        ("decision.line-unknown", "/entries/2/lines"),
    }


def test_a_line_that_is_named_wrongly_is_one_fault() -> None:
    unknown = a_decision(entries=(an_entry(0, benefit=100_000), an_entry(7, benefit=20_000)))
    too_much = a_decision(entries=(an_entry(0, benefit=100_000), an_entry(1, benefit=20_001)))

    assert faults_of_decision(unknown) == {("decision.line-unknown", "/entries/1/lines")}
    assert faults_of_decision(too_much) == {("decision.entry-unbalanced", "/entries/1")}


def test_a_line_that_no_wrong_name_explains_is_missing_by_itself() -> None:
    three = a_submitted(line_amounts_minor=(50_000, 50_000, 20_000))
    claim = replace(received(three), state=State.IN_REVIEW, revision=2)

    with pytest.raises(InvalidInputError) as refused:
        claim.decide(a_decision(entries=(an_entry(9, benefit=50_000),)))

    assert {fault.code for fault in refused.value.faults} == {"decision.line-unknown", "decision.line-missing"}


def test_a_line_named_twice_in_one_entry_is_refused() -> None:
    assert ("decision.line-twice", "/entries/0/lines") in faults_of_decision(
        a_decision(entries=(an_entry(0, 0, 1, benefit=220_000),))
    )


def test_a_negative_line_index_is_unknown() -> None:
    found = faults_of_decision(a_decision(entries=(an_entry(0, -1, benefit=120_000),)))

    assert ("decision.line-unknown", "/entries/0/lines") in found


def test_only_a_part_decision_may_leave_lines_open() -> None:
    claim = replace(in_state(State.IN_REVIEW), revision=2)
    entries = (an_entry(0, benefit=100_000),)

    moved = claim.decide(a_decision(final=False, entries=entries))

    assert moved.state is State.PARTLY_DECIDED
    assert faults_of_decision(a_decision(entries=entries)) == {("decision.line-missing", "/entries")}


def test_a_decision_in_another_currency_is_refused() -> None:
    assert faults_of_decision(a_decision(currency="HKD")) == {("decision.currency", "/currency")}


def test_no_more_is_approved_than_was_asked() -> None:
    asked_less = a_submitted(asked_minor=50_000)
    claim = replace(received(asked_less), state=State.IN_REVIEW, revision=2)

    with pytest.raises(InvalidInputError) as refused:
        claim.decide(a_decision(entries=(an_entry(0, 1, benefit=50_001, patient=69_999),)))

    assert [fault.code for fault in refused.value.faults] == ["decision.over-asked"]


@given(st.integers(0, 120_000))
def test_the_outcome_is_computed_from_the_entries(benefit: int) -> None:
    claim = replace(received(), state=State.IN_REVIEW, revision=2)

    moved = claim.decide(a_decision(entries=(an_entry(0, 1, benefit=benefit, patient=120_000 - benefit),)))

    expected = State.APPROVED_IN_PART
    if benefit == 0:
        expected = State.DENIED
    if benefit == 120_000:
        expected = State.APPROVED
    assert moved.state is expected
    assert moved.state in DECIDED
