from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.bank_entry import BankEntry, Side
from settlement.batch import Batch, State
from settlement.ledger import Account, Entry, Kind, approved, balances, instructed, open_items, trial_balance
from settlement.matching import Break, BreakKind, Replayed
from settlement.obligation import Obligation
from settlement.obligation import State as ObligationState
from settlement.reconciliation import place
from tests.settlement_builders import (
    NOW,
    OTHER_UETR,
    PARTIES,
    TODAY,
    an_entry,
    an_instructed_batch,
    an_obligation,
    cny,
)

OPENED = an_obligation()
SENT = an_instructed_batch(OPENED)
DEBIT = an_entry(SENT, Side.DEBIT)
CREDIT = an_entry(SENT)
DUPLICATE = an_entry(SENT, uetr=OTHER_UETR, end_to_end_id=SENT.end_to_end_id, entry_ref="REF9")
STRAY = an_entry(SENT, amount="33.00", uetr=None, entry_ref="REF8")


def run(evidence: Sequence[BankEntry]) -> tuple[Batch, Obligation, list[Entry]]:
    """Take bank entries in this order, as the handler does; the journal keeps one entry an id."""
    batch, obligation = SENT, OPENED.batch(SENT.batch_id, SENT.end_to_end_id).instruct()
    opening = [approved(OPENED, booked_at=NOW, value_date=TODAY), instructed(SENT, booked_at=NOW)]
    journal = {entry.entry_id: entry for entry in opening}
    for entry in evidence:
        placement = place(entry, [batch], PARTIES, at=NOW)
        batch = placement.batch or batch
        obligation = placement.advance(obligation)
        journal.update({posted.entry_id: posted for posted in placement.entries})
    return batch, obligation, sorted(journal.values(), key=lambda posted: posted.entry_id)


def test_debit_and_credit_reconcile_the_batch_and_its_obligations_and_close_the_books() -> None:
    batch, obligation, journal = run([DEBIT, CREDIT])

    assert batch.state is State.RECONCILED
    assert obligation.state is ObligationState.RECONCILED
    assert open_items(journal) == {}


def test_replayed_in_any_order_bank_evidence_gives_one_final_state() -> None:
    evidence = (DEBIT, CREDIT, DEBIT, CREDIT, STRAY)

    ends = {repr(run(order)) for order in permutations(evidence)}

    assert len(ends) == 1


def test_with_a_duplicate_credit_the_books_are_the_same_whichever_came_first() -> None:
    ends = {
        repr((batch.state, obligation, sorted(balances(journal).items())))
        for batch, obligation, journal in map(run, permutations((DEBIT, CREDIT, DUPLICATE)))
    }

    assert len(ends) == 1
    assert open_items(run([DEBIT, CREDIT, DUPLICATE])[2]) == {Account("SZH-1", Kind.SUSPENSE, "CNY"): 120_000}


def test_a_replay_changes_nothing_and_posts_nothing() -> None:
    batch, _, _ = run([CREDIT])

    placement = place(CREDIT, [batch], PARTIES, at=NOW)

    assert isinstance(placement.outcome, Replayed)
    assert (placement.batch, placement.entries, placement.events) == (None, (), ())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_short_credit_is_received_and_waits_for_a_person(order: tuple[int, int]) -> None:
    evidence = (DEBIT, an_entry(SENT, amount="1190.00"))

    batch, obligation, journal = run([evidence[index] for index in order])

    assert batch.state is State.CREDITED
    assert obligation.state is ObligationState.RECEIVED
    assert open_items(journal) == {Account("SZH-1", Kind.SUSPENSE, "CNY"): -1_000}
    assert balances(journal)[Account("SZH-1", Kind.BANK_MIRROR, "CNY")] == -119_000


def test_an_excess_debit_stands_in_suspense_of_the_payer() -> None:
    batch, _, journal = run([an_entry(SENT, Side.DEBIT, amount="1215.00"), CREDIT])

    assert batch.state is State.CREDITED
    assert open_items(journal) == {Account("HKINS-A", Kind.SUSPENSE, "CNY"): -1_500}
    assert balances(journal)[Account("HKINS-A", Kind.BANK_MIRROR, "CNY")] == 121_500


def test_an_entry_on_an_account_that_is_not_mirrored_is_a_break_without_a_posting() -> None:
    placement = place(an_entry(SENT, account="QQ-STRANGER"), [SENT], PARTIES, at=NOW)

    assert isinstance(placement.outcome, Break)
    assert placement.outcome.kind is BreakKind.WRONG_ACCOUNT
    assert placement.entries == ()


def test_a_row_of_nothing_posts_nothing() -> None:
    placement = place(an_entry(SENT, amount="0.00", uetr=None), [SENT], PARTIES, at=NOW)

    assert isinstance(placement.outcome, Break)
    assert placement.entries == ()


ROWS = st.builds(
    lambda side, minor, known, ref, reversal: an_entry(
        SENT,
        side,
        amount=str(cny(f"{minor // 100}.{minor % 100:02d}")),
        uetr=SENT.uetr if known else None,
        entry_ref=ref,
        reversal=reversal,
    ),
    st.sampled_from(Side),
    st.sampled_from([120_000, 119_000, 120_001, 5, 0]),
    st.booleans(),
    st.sampled_from(["A", "B", "C"]),
    st.booleans(),
)


@given(st.lists(ROWS, max_size=12))
def test_whatever_the_bank_sends_the_books_balance_and_the_mirrors_show_the_banks_rows(rows: list[BankEntry]) -> None:
    batch, _, journal = run(rows)

    kept = {row.key: row for row in rows}
    replayed = {key for key, row in kept.items() if isinstance(place(row, [batch], PARTIES, at=NOW).outcome, Replayed)}
    sides = {found.entry_key for found in (batch.debit, batch.credit) if found is not None}
    shown = {key: row for key, row in kept.items() if key not in replayed - sides}
    for party, account in (("HKINS-A", SENT.debtor.account), ("SZH-1", SENT.creditor.account)):
        mirror = balances(journal).get(Account(party, Kind.BANK_MIRROR, "CNY"), 0)
        statement = sum(row.signed.amount_minor for row in shown.values() if row.account == account)
        assert mirror == -statement
    assert set(trial_balance(journal).values()) == {0}
