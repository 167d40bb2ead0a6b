"""The life of a claim and of its payment: every cell of state x event x actor, and the guards of every move."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.claims.claim import Claim, Dispute
from gateway.claims.payment import ALLOWED as PAYMENTS_ALLOWED
from gateway.claims.payment import PaymentEvent, PaymentState, after
from gateway.protocol.claim_life import (
    ALLOWED,
    DECIDED,
    FIRST_REVISION,
    FIRST_STATE,
    LETS_GO,
    Actor,
    Event,
    Guard,
    Rule,
    State,
    first_actions,
)
from gateway.protocol.claim_terms import PaidKind
from gateway.protocol.errors import (
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    StaleError,
)
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.settlements import obligation_id
from tests.parties import (
    HOSPITAL,
    INSURER,
    OTHER_INSURER,
    a_decision,
    a_disputed,
    a_giving_up,
    a_returned,
    a_submitted,
    a_withdrawal,
    an_acknowledged,
    the_route,
)

BANK_PAID = frozenset({PaidKind.BASIC_FUND, PaidKind.HUIMINBAO})
PARTY = {Actor.HOSPITAL: HOSPITAL, Actor.INSURER: INSURER}
PARTIES = tuple(PARTY)
ANSWER = "msg_answer0000"
DISPUTE = "msg_dispute0000"


def received(manifest: SubmittedManifest | None = None) -> Claim:
    return Claim.receive(manifest or a_submitted(), the_route(), BANK_PAID)


def in_state(state: State, **changes: Any) -> Claim:
    return replace(received(), state=state, revision=7, answer_msg_id=ANSWER, **changes)


def disputed(by: str, from_state: State, **changes: Any) -> Claim:
    about = ANSWER if by == HOSPITAL else received().msg_id
    return in_state(State.DISPUTED, dispute=Dispute(by, DISPUTE, about, from_state), **changes)


STANDINGS = {
    **{f"{state} {payment}": in_state(state, payment_state=payment)
       for state in State if state is not State.DISPUTED
       for payment in (PaymentState.NONE, PaymentState.VOIDED, PaymentState.RECONCILED)},
    **{f"disputed by {by} from {from_state}": disputed(by, from_state)
       for by, states in ((HOSPITAL, (State.PARTLY_DECIDED, State.RETURNED, *DECIDED)),
                          (INSURER, (State.RECEIVED, State.IN_REVIEW, State.PARTLY_DECIDED)))
       for from_state in states},
    "disputed while money is out": disputed(INSURER, State.PARTLY_DECIDED, payment_state=PaymentState.RECOUP_NEEDED),
}  # fmt: skip
"""Claims of every state, with the payments and disputes that guards look at."""


@pytest.mark.parametrize("actor", PARTIES)
def test_what_an_edge_offers_before_core_has_spoken_is_what_core_allows(actor: Actor) -> None:
    assert first_actions(actor) == received().allowed(actor)
    assert (received().state, received().revision) == (FIRST_STATE, FIRST_REVISION)


def said_by(party: str, **fields: Any) -> dict[str, Any]:
    recipient = INSURER if party == HOSPITAL else HOSPITAL
    return {"sender": party, "recipients": (recipient,)} | fields


def decided_by(claim: Claim, party: str, *, final: bool) -> Claim:
    return claim.decide(a_decision(**said_by(party, based_on=claim.revision, final=final)))


MOVES: dict[Event, Callable[[Claim, str], Claim]] = {
    Event.ACKNOWLEDGE: lambda claim, party: claim.acknowledge(
        an_acknowledged(**said_by(party, based_on=claim.revision))
    ),
    Event.RETURN: lambda claim, party: claim.return_unprocessed(a_returned(**said_by(party, based_on=claim.revision))),
    Event.DECIDE_PARTLY: lambda claim, party: decided_by(claim, party, final=False),
    Event.DECIDE: lambda claim, party: decided_by(claim, party, final=True),
    Event.DISPUTE: lambda claim, party: claim.dispute_content(
        a_disputed(**said_by(party, in_reply_to=ANSWER if party == HOSPITAL else claim.msg_id))
    ),
    Event.WITHDRAW_DISPUTE: lambda claim, party: claim.withdraw_dispute(
        a_withdrawal(**said_by(party, in_reply_to=DISPUTE))
    ),
    Event.GIVE_UP: lambda claim, party: claim.give_up(a_giving_up(**said_by(party, in_reply_to=DISPUTE))),
}
CELLS = list(product(STANDINGS, MOVES, PARTIES))


def rule_of(standing: str, event: Event, actor: Actor) -> Rule | None:
    """Return the row of the table that lets the actor move this claim, if there is one and its guard holds."""
    claim = STANDINGS[standing]
    rule = ALLOWED[claim.state].get(event)
    return rule if rule is not None and actor in rule.by and claim.holds(rule.guard, actor) else None


OPEN = [cell for cell in CELLS if rule_of(*cell)]
SHUT = [cell for cell in CELLS if cell not in OPEN]


def test_every_state_has_its_row_and_every_event_its_move() -> None:
    assert set(ALLOWED) == set(State)
    assert {*MOVES, Event.CLOSE} == set(Event)
    assert {claim.state for claim in STANDINGS.values()} == set(State)
    assert {rule.guard for row in ALLOWED.values() for rule in row.values()} == {None, *Guard}


def test_every_row_of_the_table_is_walked() -> None:
    rows = {(state, event) for state, row in ALLOWED.items() for event in row if event is not Event.CLOSE}

    assert {(STANDINGS[standing].state, event) for standing, event, _ in OPEN} == rows


@pytest.mark.parametrize(("standing", "event", "actor"), OPEN)
def test_a_listed_move_leads_to_a_listed_state_and_counts_the_revision(
    standing: str, event: Event, actor: Actor
) -> None:
    claim = STANDINGS[standing]

    moved = MOVES[event](claim, PARTY[actor])

    assert moved.state in ALLOWED[claim.state][event].to
    assert moved.revision == claim.revision + 1
    assert (moved.dispute is not None) == (moved.state is State.DISPUTED)


@pytest.mark.parametrize(("standing", "event", "actor"), SHUT)
def test_a_move_that_is_not_listed_is_refused_and_says_what_is_allowed(
    standing: str, event: Event, actor: Actor
) -> None:
    claim = STANDINGS[standing]

    with pytest.raises(IllegalTransitionError, match=r"claim\.illegal-move") as refused:
        MOVES[event](claim, PARTY[actor])

    assert refused.value.allowed_actions == claim.allowed(actor)
    assert str(event) not in (refused.value.allowed_actions or ())


@pytest.mark.parametrize(("standing", "event"), list(product(STANDINGS, MOVES)))
def test_a_stranger_hears_that_there_is_no_such_claim(standing: str, event: Event) -> None:
    with pytest.raises(NotFoundError, match=r"claim\.unknown"):
        MOVES[event](STANDINGS[standing], OTHER_INSURER)


def test_a_returned_claim_and_one_given_up_let_go_of_their_receipts() -> None:
    assert {State.RETURNED, State.GIVEN_UP} == LETS_GO


@pytest.mark.parametrize("event", [Event.ACKNOWLEDGE, Event.RETURN, Event.DECIDE, Event.DECIDE_PARTLY])
def test_a_message_based_on_an_older_revision_is_stale(event: Event) -> None:
    state = State.RECEIVED if event is Event.ACKNOWLEDGE else State.IN_REVIEW
    claim = in_state(state)
    moved_on = replace(claim, revision=claim.revision + 1)
    sent = {
        Event.ACKNOWLEDGE: lambda: moved_on.acknowledge(an_acknowledged(based_on=claim.revision)),
        Event.RETURN: lambda: moved_on.return_unprocessed(a_returned(based_on=claim.revision)),
        Event.DECIDE: lambda: moved_on.decide(a_decision(based_on=claim.revision)),
        Event.DECIDE_PARTLY: lambda: moved_on.decide(a_decision(based_on=claim.revision, final=False)),
    }

    with pytest.raises(StaleError, match=r"claim\.stale") as refused:
        sent[event]()

    assert refused.value.allowed_actions == claim.allowed(Actor.INSURER)


ADDRESSED: dict[str, tuple[Claim, Callable[..., Claim]]] = {
    "acknowledged": (in_state(State.RECEIVED), lambda claim, **words: claim.acknowledge(
        an_acknowledged(based_on=7, **words))),
    "returned": (in_state(State.RECEIVED), lambda claim, **words: claim.return_unprocessed(
        a_returned(based_on=7, **words))),
    "decided": (in_state(State.IN_REVIEW), lambda claim, **words: claim.decide(a_decision(based_on=7, **words))),
    "disputed by the insurer": (in_state(State.RECEIVED), lambda claim, **words: claim.dispute_content(
        a_disputed(**words))),
    "disputed by the hospital": (in_state(State.APPROVED), lambda claim, **words: claim.dispute_content(
        a_disputed(**said_by(HOSPITAL, in_reply_to=ANSWER) | words))),
    "withdrawn": (disputed(INSURER, State.RECEIVED), lambda claim, **words: claim.withdraw_dispute(
        a_withdrawal(**{"in_reply_to": DISPUTE} | words))),
    "given up": (disputed(INSURER, State.RECEIVED), lambda claim, **words: claim.give_up(
        a_giving_up(**{"in_reply_to": DISPUTE} | words))),
}  # fmt: skip


@pytest.mark.parametrize("message", ADDRESSED)
def test_an_answer_to_another_message_is_refused(message: str) -> None:
    claim, take = ADDRESSED[message]

    with pytest.raises(InvalidInputError, match=r"message\.not-of-claim") as refused:
        take(claim, in_reply_to="msg_never_seen")

    assert [(fault.code, fault.pointer) for fault in refused.value.faults] == [
        ("message.reply-to-other", "/in_reply_to")
    ]
    assert take(claim).revision == claim.revision + 1


@pytest.mark.parametrize("message", ADDRESSED)
def test_every_field_that_names_another_claim_is_named_at_once(message: str) -> None:
    claim, take = ADDRESSED[message]

    with pytest.raises(InvalidInputError) as refused:
        take(claim, case_id="case_of_another", claim_version=2, recipients=(OTHER_INSURER,))

    assert [fault.pointer for fault in refused.value.faults] == ["/case_id", "/claim_version", "/recipients"]


def test_the_hospital_disputes_the_newest_answer_only() -> None:
    claim = replace(in_state(State.IN_REVIEW), revision=2).decide(a_decision(final=False))
    later = claim.decide(a_decision(msg_id="msg_answer0009", based_on=3, decision_version=2))

    with pytest.raises(InvalidInputError, match=r"message\.not-of-claim"):
        later.dispute_content(a_disputed(**said_by(HOSPITAL, in_reply_to="msg_answer0004")))

    assert later.dispute_content(a_disputed(**said_by(HOSPITAL, in_reply_to="msg_answer0009"))).dispute is not None


def test_an_acknowledgement_repeats_the_hash_of_the_claim_s_content() -> None:
    claim = in_state(State.RECEIVED)

    with pytest.raises(InvalidInputError, match=r"message\.not-of-claim") as refused:
        claim.acknowledge(an_acknowledged(based_on=7, content_sha256="f" * 64))

    assert [fault.pointer for fault in refused.value.faults] == ["/content_sha256"]
    assert claim.acknowledge(an_acknowledged(based_on=7, content_sha256=claim.content_sha256)).state is State.IN_REVIEW


def test_a_refused_message_leaves_the_claim_as_it_was() -> None:
    claim = in_state(State.DENIED)

    with pytest.raises(IllegalTransitionError):
        claim.acknowledge(an_acknowledged(based_on=claim.revision))

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


@given(st.text(max_size=20), st.integers(1, 99), st.text(max_size=20), st.integers(1, 99))
def test_one_decision_of_one_claim_has_one_obligation_id(
    claim: str, version: int, other: str, other_version: int
) -> None:
    same = (claim, version) == (other, other_version)

    assert (obligation_id(claim, version) == obligation_id(other, other_version)) is same
