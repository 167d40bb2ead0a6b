from dataclasses import replace

import pytest

from settlement.bank_entry import Side
from settlement.matching import Break, BreakKind, Matched, MatchRule, Replayed, match
from tests.settlement_builders import (
    HOSPITAL_ACCOUNT,
    OTHER_UETR,
    PAYER_ACCOUNT,
    an_approved_batch,
    an_entry,
    an_instructed_batch,
    an_obligation,
    cny,
    seen,
)

BATCH = an_instructed_batch()
OTHER = an_instructed_batch(an_obligation("claim_2"), uetr=OTHER_UETR)
BOTH = (OTHER, BATCH)


@pytest.mark.parametrize("side", list(Side))
def test_the_uetr_decides_first(side: Side) -> None:
    misleading = an_entry(BATCH, side, end_to_end_id=OTHER.end_to_end_id, reference=OTHER.remittance_id)

    assert match(misleading, BOTH) == Matched(BATCH.batch_id, side, MatchRule.UETR)


@pytest.mark.parametrize("uetr", [None, "2d7c3e30-9b3c-4e5a-9f7d-4b8cae2f3041"])
def test_without_a_uetr_of_ours_the_end_to_end_id_decides(uetr: str | None) -> None:
    entry = an_entry(BATCH, uetr=uetr, end_to_end_id=BATCH.end_to_end_id, reference=OTHER.remittance_id)

    assert match(entry, BOTH) == Matched(BATCH.batch_id, Side.CREDIT, MatchRule.END_TO_END_ID)


def test_without_ids_the_reference_decides_with_the_exact_amount_on_the_right_account() -> None:
    entry = an_entry(BATCH, uetr=None, reference=BATCH.remittance_id)

    assert match(entry, BOTH) == Matched(BATCH.batch_id, Side.CREDIT, MatchRule.REFERENCE_AND_AMOUNT)
    for wrong in (replace(entry, amount=cny("1199.99")), replace(entry, account=PAYER_ACCOUNT)):
        assert match(wrong, BOTH) == Break(BreakKind.UNKNOWN, wrong.signed)


def test_amount_and_account_alone_never_match() -> None:
    entry = an_entry(BATCH, uetr=None)

    assert match(entry, BOTH) == Break(BreakKind.UNKNOWN, entry.signed)


def test_two_payments_that_fit_equally_well_are_left_to_a_person() -> None:
    twin = replace(BATCH, uetr=OTHER_UETR, rail="cips")
    entry = an_entry(BATCH, uetr=None, end_to_end_id=BATCH.end_to_end_id)

    assert match(entry, (BATCH, twin)) == Break(BreakKind.AMBIGUOUS, entry.signed, rule=MatchRule.END_TO_END_ID)


@pytest.mark.parametrize(
    ("side", "amount", "kind", "surplus"),
    [
        (Side.CREDIT, "1190.00", BreakKind.SHORT, "-10.00"),
        (Side.CREDIT, "1200.01", BreakKind.OVER, "0.01"),
        (Side.DEBIT, "1190.00", BreakKind.SHORT, "10.00"),
        (Side.DEBIT, "1215.00", BreakKind.OVER, "-15.00"),
    ],
)
def test_another_amount_is_taken_and_its_difference_is_a_break(
    side: Side, amount: str, kind: BreakKind, surplus: str
) -> None:
    outcome = match(an_entry(BATCH, side, amount=amount), BOTH)

    assert outcome == Break(kind, cny(surplus), BATCH.batch_id, MatchRule.UETR, taken=True)


def test_the_same_uetr_again_is_a_replay_even_under_another_row_key() -> None:
    first = an_entry(BATCH)
    after = BATCH.credit_seen(seen(first))
    again = an_entry(BATCH, entry_ref="REF2")

    assert match(first, [after]) == Replayed(BATCH.batch_id, Side.CREDIT)
    assert again.key != first.key
    assert match(again, [after]) == Replayed(BATCH.batch_id, Side.CREDIT)


def test_the_same_uetr_with_another_amount_is_a_conflict() -> None:
    after = BATCH.credit_seen(seen(an_entry(BATCH)))
    entry = an_entry(BATCH, amount="10.00")

    assert match(entry, [after]) == Break(BreakKind.CONFLICTING, entry.signed, BATCH.batch_id, MatchRule.UETR)


@pytest.mark.parametrize("own_first", [True, False])
def test_a_new_uetr_with_our_end_to_end_id_is_a_suspected_duplicate_in_either_order(*, own_first: bool) -> None:
    own = an_entry(BATCH, end_to_end_id=BATCH.end_to_end_id)
    twin = replace(own, uetr=OTHER_UETR, entry_ref="REF2")
    first, second = (own, twin) if own_first else (twin, own)

    after = BATCH.credit_seen(seen(first))
    outcome = match(second, [after])

    assert isinstance(match(first, [BATCH]), Matched)
    assert isinstance(outcome, Break)
    assert (outcome.kind, outcome.taken, outcome.surplus) == (BreakKind.DUPLICATE_SUSPECTED, False, second.signed)


def test_a_bank_that_puts_its_own_uetr_in_is_recognised_when_it_repeats_itself() -> None:
    entry = an_entry(BATCH, uetr=OTHER_UETR, end_to_end_id=BATCH.end_to_end_id)
    after = BATCH.credit_seen(seen(entry))

    assert match(entry, [after]) == Replayed(BATCH.batch_id, Side.CREDIT)


def test_two_identical_rows_without_a_uetr_are_two_rows() -> None:
    first = an_entry(BATCH, uetr=None, end_to_end_id=BATCH.end_to_end_id)
    second = replace(first, occurrence=2)
    after = BATCH.credit_seen(seen(first))

    assert match(first, [after]) == Replayed(BATCH.batch_id, Side.CREDIT)
    outcome = match(second, [after])
    assert isinstance(outcome, Break)
    assert outcome.kind is BreakKind.DUPLICATE_SUSPECTED


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (an_entry(BATCH, account="QQ-STRANGER"), BreakKind.WRONG_ACCOUNT),
        (an_entry(BATCH, Side.DEBIT, account=HOSPITAL_ACCOUNT), BreakKind.WRONG_ACCOUNT),
        (replace(an_entry(BATCH), amount=replace(BATCH.amount, currency="HKD")), BreakKind.WRONG_CURRENCY),
        (an_entry(BATCH, reversal=True), BreakKind.REVERSAL),
    ],
)
def test_what_names_our_payment_but_does_not_fit_it_is_a_break_as_a_whole(entry: object, kind: BreakKind) -> None:
    outcome = match(entry, BOTH)  # type: ignore[arg-type]

    assert isinstance(outcome, Break)
    assert (outcome.kind, outcome.batch_id, outcome.taken) == (kind, BATCH.batch_id, False)


@pytest.mark.parametrize("batch", [BATCH.reject("AC04"), an_approved_batch()], ids=["rejected", "never sent"])
def test_money_that_moves_for_a_payment_that_is_not_at_the_bank_is_a_break(batch: object) -> None:
    outcome = match(an_entry(BATCH), [batch])  # type: ignore[list-item]

    assert isinstance(outcome, Break)
    assert outcome.kind is BreakKind.NOT_EXPECTED
