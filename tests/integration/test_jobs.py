"""Timers under leases: one process a database runs a job, another takes over."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import select

from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import UnavailableError
from gateway.runtime.component import Job
from gateway.runtime.delivery.jobs import LEASE, JobRunner
from gateway.runtime.storage.database import Database, SqliteDatabase, Transaction
from gateway.runtime.storage.tables import METADATA, leases
from tests.conftest import MakeDatabase


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(METADATA)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def a_runner(database: Database, clock: VirtualClock, holder: str, renew_s: float = 10) -> JobRunner:
    runner = JobRunner(database, clock, "core", timedelta(seconds=renew_s))
    runner.holder = holder
    return runner


def job(run: Callable[[list[str]], Awaitable[None]]) -> Job:
    return Job("tick", 0.01, run)


async def tick(seen: list[str]) -> None:
    seen.append("tick")


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 a test looks from outside
            await asyncio.sleep(0.01)


async def end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def holder(database: Database) -> str:
    async def query(tx: Transaction) -> str:
        return str((await tx.execute(select(leases.c.holder))).scalar_one())

    return await database.read(query)


async def test_one_of_two_processes_runs_a_job_and_the_other_takes_over(
    database: Database, clock: VirtualClock
) -> None:
    seen: dict[str, list[str]] = {"a": [], "b": []}
    first = asyncio.create_task(a_runner(database, clock, "a").run(job(tick), seen["a"]))
    await until(lambda: len(seen["a"]) >= 3)
    second = asyncio.create_task(a_runner(database, clock, "b").run(job(tick), seen["b"]))
    await asyncio.sleep(0.1)
    waited = list(seen["b"])

    await end(first)
    await until(lambda: len(seen["b"]) >= 3)

    assert waited == []
    assert await holder(database) == "b"
    await end(second)


async def test_the_lease_of_a_dead_process_runs_out(database: Database, clock: VirtualClock) -> None:
    seen: list[str] = []
    await a_runner(database, clock, "dead")._take(job(tick))
    alive = asyncio.create_task(a_runner(database, clock, "alive").run(job(tick), seen))
    await asyncio.sleep(0.1)
    waited = list(seen)

    clock.advance(LEASE + timedelta(seconds=1))
    await until(lambda: len(seen) > 0)

    assert waited == []
    await end(alive)


async def test_a_long_job_keeps_its_lease(database: Database, clock: VirtualClock) -> None:
    going, leave = asyncio.Event(), asyncio.Event()

    async def long(_: list[str]) -> None:
        going.set()
        await leave.wait()

    running = asyncio.create_task(a_runner(database, clock, "a", 0.05).run(job(long), []))
    await going.wait()
    for _ in range(4):
        clock.advance(LEASE * 0.9)
        await asyncio.sleep(0.1)

    taken = await a_runner(database, clock, "b")._take(job(tick))

    assert taken <= clock.now()
    leave.set()
    await end(running)


async def test_a_job_whose_lease_is_lost_is_cancelled(database: Database, clock: VirtualClock) -> None:
    going, cancelled = asyncio.Event(), asyncio.Event()

    async def long(_: list[str]) -> None:
        going.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    running = asyncio.create_task(a_runner(database, clock, "a", 0.05).run(job(long), []))
    await going.wait()
    clock.advance(LEASE * 2)
    await a_runner(database, clock, "b")._take(job(tick))

    await asyncio.wait_for(cancelled.wait(), 5)

    assert await holder(database) == "b"
    await end(running)


async def test_a_job_that_runs_when_the_role_ends_is_finished_and_its_lease_let_go(
    database: Database, clock: VirtualClock
) -> None:
    going, leave = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def long(deps: list[str]) -> None:
        going.set()
        await leave.wait()
        deps.append("done")

    runner = a_runner(database, clock, "a")
    running = asyncio.create_task(runner.run(job(long), seen))
    await going.wait()

    runner.stopping.set()
    leave.set()
    await asyncio.wait_for(running, 5)

    assert seen == ["done"]
    assert await a_runner(database, clock, "b")._take(job(tick)) > clock.now()


async def test_a_job_that_fails_is_logged_without_its_text_and_tried_again(
    database: Database, clock: VirtualClock
) -> None:
    seen: list[str] = []

    async def fail_once(deps: list[str]) -> None:
        deps.append("run")
        if len(deps) == 1:
            raise UnavailableError("outgoing.cannot-connect")

    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(a_runner(database, clock, "a").run(job(fail_once), seen))
        await until(lambda: len(seen) >= 2)
        await end(running)

    assert logged == [
        {
            "event": "job.failed",
            "job": "tick",
            "error": "UnavailableError",
            "code": "outgoing.cannot-connect",
            "log_level": "warning",
        }
    ]


async def test_a_restart_takes_its_leases_up_at_once_where_the_file_has_one_process(
    database: Database, clock: VirtualClock
) -> None:
    killed, restarted = (JobRunner(database, clock, "core") for _ in range(2))
    await killed._take(job(tick))

    taken = await restarted._take(job(tick))

    assert (taken > clock.now()) is isinstance(database, SqliteDatabase)


async def test_a_timer_that_waits_for_the_first_registry_release_is_not_logged_as_failed(
    database: Database, clock: VirtualClock
) -> None:
    runs: list[str] = []

    async def needs_a_release(runs: list[str]) -> None:
        runs.append("run")
        raise UnavailableError("registry.none-yet", retry_after_s=1)

    with structlog.testing.capture_logs() as lines:
        running = asyncio.create_task(a_runner(database, clock, "a").run(job(needs_a_release), runs))
        await until(lambda: len(runs) >= 2)
        await end(running)

    assert lines == []
