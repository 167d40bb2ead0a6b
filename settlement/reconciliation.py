"""Taking a bank entry: what it does to its batch, to the batch's obligations and to the journal. Pure.

Reconciled means that debit and credit were both seen in full, in either order (SET-16); a short or excess side leaves
the batch where it is until a person has resolved the break.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.protocol.clock import business_date
from gateway.protocol.money import Money
from settlement.bank_entry import BankEntry, Seen, Side
from settlement.batch import Batch
from settlement.ledger import Entry, credit_seen, debit_seen, into_suspense
from settlement.matching import Break, BreakKind, Outcome, Replayed, match
from settlement.obligation import Event, Obligation


@dataclass(frozen=True, slots=True)
class Placement:
    """What to store for one bank entry: the batch as it is afterwards, if it changed, and the journal entries."""

    outcome: Outcome
    batch: Batch | None = None
    entries: tuple[Entry, ...] = ()
    events: tuple[Event, ...] = ()
    """What happens to every member of the batch, in order."""

    def advance(self, obligation: Obligation) -> Obligation:
        """Move one member along."""
        for event in self.events:
            if event is Event.DEBIT_SEEN:
                obligation = obligation.debit_seen()
            elif event is Event.CREDIT_SEEN:
                obligation = obligation.credit_seen()
            else:
                obligation = obligation.reconcile()
        return obligation


def place(
    entry: BankEntry, batches: Sequence[Batch], parties: Mapping[str, str], *, at: datetime, suspected: bool = False
) -> Placement:
    """Match an entry and say what follows. `parties` maps each mirrored account to the party that owns it.

    What no payment explains goes into suspense there; on an account that is not mirrored it stays a break alone.
    `suspected` says that another notification has shown a row that looks exactly like this one, and neither has an id.
    """
    outcome = match(entry, batches)
    if suspected and not isinstance(outcome, Replayed):
        outcome = Break(BreakKind.DUPLICATE_SUSPECTED, entry.signed, outcome.batch_id)
    if isinstance(outcome, Replayed):
        return Placement(outcome)
    if isinstance(outcome, Break) and not outcome.taken:
        party = parties.get(entry.account)
        return Placement(outcome, entries=() if party is None else _suspend(party, entry, outcome.surplus, at))
    batch = next(found for found in batches if found.batch_id == outcome.batch_id)
    surplus = outcome.surplus if isinstance(outcome, Break) else Money.zero(batch.amount.currency)
    return _take(entry, batch, outcome, surplus, at)


def refuse(entry: BankEntry, batch_id: str | None, code: str, parties: Mapping[str, str], *, at: datetime) -> Placement:
    """Hold an entry of ours that the state of its payment does not take, so that no other row waits for it."""
    party = parties.get(entry.account)
    outcome = Break(BreakKind.NOT_TAKEN, entry.signed, batch_id, reason=code)
    return Placement(outcome, entries=() if party is None else _suspend(party, entry, entry.signed, at))


def _take(entry: BankEntry, batch: Batch, outcome: Outcome, surplus: Money, at: datetime) -> Placement:
    """Advance the batch by the entry that is its debit or credit."""
    seen = Seen.of(entry)
    value_date = entry.value_date or business_date(at)
    if entry.side is Side.DEBIT:
        party, after, events = batch.payer, batch.debit_seen(seen), [Event.DEBIT_SEEN]
        posted = debit_seen(batch, booked_at=at, value_date=value_date)
    else:
        party, after, events = batch.payee, batch.credit_seen(seen), [Event.CREDIT_SEEN]
        posted = credit_seen(batch, booked_at=at, value_date=value_date)
    if after.settled_in_full:
        after = after.reconcile()
        events.append(Event.RECONCILE)
    return Placement(outcome, after, (posted, *_suspend(party, entry, surplus, at)), tuple(events))


def _suspend(party: str, entry: BankEntry, surplus: Money, at: datetime) -> tuple[Entry, ...]:
    if surplus.amount_minor == 0:
        return ()
    value_date = entry.value_date or business_date(at)
    return (into_suspense(party, entry.key, surplus, booked_at=at, value_date=value_date),)
