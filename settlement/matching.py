"""Which payment a bank entry belongs to: exact first, and never a guess.

The ladder is UETR, then EndToEndId, then InstrId, then the payment's or message's id, then a remittance reference with
the exact amount on the right account. Any one of them is enough. What does not fit becomes a break with a kind, which
a person resolves; nothing is tolerated silently. Rules for twins, after the side was seen: the same UETR again is a
replay and is ignored, unless the bank itself shows two rows, by two ids of its own or in one notification; those, and
another UETR with our EndToEndId and amount, are suspected duplicates and are held.
The functions are pure: the same entry against the same payments gives the same answer, in whatever order debit and
credit come (SET-16).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.protocol.money import Money
from settlement.bank_entry import BankEntry, Seen, Side
from settlement.batch import Batch, Event
from settlement.obligation import Actor


class MatchRule(StrEnum):
    UETR = "uetr"
    END_TO_END_ID = "end_to_end_id"
    INSTRUCTION_ID = "instruction_id"
    PAYMENT_ID = "payment_id"
    """PmtInfId or MsgId: a message of ours holds one payment with one transaction."""
    REFERENCE_AND_AMOUNT = "reference_and_amount"


class BreakKind(StrEnum):
    UNKNOWN = "unknown"
    """No payment of ours."""
    AMBIGUOUS = "ambiguous"
    """More than one payment fits equally well."""
    WRONG_ACCOUNT = "wrong_account"
    """Our payment, on an account that is neither of its two."""
    WRONG_CURRENCY = "wrong_currency"
    SHORT = "short"
    """Our payment, for less than instructed: a fee, most likely."""
    OVER = "over"
    DUPLICATE_SUSPECTED = "duplicate_suspected"
    CONFLICTING = "conflicting"
    """The UETR of an entry already taken, with another amount."""
    REVERSAL = "reversal"
    NOT_EXPECTED = "not_expected"
    """Our payment, while it is not at the bank: refused by it, or never sent."""
    UNCLEAR = "unclear"
    """Account, side and amount are clear, something else of the row is not: see the reason."""
    UNREADABLE = "unreadable"
    """A row that cannot be booked: account, side, amount, currency or status cannot be read."""
    NOT_TAKEN = "not_taken"
    """Our payment, in a state that does not take the entry."""
    REJECTED_AFTER_MOVEMENT = "rejected_after_movement"
    """The bank refuses a payment whose money it has shown to move."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The entry is this batch's debit or credit, in full."""

    batch_id: str
    side: Side
    rule: MatchRule


@dataclass(frozen=True, slots=True)
class Replayed:
    """The entry was taken before; nothing changes."""

    batch_id: str
    side: Side


@dataclass(frozen=True, slots=True)
class Break:
    """A person has to look. `batch_id` is named where one is concerned.

    Where `taken`, the entry is the batch's debit or credit nevertheless and only `surplus` is unexplained; otherwise
    the whole entry is. `surplus` is signed as the account's balance moves: a credit of 90 for 100 is -10.
    """

    kind: BreakKind
    surplus: Money
    batch_id: str | None = None
    rule: MatchRule | None = None
    taken: bool = False
    reason: str | None = None
    """An error code, where the kind alone does not say what is wrong."""


PARTLY_TAKEN = frozenset((BreakKind.SHORT, BreakKind.OVER))
"""The row is a payment's debit or credit; only the difference is a break, so the row is never one shown twice."""
NOTHING_MOVED = "iso20022.amount-zero"

_EVENTS = {Side.DEBIT: Event.DEBIT_SEEN, Side.CREDIT: Event.CREDIT_SEEN}

Outcome = Matched | Replayed | Break


def match(entry: BankEntry, batches: Sequence[Batch]) -> Outcome:
    """Place one entry among batches; the caller hands in every batch that the entry's ids or account could mean."""
    if entry.doubt is not None:
        return Break(BreakKind.UNCLEAR, entry.signed, reason=entry.doubt)
    if entry.amount.amount_minor == 0:
        # a row of nothing is no evidence that money moved, whichever payment it names
        return Break(BreakKind.UNCLEAR, entry.signed, reason=NOTHING_MOVED)
    rule, found = _climb(entry, batches)
    if rule is None or not found:
        return Break(BreakKind.UNKNOWN, entry.signed)
    if len(found) > 1:
        return Break(BreakKind.AMBIGUOUS, entry.signed, rule=rule)
    return _place(entry, found[0], rule)


def _climb(entry: BankEntry, batches: Sequence[Batch]) -> tuple[MatchRule | None, list[Batch]]:
    """Return the first rung that anything stands on, and what stands there."""
    by_uetr = [batch for batch in batches if entry.uetr is not None and entry.uetr in _uetrs(batch)]
    if by_uetr:
        return MatchRule.UETR, by_uetr
    by_id = [batch for batch in batches if entry.end_to_end_id == batch.end_to_end_id]
    if by_id:
        return MatchRule.END_TO_END_ID, by_id
    by_instruction = [batch for batch in batches if _same_instruction(entry, batch)]
    if by_instruction:
        return MatchRule.INSTRUCTION_ID, by_instruction
    by_payment = [batch for batch in batches if _same_payment(entry, batch)]
    if by_payment:
        return MatchRule.PAYMENT_ID, by_payment
    by_reference = [batch for batch in batches if _same_reference(entry, batch)]
    if by_reference:
        return MatchRule.REFERENCE_AND_AMOUNT, by_reference
    return None, []


def _uetrs(batch: Batch) -> set[str | None]:
    """Our UETR, and those that banks put in its place on entries already taken."""
    return {batch.uetr, *(side.uetr for side in (batch.debit, batch.credit) if side is not None)}


def _same_instruction(entry: BankEntry, batch: Batch) -> bool:
    """Compare InstrId, which is our EndToEndId; another EndToEndId beside it contradicts."""
    return entry.instruction_id == batch.end_to_end_id and entry.end_to_end_id is None


def _same_payment(entry: BankEntry, batch: Batch) -> bool:
    """Compare the ids above the transaction; a transaction's id that is another's contradicts them."""
    above = {name for name in (entry.payment_id, entry.message_id) if name is not None}
    return above == {batch.message_id} and entry.end_to_end_id is None and entry.instruction_id is None


def _same_reference(entry: BankEntry, batch: Batch) -> bool:
    right_account = entry.account == _expected_account(batch, entry.side)
    written = batch.remittance_id in {entry.reference, *entry.references}
    return written and entry.amount == batch.amount and right_account


def _expected_account(batch: Batch, side: Side) -> str:
    return batch.debtor.account if side is Side.DEBIT else batch.creditor.account


def _place(entry: BankEntry, batch: Batch, rule: MatchRule) -> Outcome:
    seen = batch.debit if entry.side is Side.DEBIT else batch.credit
    right_account = entry.account == _expected_account(batch, entry.side)
    if seen is not None and right_account and not entry.reversal:
        return _place_again(entry, batch, rule, seen)
    for wrong, kind in (
        (entry.reversal, BreakKind.REVERSAL),
        (not right_account, BreakKind.WRONG_ACCOUNT),
        (entry.amount.currency != batch.amount.currency, BreakKind.WRONG_CURRENCY),
        (not batch.can(_EVENTS[entry.side], Actor.BANK), BreakKind.NOT_EXPECTED),
    ):
        if wrong:
            return Break(kind, entry.signed, batch.batch_id, rule)
    if entry.amount == batch.amount:
        return Matched(batch.batch_id, entry.side, rule)
    kind = BreakKind.SHORT if entry.amount < batch.amount else BreakKind.OVER
    difference = entry.amount - batch.amount
    surplus = difference if entry.side is Side.CREDIT else -difference
    return Break(kind, surplus, batch.batch_id, rule, taken=True)


def _place_again(entry: BankEntry, batch: Batch, rule: MatchRule, seen: Seen) -> Outcome:
    """Tell, where the side was seen before, the same row from a second one that looks like it."""
    same_payment = entry.key == seen.entry_key or (rule is MatchRule.UETR and entry.uetr == seen.uetr)
    if same_payment and entry.amount != seen.amount:
        return Break(BreakKind.CONFLICTING, entry.signed, batch.batch_id, rule)
    if same_payment and not _is_second_row(entry, seen):
        return Replayed(batch.batch_id, entry.side)
    return Break(BreakKind.DUPLICATE_SUSPECTED, entry.signed, batch.batch_id, rule)


def _is_second_row(entry: BankEntry, seen: Seen) -> bool:
    """Say whether the bank has booked this movement beside the one that was taken, and not shown that one again."""
    if entry.key == seen.entry_key:
        return False
    if entry.servicer_ref is not None and seen.servicer_ref is not None:
        return entry.servicer_ref != seen.servicer_ref or entry.origin == seen.origin
    return bool(entry.origin) and entry.origin == seen.origin
