"""What settlement does by itself: make batches, send what is approved, chase what is unknown, take the bank's word.

Write by write: the decision to send is durable before a byte leaves (if we die after it, the batch is *unknown* and
the bank is asked before anything is sent again); the bank's answer is stored when read; notifications, their effects
and the cursor are one commit.
"""

from functools import partial

from gateway.protocol.calendars import joint_value_date
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import MalformedInputError, NotFoundError, RetryError
from gateway.protocol.identifiers import mint_uuid4
from gateway.protocol.records import record
from gateway.runtime import failpoints
from gateway.runtime.database import Transaction
from gateway.runtime.outbox import Post
from settlement import ledger, store
from settlement.actions import WRITER, Deps, outcome, payment_record, value_day
from settlement.bank_entry import BankEntry
from settlement.batch import Batch, by_payment
from settlement.batch import Event as BatchEvent
from settlement.batch import State as BatchState
from settlement.channels import CHANNELS
from settlement.matching import Break, Replayed
from settlement.obligation import Actor, Event, Obligation, State
from settlement.ports import BankAnswer, Verdict
from settlement.reconciliation import Placement, place

OPEN_MAX = 2000


async def make_batches(deps: Deps) -> None:
    """Put open obligations into drafts: payer x hospital x currency x value date."""
    await deps.database.write(partial(_make_batches, deps=deps), key=WRITER)


async def _make_batches(tx: Transaction, deps: Deps) -> None:
    waiting = await store.list_obligations(tx, State.OPEN, OPEN_MAX)
    for runs in by_payment(waiting).values():
        for chosen in runs:
            await _draft(tx, deps, chosen)


async def _draft(tx: Transaction, deps: Deps, chosen: list[Obligation]) -> None:
    first = chosen[0]
    try:
        debtor = await deps.account(tx, first.payer, first.amount.currency)
        creditor = await deps.account(tx, first.payee, first.amount.currency)
    except NotFoundError as error:
        await _hold(tx, deps, chosen, error.code)
        return
    batch = Batch.draft(
        chosen,
        rail=deps.bank.rail,
        value_date=joint_value_date(deps.calendars, value_day(deps), cutoff_passed=False),
        debtor=debtor,
        creditor=creditor,
        uetr=mint_uuid4(),
        charge_bearer=deps.bank.charge_bearer,
    )
    await store.add_batch(tx, batch, rfc3339(deps.clock.now()))
    for obligation in chosen:
        moved = obligation.batch(batch.batch_id, batch.end_to_end_id)
        await store.save_obligation(tx, moved, seen=obligation.state)
    clear = {
        "batch_id": batch.batch_id,
        "batch_sha256": batch.batch_hash,
        "count": len(batch.members),
        "currency": batch.amount.currency,
    }
    made = record("batch.made", at=deps.clock.now(), case_id=batch.batch_id, clear=clear)
    await deps.outbox.add(tx, made)


async def _hold(tx: Transaction, deps: Deps, chosen: list[Obligation], reason: str) -> None:
    """Hold what cannot be paid as registered; an operator releases it, and nobody else's batch waits."""
    for obligation in chosen:
        held = obligation.hold(reason, by=Actor.JOB)
        await store.save_obligation(tx, held, seen=obligation.state)
        await deps.outbox.add(tx, payment_record(deps, "obligation.held", held))


async def send_batches(deps: Deps) -> None:
    """Send approved batches, and ask about those whose answer never came."""
    approved = await deps.database.read(partial(store.list_batches, states=(BatchState.APPROVED,)))
    for batch in approved:
        if batch.value_date < value_day(deps):
            await deps.database.write(partial(_redate, deps=deps, batch_id=batch.batch_id), key=WRITER)
            continue
        deps.in_flight.add(batch.batch_id)
        try:
            sent = await deps.database.write(partial(_instruct, deps=deps, batch_id=batch.batch_id), key=WRITER)
            failpoints.reach("settlement.after_intent")
            await _send(deps, sent)
        finally:
            deps.in_flight.discard(batch.batch_id)
    await _chase(deps)


async def _redate(tx: Transaction, deps: Deps, batch_id: str) -> None:
    """Approvals came after the value date: a new date, and both treasurers look again."""
    batch = await store.load_batch(tx, batch_id)
    value_date = joint_value_date(deps.calendars, value_day(deps), cutoff_passed=False)
    await store.save_batch(tx, batch.redate(value_date), seen=batch.state)


async def _instruct(tx: Transaction, deps: Deps, batch_id: str) -> Batch:
    """Decide to send, durably, with its members, its journal entry and what core hears."""
    batch = await store.load_batch(tx, batch_id)
    sent = batch.instruct(deps.clock.now())
    await store.save_batch(tx, sent, seen=batch.state)
    await store.post(tx, ledger.instructed(sent, booked_at=deps.clock.now()))
    for obligation in await store.list_members(tx, batch_id):
        moved = obligation.instruct()
        await store.save_obligation(tx, moved, seen=obligation.state)
        facts = {"amount_minor": moved.amount.amount_minor, "currency": moved.amount.currency}
        made = payment_record(deps, "payment.instructed", moved, facts=facts)
        await deps.outbox.add(tx, outcome(deps, "instructed", moved, made))
    return sent


async def _send(deps: Deps, batch: Batch) -> None:
    channel = CHANNELS[deps.bank.channel]
    try:
        incoming = await deps.send(channel.instruct(batch.instruction(), deps.bank))
        failpoints.reach("settlement.after_send")
        answer = channel.read_instruct_answer(batch.instruction(), incoming)
    except (MalformedInputError, RetryError):
        answer = BankAnswer(Verdict.UNKNOWN)
    failpoints.reach("settlement.after_answer")
    take = partial(_take_answer, deps=deps, batch_id=batch.batch_id, answer=answer)
    await deps.database.write(take, key=WRITER)


async def _chase(deps: Deps) -> None:
    """Ask the bank about answers that are missing, and about accepted batches whose day has passed unpaid.

    Only what the bank says it never had is sent again, as the same bytes.
    """
    states = (BatchState.INSTRUCTED, BatchState.UNKNOWN, BatchState.ACCEPTED)
    for batch in await deps.database.read(partial(store.list_batches, states=states)):
        still_due = batch.state is BatchState.ACCEPTED and batch.value_date >= value_day(deps)
        if still_due or batch.batch_id in deps.in_flight:
            continue
        channel = CHANNELS[deps.bank.channel]
        try:
            incoming = await deps.send(channel.ask_status(batch.instruction(), deps.bank))
            answer = channel.read_status_answer(batch.instruction(), incoming)
        except (MalformedInputError, RetryError):
            answer = BankAnswer(Verdict.UNKNOWN)
        take = partial(_take_answer, deps=deps, batch_id=batch.batch_id, answer=answer)
        moved = await deps.database.write(take, key=WRITER)
        if answer.verdict is Verdict.NOT_FOUND and moved.state is BatchState.INSTRUCTED:
            await _send(deps, moved)


async def _take_answer(tx: Transaction, deps: Deps, batch_id: str, answer: BankAnswer) -> Batch:
    """Store what the bank said; a batch that notifications have moved on meanwhile stays as it is."""
    batch = await store.load_batch(tx, batch_id)
    if answer.verdict is Verdict.REJECTED:
        if batch.can(BatchEvent.REJECT, Actor.BANK):
            return await _reject(tx, deps, batch, answer.reason or "NARR")
        clear = {"reference": batch.end_to_end_id, "kind": "rejected-after-movement"}
        await deps.outbox.add(tx, record("payment.break", at=deps.clock.now(), clear=clear))
        return batch
    if batch.state not in (BatchState.INSTRUCTED, BatchState.UNKNOWN):
        return batch
    lost = batch.lose() if batch.state is BatchState.INSTRUCTED else batch
    moved = {Verdict.ACCEPTED: batch.accept, Verdict.NOT_FOUND: lost.resend}.get(answer.verdict, lambda: lost)()
    if moved == batch:
        return batch
    await store.save_batch(tx, moved, seen=batch.state)
    name = "payment.accepted" if answer.verdict is Verdict.ACCEPTED else "payment.unknown"
    for obligation in await store.list_members(tx, batch_id):
        await deps.outbox.add(tx, payment_record(deps, name, obligation))
    return moved


async def _reject(tx: Transaction, deps: Deps, batch: Batch, reason: str) -> Batch:
    """The bank refused: the members are open again and go into a new batch with a new reference."""
    moved = batch.reject(reason)
    await store.save_batch(tx, moved, seen=batch.state)
    await store.post(tx, ledger.rejected(batch, booked_at=deps.clock.now()))
    for obligation in await store.list_members(tx, batch.batch_id):
        opened = obligation.reject(reason)
        await store.save_obligation(tx, opened, seen=obligation.state)
        made = payment_record(deps, "payment.rejected", opened)
        await deps.outbox.add(tx, outcome(deps, "returned_to_open", opened, made))
    return moved


async def take_notifications(deps: Deps) -> None:
    """Read what the bank booked since the last cursor and place every movement."""
    cursor = await deps.database.read(partial(store.load_cursor, bank=deps.bank.bank))
    channel = CHANNELS[deps.bank.channel]
    incoming = await deps.send(channel.ask_notifications(deps.bank, cursor))
    found = channel.read_notifications(incoming, cursor)
    if found.next_cursor == cursor:
        return

    async def work(tx: Transaction) -> None:
        for entry in found.entries:
            await _place(tx, deps, entry)
        await store.save_cursor(tx, deps.bank.bank, found.next_cursor)

    await deps.database.write(work, key=WRITER)


async def _place(tx: Transaction, deps: Deps, entry: BankEntry) -> None:
    if await store.is_known_bank_entry(tx, entry.key):
        return
    candidates = await store.list_candidates(tx, entry)
    at = deps.clock.now()
    placed = place(entry, candidates, await deps.mirrored(tx), at=at)
    kind = str(placed.outcome.kind) if isinstance(placed.outcome, Break) else None
    what = "break" if kind else "replayed" if isinstance(placed.outcome, Replayed) else "matched"
    await store.note_bank_entry(tx, entry, what, kind=kind, batch_id=placed.outcome.batch_id, at=rfc3339(at))
    await store.post(tx, *placed.entries)
    if kind:
        clear = {"reference": entry.end_to_end_id, "kind": kind}
        await deps.outbox.add(tx, record("payment.break", at=at, clear=clear))
    if placed.batch is not None:
        seen = next(batch.state for batch in candidates if batch.batch_id == placed.batch.batch_id)
        await store.save_batch(tx, placed.batch, seen=seen)
        await _advance_members(tx, deps, placed, placed.batch.batch_id)


async def _advance_members(tx: Transaction, deps: Deps, placed: Placement, batch_id: str) -> None:
    for obligation in await store.list_members(tx, batch_id):
        moved = placed.advance(obligation)
        await store.save_obligation(tx, moved, seen=obligation.state)
        await deps.outbox.add(tx, *(_told(deps, event, moved) for event in placed.events))


def _told(deps: Deps, event: Event, obligation: Obligation) -> Post:
    if event is Event.DEBIT_SEEN:
        return outcome(deps, "sent", obligation, payment_record(deps, "payment.debited", obligation))
    if event is Event.CREDIT_SEEN:
        facts = {"amount_minor": obligation.amount.amount_minor, "currency": obligation.amount.currency}
        made = payment_record(deps, "payment.credited", obligation, facts=facts)
        return outcome(deps, "received", obligation, made)
    return outcome(deps, "reconciled", obligation, payment_record(deps, "payment.reconciled", obligation))
