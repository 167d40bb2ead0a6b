"""Read the bank's notifications and book each page: each row by itself, the last ones in one commit with the cursor.

A row that matches a payment moves it; every other row becomes a break that a person resolves. No row waits for
another: what cannot be read or placed is a break with a reason, and the cursor moves on. If we die before the commit,
the page is read again and gives the same rows, by their keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import GatewayError
from gateway.protocol.records import record
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.storage.database import Transaction
from settlement import break_store, store
from settlement.actions import WRITER, Deps, outcome, payment_record
from settlement.bank_entry import BankEntry, UnreadableRow
from settlement.batch import Batch
from settlement.breaks import OPERATOR, OpenBreak
from settlement.channels import CHANNELS
from settlement.matching import Break, BreakKind, Replayed
from settlement.obligation import Event, Obligation
from settlement.ports import BankProfile, Notifications
from settlement.reconciliation import Placement, place, refuse

ROWS_A_WORK = 100
"""Rows of a page that are booked in one commit: a long page must not hold up claims, whose writer is the same."""


async def take_page(tx: Transaction, deps: Deps, bank: str, page: Notifications) -> None:
    """Book what is valid, make a break of every other row, and keep the page where there is one."""
    parties = await deps.mirrored(tx)
    found = [_unreadable(row, parties) for row in page.unreadable]
    for entry in page.entries:
        booked = await _book(tx, deps, entry, parties)
        found += [] if booked is None else [booked]
    if not found:
        return
    page_sha256 = await break_store.keep_page(tx, bank, page.page, rfc3339(deps.clock.now()))
    for held, batch in found:
        await open_break(tx, deps, replace(held, page_sha256=page_sha256), batch)


async def open_break(tx: Transaction, deps: Deps, found: OpenBreak, batch: Batch | None) -> None:
    """Store a break once, with its audit record. In the log stands our own reference, never what the bank wrote."""
    if not await break_store.add_break(tx, found, rfc3339(deps.clock.now())):
        return
    reference = None if batch is None else batch.end_to_end_id
    clear = {"break_id": found.break_id, "kind": found.kind, "reference": reference}
    await deps.outbox.add(tx, record("payment.break", at=deps.clock.now(), clear=clear))


Held = tuple[OpenBreak, Batch | None]


def _unreadable(row: UnreadableRow, parties: Mapping[str, str]) -> Held:
    owner = parties.get(row.account or "", OPERATOR)
    kind = str(BreakKind.UNREADABLE)
    return OpenBreak(row.key, kind, owner, asdict(row), reason=row.code, account=row.account), None


async def _book(tx: Transaction, deps: Deps, entry: BankEntry, parties: Mapping[str, str]) -> Held | None:
    """Place one entry with all that follows from it; returns the break that it is, if it is one."""
    if await store.is_known_bank_entry(tx, entry):
        return None
    candidates = await store.list_candidates(tx, entry)
    suspected = await store.looks_like_another(tx, entry)
    at = deps.clock.now()
    placed = place(entry, candidates, parties, at=at, suspected=suspected)
    members: Sequence[tuple[Obligation, Obligation]] = ()
    if placed.batch is not None:
        try:
            members = [(one, placed.advance(one)) for one in await store.list_members(tx, placed.batch.batch_id)]
        except GatewayError as error:
            placed = refuse(entry, placed.batch.batch_id, error.code, parties, at=at)
    outcome_of_row = placed.outcome
    kind = str(outcome_of_row.kind) if isinstance(outcome_of_row, Break) else None
    what = "break" if kind else "replayed" if isinstance(outcome_of_row, Replayed) else "matched"
    await store.note_bank_entry(tx, entry, what, kind=kind, batch_id=outcome_of_row.batch_id, at=rfc3339(at))
    await store.post(tx, *placed.entries)
    if placed.batch is not None:
        seen = next(batch.state for batch in candidates if batch.batch_id == placed.batch.batch_id)
        await store.save_batch(tx, placed.batch, seen=seen)
        await _save_members(tx, deps, placed, members)
    if not isinstance(outcome_of_row, Break):
        return None
    batch = next((one for one in candidates if one.batch_id == outcome_of_row.batch_id), None)
    return _held(entry, outcome_of_row, placed, parties), batch


def _held(entry: BankEntry, found: Break, placed: Placement, parties: Mapping[str, str]) -> OpenBreak:
    subject = entry.key
    posting = next((posted.entry_id for posted in placed.entries if posted.subject == subject), None)
    return OpenBreak(
        subject=subject,
        kind=str(found.kind),
        owner=parties.get(entry.account, OPERATOR),
        document=store.entry_document(entry),
        reason=found.reason,
        batch_id=found.batch_id,
        account=entry.account,
        amount_minor=found.surplus.amount_minor,
        currency=found.surplus.currency,
        posting=posting,
    )


async def _save_members(
    tx: Transaction, deps: Deps, placed: Placement, members: Sequence[tuple[Obligation, Obligation]]
) -> None:
    for before, moved in members:
        await store.save_obligation(tx, moved, seen=before.state)
        await deps.outbox.add(tx, *(outcome_of(deps, event, moved) for event in placed.events))


def outcome_of(deps: Deps, event: Event, obligation: Obligation) -> Post:
    """Tell core what the bank's evidence did to an obligation."""
    if event is Event.DEBIT_SEEN:
        return outcome(deps, "sent", obligation, payment_record(deps, "payment.debited", obligation))
    if event is Event.CREDIT_SEEN:
        facts = {"amount_minor": obligation.amount.amount_minor, "currency": obligation.amount.currency}
        credited = payment_record(deps, "payment.credited", obligation, facts=facts)
        return outcome(deps, "received", obligation, credited)
    return outcome(deps, "reconciled", obligation, payment_record(deps, "payment.reconciled", obligation))


async def take_notifications(deps: Deps) -> None:
    """Read what each bank booked since its last cursor and place every movement.

    A bank that cannot be read keeps no other waiting; the first error is raised at the end: the timer tries again.
    """
    errors = [error for profile in deps.banks.profiles if (error := await _take_from(deps, profile)) is not None]
    for error in errors:
        raise error


async def _take_from(deps: Deps, profile: BankProfile[Any]) -> GatewayError | None:
    """Take what one bank has. What stops its cursor is stored with its moment, for readiness, metric and alarm."""
    bank = profile.bank
    cursor = await deps.database.read(partial(store.load_cursor, bank=bank))
    channel = CHANNELS[profile.channel]
    page = b""
    try:
        incoming = await deps.send(channel.ask_notifications(profile, cursor))
        page = incoming.body
        found = channel.read_notifications(incoming, cursor)
    except GatewayError as error:
        stuck = await deps.database.read(break_store.load_stuck)
        if not any((one.bank, one.code) == (bank, error.code) for one in stuck):
            mark = partial(_mark_stuck, deps=deps, bank=bank, code=error.code, page=page)
            await deps.database.write(mark, key=WRITER)
        return error
    if found.next_cursor == cursor and not found.entries and not found.unreadable:
        if await deps.database.read(break_store.load_stuck):
            await deps.database.write(partial(break_store.clear_stuck, bank=bank), key=WRITER)
        return None

    *earlier, last = found.in_parts(ROWS_A_WORK)
    for part in earlier:
        # if we die here, the page is read again, and what is booked is known by its keys
        await deps.database.write(partial(take_page, deps=deps, bank=bank, page=part), key=WRITER)

    async def work(tx: Transaction) -> None:
        await take_page(tx, deps, bank, last)
        await store.save_cursor(tx, bank, found.next_cursor)
        await break_store.clear_stuck(tx, bank)

    await deps.database.write(work, key=WRITER)
    return None


async def _mark_stuck(tx: Transaction, deps: Deps, bank: str, code: str, page: bytes) -> None:
    """Store why and since when; the first page that cannot be read is kept for a person to look at."""
    at = rfc3339(deps.clock.now())
    page_sha256 = await break_store.keep_page(tx, bank, page, at) if page else None
    await break_store.mark_stuck(tx, bank, code, at, page_sha256)
