"""One role as it runs: its database, keys, outbox, relays, workers, timers and HTTP, started and stopped in order.

Knows no component by name; `gateway/roles.py` says which components a role has. In role `all` several of these share
one process and one bus, each with its own database, keys and writer, as if alone.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog
from fastapi import Depends, FastAPI, Request
from sqlalchemy import delete, literal, select

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.errors import UnavailableError
from gateway.protocol.exchange import parse_message
from gateway.protocol.registry import Trust
from gateway.runtime.bus.kafka_client import within
from gateway.runtime.bus.port import Bus
from gateway.runtime.component import Component
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.audit_relay import AuditRelay
from gateway.runtime.delivery.jobs import JobRunner
from gateway.runtime.delivery.outbox import Outbox, Sender, load_admission
from gateway.runtime.delivery.raw_reader import VerbatimReader
from gateway.runtime.delivery.relay import Relay
from gateway.runtime.delivery.source_watch import AskLog, SourceWatch, load_epoch
from gateway.runtime.delivery.worker import Worker
from gateway.runtime.lifecycle import Stopping
from gateway.runtime.operator.actions import Operations
from gateway.runtime.operator.backlog import Gauges, Reading, read_waiting
from gateway.runtime.operator.routes import operator_routes
from gateway.runtime.services import RoleServices
from gateway.runtime.settings import RoleSettings, claim_database
from gateway.runtime.signals import failpoints
from gateway.runtime.signals.observability import MEASURE_AGE, Readiness, health_routes, metrics_routes, watch_loop
from gateway.runtime.storage import tables
from gateway.runtime.storage.database import Database, OneStatement, open_database
from gateway.runtime.storage.schema import migrate
from gateway.runtime.web.auth import Issuer, token_routes
from gateway.runtime.web.feed import FeedSequencer
from gateway.runtime.web.http import create_app
from gateway.runtime.web.links import face_routes
from gateway.runtime.web.reference import reference_routes

CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BEHIND_S = 60
CATCH_UP_S = 120.0
CATCH_UP_LOOK_S = 0.05
HOUR_S = 3600.0
MEASURE_S = 10.0
RESTART_S = 1.0

ROUNDS_END_S = 6.0
RELAYS_END_S = 2.0
CANCELLED_END_S = 5.5
"""Longer than a Kafka client is given to leave its group (`KafkaLimits.stop`)."""
SWALLOWED_END_S = 0.5
DATABASE_END_S = 2.0

log = structlog.get_logger("process")


@dataclass
class RoleProcess:
    """Everything of one role that components are built from. Open it, add components, mount their apps, run it."""

    settings: RoleSettings
    clock: Clock
    bus: Bus
    database: Database
    keyring: Keyring
    trust: TrustHolder
    outbox: Outbox
    feed: FeedSequencer
    source: SourceWatch
    components: list[Component] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    """Every consumer group of this role: the workers, and the readers of verbatim topics."""
    readiness: Readiness = field(default_factory=Readiness)
    stopping: Stopping = field(default_factory=Stopping)
    _operated: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _rounds: list["asyncio.Task[None]"] = field(default_factory=list)
    """Of the tasks, those that finish what they are at when the role ends: consumers and timers."""
    _relays: "dict[asyncio.Task[None], Relay | AuditRelay]" = field(default_factory=dict)

    @classmethod
    async def open(cls, settings: RoleSettings, bus: Bus, clock: Clock, ask_log: AskLog | None = None) -> "RoleProcess":
        """Open database and keys; refuses another role's database and weak or missing keys."""
        failpoints.arm(settings.failpoint)
        with contextlib.suppress(OSError):  # a folder mounted read-only or of another owner stays as it is
            settings.folder.chmod(settings.folder.stat().st_mode & 0o700)
        keyring = Keyring.load(settings.keys)
        trust = TrustHolder(parse_message(Trust, read_json_object(settings.trust_file.read_bytes())))
        database = open_database(
            settings.database_url,
            writers=settings.database_writers,
            readers=settings.database_readers,
            statement_s=settings.database_statement_s,
        )
        migrate(database, "runtime", "gateway.runtime.storage.migrations", settings.migration_lock_s)
        claim_database(database, settings.instance)
        epoch = await database.read(load_epoch)
        sender = Sender(
            role=settings.instance,
            custody=settings.custody,
            stamp_key=keyring.named(f"{settings.instance}/stamp/"),
            vault=Vault(keyring.storage),
            trust=trust,
            clock=clock,
            epoch=epoch,
        )
        limits = {"rows_max": settings.outbox_rows_max, "bytes_max": settings.outbox_bytes_max}
        admission = await load_admission(database, **limits)
        feed = FeedSequencer(database, clock, keyring.storage, epoch)
        stopping = Stopping()
        audit_keys = (key.public for kid, key in keyring.keys.items() if kid.startswith(f"{settings.instance}/audit/"))
        source = SourceWatch(settings.instance, tuple(audit_keys), database, admission, ask_log, stopping)
        outbox = Outbox(sender, admission)
        return cls(settings, clock, bus, database, keyring, trust, outbox, feed, source, stopping=stopping)

    @property
    def services(self) -> RoleServices:
        """What the role's components are built from."""
        return RoleServices(
            database=self.database,
            outbox=self.outbox,
            keyring=self.keyring,
            trust=self.trust,
            clock=self.clock,
            vault=self.outbox.sender.vault,
            feed=self.feed,
        )

    def add(self, component: Component) -> None:
        """Migrate a component's tables and take it in."""
        migrate(self.database, component.name, component.migrations, self.settings.migration_lock_s)
        self.components.append(component)
        if component.ready is not None:
            self.readiness.add(component.name, component.ready)
        for name, check in component.checks.items():
            self.readiness.add(name, check)

    def app(self, title: str, components: Sequence[Component], url: str, inner_url: str = "") -> FastAPI:
        """Make the HTTP app of some of the role's components, with tokens, health and reference pages."""
        app = create_app(title, clock=self.clock)
        issuer = Issuer(
            self.settings.role,
            url,
            self.keyring.named(f"{self.settings.instance}/access/"),
            self.database,
            self.trust,
            self.clock,
            inner_url,
        )
        app.state.issuer = issuer
        app.include_router(token_routes(issuer))
        for component in components:
            for router in component.routers:
                app.include_router(router, dependencies=[Depends(self._refuse_while_behind)])
        if self.settings.role != "witness" and not self._operated:
            self._operated = True  # once a role, at its first face
            operations = Operations(self.database, self.outbox, self.clock, self.workers, self.components)
            app.include_router(operator_routes(operations, self._gauges, self.keyring))
            for router in (router for component in self.components for router in component.operator_routers):
                app.include_router(router)
        app.include_router(health_routes(self.readiness))
        app.include_router(metrics_routes())
        app.include_router(reference_routes(app))
        app.include_router(face_routes(title))
        return app

    async def _refuse_while_behind(self, request: Request) -> None:
        """Change nothing where the log knows more than this database: what would be answered could not be kept."""
        if request.method in CHANGES and self.outbox.admission.behind is not None:
            raise UnavailableError("source.behind-log", retry_after_s=BEHIND_S)

    def start(self) -> None:
        """Start relays, workers, sequencer and timers as tasks of the running loop; a witness is not on the bus."""
        self.readiness.add("database", self._why_no_database)
        self._run(partial(watch_loop, self.settings.instance), "loop lag")
        if self.settings.role != "witness":
            self.readiness.add("bus", self.bus.why_unready)
            self.readiness.add("source", self.source.why_unready)
            self._run(self.source.run, "source")
            self._start_relays()
        self._run(self._measure, "measure")
        for component in self.components:
            self._start_component(component)
        jobs = JobRunner(
            self.database,
            self.clock,
            self.settings.instance,
            stopping=self.stopping,
            may_run=lambda: self.outbox.admission.behind is None,
        )
        for component in self.components:
            for job in component.jobs:
                self._rounds.append(self._run(partial(jobs.run, job, component.deps), job.name))

    async def catch_up(self) -> None:
        """Take what lies on the bus for readers of verbatim topics, while the role does not run; `TimeoutError`."""
        for component in (component for component in self.components if component.verbatim):
            stopping = Stopping()
            reader = VerbatimReader(component, self.settings.instance, self.bus, stopping)
            reading = asyncio.create_task(reader.run())
            try:
                async with asyncio.timeout(CATCH_UP_S):
                    while reader.consumer is None or any((await reader.consumer.lag()).values()):  # noqa: ASYNC110
                        await asyncio.sleep(CATCH_UP_LOOK_S)
            finally:
                stopping.set()
                await reading

    async def _why_no_database(self) -> None:
        """Ask the database anything; what it raises, or that it is slow, is the reason."""
        await self.database.fetch(select(literal(1)))

    def _start_relays(self) -> None:
        relay = Relay(self.database, self.bus, self.keyring, self.outbox)
        audit_relay = AuditRelay(
            self.settings.instance,
            self.keyring.named(f"{self.settings.instance}/audit/"),
            self.database,
            self.bus,
            self.outbox.sender.vault,
            self.clock,
            self.outbox,
        )
        self._relays[self._run(relay.run, "relay")] = relay
        self._relays[self._run(audit_relay.run, "audit-relay")] = audit_relay
        self._run(self.feed.run, "feed")
        self._run(partial(self._prune, relay), "prune")

    def _start_component(self, component: Component) -> None:
        if component.subscriptions:
            worker = Worker(
                component,
                self.settings.instance,
                self.database,
                self.bus,
                self.outbox,
                self.trust,
                self.clock,
                self.stopping,
            )
            self.workers.append(worker)
            self.readings.append(worker)
            self.readiness.add(f"worker {component.name}", worker.why_stopped)
            self._rounds.append(self._run(worker.run, f"worker {component.name}"))
        for task in component.tasks:
            self._run(task, component.name)
        if component.verbatim:
            reader = VerbatimReader(component, self.settings.instance, self.bus, self.stopping)
            self.readings.append(reader)
            self.readiness.add(f"reader {component.name}", reader.why_waiting)
            self._rounds.append(self._run(reader.run, component.name))

    def _run(self, run: Callable[[], Awaitable[None]], name: str) -> "asyncio.Task[None]":
        async def task() -> None:
            while not self.stopping:
                try:
                    await run()
                except (Exception, asyncio.CancelledError) as error:
                    if (current := asyncio.current_task()) is not None and current.cancelling():
                        raise
                    log.error("process.task-failed", task=name, error=type(error).__name__)
                await self.stopping.rest(RESTART_S)

        started = asyncio.create_task(task(), name=f"{self.settings.instance}: {name}")
        self._tasks.append(started)
        return started

    async def _prune(self, relay: Relay) -> None:
        """Drop what is kept only for a while: published outbox rows, idempotency answers."""
        while True:
            await asyncio.sleep(HOUR_S)
            await relay.prune(timedelta(days=self.settings.outbox_days))
            before = rfc3339(self.clock.now() - timedelta(days=self.settings.idempotency_days))
            old = (tables.idempotency.c.at < before, tables.idempotency.c.operation != "money")
            await self.database.write(OneStatement(delete(tables.idempotency).where(*old)))
            await self.bus.prune(self.settings.bus_days * 86_400_000)

    async def _measure(self) -> None:
        """Set the gauges again and again; a witness, which is not on the bus, only has its checks."""
        measured_at = time.monotonic()
        MEASURE_AGE.labels(self.settings.instance).set_function(lambda: time.monotonic() - measured_at)
        while True:
            await self._gauges.set_readiness()
            if self.settings.role != "witness":
                await self._gauges.set(await self.database.read(read_waiting), self.clock.now())
            measured_at = time.monotonic()
            await asyncio.sleep(MEASURE_S)

    @property
    def _gauges(self) -> Gauges:
        return Gauges(self.settings.instance, self.outbox.admission, self.readings, self.readiness, self.components)

    async def close(self) -> None:
        """End in order, each step within its limit: what is cut short is done again after the next start.

        Consumers and timers finish their round and let go of groups and leases; then the relays publish what is
        committed; what still runs is cancelled, once, since a second time would cut short its letting go; then the
        database finishes what is queued.
        """
        self.stopping.set()
        await _ended(self._rounds, ROUNDS_END_S)
        for relay in self._relays.values():
            relay.stop()
        await _ended(self._relays, RELAYS_END_S)
        late = await _cancelled(self._tasks, CANCELLED_END_S)
        late = await _cancelled(late, SWALLOWED_END_S)  # asyncio.wait_for of Python 3.11 may swallow one
        for task in late:
            log.error("process.task-left-behind", task=task.get_name())
        with contextlib.suppress(TimeoutError):
            await within(DATABASE_END_S, self.database.close())


async def _cancelled(tasks: "Collection[asyncio.Task[None]]", limit_s: float) -> "Collection[asyncio.Task[None]]":
    for task in tasks:
        task.cancel()
    return await _ended(tasks, limit_s)


async def _ended(tasks: "Collection[asyncio.Task[None]]", limit_s: float) -> "Collection[asyncio.Task[None]]":
    """Wait for tasks to end; return those that have not in time."""
    if not tasks:
        return ()
    _, pending = await asyncio.wait(tasks, timeout=limit_s)
    return pending
