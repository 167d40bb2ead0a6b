"""One booked movement on one bank account, as the bank's notification shows it, and a row that is no such movement.

Identity is `key`. A row that the bank has given an id of its own (AcctSvcrRef, or a UETR) is the same row wherever it
is shown again: the key is a fingerprint of what the bank wrote plus a counter among identical rows of one notification.
A row without such an id is known by the notification that shows it as well (`origin`): the same notification delivered
again gives the same key, another notification gives another row, however much it looks like the first.
EndToEndId alone proves neither.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Self

from gateway.protocol.canonical import canonical, sha256_hex
from gateway.protocol.money import Money

_UUID_4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""UUIDv4Identifier of ISO 20022. Banks that have no UETR write zeros or a word into its place."""


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
    """1 for the first row of its fingerprint in the notification, 2 for the next."""
    servicer_ref: str | None = None
    """AcctSvcrRef alone: unique at the bank. NtryRef may be a running number within one notification."""
    instruction_id: str | None = None
    payment_id: str | None = None
    message_id: str | None = None
    references: tuple[str, ...] = ()
    """Every reference that the remittance holds, structured or not."""
    origin: str = ""
    """SHA-256 that stands for the notification: account, id and bytes. Empty where there is none."""
    doubt: str | None = None
    """Why this row cannot be taken as it stands though account, side and amount are clear: an error code."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what tells rows apart, in RFC 8785 form. Stored rows are known by it: its fields stay."""
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
    def is_identified(self) -> bool:
        """Whether the bank's own ids tell this row from every other; a UETR is one only if it is a version 4 UUID."""
        has_uetr = self.uetr is not None and _UUID_4.fullmatch(self.uetr) is not None
        return bool(self.servicer_ref or has_uetr or not self.origin)

    @property
    def plain_key(self) -> str:
        """The key without the notification: of identified rows, and of every row that an older version stored."""
        return f"{self.fingerprint}-{self.occurrence}"

    @property
    def key(self) -> str:
        if self.is_identified:
            return self.plain_key
        return f"{self.fingerprint}-{self.origin[:16]}-{self.occurrence}"

    @property
    def signed(self) -> Money:
        """The amount as the account's balance moves: a credit positive, a debit negative."""
        return self.amount if self.side is Side.CREDIT else -self.amount


@dataclass(frozen=True, slots=True)
class Seen:
    """The bank entry that was taken as this batch's debit or credit.

    `origin` and `servicer_ref` are None on sides that were seen before they were kept.
    """

    entry_key: str
    uetr: str | None
    amount: Money
    origin: str | None = None
    servicer_ref: str | None = None

    @classmethod
    def of(cls, entry: BankEntry) -> Self:
        return cls(entry.key, entry.uetr, entry.amount, entry.origin or None, entry.servicer_ref)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that cannot be booked: account, side, amount, currency or status is missing or not readable.

    `code` says what is wrong; the other fields hold what the bank wrote, made visible and bounded, None where absent.
    """

    code: str
    origin: str
    position: int
    """1 for the first row of its notification."""
    account: str | None = None
    side: str | None = None
    amount: str | None = None
    currency: str | None = None
    entry_ref: str | None = None

    @property
    def key(self) -> str:
        return f"row-{self.origin[:32]}-{self.position}"
