import asyncio
import io
import logging
import time
from collections.abc import Iterator

import pytest
import structlog
from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.runtime.signals.observability import (
    Readiness,
    configure_logging,
    health_routes,
    metrics_routes,
    watch_loop,
)
from tests.walk import until


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    configure_logging("info", VirtualClock(), stream)
    yield stream
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [read_json_object(line.encode()) for line in stream.getvalue().splitlines()]


def parse_somebody() -> None:
    raise ValueError("QQ Canary")


def test_a_field_that_nobody_listed_leaves_only_its_name(stream: io.StringIO) -> None:
    structlog.get_logger("test").info("claim.stored", claim_id="claim_1", patient_name="QQ Canary")

    assert lines(stream) == [
        {
            "timestamp": "2026-03-02T01:00:00.000Z",
            "event": "claim.stored",
            "level": "info",
            "claim_id": "claim_1",
            "dropped": "patient_name",
        }
    ]
    assert "Canary" not in stream.getvalue()


def test_a_long_value_is_cut(stream: io.StringIO) -> None:
    structlog.get_logger("test").info("x", reason="r" * 5000)

    assert len(str(lines(stream)[0]["reason"])) == 200


def test_an_exception_is_told_by_its_class_alone(stream: io.StringIO) -> None:
    try:
        parse_somebody()
    except ValueError:
        structlog.get_logger("test").exception("job.failed")

    assert lines(stream)[0]["error"] == "ValueError"
    assert "Canary" not in stream.getvalue()


def test_a_library_line_keeps_its_template_and_loses_its_arguments(stream: io.StringIO) -> None:
    try:
        parse_somebody()
    except ValueError:
        logging.getLogger("some.library").exception("cannot parse %s", "QQ Canary")

    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["error"]) == ("cannot parse %s", "some.library", "ValueError")
    assert "Canary" not in stream.getvalue()


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    structlog.get_logger("test").debug("noise")

    assert stream.getvalue() == ""


async def fine() -> str | None:
    return None


async def away() -> str | None:
    return "the bus does not answer"


async def broken() -> str | None:
    raise ConnectionError("postgresql://gateway:secret@db")


def client(readiness: Readiness) -> TestClient:
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    app.include_router(health_routes(readiness))
    app.include_router(metrics_routes())
    return TestClient(app)


def test_readiness_names_who_is_down_and_tells_no_secrets() -> None:
    readiness = Readiness()
    readiness.add("database", broken)
    readiness.add("bus", away)
    readiness.add("registry", fine)

    answer = client(readiness).get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "checks": {"database": "ConnectionError", "bus": "the bus does not answer", "registry": "ok"},
    }
    assert answer.headers["retry-after"] == "5"


def test_a_process_that_answers_is_healthy_although_nothing_is_ready() -> None:
    readiness = Readiness()
    readiness.add("bus", away)

    assert client(readiness).get("/healthz").json() == {"status": "ok"}


def test_all_checks_passing_is_ready() -> None:
    readiness = Readiness()
    readiness.add("registry", fine)

    assert client(readiness).get("/readyz").status_code == 200


def test_metrics_are_in_the_text_format() -> None:
    answer = client(Readiness()).get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE gateway_deliveries_total counter" in answer.text


async def test_what_blocks_the_loop_shows_as_the_lateness_of_a_timer() -> None:
    watching = asyncio.create_task(watch_loop("blocked", every_s=0.1, rounds=3))
    await asyncio.sleep(0.01)

    time.sleep(0.3)  # noqa: ASYNC251 what is tested

    async def measured() -> bool:
        return (REGISTRY.get_sample_value("gateway_loop_lag_seconds", {"role": "blocked"}) or 0.0) > 0.2

    await until(measured, "the lateness")
    watching.cancel()
