from collections.abc import Callable
from itertools import product

import pytest

from gateway.protocol.errors import IllegalTransitionError, InvalidInputError
from gateway.protocol.money import Money
from gateway.protocol.settlements import obligation_id
from settlement.obligation import ALLOWED, Actor, Event, Obligation, State
from tests.settlement_builders import an_obligation, cny


def act(obligation: Obligation, event: Event, by: Actor) -> Obligation:
    """Do `event` by its verb."""
    verbs: dict[Event, Callable[[], Obligation]] = {
        Event.HOLD: lambda: obligation.hold("screening", by=by),
        Event.RELEASE: lambda: obligation.release(by=by),
        Event.VOID: lambda: obligation.void("cancelled", by=by),
        Event.BATCH: lambda: obligation.batch("bat_1", "E2E1", by=by),
        Event.INSTRUCT: lambda: obligation.instruct(by=by),
        Event.ACCEPT: lambda: obligation.accept(by=by),
        Event.REJECT: lambda: obligation.reject("AC04", by=by),
        Event.DEBIT_SEEN: lambda: obligation.debit_seen(by=by),
        Event.CREDIT_SEEN: lambda: obligation.credit_seen(by=by),
        Event.RECONCILE: lambda: obligation.reconcile(by=by),
        Event.CLOSE: lambda: obligation.close("waived", by=by),
        Event.RETURN: lambda: obligation.give_back("returned", by=by),
        Event.SETTLE: lambda: obligation.settle(by=by),
    }
    return verbs[event]()


def in_state(state: State) -> Obligation:
    opened = an_obligation()
    batched = opened.batch("bat_1", "E2E1")
    instructed = batched.instruct()
    received = instructed.credit_seen()
    return {
        State.OPEN: opened,
        State.HELD: opened.hold("screening", by=Actor.JOB),
        State.BATCHED: batched,
        State.INSTRUCTED: instructed,
        State.SENT: instructed.debit_seen(),
        State.RECEIVED: received,
        State.RECONCILED: received.debit_seen().reconcile(),
        State.VOIDED: opened.void("cancelled"),
        State.CLOSED: opened.close("waived"),
        State.REFUND_REQUESTED: an_obligation(amount="-5.00"),
    }[state]


@pytest.mark.parametrize(("state", "event", "by"), list(product(State, Event, Actor)))
def test_every_state_event_and_actor_does_what_the_table_says(state: State, event: Event, by: Actor) -> None:
    obligation = in_state(state)
    rule = ALLOWED[state].get(event)

    if rule is None or by not in rule.by:
        with pytest.raises(IllegalTransitionError) as refusal:
            act(obligation, event, by)
        assert refusal.value.code == "obligation.wrong-state"
        assert event.value not in obligation.allowed_actions(by)
        assert refusal.value.allowed_actions == obligation.allowed_actions(by)
    else:
        assert act(obligation, event, by).state is rule.to
        assert event.value in obligation.allowed_actions(by)


def test_every_state_stands_in_the_table_and_can_be_reached() -> None:
    reachable = {rule.to for events in ALLOWED.values() for rule in events.values()}

    assert set(ALLOWED) == set(State)
    assert reachable == set(State) - {State.REFUND_REQUESTED}


def test_the_same_decision_never_obliges_twice_under_two_ids() -> None:
    first, again, next_version = an_obligation(), an_obligation(), obligation_id("claim_1", 2)

    assert first.obligation_id == again.obligation_id == obligation_id("claim_1", 1)
    assert first.obligation_id != next_version


def test_a_negative_amount_is_a_refund_request_from_which_nothing_is_paid() -> None:
    refund = an_obligation(amount="-5.00")

    assert refund.state is State.REFUND_REQUESTED
    assert {actor: refund.allowed_actions(actor) for actor in Actor if refund.allowed_actions(actor)} == {
        Actor.CORE: ("void",),
        Actor.OPERATOR: ("close",),
    }


def test_nothing_owed_opens_no_obligation() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        Obligation.opened(case_id="c", claim_id="k", decision_version=1, payer="P", payee="H", amount=Money.zero("CNY"))

    assert refusal.value.code == "obligation.zero"


def test_a_void_is_in_time_until_the_bank_is_instructed_and_too_late_after() -> None:
    in_time = {state for state in State if in_state(state).can(Event.VOID, Actor.CORE)}

    assert in_time == {State.OPEN, State.HELD, State.BATCHED, State.REFUND_REQUESTED}


def test_a_voided_obligation_has_left_its_batch() -> None:
    voided = in_state(State.BATCHED).void("cancelled")

    assert (voided.state, voided.batch_id, voided.reason_code) == (State.VOIDED, None, "cancelled")


def test_a_rejected_obligation_is_open_again_and_keeps_the_link_to_its_old_attempt() -> None:
    rejected = in_state(State.INSTRUCTED).reject("AC04")

    again = rejected.batch("bat_2", "E2E2")

    assert (rejected.state, rejected.batch_id, rejected.end_to_end_id) == (State.OPEN, None, "E2E1")
    assert rejected.reason_code == "AC04"
    assert (again.attempt, again.batch_id, again.end_to_end_id) == (2, "bat_2", "E2E2")


def test_an_obligation_in_a_live_batch_is_in_no_second_one() -> None:
    with pytest.raises(IllegalTransitionError):
        in_state(State.BATCHED).batch("bat_2", "E2E2")


def test_debit_and_credit_in_either_order_end_in_the_same_obligation() -> None:
    instructed = in_state(State.INSTRUCTED)

    debit_first = instructed.debit_seen().accept().credit_seen().reconcile()
    credit_first = instructed.credit_seen().debit_seen().reconcile().accept()

    assert debit_first == credit_first
    assert debit_first.amount == cny("1200.00")
