from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.errors import Disposition, GatewayError
from gateway.protocol.money import AMOUNT_MINOR_MAX, Money
from settlement.ledger import (
    Account,
    Cause,
    Entry,
    Kind,
    Leg,
    approved,
    balances,
    credit_seen,
    debit_seen,
    instructed,
    into_suspense,
    open_items,
    rejected,
    trial_balance,
    voided,
)
from tests.settlement_builders import NOW, TODAY, a_batch, an_obligation, cny

PAYER_BANK = Account("HKINS-A", Kind.BANK_MIRROR, "CNY")
HOSPITAL_BANK = Account("SZH-1", Kind.BANK_MIRROR, "CNY")
PAYABLE = Account("HKINS-A", Kind.PAYABLE, "CNY", "SZH-1")
EXPENSE = Account("HKINS-A", Kind.CLAIMS_EXPENSE, "CNY")
IN_TRANSIT = Account("HKINS-A", Kind.IN_TRANSIT, "CNY", "SZH-1")

OBLIGATION = an_obligation()
BATCH = a_batch(OBLIGATION)
APPROVED = approved(OBLIGATION, booked_at=NOW, value_date=TODAY)
INSTRUCTED = instructed(BATCH, booked_at=NOW)
DEBIT = debit_seen(BATCH, booked_at=NOW, value_date=TODAY)
CREDIT = credit_seen(BATCH, booked_at=NOW, value_date=TODAY)


def an_entry_of(*legs: tuple[Account, int]) -> Entry:
    return Entry("break:x", Cause.BREAK, "x", NOW, TODAY, tuple(Leg(account, minor) for account, minor in legs))


def test_an_approved_obligation_is_payable() -> None:
    assert balances([APPROVED]) == {EXPENSE: 120_000, PAYABLE: -120_000}


def test_an_instructed_batch_is_in_transit() -> None:
    assert open_items([APPROVED, INSTRUCTED]) == {EXPENSE: 120_000, IN_TRANSIT: -120_000}


@pytest.mark.parametrize("order", [(DEBIT, CREDIT), (CREDIT, DEBIT)], ids=["debit first", "credit first"])
def test_after_debit_and_credit_in_any_order_only_the_bank_mirrors_are_left(order: Sequence[Entry]) -> None:
    entries = [APPROVED, INSTRUCTED, *order]

    assert open_items(entries) == {}
    assert balances(entries)[PAYER_BANK] == 120_000
    assert balances(entries)[HOSPITAL_BANK] == -120_000
    assert balances(entries)[IN_TRANSIT] == 0


def test_a_rejection_makes_the_obligation_payable_again() -> None:
    reversal = rejected(BATCH, booked_at=NOW)

    assert reversal.reverses == INSTRUCTED.entry_id
    assert open_items([APPROVED, INSTRUCTED, reversal]) == open_items([APPROVED])


def test_a_voided_obligation_leaves_nothing() -> None:
    void = voided(OBLIGATION, booked_at=NOW, value_date=TODAY)

    assert void.reverses == APPROVED.entry_id
    assert open_items([APPROVED, void]) == {}


def test_a_short_credit_stands_in_suspense_and_the_mirror_shows_what_the_bank_shows() -> None:
    fee = into_suspense("SZH-1", "key-1", cny("-10.00"), booked_at=NOW, value_date=TODAY)

    entries = [APPROVED, INSTRUCTED, DEBIT, CREDIT, fee]

    assert open_items(entries) == {Account("SZH-1", Kind.SUSPENSE, "CNY"): -1_000}
    assert balances(entries)[HOSPITAL_BANK] == -119_000


def test_a_credit_from_nowhere_stands_in_suspense() -> None:
    credit = into_suspense("SZH-1", "key-2", cny("7.00"), booked_at=NOW, value_date=TODAY)

    assert balances([credit]) == {Account("SZH-1", Kind.SUSPENSE, "CNY"): 700, HOSPITAL_BANK: -700}


def test_the_same_cause_gives_the_same_entry_id_and_another_cause_another() -> None:
    again = instructed(BATCH, booked_at=NOW)
    ids = {entry.entry_id for entry in (APPROVED, INSTRUCTED, DEBIT, CREDIT, rejected(BATCH, booked_at=NOW))}

    assert again == INSTRUCTED
    assert len(ids) == 5


def test_account_codes_tell_accounts_apart() -> None:
    accounts = [PAYER_BANK, HOSPITAL_BANK, PAYABLE, EXPENSE, IN_TRANSIT]

    assert len({account.code for account in accounts}) == len(accounts)
    assert IN_TRANSIT.code == "in-transit/HKINS-A/SZH-1/CNY"


@pytest.mark.parametrize(
    ("legs", "code"),
    [
        (((EXPENSE, 100), (PAYABLE, -99)), "ledger.unbalanced"),
        (((EXPENSE, 100),), "ledger.unbalanced"),
        ((), "ledger.unbalanced"),
        (((EXPENSE, 100), (PAYABLE, -100), (PAYER_BANK, 0)), "ledger.leg-amount"),
        (((EXPENSE, AMOUNT_MINOR_MAX + 1), (PAYABLE, -AMOUNT_MINOR_MAX - 1)), "ledger.leg-amount"),
        (((EXPENSE, 100), (Account("HKINS-A", Kind.PAYABLE, "HKD", "SZH-1"), -100)), "ledger.unbalanced"),
    ],
    ids=["off by one", "one leg", "no leg", "empty leg", "too large", "zero over two currencies, not per currency"],
)
def test_an_entry_that_does_not_balance_per_currency_cannot_be_made(
    legs: tuple[tuple[Account, int], ...], code: str
) -> None:
    with pytest.raises(GatewayError) as refusal:
        an_entry_of(*legs)

    assert refusal.value.code == code
    assert refusal.value.disposition is Disposition.HALT


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """Draw any mixture of postings of many payments, complete or not, in any order."""
    entries: list[Entry] = []
    for number, minor in enumerate(draw(st.lists(st.integers(1, 10**9), max_size=6))):
        obligation = an_obligation(f"claim_{number}", str(Money(minor, "CNY")))
        batch = a_batch(obligation)
        surplus = draw(st.integers(-(10**6), 10**6).filter(bool))
        postings = [
            approved(obligation, booked_at=NOW, value_date=TODAY),
            voided(obligation, booked_at=NOW, value_date=TODAY),
            instructed(batch, booked_at=NOW),
            rejected(batch, booked_at=NOW),
            debit_seen(batch, booked_at=NOW, value_date=TODAY),
            credit_seen(batch, booked_at=NOW, value_date=TODAY),
            into_suspense("SZH-1", f"key-{number}", Money(surplus, "CNY"), booked_at=NOW, value_date=TODAY),
        ]
        entries += draw(st.lists(st.sampled_from(postings), max_size=7))
    return list(draw(st.permutations(entries)))


@given(journals())
def test_any_sequence_of_postings_balances(entries: list[Entry]) -> None:
    assert set(trial_balance(entries).values()) <= {0}


@given(journals(), st.randoms(use_true_random=False))
def test_balances_are_a_fold_that_knows_no_order(entries: list[Entry], random: st.DataObject) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert balances(shuffled) == balances(entries)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8), st.data())
def test_once_every_payment_is_through_nothing_is_open_and_the_mirrors_agree(
    minors: list[int], data: st.DataObject
) -> None:
    obligations = [an_obligation(f"claim_{n}", str(Money(minor, "CNY"))) for n, minor in enumerate(minors)]
    entries = [approved(found, booked_at=NOW, value_date=TODAY) for found in obligations]
    for obligation in obligations:
        batch = a_batch(obligation)
        entries += [
            instructed(batch, booked_at=NOW),
            debit_seen(batch, booked_at=NOW, value_date=TODAY),
            credit_seen(batch, booked_at=NOW, value_date=TODAY),
        ]

    shuffled = data.draw(st.permutations(entries))

    assert open_items(shuffled) == {}
    assert balances(shuffled)[PAYER_BANK] == sum(minors) == -balances(shuffled)[HOSPITAL_BANK]
