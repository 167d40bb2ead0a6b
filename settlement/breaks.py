"""A break: what a bank statement shows and no payment explains, or a row that nobody could read. Pure.

A break has an owner and an age, and stays until two operators resolve it with a reason and a ticket; a resolved one is
kept. Its money stands in suspense under the party whose statement shows it (SET-8). Resolving explains that booking
and does not move it: what a statement shows is a fact. The one exception is a row that the bank has shown twice: the
statement holds it once, so its suspense entry is reversed by its exact opposite.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.protocol.canonical import sha256_hex

OPERATOR = "operator"
"""The owner of what stands on no party's account."""


class Resolution(StrEnum):
    BANK_FEE = "bank-fee"
    """The bank kept or added a fee; the parties settle it between them."""
    BANK_CORRECTED = "bank-corrected"
    """The bank has corrected its row by another one."""
    REPEATED_BY_BANK = "repeated-by-bank"
    """One movement, shown twice: the only resolution that reverses the suspense entry."""
    PAID_OUTSIDE = "paid-outside"
    """Money between the same accounts that is no business of the gateway."""
    RETURNED = "returned"
    """The money went back to where it came from."""
    BOOKED_BY_HAND = "booked-by-hand"
    """The parties have booked it in their own books."""
    TEST = "test"


def break_id(subject: str) -> str:
    """Derive the id from the key of the entry or row, hence the same row twice is one break."""
    return "brk_" + sha256_hex(subject.encode())[:32]


@dataclass(frozen=True, slots=True)
class OpenBreak:
    """What is stored of a new break. `amount_minor` is what is unexplained, signed; None where nobody could read it."""

    subject: str
    kind: str
    owner: str
    document: dict[str, Any]
    reason: str | None = None
    batch_id: str | None = None
    account: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    page_sha256: str | None = None
    posting: str | None = None
    """The journal entry that put it into suspense."""

    @property
    def break_id(self) -> str:
        return break_id(self.subject)
