"""Queries of settlement. A batch and an obligation are loaded under their row's lock."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, Select, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import parse_rfc3339, rfc3339
from gateway.protocol.errors import NotFoundError, RetryError
from gateway.protocol.money import Money
from gateway.runtime.storage.database import Transaction, one, rows
from settlement.bank_entry import BankEntry
from settlement.batch import Batch
from settlement.batch import State as BatchState
from settlement.documents import read_batch, write_batch
from settlement.ledger import Account, Cause, Entry, Kind, Leg
from settlement.obligation import Obligation, State
from settlement.tables import bank_entries, batches, cursors, entries, legs, obligations


async def add_obligation(tx: Transaction, obligation: Obligation, decision: str, at: str) -> bool:
    """Store a new obligation; False if this decision already obliged."""
    row = _obligation_row(obligation) | {"decision": decision, "at": at}
    return (await tx.execute(postgresql.insert(obligations).on_conflict_do_nothing(), row)).rowcount == 1


async def load_obligation(tx: Transaction, obligation_id: str, *, lock: bool = True) -> Obligation:
    here = select(obligations).where(obligations.c.obligation_id == obligation_id)
    found = await one(tx, here.with_for_update() if lock else here)
    if found is None:
        raise NotFoundError("obligation.unknown")
    return _obligation(found)


async def list_obligations(tx: Transaction, state: State, limit: int, *, lock: bool = True) -> list[Obligation]:
    here = select(obligations).where(obligations.c.state == state).order_by(obligations.c.obligation_id).limit(limit)
    return [_obligation(row) for row in await rows(tx, here.with_for_update() if lock else here)]


async def list_members(tx: Transaction, batch_id: str) -> list[Obligation]:
    here = select(obligations).where(obligations.c.batch_id == batch_id)
    return [_obligation(row) for row in await rows(tx, here.order_by(obligations.c.obligation_id).with_for_update())]


async def save_obligation(tx: Transaction, moved: Obligation, *, seen: State) -> None:
    """Write a moved obligation; its row must still be in the state that was loaded."""
    here = (obligations.c.obligation_id == moved.obligation_id, obligations.c.state == seen)
    if (await tx.execute(update(obligations).where(*here).values(_obligation_row(moved)))).rowcount != 1:
        raise RetryError("obligation.moved-meanwhile")


def _obligation_row(obligation: Obligation) -> dict[str, Any]:
    names = ("obligation_id", "case_id", "claim_id", "decision_version", "payer", "payee", "batch_id", "attempt")
    row = {name: getattr(obligation, name) for name in (*names, "reason_code", "end_to_end_id")}
    money = {"amount_minor": obligation.amount.amount_minor, "currency": obligation.amount.currency}
    return row | money | {"state": str(obligation.state)}


def _obligation(row: Row[Any]) -> Obligation:
    return Obligation(
        obligation_id=row.obligation_id,
        case_id=row.case_id,
        claim_id=row.claim_id,
        decision_version=row.decision_version,
        payer=row.payer,
        payee=row.payee,
        amount=Money(row.amount_minor, row.currency),
        state=State(row.state),
        batch_id=row.batch_id,
        attempt=row.attempt,
        reason_code=row.reason_code,
        end_to_end_id=row.end_to_end_id,
    )


async def add_batch(tx: Transaction, batch: Batch, at: str) -> None:
    row = {
        "batch_id": batch.batch_id,
        "payer": batch.payer,
        "payee": batch.payee,
        "currency": batch.amount.currency,
        "uetr": batch.uetr,
        "end_to_end_id": batch.end_to_end_id,
        "remittance_id": batch.remittance_id,
        "state": str(batch.state),
        "document": compact(write_batch(batch)).decode(),
        "revision": 1,
        "at": at,
    }
    await tx.execute(insert(batches), [row])


async def load_batch(tx: Transaction, batch_id: str, *, lock: bool = True) -> Batch:
    here = select(batches).where(batches.c.batch_id == batch_id)
    found = await one(tx, here.with_for_update() if lock else here)
    if found is None:
        raise NotFoundError("batch.unknown")
    return _batch(found)


async def save_batch(tx: Transaction, moved: Batch, *, seen: BatchState) -> None:
    """Write a moved batch; its row must still be in the state that was loaded."""
    changed = {"state": str(moved.state), "document": compact(write_batch(moved)).decode()}
    here = (batches.c.batch_id == moved.batch_id, batches.c.state == seen)
    statement = update(batches).where(*here).values(changed | {"revision": batches.c.revision + 1})
    if (await tx.execute(statement)).rowcount != 1:
        raise RetryError("batch.moved-meanwhile")


async def list_batches(tx: Transaction, states: Sequence[BatchState], limit: int = 100) -> list[Batch]:
    here = select(batches).where(batches.c.state.in_([str(state) for state in states]))
    return [_batch(row) for row in await rows(tx, here.order_by(batches.c.at, batches.c.batch_id).limit(limit))]


async def list_batches_of(tx: Transaction, payer: str | None, limit: int = 100) -> list[Batch]:
    here = select(batches) if payer is None else select(batches).where(batches.c.payer == payer)
    return [_batch(row) for row in await rows(tx, here.order_by(batches.c.at.desc()).limit(limit))]


async def list_candidates(tx: Transaction, entry: BankEntry) -> list[Batch]:
    """Return every batch that a bank entry's ids could mean, locked."""
    ids = [name for name in (entry.uetr, entry.end_to_end_id, entry.instruction_id, entry.reference) if name]
    ids += entry.references
    messages = [name for name in (entry.payment_id, entry.message_id) if name]
    fits = or_(
        batches.c.uetr.in_(ids),
        batches.c.end_to_end_id.in_(ids),
        batches.c.remittance_id.in_(ids),
        batches.c.batch_id.in_([_batch_id_of(name) for name in messages]),
    )
    return [_batch(row) for row in await rows(tx, select(batches).where(fits).with_for_update())]


def _batch_id_of(message_id: str) -> str:
    """Return the id of the batch that would have this MsgId."""
    return "bat_" + message_id.removeprefix("MSG").lower()


def _batch(row: Row[Any]) -> Batch:
    return read_batch(read_json_object(row.document.encode()), row.state)


async def post(tx: Transaction, *posted: Entry) -> None:
    """Append journal entries; the same entry id twice is a programming error and fails."""
    for entry in posted:
        row = {
            "entry_id": entry.entry_id,
            "cause": str(entry.cause),
            "subject": entry.subject,
            "booked_at": rfc3339(entry.booked_at),
            "value_date": entry.value_date.isoformat(),
            "reverses": entry.reverses,
        }
        await tx.execute(insert(entries), [row])
        values = [
            {
                "entry_id": entry.entry_id,
                "number": number,
                "party": leg.account.party,
                "kind": str(leg.account.kind),
                "currency": leg.account.currency,
                "counterparty": leg.account.counterparty,
                "amount_minor": leg.amount_minor,
            }
            for number, leg in enumerate(entry.legs, start=1)
        ]
        await tx.execute(insert(legs), values)


async def load_entry(tx: Transaction, entry_id: str) -> Entry:
    """Return one journal entry."""
    row = await one(tx, select(entries).where(entries.c.entry_id == entry_id))
    if row is None:
        raise NotFoundError("ledger.entry-unknown")
    return _entry(row, [_leg(leg) for leg in await rows(tx, _legs_of(entry_id))])


async def list_balances(tx: Transaction) -> list[tuple[Account, int]]:
    """Sum the legs per account, in the database."""
    columns = (legs.c.party, legs.c.kind, legs.c.currency, legs.c.counterparty)
    found = await rows(tx, select(*columns, func.sum(legs.c.amount_minor).label("sum")).group_by(*columns))
    return [(Account(row.party, Kind(row.kind), row.currency, row.counterparty), int(row.sum)) for row in found]


async def list_journal(tx: Transaction) -> list[Entry]:
    """Read the whole journal back, oldest first: for proofs, not for pages."""
    of_entry: dict[str, list[Leg]] = {}
    for row in await rows(tx, select(legs).order_by(legs.c.entry_id, legs.c.number)):
        of_entry.setdefault(row.entry_id, []).append(_leg(row))
    stored = await rows(tx, select(entries).order_by(entries.c.booked_at, entries.c.entry_id))
    return [_entry(row, of_entry[row.entry_id]) for row in stored]


def _legs_of(entry_id: str) -> Select[Any]:
    return select(legs).where(legs.c.entry_id == entry_id).order_by(legs.c.number)


def _leg(row: Row[Any]) -> Leg:
    return Leg(Account(row.party, Kind(row.kind), row.currency, row.counterparty), int(row.amount_minor))


def _entry(row: Row[Any], its_legs: Sequence[Leg]) -> Entry:
    return Entry(
        row.entry_id,
        Cause(row.cause),
        row.subject,
        parse_rfc3339(row.booked_at),
        date.fromisoformat(row.value_date),
        tuple(its_legs),
        row.reverses,
    )


async def note_bank_entry(
    tx: Transaction, entry: BankEntry, outcome: str, *, kind: str | None, batch_id: str | None, at: str
) -> bool:
    """Remember a movement once; False if the bank told of it before."""
    row = {
        "entry_key": entry.key,
        "outcome": outcome,
        "kind": kind,
        "batch_id": batch_id,
        "document": compact(entry_document(entry)).decode(),
        "at": at,
        "fingerprint": entry.fingerprint,
        "origin": entry.origin,
    }
    return (await tx.execute(postgresql.insert(bank_entries).on_conflict_do_nothing(), row)).rowcount == 1


def entry_document(entry: BankEntry) -> dict[str, Any]:
    return {
        "account": entry.account,
        "side": str(entry.side),
        "amount": str(entry.amount),
        "currency": entry.amount.currency,
        "end_to_end_id": entry.end_to_end_id,
        "uetr": entry.uetr,
        "entry_ref": entry.entry_ref,
        "reference": entry.reference,
        "value_date": entry.value_date and entry.value_date.isoformat(),
        "reversal": entry.reversal,
    }


async def is_known_bank_entry(tx: Transaction, entry: BankEntry) -> bool:
    """Say whether this row was taken before.

    A row without ids that an older version stored has no notification to tell it by: the first one that looks like it
    is taken for it, and from then on it belongs to that notification.
    """
    here = bank_entries.c.entry_key
    if await one(tx, select(here).where(here == entry.key)) is not None:
        return True
    if entry.is_identified:
        return False
    stored = await one(tx, select(bank_entries.c.origin).where(here == entry.plain_key))
    if stored is None or stored.origin not in (None, entry.origin):
        return False
    await tx.execute(update(bank_entries).where(here == entry.plain_key).values(origin=entry.origin))
    return True


async def looks_like_another(tx: Transaction, entry: BankEntry) -> bool:
    """Say whether another notification has shown a row that looks exactly like this one, while neither has an id."""
    if entry.is_identified:
        return False
    same = (bank_entries.c.fingerprint == entry.fingerprint, bank_entries.c.origin != entry.origin)
    return await one(tx, select(bank_entries.c.entry_key).where(*same).limit(1)) is not None


async def load_cursor(tx: Transaction, bank: str) -> str:
    found = await one(tx, select(cursors.c.cursor).where(cursors.c.bank == bank))
    return "" if found is None else str(found.cursor)


async def save_cursor(tx: Transaction, bank: str, cursor: str) -> None:
    statement = postgresql.insert(cursors)
    moved = statement.on_conflict_do_update(index_elements=["bank"], set_={"cursor": statement.excluded.cursor})
    await tx.execute(moved, {"bank": bank, "cursor": cursor})
