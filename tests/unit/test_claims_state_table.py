"""The life of a claim and of its payment: every cell of state x event x actor, and the guards of every move."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.claims.claim import ALLOWED, DECIDED, LIVE, Actor, Claim, Event, State, allowed_actions
from gateway.claims.payment import ALLOWED as PAYMENTS_ALLOWED
from gateway.claims.payment import PaymentEvent, PaymentState, after
from gateway.protocol.claims import PaidKind, SubmittedManifest
from gateway.protocol.decisions import DecidedManifest
from gateway.protocol.errors import (
    ConflictError,
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    StaleError,
)
from gateway.protocol.settlements import obligation_id
from tests.parties import HOSPITAL, INSURER, OTHER_INSURER, a_decision, a_submitted, an_entry, the_route

BANK_PAID = frozenset({PaidKind.BASIC_FUND, PaidKind.HUIMINBAO})
PARTY = {Actor.HOSPITAL: HOSPITAL, Actor.INSURER: INSURER}


def received(manifest: SubmittedManifest | None = None) -> Claim:
    return Claim.receive(manifest or a_submitted(), the_route(), BANK_PAID)


def in_state(state: State) -> Claim:
    return replace(received(), state=state, revision=7)


def decided_by(claim: Claim, party: str, *, final: bool) -> Claim:
    return claim.decide(a_decision(sender=party, based_on=claim.revision, final=final))


MOVES: dict[Event, Callable[[Claim, str], Claim]] = {
    Event.ACKNOWLEDGE: lambda claim, party: claim.acknowledge(party, claim.revision),
    Event.RETURN: lambda claim, party: claim.return_unprocessed(party, claim.revision),
    Event.DECIDE_PARTLY: lambda claim, party: decided_by(claim, party, final=False),
    Event.DECIDE: lambda claim, party: decided_by(claim, party, final=True),
    Event.DISPUTE: lambda claim, party: claim.dispute(party),
}
CELLS = list(product(State, Event, Actor))
OPEN = [(state, event, actor) for state, event, actor in CELLS if actor in getattr(ALLOWED[state].get(event), "by", ())]
CLOSED = [cell for cell in CELLS if cell not in OPEN]


def test_every_state_has_its_row_and_every_event_its_move() -> None:
    assert set(ALLOWED) == set(State)
    assert set(MOVES) == set(Event)
    assert len(OPEN) + len(CLOSED) == len(State) * len(Event) * len(Actor)


@pytest.mark.parametrize(("state", "event", "actor"), OPEN)
def test_a_listed_move_leads_to_a_listed_state_and_counts_the_revision(
    state: State, event: Event, actor: Actor
) -> None:
    claim = in_state(state)

    moved = MOVES[event](claim, PARTY[actor])

    assert moved.state in ALLOWED[state][event].to
    assert moved.revision == claim.revision + 1


@pytest.mark.parametrize(("state", "event", "actor"), CLOSED)
def test_a_move_that_is_not_listed_is_refused_and_says_what_is_allowed(
    state: State, event: Event, actor: Actor
) -> None:
    claim = in_state(state)

    with pytest.raises(IllegalTransitionError, match=r"claim\.illegal-move") as refused:
        MOVES[event](claim, PARTY[actor])

    assert refused.value.allowed_actions == allowed_actions(state, actor)
    assert str(event) not in (refused.value.allowed_actions or ())


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_a_stranger_hears_that_there_is_no_such_claim(state: State, event: Event) -> None:
    with pytest.raises(NotFoundError, match=r"claim\.unknown"):
        MOVES[event](in_state(state), OTHER_INSURER)


def test_only_a_returned_claim_lets_go_of_its_receipts() -> None:
    assert set(State) - LIVE == {State.RETURNED}


@pytest.mark.parametrize("event", sorted(set(Event) - {Event.DISPUTE}))
def test_a_message_based_on_an_older_revision_is_stale(event: Event) -> None:
    state = State.RECEIVED if event is Event.ACKNOWLEDGE else State.IN_REVIEW
    claim = in_state(state)

    def based_on_the_revision_before(claim: Claim) -> Claim:
        before = replace(claim, revision=claim.revision - 1)
        moved: dict[Event, Callable[[], Claim]] = {
            Event.ACKNOWLEDGE: lambda: claim.acknowledge(INSURER, before.revision),
            Event.RETURN: lambda: claim.return_unprocessed(INSURER, before.revision),
            Event.DECIDE: lambda: claim.decide(a_decision(based_on=before.revision)),
            Event.DECIDE_PARTLY: lambda: claim.decide(a_decision(based_on=before.revision, final=False)),
        }
        return moved[event]()

    with pytest.raises(StaleError, match=r"claim\.stale") as refused:
        based_on_the_revision_before(claim)

    assert refused.value.allowed_actions == allowed_actions(state, Actor.INSURER)


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
        ("decision.line-missing", "/entries"),
        ("decision.over-asked", "/entries"),
    }


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


def test_a_refused_message_leaves_the_claim_as_it_was() -> None:
    claim = in_state(State.DENIED)

    with pytest.raises(IllegalTransitionError):
        claim.acknowledge(INSURER, claim.revision)

    assert claim == in_state(State.DENIED)


def test_a_claim_off_its_route_is_refused_with_every_fault() -> None:
    off_route = a_submitted(
        recipients=(OTHER_INSURER,),
        mechanism="certification",
        currency="HKD",
        paid=({"kind": "basic_fund", "amount_minor": 20_000, "order": 1},),
        unpaid_minor=100_000,
        asked_minor=100_000,
    )

    with pytest.raises(InvalidInputError, match=r"claim\.refused") as refused:
        received(off_route)

    assert [fault.code for fault in refused.value.faults] == [
        "claim.recipient-not-on-route",
        "claim.mechanism-not-on-route",
        "claim.currency-not-on-route",
    ]


def test_no_more_is_asked_than_third_parties_left() -> None:
    paid = (
        {"kind": "basic_fund", "amount_minor": 30_000, "order": 1},
        {"kind": "cash", "amount_minor": 90_000, "order": 2},
    )
    settled = {"paid": paid, "unpaid_minor": 0, "billing_mode": "pay_and_claim", "payee": "insured"}

    assert received(a_submitted(**settled, asked_minor=90_000)).asked_minor == 90_000
    with pytest.raises(InvalidInputError) as refused:
        received(a_submitted(**settled, asked_minor=90_001))

    assert [fault.code for fault in refused.value.faults] == ["claim.asked-over-rest"]


@pytest.mark.parametrize(("state", "event"), list(product(PaymentState, PaymentEvent)))
def test_every_cell_of_the_payment_machine_moves_as_listed_or_is_refused(
    state: PaymentState, event: PaymentEvent
) -> None:
    listed = PAYMENTS_ALLOWED[state].get(event)

    if listed is None:
        with pytest.raises(IllegalTransitionError, match=r"payment\.illegal-move"):
            after(state, event)
    else:
        assert after(state, event) is listed


def test_settlement_s_reports_move_the_payment_and_count_the_revision() -> None:
    claim = replace(received(), state=State.APPROVED).oblige(120_000, "obl_1")

    paid = claim.pay(PaymentEvent.INSTRUCTED).pay(PaymentEvent.RECEIVED).pay(PaymentEvent.SENT)

    assert paid.payment_state is PaymentState.FUNDS_RECEIVED
    assert paid.revision == claim.revision + 3
    assert (paid.obligated_minor, paid.obligation_id) == (120_000, "obl_1")


def test_money_that_went_back_can_be_instructed_again() -> None:
    claim = replace(received(), payment_state=PaymentState.FUNDS_SENT)

    assert (
        claim.pay(PaymentEvent.RETURNED_TO_OPEN).pay(PaymentEvent.INSTRUCTED).payment_state is PaymentState.INSTRUCTED
    )


def test_a_claim_settled_outside_never_obliges() -> None:
    outside = received().settle_outside()

    with pytest.raises(IllegalTransitionError):
        outside.oblige(120_000, "obl_1")


def test_no_payment_state_after_voiding_or_settling_outside() -> None:
    assert PAYMENTS_ALLOWED[PaymentState.VOIDED] == {}
    assert PAYMENTS_ALLOWED[PaymentState.SETTLED_OUTSIDE] == {}


@given(st.text(max_size=20), st.integers(1, 99), st.text(max_size=20), st.integers(1, 99))
def test_one_decision_of_one_claim_has_one_obligation_id(
    claim: str, version: int, other: str, other_version: int
) -> None:
    same = (claim, version) == (other, other_version)

    assert (obligation_id(claim, version) == obligation_id(other, other_version)) is same
