"""Timers of components, kept to one process a database by lease rows.

A lease is renewed while its job runs and let go at the end of the process, so that another process takes over at
once, or after the lease has run out if we died. A job whose lease is lost (the process slept too long) is cancelled.
A SQLite file has one process, which holds the folder's lock: there a restart takes its own leases up again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import or_, update
from sqlalchemy.dialects import postgresql

from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.identifiers import mint
from gateway.runtime.component import Job
from gateway.runtime.custody.keys import NO_RELEASE_YET
from gateway.runtime.lifecycle import Stopping
from gateway.runtime.signals.observability import JOB_OVERDUE, JOBS
from gateway.runtime.storage.database import Database, SqliteDatabase, Transaction
from gateway.runtime.storage.tables import leases

LEASE = timedelta(seconds=30)

log = structlog.get_logger("jobs")


class LeaseLostError(Exception):
    """Another process holds the lease now."""


@dataclass
class JobRunner:
    """Runs timers under leases; job names are unique in a role. `holder` tells processes on one database apart."""

    database: Database
    clock: Clock
    role: str
    renew: timedelta = LEASE / 3
    """How long before its end a lease is renewed, and how often while a job runs."""
    stopping: Stopping = field(default_factory=Stopping)
    may_run: Callable[[], bool] = lambda: True
    """False while the role may do nothing: its leases run out, and its jobs wait."""

    def __post_init__(self) -> None:
        self.holder = self.role if isinstance(self.database, SqliteDatabase) else mint(self.role)

    async def run(self, job: Job, deps: Any) -> None:
        """Run one job until the role ends; it fails and waits like anything else, it never stops the role."""
        held_until = self.clock.now()
        done_at = time.monotonic()
        overdue = JOB_OVERDUE.labels(self.role, job.name)
        overdue.set_function(lambda: max(0.0, time.monotonic() - done_at - 2 * job.every_s))
        try:
            while not self.stopping:
                try:
                    may_run = self.may_run()
                    if may_run and self.clock.now() + self.renew > held_until:
                        held_until = await self._take(job)
                    if may_run and held_until > self.clock.now():
                        held_until = await self._run_held(job, deps, held_until)
                        JOBS.labels(job.name, "done").inc()
                        done_at = time.monotonic()
                    elif may_run:  # another process of the role runs it
                        done_at = time.monotonic()
                except Exception as error:  # noqa: BLE001 what a job needs is away: the next round tries again
                    code = getattr(error, "code", "")
                    JOBS.labels(job.name, "waited" if code == NO_RELEASE_YET else "failed").inc()
                    if code != NO_RELEASE_YET:
                        log.warning("job.failed", job=job.name, error=type(error).__name__, code=code)
                await self.stopping.rest(job.every_s)
        finally:
            # a timer that has ended is not overdue
            JOB_OVERDUE.remove(self.role, job.name)
            with contextlib.suppress(Exception):
                await self._let_go(job)

    async def _run_held(self, job: Job, deps: Any, held_until: datetime) -> datetime:
        """Run the job once, renewing its lease as long as it takes; returns until when the lease is ours."""
        running = asyncio.ensure_future(job.run(deps))
        try:
            while True:
                done, _ = await asyncio.wait({running}, timeout=self.renew.total_seconds())
                if done:
                    running.result()
                    return held_until
                held_until = await self._take(job)
                if held_until <= self.clock.now():
                    raise LeaseLostError
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _take(self, job: Job) -> datetime:
        """Take or renew the lease; returns until when it is ours, or now if another holds it."""
        now = self.clock.now()
        until = now + max(LEASE, timedelta(seconds=2 * job.every_s))
        statement = postgresql.insert(leases)
        free = or_(leases.c.holder == self.holder, leases.c.until < rfc3339(now))
        changed = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "holder": statement.excluded.holder,
                "until": statement.excluded.until,
                "epoch": leases.c.epoch + 1,
            },
            where=free,
        )

        async def work(tx: Transaction) -> bool:
            row = {"name": job.name, "holder": self.holder, "epoch": 1, "until": rfc3339(until)}
            return (await tx.execute(changed, row)).rowcount == 1

        return until if await self.database.write(work) else now

    async def _let_go(self, job: Job) -> None:
        """Let another process take over at once."""
        ours = (leases.c.name == job.name, leases.c.holder == self.holder)

        async def work(tx: Transaction) -> None:
            await tx.execute(update(leases).where(*ours).values(until=""))

        await self.database.write(work)
