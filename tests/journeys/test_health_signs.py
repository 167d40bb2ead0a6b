"""Each health sign with its subject standing still: a part of a running house is frozen, and the sign must change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from audit import actions, store
from audit.sequencer import Sequencer
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.runtime import process
from gateway.runtime.component import Job
from gateway.runtime.delivery.jobs import JobRunner
from gateway.runtime.operator import backlog
from tests.hospital_bills import numbered
from tests.operators import ask
from tests.walk import House, house, until
from tests.walk_parties import hand_in

Freeze = Callable[[House, pytest.MonkeyPatch], Awaitable[None]]


@pytest.fixture
async def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(process, "MEASURE_S", 0.2)
    async with house(tmp_path / "data") as opened:
        yield opened


def gauge(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def check(found: House, role: str, name: str) -> str:
    return str((await ask(found, "doctor", role))["checks"][name])


def cancel(found: House, role: str, task: str) -> None:
    """Freeze a task of a role for good: it neither runs nor is started again."""
    for running in found.process(role)._tasks:
        if running.get_name() == f"{role}: {task}":
            running.cancel()


async def test_a_relay_that_publishes_nothing_is_seen_by_the_age_of_what_waits(found: House) -> None:
    cancel(found, "sz", "relay")
    await asyncio.sleep(0.1)

    await hand_in(found)

    await until(lambda: _above("gateway_waiting_oldest_seconds", 0.3, role="sz", stage="outbox"), "the outbox' age")


async def test_an_audit_relay_that_publishes_nothing_is_seen_by_the_age_of_its_records(found: House) -> None:
    cancel(found, "sz", "audit-relay")
    await asyncio.sleep(0.1)

    await hand_in(found)

    await until(lambda: _above("gateway_waiting_oldest_seconds", 0.3, role="sz", stage="audit"), "the records' age")


async def test_a_feed_that_numbers_nothing_is_seen_by_the_age_of_its_items(found: House) -> None:
    cancel(found, "hk", "feed")
    await asyncio.sleep(0.1)

    await hand_in(found)

    await until(lambda: _above("gateway_waiting_oldest_seconds", 0.3, role="hk", stage="feed"), "the feed's age")


async def test_a_consumer_that_takes_nothing_is_seen_however_little_lies_before_it(found: House) -> None:
    worker = next(one for one in found.process("core").workers if one.group == "core.claims")
    assert worker.progress is not None
    await until(lambda: _zero_lag(found), "a caught-up core")
    cancel(found, "core", "worker claims")
    await asyncio.sleep(0.1)

    await hand_in(found)

    await until(
        lambda: _above("gateway_consumer_standing_seconds", 0.5, role="core", consumer="core.claims"), "the sign"
    )


async def test_a_log_whose_entries_cannot_be_taken_says_so_at_the_audit_role(
    found: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr(Sequencer, "take", fail)
    await hand_in(found)

    async def said() -> bool:
        return await check(found, "audit", "reader audit") == "OSError"

    await until(said, "the reader's check")


async def test_a_sequencer_that_does_not_grow_the_tree_is_seen(found: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(_: Sequencer) -> bool:
        raise OSError

    await found.until_logged()
    monkeypatch.setattr(Sequencer, "step", stuck)
    monkeypatch.setattr(actions, "STANDING_S_MAX", 0.5)
    await hand_in(found)

    async def said() -> bool:
        return "tree" in await check(found, "audit", "audit log")

    await until(said, "the check of the log")
    assert gauge("gateway_log_standing_seconds", role="audit", stage="tree") > 0.5


async def test_witnesses_that_do_not_cosign_are_seen(found: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> dict[Any, Any]:
        return {}

    await found.until_logged()
    monkeypatch.setattr("audit.sequencer.collect", nothing)
    monkeypatch.setattr("audit.sequencer.REFRESH_S", 0.5)
    monkeypatch.setattr(actions, "STANDING_S_MAX", 0.5)
    await hand_in(found)

    async def said() -> bool:
        stages = await check(found, "audit", "audit log")
        return all(stage in stages for stage in ("cosigned", "checkpoint", "witness witness-sz", "witness witness-hk"))

    await until(said, "the check of the log")


async def test_a_source_that_stopped_is_named_by_readiness_metric_and_doctor(found: House) -> None:
    sequencer = next(one.deps.sequencer for one in found.process("audit").components if one.name == "audit")
    await found.until_logged()

    async def stop(tx: Any) -> None:
        await store.save_stop(tx, "sz", "forked", epoch=1, sq=3, at="2026-03-02T01:00:00.000Z")

    await sequencer.database.write(stop)

    async def named() -> bool:
        return gauge("gateway_source_stopped", role="audit", source="sz") == 1

    await until(named, "the gauge of the source")
    report = await ask(found, "doctor", "audit")
    assert report["checks"]["audit sources"] == "sz forked at number 3"
    assert ("source-stopped", {"source": "sz"}) in [(one["alarm"], one["where"]) for one in report["findings"]]
    async with found.http() as client:
        assert (await client.get("/audit/readyz")).status_code == 503
        shown = (await client.get("/audit/v1/sources/sz")).json()
    assert shown["stopped"] == "sz forked at number 3"
    await found.process("sz").source.check()
    assert "sz forked at number 3" in await check(found, "sz", "source")


async def test_a_timer_that_hangs_or_always_fails_is_overdue(found: House) -> None:
    core = found.process("core")

    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    async def fail(_: Any) -> None:
        raise OSError

    runner = JobRunner(core.database, core.clock, "core", stopping=core.stopping)
    running = [asyncio.create_task(runner.run(Job(run.__name__, 0.05, run), None)) for run in (hang, fail)]

    await until(lambda: _above("gateway_job_overdue_seconds", 0.3, role="core", job="hang"), "the timer that hangs")
    await until(lambda: _above("gateway_job_overdue_seconds", 0.3, role="core", job="fail"), "the timer that fails")
    for task in running:
        task.cancel()


async def test_gauges_that_are_not_measured_any_more_say_so(found: House) -> None:
    await until(lambda: _below("gateway_measured_age_seconds", 1.0, role="sz"), "measuring")

    cancel(found, "sz", "measure")

    await until(lambda: _above("gateway_measured_age_seconds", 1.0, role="sz"), "the gauges' age")


async def test_a_database_that_is_away_does_not_keep_readiness_from_being_measured(
    found: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Any) -> None:
        raise OSError

    monkeypatch.setattr(process, "read_waiting", away)
    monkeypatch.setattr(backlog, "read_waiting", away)
    found.process("sz").readiness.add("database", lambda: away(None))

    async def measured() -> bool:
        return gauge("gateway_ready", role="sz", check="database") == 0.0

    await until(lambda: _present("gateway_ready", role="sz", check="database"), "a first measuring")
    await until(measured, "the gauge of readiness")


async def test_a_role_that_the_log_knows_more_of_takes_nothing_and_says_why(found: House) -> None:
    sz = found.process("sz")
    sz.outbox.admission.behind = "the log has sz's number 9, which its database does not have"
    sz.source._measure()

    with pytest.raises(ApiProblem) as refused:
        await found.hospital.submit(numbered(1), "behind-1")
    with pytest.raises(ApiProblem) as posted:
        await found.session("hosp-nanshan-his", "sz").post("/v1/claims", compact({}), key="behind-2")

    assert {refused.value.status, posted.value.status} == {503}
    assert refused.value.code == "source.behind-log"
    assert await check(found, "sz", "source") == sz.outbox.admission.behind
    assert await check(found, "sz", "worker sz") == "source.behind-log"
    report = await ask(found, "doctor", "sz")
    assert "source-stopped" in [one["alarm"] for one in report["findings"]]
    assert await found.hospital.events() is not None


async def _zero_lag(found: House) -> bool:
    return not any(consumer["lag"] for consumer in (await ask(found, "lag"))["consumers"])


async def _above(name: str, limit: float, **labels: str) -> bool:
    return gauge(name, **labels) > limit


async def _below(name: str, limit: float, **labels: str) -> bool:
    return gauge(name, **labels) < limit


async def _present(name: str, **labels: str) -> bool:
    return REGISTRY.get_sample_value(name, labels) is not None
