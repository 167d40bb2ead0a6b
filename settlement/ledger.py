"""The journal: entries of legs that sum to zero per currency, and the chart of one payment.

The gateway holds no money: its bank accounts *mirror* those of payer and hospital, seen as the bank's statement shows
them. Legs are signed minor units, debit positive, credit negative. One payment of X walks like this:

    step             debit                             credit                           left over
    approved         claims-expense (payer)       X    payable (payer > hospital)  X
    instructed       payable (payer > hospital)   X    in-transit (payer > hospital) X
    debit seen       bank-mirror (payer)          X    claims-expense (payer)      X
    credit seen      in-transit (payer > hospital) X   bank-mirror (hospital)      X   the two mirrors only

Debit and credit touch different accounts, so either may come first and both orders end alike (SET-16): claims-expense
(approved, not yet taken from the payer's account), payable (not yet instructed) and in-transit (not yet at the
hospital) are zero once the payment is through, and what remains is what the two bank statements say (SET-10). A
rejection posts the exact opposite of `instructed`, a void that of `approved`. What arrives short, in excess or from
nowhere stands in suspense under the party whose statement shows it, until a person resolves it (SET-8).

Entries are never changed or deleted. Entry ids come from what caused them, so posting twice is one entry (SET-7).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Self

from gateway.protocol.errors import GatewayError
from gateway.protocol.money import AMOUNT_MINOR_MAX, Money
from settlement.batch import Batch
from settlement.obligation import Obligation


class Kind(StrEnum):
    CLAIMS_EXPENSE = "claims-expense"
    PAYABLE = "payable"
    IN_TRANSIT = "in-transit"
    BANK_MIRROR = "bank-mirror"
    SUSPENSE = "suspense"


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """One currency each. `counterparty` is the hospital for payable and in-transit, which lie between two parties."""

    party: str
    kind: Kind
    currency: str
    counterparty: str = ""

    @property
    def code(self) -> str:
        """`in-transit/<payer>/<hospital>/CNY`: stable, for stores and exports."""
        parts = (self.kind.value, self.party, self.counterparty, self.currency)
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Leg:
    """`amount_minor` is positive for a debit, negative for a credit; never zero."""

    account: Account
    amount_minor: int


class Cause(StrEnum):
    APPROVED = "approved"
    VOIDED = "voided"
    INSTRUCTED = "instructed"
    REJECTED = "rejected"
    DEBIT_SEEN = "debit-seen"
    CREDIT_SEEN = "credit-seen"
    BREAK = "break"
    RESOLVED = "resolved"
    CLOSED = "closed"
    RETURNED = "returned"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Entry:
    """An immutable journal entry: at least two legs, zero per currency (SET-1), else `ledger.unbalanced` (HALT)."""

    entry_id: str
    cause: Cause
    subject: str
    """Obligation id, batch id or bank entry key."""
    booked_at: datetime
    value_date: date
    legs: tuple[Leg, ...]
    reverses: str | None = None

    def __post_init__(self) -> None:
        sums: Counter[str] = Counter()
        for leg in self.legs:
            if not 0 < abs(leg.amount_minor) <= AMOUNT_MINOR_MAX:
                raise GatewayError("ledger.leg-amount")
            sums[leg.account.currency] += leg.amount_minor
        if len(self.legs) < 2 or any(sums.values()):
            raise GatewayError("ledger.unbalanced")

    @classmethod
    def transfer(
        cls,
        cause: Cause,
        subject: str,
        amount: Money,
        *,
        debit: Account,
        credit: Account,
        booked_at: datetime,
        value_date: date,
    ) -> Self:
        """Move `amount` from one account to another; a negative amount moves it back."""
        legs = (Leg(debit, amount.amount_minor), Leg(credit, -amount.amount_minor))
        return cls(f"{cause.value}:{subject}", cause, subject, booked_at, value_date, legs)

    def reversed(self, cause: Cause) -> Self:
        """Return the exact opposite, linked to this entry."""
        return replace(
            self,
            entry_id=f"{cause.value}:{self.subject}",
            cause=cause,
            legs=tuple(Leg(leg.account, -leg.amount_minor) for leg in self.legs),
            reverses=self.entry_id,
        )


def approved(obligation: Obligation, *, booked_at: datetime, value_date: date) -> Entry:
    """Open an obligation: Dr claims-expense / Cr payable."""
    return Entry.transfer(
        Cause.APPROVED,
        obligation.obligation_id,
        obligation.amount,
        debit=Account(obligation.payer, Kind.CLAIMS_EXPENSE, obligation.amount.currency),
        credit=Account(obligation.payer, Kind.PAYABLE, obligation.amount.currency, obligation.payee),
        booked_at=booked_at,
        value_date=value_date,
    )


def voided(obligation: Obligation, *, booked_at: datetime, value_date: date) -> Entry:
    """Void an obligation before money moved: the opposite of `approved`."""
    opening = approved(obligation, booked_at=booked_at, value_date=value_date)
    return opening.reversed(Cause.VOIDED)


def instructed(batch: Batch, *, booked_at: datetime) -> Entry:
    """Send a batch to the bank: Dr payable / Cr in-transit."""
    return Entry.transfer(
        Cause.INSTRUCTED,
        batch.batch_id,
        batch.amount,
        debit=Account(batch.payer, Kind.PAYABLE, batch.amount.currency, batch.payee),
        credit=_in_transit(batch),
        booked_at=booked_at,
        value_date=batch.value_date,
    )


def rejected(batch: Batch, *, booked_at: datetime) -> Entry:
    """Undo a batch that the bank refused: the opposite of `instructed`; the obligations are payable again."""
    return instructed(batch, booked_at=booked_at).reversed(Cause.REJECTED)


def debit_seen(batch: Batch, *, booked_at: datetime, value_date: date) -> Entry:
    """Post the debit on the payer's statement: Dr bank-mirror (payer) / Cr claims-expense, by the batch's amount."""
    return Entry.transfer(
        Cause.DEBIT_SEEN,
        batch.batch_id,
        batch.amount,
        debit=Account(batch.payer, Kind.BANK_MIRROR, batch.amount.currency),
        credit=Account(batch.payer, Kind.CLAIMS_EXPENSE, batch.amount.currency),
        booked_at=booked_at,
        value_date=value_date,
    )


def credit_seen(batch: Batch, *, booked_at: datetime, value_date: date) -> Entry:
    """Post the credit on the hospital's statement: Dr in-transit / Cr bank-mirror (hospital), by the batch's amount."""
    return Entry.transfer(
        Cause.CREDIT_SEEN,
        batch.batch_id,
        batch.amount,
        debit=_in_transit(batch),
        credit=Account(batch.payee, Kind.BANK_MIRROR, batch.amount.currency),
        booked_at=booked_at,
        value_date=value_date,
    )


def into_suspense(party: str, entry_key: str, surplus: Money, *, booked_at: datetime, value_date: date) -> Entry:
    """Put what no payment explains of a bank entry into suspense: Dr suspense / Cr bank-mirror, by `surplus`.

    `surplus` is signed as the statement signs it: positive is more credit or less debit on the party's account. A
    credit of 90 where 100 was due is -10 (a fee, most likely), hence Dr bank-mirror 10 / Cr suspense 10; an entry
    that belongs to nothing is its whole signed amount.
    """
    return Entry.transfer(
        Cause.BREAK,
        entry_key,
        surplus,
        debit=Account(party, Kind.SUSPENSE, surplus.currency),
        credit=Account(party, Kind.BANK_MIRROR, surplus.currency),
        booked_at=booked_at,
        value_date=value_date,
    )


def out_of_suspense(held: Entry, *, booked_at: datetime, value_date: date) -> Entry:
    """Undo what a row that the bank showed twice has put into suspense: the exact opposite."""
    return replace(held.reversed(Cause.RESOLVED), booked_at=booked_at, value_date=value_date)


def closed(obligation: Obligation, *, booked_at: datetime, value_date: date) -> Entry:
    """Close an obligation before money moved: the opposite of `approved`."""
    return approved(obligation, booked_at=booked_at, value_date=value_date).reversed(Cause.CLOSED)


def returned(batch: Batch, *, booked_at: datetime, value_date: date) -> Entry:
    """Take back a batch whose debit was seen and whose money came back: payable again, the return is expected.

    The opposite of `instructed`, and of `debit_seen` by way of the payer's suspense: the row that shows the return
    puts the same amount there with the opposite sign.
    """
    amount_minor, currency = batch.amount.amount_minor, batch.amount.currency
    legs = (
        Leg(_in_transit(batch), amount_minor),
        Leg(Account(batch.payer, Kind.PAYABLE, currency, batch.payee), -amount_minor),
        Leg(Account(batch.payer, Kind.CLAIMS_EXPENSE, currency), amount_minor),
        Leg(Account(batch.payer, Kind.SUSPENSE, currency), -amount_minor),
    )
    entry_id = f"{Cause.RETURNED.value}:{batch.batch_id}"
    return Entry(entry_id, Cause.RETURNED, batch.batch_id, booked_at, value_date, legs)


def settled(batch: Batch, *, booked_at: datetime, value_date: date) -> Entry | None:
    """Settle a batch on the bank's written word: each side that no row shows goes into suspense of its party.

    A row that shows that side later puts the same amount there with the opposite sign. None if both were seen.
    """
    amount_minor, currency = batch.amount.amount_minor, batch.amount.currency
    legs: list[Leg] = []
    if batch.debit is None:
        legs.append(Leg(Account(batch.payer, Kind.SUSPENSE, currency), amount_minor))
        legs.append(Leg(Account(batch.payer, Kind.CLAIMS_EXPENSE, currency), -amount_minor))
    if batch.credit is None:
        legs.append(Leg(_in_transit(batch), amount_minor))
        legs.append(Leg(Account(batch.payee, Kind.SUSPENSE, currency), -amount_minor))
    if not legs:
        return None
    entry_id = f"{Cause.SETTLED.value}:{batch.batch_id}"
    return Entry(entry_id, Cause.SETTLED, batch.batch_id, booked_at, value_date, tuple(legs))


def _in_transit(batch: Batch) -> Account:
    return Account(batch.payer, Kind.IN_TRANSIT, batch.amount.currency, batch.payee)


def balances(entries: Iterable[Entry]) -> Mapping[Account, int]:
    """Fold the legs (SET-2) to signed minor units, debit positive. An account that nothing touched is absent."""
    found: Counter[Account] = Counter()
    for entry in entries:
        for leg in entry.legs:
            found[leg.account] += leg.amount_minor
    return dict(found)


def trial_balance(entries: Iterable[Entry]) -> Mapping[str, int]:
    """Sum all accounts per currency; every value is zero, else the books are broken (SET-1)."""
    found: Counter[str] = Counter()
    for account, amount_minor in balances(entries).items():
        found[account.currency] += amount_minor
    return dict(found)


def open_items(entries: Iterable[Entry]) -> Mapping[Account, int]:
    """Return the accounts other than bank mirrors that are not zero: what is owed, under way or unexplained (SET-8)."""
    return {
        account: amount_minor
        for account, amount_minor in balances(entries).items()
        if amount_minor != 0 and account.kind is not Kind.BANK_MIRROR
    }
