"""Money: integer minor units and an ISO 4217 code; outside a decimal string, inside never a float.

Amounts stay within 2**53 - 1 minor units, the largest integer that every JSON reader keeps exact (RFC 8785).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from gateway.protocol.errors import MalformedInputError

MINOR_DIGITS = {"CNY": 2, "HKD": 2}
"""Currencies of the two sides (ISO 4217). CNH is no ISO code: off-shore renminbi is CNY on the wire."""

AMOUNT_MINOR_MAX = 2**53 - 1

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]{0,13})\.([0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Money:
    """`amount_minor` units of `currency`; 1 CNY = 100 fen. Adding two currencies is refused."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in MINOR_DIGITS:
            raise MalformedInputError("money.currency-unknown")
        if type(self.amount_minor) is not int or abs(self.amount_minor) > AMOUNT_MINOR_MAX:
            raise MalformedInputError("money.out-of-range")

    @classmethod
    def parse(cls, text: str, currency: str) -> Self:
        """Read `"1200.00"`: ASCII digits, exactly two decimals, no exponent, no leading zero, no blank."""
        match = _DECIMAL.fullmatch(text)
        if match is None or text == "-0.00":
            raise MalformedInputError("money.malformed")
        sign, whole, fraction = match.groups()
        return cls(int(sign + whole + fraction), currency)

    @classmethod
    def zero(cls, currency: str) -> Self:
        return cls(0, currency)

    def __str__(self) -> str:
        sign = "-" if self.amount_minor < 0 else ""
        whole, fraction = divmod(abs(self.amount_minor), 100)
        return f"{sign}{whole}.{fraction:02d}"

    def __add__(self, other: Self) -> Self:
        self._same_currency(other)
        return type(self)(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Self) -> Self:
        self._same_currency(other)
        return type(self)(self.amount_minor - other.amount_minor, self.currency)

    def __neg__(self) -> Self:
        return type(self)(-self.amount_minor, self.currency)

    def __le__(self, other: Self) -> bool:
        self._same_currency(other)
        return self.amount_minor <= other.amount_minor

    def __lt__(self, other: Self) -> bool:
        return self <= other and self != other

    def _same_currency(self, other: Self) -> None:
        if self.currency != other.currency:
            raise MalformedInputError("money.two-currencies")


def total(amounts: Iterable[Money], currency: str) -> Money:
    """Sum `amounts`, all of `currency`; nothing sums to zero."""
    return sum(amounts, Money.zero(currency))


def allocate(amount: Money, weights: Sequence[int]) -> list[Money]:
    """Share `amount` over non-negative `weights` by largest remainder, so that the parts sum exactly."""
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0 or amount.amount_minor < 0:
        raise MalformedInputError("money.weights")
    shares = [amount.amount_minor * weight // whole for weight in weights]
    remainders = [(-(amount.amount_minor * weight % whole), index) for index, weight in enumerate(weights)]
    for _, index in sorted(remainders)[: amount.amount_minor - sum(shares)]:
        shares[index] += 1
    return [Money(share, amount.currency) for share in shares]
