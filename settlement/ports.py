"""What a bank channel offers. A channel translates and does no I/O: the runtime sends and receives.

A channel is one folder in `settlement/channels/` and one line in its catalogue; the conformance suite finds it by
itself. Readers raise `MalformedInputError` for anything they cannot read, and nothing else; the caller then treats
the outcome as unknown, or asks for the notifications again. A row that cannot be read is not such a case. A missing
answer, a time-out or a failure of the bank's server is never a refusal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import time
from enum import StrEnum
from typing import Any, Generic, Protocol, Self, TypeVar

from gateway.protocol.outgoing import Incoming, Outgoing
from settlement.bank_entry import BankEntry, UnreadableRow
from settlement.payment import ChargeBearer, PaymentInstruction

Options = TypeVar("Options")
"""A channel's own options."""


@dataclass(frozen=True, slots=True)
class BankProfile(Generic[Options]):
    """How one bank wants to be spoken to. What only its channel understands stands in `options`."""

    bank: str
    channel: str
    """The key in `CHANNELS`."""
    rail: str
    answer_within_s: int
    """Without an answer for so long the outcome is unknown and the status is asked."""
    options: Options
    cutoff: time | None = None
    """In Shenzhen and Hong Kong: what is sent later is booked the next working day. None while it is not entered."""
    serves: frozenset[str] = frozenset()
    """Clearing member ids of the payers' banks whose payments it takes; empty for all that no other takes."""


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """Ask for the status later; send nothing again."""
    NOT_FOUND = "not_found"
    """Only as an answer to a status question: the bank has no such message; the same bytes may be sent again."""


@dataclass(frozen=True, slots=True)
class BankAnswer:
    """`reason` is an ExternalStatusReason1Code, a bank's own code, a status still in progress or `http-<status>`."""

    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Notifications:
    """`next_cursor` is what to ask after next time; the caller stores it in the transaction that takes the entries."""

    entries: tuple[BankEntry, ...]
    next_cursor: str
    unreadable: tuple[UnreadableRow, ...] = ()
    """Rows that cannot be booked. They are breaks for a person and hold up no other row."""
    page: bytes = b""
    """The page as the bank sent it."""

    def in_parts(self, rows_max: int) -> list[Self]:
        """Split the rows into parts of at most `rows_max`, in order; a page without rows is one part."""
        parts = [
            replace(self, entries=(), unreadable=self.unreadable[start : start + rows_max])
            for start in range(0, len(self.unreadable), rows_max)
        ]
        parts += [
            replace(self, entries=self.entries[start : start + rows_max], unreadable=())
            for start in range(0, len(self.entries), rows_max)
        ]
        return parts or [self]


class Channel(Protocol[Options]):
    """One way to talk to a bank."""

    @property
    def name(self) -> str:
        """Return the key in the catalogue."""

    def read_options(self, written: Mapping[str, Any]) -> Options:
        """Read a profile's options; `MalformedInputError` for a field missing, unknown or not as described."""

    def sample_options(self) -> Mapping[str, Any]:
        """Return the options of a synthetic bank at `http://bank.test/bank/`, as a profile file has them."""

    def urls(self, options: Options) -> tuple[str, ...]:
        """Return the addresses that its questions go to; requests to any other are not sent."""

    def charge_bearer(self, options: Options) -> ChargeBearer:
        """Say who bears the bank's charges: the treasurers approve it with the batch."""

    def instruct(self, payment: PaymentInstruction, profile: BankProfile[Options]) -> Outgoing:
        """Build the message that moves money; the same payment gives the same bytes."""

    def read_instruct_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        """Read the answer to `instruct`; never `NOT_FOUND`."""

    def ask_status(self, payment: PaymentInstruction, profile: BankProfile[Options]) -> Outgoing:
        """Ask what became of a payment whose outcome is unknown; moves nothing."""

    def read_status_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        """Read the answer to `ask_status`."""

    def ask_notifications(self, profile: BankProfile[Options], cursor: str) -> Outgoing:
        """Ask for booked entries after `cursor`; empty at first."""

    def read_notifications(self, answer: Incoming, cursor: str) -> Notifications:
        """Read the answer to `ask_notifications`; nothing new gives no entries and the same cursor."""
