from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.canonical import canonical, sha256_hex
from gateway.protocol.errors import ConflictError, ForbiddenError, IllegalTransitionError, InvalidInputError
from settlement.bank_entry import Side
from settlement.batch import ALLOWED, LIVE, MAKER, MEMBERS_MAX, Batch, Event, State, by_payment
from settlement.obligation import Actor
from tests.settlement_builders import (
    NOW,
    OTHER_UETR,
    TODAY,
    a_batch,
    an_approval,
    an_approved_batch,
    an_entry,
    an_instructed_batch,
    an_obligation,
    cny,
    seen,
    the_hospital,
    the_payer,
)


def debited(batch: Batch) -> Batch:
    return batch.debit_seen(seen(an_entry(batch, Side.DEBIT)))


def credited(batch: Batch) -> Batch:
    return batch.credit_seen(seen(an_entry(batch)))


def in_state(state: State) -> Batch:
    sent = an_instructed_batch()
    return {
        State.DRAFT: a_batch(),
        State.APPROVED: an_approved_batch(),
        State.INSTRUCTED: sent,
        State.ACCEPTED: sent.accept(),
        State.REJECTED: sent.reject("AC04"),
        State.UNKNOWN: sent.lose(),
        State.DEBITED: debited(sent),
        State.CREDITED: credited(sent),
        State.RECONCILED: credited(debited(sent)).reconcile(),
        State.WITHDRAWN: a_batch().without(an_obligation().obligation_id),
    }[state]


def verbs(batch: Batch, by: Actor) -> dict[Event, Callable[[], Batch]]:
    """Map the events that are verbs of one argument or none; approvals and amendments have tests of their own."""
    return {
        Event.AMEND: lambda: batch.redate(TODAY + timedelta(days=1), by=by),
        Event.WITHDRAW: lambda: batch.without(an_obligation().obligation_id, by=by),
        Event.INSTRUCT: lambda: batch.instruct(NOW, by=by),
        Event.ACCEPT: lambda: batch.accept(by=by),
        Event.REJECT: lambda: batch.reject("AC04", by=by),
        Event.LOSE: lambda: batch.lose(by=by),
        Event.RESEND: lambda: batch.resend(by=by),
        Event.DEBIT_SEEN: lambda: batch.debit_seen(seen(an_entry(batch, Side.DEBIT)), by=by),
        Event.CREDIT_SEEN: lambda: batch.credit_seen(seen(an_entry(batch)), by=by),
        Event.RETURN: lambda: batch.give_back("returned", by=by),
        Event.SETTLE: lambda: batch.settle("executed", by=by),
    }


PLAIN_EVENTS = [event for event in Event if event not in {Event.FIRST_APPROVAL, Event.SECOND_APPROVAL, Event.RECONCILE}]


@pytest.mark.parametrize(("state", "event", "by"), list(product(State, PLAIN_EVENTS, Actor)))
def test_every_state_event_and_actor_does_what_the_table_says(state: State, event: Event, by: Actor) -> None:
    batch = in_state(state)
    rule = ALLOWED[state].get(event)

    if rule is None or by not in rule.by:
        with pytest.raises(IllegalTransitionError) as refusal:
            verbs(batch, by)[event]()
        assert refusal.value.code == "batch.wrong-state"
        assert refusal.value.allowed_actions == batch.allowed_actions(by)
    else:
        assert verbs(batch, by)[event]().state is rule.to


def test_every_state_stands_in_the_table_and_dead_ones_lead_nowhere() -> None:
    assert set(ALLOWED) == set(State)
    assert {state for state in State if not ALLOWED[state]} == set(State) - LIVE


@pytest.mark.parametrize("state", [state for state in State if state is not State.DRAFT])
def test_only_a_draft_takes_approvals(state: State) -> None:
    batch = in_state(state)

    with pytest.raises(IllegalTransitionError):
        batch.approve(an_approval(batch, "treasurer-9"))


def test_two_different_treasurers_approve_and_then_the_job_may_instruct() -> None:
    batch = a_batch()

    once = batch.approve(an_approval(batch))
    twice = once.approve(an_approval(batch, "treasurer-2"))

    assert once.state is State.DRAFT
    assert twice.state is State.APPROVED
    assert twice.instruct(NOW).state is State.INSTRUCTED


def test_one_treasurer_does_not_approve_twice() -> None:
    batch = a_batch()
    once = batch.approve(an_approval(batch))

    with pytest.raises(ConflictError) as refusal:
        once.approve(an_approval(batch))

    assert refusal.value.code == "batch.approved-by-you-already"


@pytest.mark.parametrize(("treasurer", "party"), [("treasurer-1", "HKINS-B"), (MAKER, "HKINS-A")])
def test_neither_another_payers_treasurer_nor_the_maker_approves(treasurer: str, party: str) -> None:
    batch = a_batch()

    with pytest.raises(ForbiddenError) as refusal:
        batch.approve(an_approval(batch, treasurer, party))

    assert refusal.value.code == "batch.approver-not-allowed"


def test_an_approval_over_another_hash_is_refused() -> None:
    batch = a_batch()
    stale = replace(an_approval(batch), batch_hash=sha256_hex(b"another"))

    with pytest.raises(ConflictError) as refusal:
        batch.approve(stale)

    assert refusal.value.code == "batch.hash-differs"


def test_a_treasurer_is_offered_the_approval_that_is_next_and_none_afterwards() -> None:
    drafted = a_batch()
    half = drafted.approve(an_approval(drafted))
    full = half.approve(an_approval(half, "treasurer-2"))

    offered = [batch.allowed_actions(Actor.TREASURER) for batch in (drafted, half, full)]

    assert offered == [("first_approval",), ("second_approval",), ()]


CHANGES: dict[str, Callable[[Batch], Batch]] = {
    "members": lambda batch: replace(batch, members=batch.members[:1]),
    "amount": lambda batch: replace(
        batch, members=(replace(batch.members[0], amount=cny("1200.01")), *batch.members[1:])
    ),
    "debtor account": lambda batch: replace(batch, debtor=replace(batch.debtor, account="QQ-PAYER-002")),
    "creditor account": lambda batch: replace(batch, creditor=replace(batch.creditor, account="QQ-HOSPITAL-002")),
    "creditor name": lambda batch: replace(batch, creditor=replace(batch.creditor, name="Another Hospital")),
    "creditor bank": lambda batch: replace(
        batch, creditor=replace(batch.creditor, agent=replace(batch.creditor.agent, bic="QQBKCNBJ"))
    ),
    "value date": lambda batch: replace(batch, value_date=date(2026, 3, 3)),
    "uetr": lambda batch: replace(batch, uetr=OTHER_UETR),
    "charge bearer": lambda batch: replace(batch, charge_bearer="DEBT"),
    "rail": lambda batch: replace(batch, rail="cips"),
    "id and so the EndToEndId": lambda batch: replace(batch, batch_id="bat_" + "0" * 32),
    "link to an old attempt": lambda batch: replace(batch, replaces=("E2EOLD",)),
}


@pytest.mark.parametrize("change", list(CHANGES.values()), ids=list(CHANGES))
def test_one_change_behind_the_approvals_stops_the_batch(change: Callable[[Batch], Batch]) -> None:
    two = (an_obligation(), an_obligation("claim_2", "30.00"))
    approved = an_approved_batch(*two)

    changed = change(approved)

    assert changed.batch_hash != approved.batch_hash
    with pytest.raises(ConflictError) as refusal:
        changed.instruct(NOW)
    assert refusal.value.code == "batch.hash-differs"


def test_the_hash_is_sha_256_over_the_canonical_bytes_of_the_body() -> None:
    batch = a_batch()

    assert batch.batch_hash == sha256_hex(canonical(batch.body()))


def test_a_new_value_date_voids_the_approvals() -> None:
    redated = an_approved_batch().redate(TODAY + timedelta(days=1))

    assert (redated.state, redated.approvals) == (State.DRAFT, ())


def test_a_voided_member_leaves_and_the_approvals_are_void() -> None:
    kept, voided = an_obligation(), an_obligation("claim_2", "30.00")

    smaller = an_approved_batch(kept, voided).without(voided.obligation_id)

    assert (smaller.state, smaller.approvals, smaller.amount) == (State.DRAFT, (), kept.amount)
    assert [member.obligation_id for member in smaller.members] == [kept.obligation_id]


def test_a_batch_without_its_last_member_is_withdrawn() -> None:
    withdrawn = an_approved_batch().without(an_obligation().obligation_id)

    assert (withdrawn.state, withdrawn.approvals) == (State.WITHDRAWN, ())


def test_who_is_no_member_does_not_leave() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        an_approved_batch().without(an_obligation("claim_2").obligation_id)

    assert refusal.value.code == "batch.members"


def test_the_same_draft_twice_is_the_same_batch_whatever_the_order_of_its_members() -> None:
    one, two = an_obligation(), an_obligation("claim_2", "30.00")

    assert a_batch(one, two) == a_batch(two, one)


def test_references_for_the_bank_are_letters_and_digits_of_at_most_35() -> None:
    batch = a_batch()
    references = [batch.message_id, batch.end_to_end_id, batch.remittance_id, batch.members[0].reference]

    assert all(len(found) <= 35 and found.isascii() and found.isalnum() for found in references)
    assert len(set(references)) == 4


def test_a_new_attempt_has_a_new_end_to_end_id_that_names_the_old_one() -> None:
    opened = an_obligation()
    old = a_batch(opened)
    rejected = opened.batch(old.batch_id, old.end_to_end_id).instruct().reject("AC04")

    new = a_batch(rejected, uetr=OTHER_UETR)

    assert new.end_to_end_id != old.end_to_end_id
    assert new.replaces == (old.end_to_end_id,)


def test_an_instruction_asked_twice_is_equal_and_sums_to_its_lines() -> None:
    sent = an_instructed_batch(an_obligation(), an_obligation("claim_2", "30.00"))

    payment = sent.instruction()

    assert payment == sent.lose().resend().instruction()
    assert payment.amount == cny("1230.00")
    assert sum(line.amount.amount_minor for line in payment.lines) == payment.amount.amount_minor


def test_a_batch_that_was_never_instructed_has_no_instruction() -> None:
    with pytest.raises(IllegalTransitionError):
        an_approved_batch().instruction()


def test_two_payers_two_currencies_or_no_member_make_no_batch() -> None:
    foreign = an_obligation("claim_2", payer="HKINS-B")

    for members in ((), (an_obligation(), foreign), (an_obligation(amount="-5.00"),)):
        with pytest.raises(InvalidInputError) as refusal:
            Batch.draft(
                members,
                rail="rmb-chats",
                value_date=TODAY,
                debtor=the_payer(),
                creditor=the_hospital(),
                uetr=OTHER_UETR,
                charge_bearer="SHAR",
            )
        assert refusal.value.code == "batch.members"


def test_an_unknown_outcome_is_sent_again_only_after_the_bank_said_that_it_has_nothing() -> None:
    unknown = an_instructed_batch().lose()

    assert Event.INSTRUCT.value not in unknown.allowed_actions(Actor.JOB)
    assert unknown.allowed_actions(Actor.JOB) == (Event.RESEND.value,)


def test_bank_evidence_in_any_order_ends_in_one_batch() -> None:
    steps: tuple[Callable[[Batch], Batch], ...] = (Batch.accept, debited, credited)
    ends = set()

    for order in permutations(steps):
        batch = an_instructed_batch()
        for step in order:
            batch = step(batch)
        ends.add(repr(batch.reconcile()))

    assert len(ends) == 1


def test_a_batch_seen_on_one_side_only_or_short_is_not_reconciled() -> None:
    sent = an_instructed_batch()
    short = debited(sent).credit_seen(seen(an_entry(sent, amount="1190.00")))

    for batch in (credited(sent), short):
        with pytest.raises(ConflictError) as refusal:
            batch.reconcile()
        assert refusal.value.code == "batch.not-settled-in-full"


def test_a_second_debit_is_never_taken() -> None:
    with pytest.raises(IllegalTransitionError):
        debited(credited(debited(an_instructed_batch())))


@given(st.lists(st.tuples(st.sampled_from(["HKINS-A", "HKINS-B"]), st.integers(0, 40)), max_size=30, unique=True))
def test_grouping_loses_and_doubles_no_obligation(chosen: list[tuple[str, int]]) -> None:
    obligations = [an_obligation(f"claim_{payer}_{number}", payer=payer) for payer, number in chosen]

    groups = by_payment(obligations)

    placed = [found for runs in groups.values() for run in runs for found in run]
    assert sorted(placed, key=repr) == sorted(obligations, key=repr)
    assert all(found.payer == key[0] for key, runs in groups.items() for run in runs for found in run)


def test_a_group_larger_than_a_batch_is_cut_into_runs() -> None:
    many = [an_obligation(f"claim_{number}", "0.01") for number in range(MEMBERS_MAX + 1)]

    runs = by_payment(many)["HKINS-A", "SZH-1", "CNY"]

    assert [len(run) for run in runs] == [MEMBERS_MAX, 1]
    assert a_batch(*runs[0]).amount == cny("5.00")
