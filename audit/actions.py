"""Use cases of the audit component: take entries, follow a claim, run the rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from audit import store
from audit.intake import SourceStop
from audit.leaf import parse_leaf
from audit.proof import split_entry
from audit.rules import RULES
from audit.sequencer import Sequencer
from audit.source_line import StopReason
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.errors import NotFoundError
from gateway.protocol.records import record
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.services import RoleDeps
from gateway.runtime.signals.observability import LOG_STANDING, SOURCE_STOPPED
from gateway.runtime.storage.database import Transaction

RULES_BATCH = 500
STANDING_S_MAX = 120.0


@dataclass(frozen=True)
class Deps(RoleDeps):
    sequencer: Sequencer


async def follow_claim(tx: Transaction, cref: str) -> dict[str, Any]:
    """Return every event of a claim with its index; `audit.verify` proves what this only says."""
    found = await store.list_of_claim(tx, cref)
    if not found:
        raise NotFoundError("claim.unknown")
    events = [
        {
            "log": row.log,
            "index": row.idx,
            "eid": row.eid,
            "src": row.src,
            "sq": row.sq,
            "typ": row.typ,
            "clr": parse_leaf(split_entry(bytes(row.entry))[0]).body.get("clr", {}),
        }
        for row in found
    ]
    return {"cref": cref, "events": events}


async def show_source(tx: Transaction, source: str) -> dict[str, Any]:
    """Return the last entry of a source, and since when and why none of its entries go in any more (else null)."""
    row, stop = await store.load_last_entry(tx, source), await store.load_stop(tx, source)
    shown: dict[str, Any] = {"source": source, "entry": None, "stopped": None}
    if row is not None:
        shown |= {"entry": bytes(row.entry).decode(), "epoch": row.ep, "sq": row.sq, "eid": row.eid}
        shown |= {"index": row.idx, "log": row.log}
    if stop is not None:
        stopped = SourceStop(source, StopReason(stop.reason), stop.ep, stop.sq, stop.at)
        shown |= {"stopped": str(stopped), "stopped_since": stop.at}
        shown["set_aside"] = await store.count_set_aside(tx, source)
    return shown


async def why_sources_stopped(deps: Deps) -> str | None:
    """Name every source whose entries no longer go in, and set its gauge; None where there is none."""
    stops = await deps.database.read(store.list_stops)
    role = deps.outbox.sender.role
    for source in {row.src for row in stops} | {key.name for key in deps.sequencer.source_keys()}:
        SOURCE_STOPPED.labels(role, source).set(any(row.src == source for row in stops))
    return "; ".join(str(SourceStop(row.src, StopReason(row.reason), row.ep, row.sq, row.at)) for row in stops) or None


async def why_log_stands(deps: Deps) -> str | None:
    """Say which stages of the log have stood still for long, and set their gauges; None where none has."""
    standing = await deps.sequencer.standing_s()
    for stage, seconds in standing.items():
        LOG_STANDING.labels(deps.outbox.sender.role, stage).set(seconds)
    slow = [stage for stage, seconds in standing.items() if seconds > STANDING_S_MAX]
    return f"stands still: {', '.join(slow)}" if slow else None


async def note_source_stop(outbox: Outbox, clock: Clock, tx: Transaction, stop: SourceStop) -> None:
    """Have the log itself say that a source's entries no longer go in."""
    clear = {"source": stop.src, "reason": stop.reason, "epoch": stop.ep, "number": stop.sq}
    await outbox.add(tx, record("audit.source_stopped", at=clock.now(), clear=clear))


async def run_rules(deps: Deps) -> None:
    """Look at every claim that changed since the last round; a finding is noted, and logged, once."""
    log = deps.sequencer.origin
    after = await deps.database.read(partial(store.load_rule_progress, log=log))
    last, claims = await deps.database.read(partial(store.list_claims_after, log=log, after=after, limit=RULES_BATCH))
    if last == after:
        return

    async def work(tx: Transaction) -> None:
        for cref, claim_entries in (await store.list_of_claims(tx, claims)).items():
            await _judge(tx, deps, cref, claim_entries)
        await store.save_rule_progress(tx, log, last)

    await deps.database.write(work, key=log)


async def _judge(tx: Transaction, deps: Deps, cref: str, claim_entries: Sequence[bytes]) -> None:
    events = [parse_leaf(split_entry(raw)[0]) for raw in claim_entries]
    now = deps.clock.now()
    for rule in RULES.values():
        for finding in rule.findings(events):
            if await store.add_exception(tx, rule.name, finding.subject, finding.eid, rfc3339(now)):
                clear = {"rule": rule.name, "subject": finding.subject}
                made = record("exception.found", at=now, case_id=cref, clear=clear, cause=finding.eid)
                await deps.outbox.add(tx, made)
