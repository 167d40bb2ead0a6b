"""What settlement does by itself about payments: make batches, send what is approved, chase what is unknown.

Write by write: the decision to send is durable before a byte leaves (if we die after it, the batch is *unknown* and
the bank is asked before anything is sent again); the bank's answer is stored when read. The timer's lease keeps it to
one round at a time on a database, so what a round sends is never chased by another.
"""

from functools import partial

from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import MalformedInputError, NotFoundError, RetryError
from gateway.protocol.identifiers import mint_uuid4
from gateway.protocol.records import record
from gateway.runtime.signals import failpoints
from gateway.runtime.storage.database import Transaction
from settlement import ledger, store
from settlement.actions import WRITER, Deps, first_value_date, outcome, payment_record, value_day
from settlement.actions.booking import open_break
from settlement.banks import cutoff_passed
from settlement.batch import Batch, by_payment
from settlement.batch import Event as BatchEvent
from settlement.batch import State as BatchState
from settlement.breaks import OpenBreak
from settlement.channels import CHANNELS
from settlement.matching import BreakKind
from settlement.obligation import Actor, Obligation, State
from settlement.ports import BankAnswer, Verdict

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
        profile = deps.banks.of_payer(debtor)
    except NotFoundError as error:
        await _hold(tx, deps, chosen, error.code)
        return
    batch = Batch.draft(
        chosen,
        rail=profile.rail,
        value_date=first_value_date(deps, profile),
        debtor=debtor,
        creditor=creditor,
        uetr=mint_uuid4(),
        charge_bearer=CHANNELS[profile.channel].charge_bearer(profile.options),
        bank=profile.bank,
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
        try:
            profile = deps.banks.of_batch(batch)
        except NotFoundError:
            # no byte has left; `health.why_not_ready` tells the operator, and other banks' batches go on
            continue
        too_late_today = batch.value_date == value_day(deps) and cutoff_passed(profile, deps.clock.now())
        if batch.value_date < value_day(deps) or too_late_today:
            await deps.database.write(partial(_redate, deps=deps, batch_id=batch.batch_id), key=WRITER)
            continue
        sent = await deps.database.write(partial(_instruct, deps=deps, batch_id=batch.batch_id), key=WRITER)
        failpoints.reach("settlement.after_intent")
        await _send(deps, sent)
    await _chase(deps)


async def _redate(tx: Transaction, deps: Deps, batch_id: str) -> None:
    """Approvals came after the value date: a new date, and both treasurers look again."""
    batch = await store.load_batch(tx, batch_id)
    value_date = first_value_date(deps, deps.banks.of_batch(batch))
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
    profile = deps.banks.of_batch(batch)
    channel = CHANNELS[profile.channel]
    try:
        incoming = await deps.send(channel.instruct(batch.instruction(), profile))
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
        if still_due:
            continue
        try:
            profile = deps.banks.of_batch(batch)
            channel = CHANNELS[profile.channel]
            incoming = await deps.send(channel.ask_status(batch.instruction(), profile))
            answer = channel.read_status_answer(batch.instruction(), incoming)
        except (MalformedInputError, NotFoundError, RetryError):
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
        kind = BreakKind.REJECTED_AFTER_MOVEMENT
        document = {"reference": batch.end_to_end_id}
        subject = f"{batch_id}-{kind}"
        found = OpenBreak(subject, kind, batch.payer, document, reason=answer.reason, batch_id=batch_id)
        await open_break(tx, deps, found, batch)
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
