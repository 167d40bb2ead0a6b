"""One booked movement on one bank account, as the bank's notification shows it.

Identity is `key`: a fingerprint of what the bank wrote plus a counter among identical rows of one document. The same
row delivered again has the same key; two genuine rows that look alike have two keys; EndToEndId alone proves neither.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from gateway.protocol.canonical import canonical, sha256_hex
from gateway.protocol.money import Money


class Side(StrEnum):
    CREDIT = "credit"
    DEBIT = "debit"


@dataclass(frozen=True, slots=True)
class BankEntry:
    """`amount` is never negative, `side` says the direction. Ids that the bank left out are None."""

    account: str
    side: Side
    amount: Money
    booking_date: date | None
    value_date: date | None
    uetr: str | None
    end_to_end_id: str | None
    reference: str | None
    """The remittance id, or the first line of unstructured remittance."""
    entry_ref: str | None
    """The bank's own reference of this row (AcctSvcrRef, else NtryRef)."""
    reversal: bool
    occurrence: int = 1
    """1 for the first row of its fingerprint in the document, 2 for the next."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that the bank wrote about this row, in RFC 8785 form."""
        return sha256_hex(
            canonical(
                {
                    "account": self.account,
                    "side": self.side.value,
                    "amount_minor": self.amount.amount_minor,
                    "currency": self.amount.currency,
                    "booking_date": self.booking_date and self.booking_date.isoformat(),
                    "value_date": self.value_date and self.value_date.isoformat(),
                    "uetr": self.uetr,
                    "end_to_end_id": self.end_to_end_id,
                    "reference": self.reference,
                    "entry_ref": self.entry_ref,
                    "reversal": self.reversal,
                }
            )
        )

    @property
    def key(self) -> str:
        return f"{self.fingerprint}-{self.occurrence}"

    @property
    def signed(self) -> Money:
        """The amount as the account's balance moves: a credit positive, a debit negative."""
        return self.amount if self.side is Side.CREDIT else -self.amount
