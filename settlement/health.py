"""What settlement says of its own health: whether the bank's notifications are read, and what waits for a person."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from gateway.protocol.clock import parse_rfc3339
from gateway.runtime.component import Measured
from gateway.runtime.storage.database import Transaction
from settlement import break_store, store
from settlement.actions import Deps
from settlement.batch import State as BatchState
from settlement.break_store import OpenBreaks, Stuck

PATIENCE = timedelta(seconds=60)
"""For how long a bank may be away before core says that it is not ready; an unreadable page is said at once."""

WAITING = (BatchState.APPROVED, BatchState.INSTRUCTED, BatchState.UNKNOWN, BatchState.ACCEPTED)


async def why_not_ready(deps: Deps) -> str | None:
    """Return which cursor is stuck, why and since when, or which bank's profile is missing; else None."""
    now = deps.clock.now()
    for stuck in await deps.database.read(break_store.load_stuck):
        if stuck.page_sha256 is not None or now - parse_rfc3339(stuck.since) > PATIENCE:
            return f"notifications of {stuck.bank} are not read since {stuck.since}: {stuck.code}"
    names = {profile.bank for profile in deps.banks.profiles}
    waiting = await deps.database.read(partial(store.list_batches, states=WAITING))
    gone = sorted({batch.bank for batch in waiting if batch.bank and batch.bank not in names})
    return f"payments wait for banks that have no profile: {', '.join(gone)}" if gone else None


async def measure(deps: Deps) -> Sequence[Measured]:
    """Measure breaks and cursors: counts, and ages in seconds."""

    async def read(tx: Transaction) -> tuple[OpenBreaks, list[Stuck]]:
        return await break_store.count_open(tx), await break_store.load_stuck(tx)

    waiting, stuck = await deps.database.read(read)
    now = deps.clock.now()
    ages = {profile.bank: 0.0 for profile in deps.banks.profiles} | {
        one.bank: (now - parse_rfc3339(one.since)).total_seconds() for one in stuck
    }
    oldest = (now - parse_rfc3339(waiting.since)).total_seconds() if waiting.since else 0.0
    return [
        Measured("breaks_open", waiting.count),
        Measured("breaks_oldest", oldest),
        *(Measured("cursor_stuck", age, {"bank": bank}) for bank, age in ages.items()),
    ]
