"""Money: what is read, what is refused, and sums that come out to the fen."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.money import AMOUNT_MINOR_MAX, Money, allocate, total

AMOUNTS = st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)


def cny(amount_minor: int) -> Money:
    return Money(amount_minor, "CNY")


@given(AMOUNTS, st.sampled_from(["CNY", "HKD"]))
def test_an_amount_is_read_back_as_it_is_written(amount_minor: int, currency: str) -> None:
    money = Money(amount_minor, currency)

    assert Money.parse(str(money), currency) == money
    assert Decimal(str(money)) * 100 == amount_minor


@pytest.mark.parametrize(("text", "minor"), [("0.00", 0), ("0.01", 1), ("1200.00", 120_000), ("-3.50", -350)])
def test_a_decimal_string_is_read_in_minor_units(text: str, minor: int) -> None:
    assert Money.parse(text, "CNY").amount_minor == minor


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1.0", "1.000", ".50", "1.", "01.00", "-0.00", "+1.00", "--1.00", " 1.00", "1.00 ", "1.00\n",
        "1,000.00", "1e2", "1E2", "NaN", "Infinity", "\uff11.00", "1。00", "٣.00", "0x1.00", "1_0.00",
        "100000000000000.00",
    ],
)  # fmt: skip
def test_what_is_not_exactly_an_amount_is_malformed(text: str) -> None:
    with pytest.raises(MalformedInputError, match=r"money\.malformed"):
        Money.parse(text, "CNY")


@given(st.text(max_size=20))
def test_any_text_gives_an_amount_or_the_one_error(text: str) -> None:
    try:
        money = Money.parse(text, "HKD")
    except MalformedInputError:
        return

    assert str(money) == text


@pytest.mark.parametrize("currency", ["CNH", "RMB", "cny", "USD", "", "¥"])
def test_only_the_two_currencies_exist(currency: str) -> None:
    with pytest.raises(MalformedInputError, match=r"money\.currency-unknown"):
        Money(1, currency)


@pytest.mark.parametrize("amount", [AMOUNT_MINOR_MAX + 1, -AMOUNT_MINOR_MAX - 1, True, 1.0])
def test_an_amount_is_an_integer_that_every_json_reader_keeps(amount: int) -> None:
    with pytest.raises(MalformedInputError, match=r"money\.out-of-range"):
        cny(amount)


def test_the_largest_amount_can_be_written_and_one_fen_more_cannot() -> None:
    assert Money.parse("90071992547409.91", "CNY").amount_minor == AMOUNT_MINOR_MAX
    with pytest.raises(MalformedInputError, match=r"money\.out-of-range"):
        Money.parse("90071992547409.92", "CNY")


def test_two_currencies_are_never_added_subtracted_or_compared() -> None:
    for mixed in (
        lambda: cny(1) + Money(1, "HKD"),
        lambda: cny(1) - Money(1, "HKD"),
        lambda: cny(1) < Money(2, "HKD"),
        lambda: cny(1) <= Money(2, "HKD"),
        lambda: total([Money(1, "HKD")], "CNY"),
    ):
        with pytest.raises(MalformedInputError, match=r"money\.two-currencies"):
            mixed()


@given(st.lists(st.integers(-(10**9), 10**9), max_size=30))
def test_a_total_is_the_sum_and_nothing_totals_zero(amounts: list[int]) -> None:
    assert total(map(cny, amounts), "CNY") == cny(sum(amounts))
    assert total([], "HKD") == Money.zero("HKD")


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_arithmetic_and_order_are_those_of_the_minor_units(left: int, right: int) -> None:
    assert cny(left) + cny(right) == cny(left + right)
    assert cny(left) - cny(right) == cny(left) + -cny(right)
    assert (cny(left) < cny(right)) is (left < right)
    assert (cny(left) <= cny(right)) is (left <= right)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.lists(st.integers(0, 10**12), min_size=1, max_size=40))
def test_shares_sum_exactly_and_none_is_a_fen_away_from_its_part(amount_minor: int, weights: list[int]) -> None:
    assume(sum(weights) > 0)

    shares = allocate(cny(amount_minor), weights)

    assert total(shares, "CNY") == cny(amount_minor)
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share.amount_minor * sum(weights) - amount_minor * weight) < sum(weights)
        assert weight or share == cny(0)


def test_the_fen_that_is_left_goes_to_the_largest_remainder_then_to_the_first() -> None:
    assert allocate(cny(100), [1, 1, 1]) == [cny(34), cny(33), cny(33)]
    assert allocate(cny(10), [1, 2]) == [cny(3), cny(7)]
    assert allocate(cny(1), [0, 1, 1]) == [cny(0), cny(1), cny(0)]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [-1, 2]])
def test_weights_that_share_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(MalformedInputError, match=r"money\.weights"):
        allocate(cny(100), weights)


def test_a_negative_amount_is_not_shared() -> None:
    with pytest.raises(MalformedInputError, match=r"money\.weights"):
        allocate(cny(-1), [1])
