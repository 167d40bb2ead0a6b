"""What a bank channel offers. A channel translates and does no I/O: the runtime sends and receives.

A channel is one file in `settlement/channels/` and one line in its catalogue; the conformance suite finds it by
itself. Readers raise `MalformedInputError` for anything they cannot read, and nothing else; the caller then treats
the outcome as unknown, or asks for the notifications again. A row that cannot be read is not such a case. A missing
answer, a time-out or a failure of the bank's server is never a refusal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, Self

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming, Outgoing
from settlement.bank_entry import BankEntry, UnreadableRow
from settlement.iso20022.pain001 import RmbPurposeField
from settlement.payment import ChargeBearer, PaymentInstruction

_TEXTS = {"bank", "channel", "rail", "base_url", "token"}
_CHARGE_BEARERS: Mapping[str, ChargeBearer] = {"DEBT": "DEBT", "SHAR": "SHAR", "CRED": "CRED", "SLEV": "SLEV"}
_RMB_PURPOSE_FIELDS: Mapping[str, RmbPurposeField | None] = {
    "unset": None,
    "RgltryRptg": "RgltryRptg",
    "InstrForCdtrAgt": "InstrForCdtrAgt",
}


@dataclass(frozen=True, slots=True)
class BankProfile:
    """How one bank wants to be spoken to. `token` is the secret of its API and stays out of `repr`."""

    bank: str
    channel: str
    """The key in `CHANNELS`."""
    rail: str
    base_url: str
    token: str = field(repr=False)
    charge_bearer: ChargeBearer
    rmb_purpose_field: RmbPurposeField | None
    """Rule `rmb.purpose.field`: which element carries /CSTRDR/; None while the bank's guide is not entered."""
    timeout_s: float
    answer_within_s: int
    """Without an answer for so long the outcome is unknown and the status is asked."""

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """Read a profile file's object: every field present, the RMB field as `"unset"` or an element's name."""
        texts = _TEXTS | {"charge_bearer", "rmb_purpose_field"}
        if set(found) != texts | {"timeout_s", "answer_within_s"}:
            raise MalformedInputError("bank-profile.malformed")
        if not all(isinstance(found[name], str) and found[name] for name in texts):
            raise MalformedInputError("bank-profile.malformed")
        if found["charge_bearer"] not in _CHARGE_BEARERS or found["rmb_purpose_field"] not in _RMB_PURPOSE_FIELDS:
            raise MalformedInputError("bank-profile.malformed")
        seconds = (found["timeout_s"], found["answer_within_s"])
        if not all(type(value) is int and 0 < value <= 86_400 for value in seconds):
            raise MalformedInputError("bank-profile.malformed")
        return cls(
            **{name: found[name] for name in _TEXTS},
            charge_bearer=_CHARGE_BEARERS[found["charge_bearer"]],
            rmb_purpose_field=_RMB_PURPOSE_FIELDS[found["rmb_purpose_field"]],
            timeout_s=float(found["timeout_s"]),
            answer_within_s=found["answer_within_s"],
        )


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


class Channel(Protocol):
    """One way to talk to a bank."""

    @property
    def name(self) -> str:
        """Return the key in the catalogue."""

    def instruct(self, payment: PaymentInstruction, profile: BankProfile) -> Outgoing:
        """Build the message that moves money; the same payment gives the same bytes."""

    def read_instruct_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        """Read the answer to `instruct`; never `NOT_FOUND`."""

    def ask_status(self, payment: PaymentInstruction, profile: BankProfile) -> Outgoing:
        """Ask what became of a payment whose outcome is unknown; moves nothing."""

    def read_status_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        """Read the answer to `ask_status`."""

    def ask_notifications(self, profile: BankProfile, cursor: str) -> Outgoing:
        """Ask for booked entries after `cursor`; empty at first."""

    def read_notifications(self, answer: Incoming, cursor: str) -> Notifications:
        """Read the answer to `ask_notifications`; nothing new gives no entries and the same cursor."""
