"""What operators see: log lines with an allow-list of fields, metrics, health and readiness.

A log line is an event name and fields from `FIELDS`; anything else is dropped and only its name kept, values are cut
at 200 characters, and exceptions appear as class and place, never as text: what people sent cannot reach the log.
Libraries are heard from WARNING up; their lines keep their template without its arguments.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import structlog
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Enum, Gauge, Histogram, generate_latest
from starlette.responses import Response

from gateway.protocol.canonical import compact
from gateway.protocol.clock import Clock, rfc3339

VALUE_CHARACTERS_MAX = 200
CHECK_S_MAX = 2.0

DELIVERIES = Counter("gateway_deliveries_total", "Deliveries by what became of them", ["consumer", "topic", "result"])
HTTP_REQUESTS = Counter("gateway_http_requests_total", "Requests answered", ["route", "method", "status"])
HTTP_SECONDS = Histogram("gateway_http_seconds", "Time to answer, from first byte to last", ["route"])
WAITING = Gauge("gateway_waiting", "What waits, by stage; parked stages count keys", ["role", "stage"])
WAITING_OLDEST = Gauge("gateway_waiting_oldest_seconds", "Age of the oldest that waits", ["role", "stage"])
CONSUMER_LAG = Gauge(
    "gateway_consumer_lag",
    "Records before a consumer; NaN while unknown",
    ["role", "consumer", "topic", "partition"],
)
CONSUMER_STOPPED = Gauge("gateway_consumer_stopped", "1 where a consumer stopped after halts", ["role", "consumer"])
READY = Gauge("gateway_ready", "1 where a readiness check is content", ["role", "check"])
OUTBOX_BYTES = Gauge("gateway_outbox_unpublished_bytes", "Bytes that the bus does not have yet", ["role"])
OUTBOX_FILL = Gauge("gateway_outbox_fill_percent", "Unpublished rows or bytes; intake stops at 100", ["role"])
RELAY_PUBLISHED = Counter("gateway_relay_published_total", "Messages that the bus acknowledged", ["role", "topic"])
RELAY_HELD = Gauge("gateway_relay_held", "Keys and topics held back since the bus refuses them", ["role", "relay"])
FEED_NUMBERED = Counter("gateway_feed_items_total", "Feed items given a position")
BUS_REBUILDS = Counter("gateway_bus_rebuilds_total", "Kafka clients thrown away and built anew", ["client"])
BUS_CLIENT_STATE = Enum(
    "gateway_bus_client_state",
    "What a Kafka client is doing",
    ["client"],
    states=["starting", "ready", "degraded", "rebuilding"],
)
BUS_UNKNOWN_SENDS = Counter("gateway_bus_unknown_sends_total", "Records sent without an answer; they are sent again")
BUS_REBALANCES = Counter("gateway_bus_rebalances_total", "Partitions given to a member anew", ["consumer"])
LOOP_LAG = Gauge("gateway_loop_lag_seconds", "How much too late a timer ran: what blocks the event loop", ["role"])
SOURCE_STOPPED = Gauge(
    "gateway_source_stopped", "1 where the log takes nothing more of a source, as `role` sees it", ["role", "source"]
)
SOURCE_UNANSWERED = Gauge(
    "gateway_source_unanswered_seconds", "Since when the audit role has not said what the log has of a role", ["role"]
)
COMPONENT_GAUGES = {
    "breaks_open": Gauge("gateway_bank_breaks_open", "Bank rows that wait for a person", ["role"]),
    "breaks_oldest": Gauge("gateway_bank_breaks_oldest_seconds", "Age of the oldest break that waits", ["role"]),
    "cursor_stuck": Gauge(
        "gateway_bank_cursor_stuck_seconds", "For how long a bank's notifications cannot be read", ["role", "bank"]
    ),
}
"""Gauges whose values a component measures, by the name that it gives them."""
MEASURE_AGE = Gauge("gateway_measured_age_seconds", "Since when a role's gauges were not measured anew", ["role"])
CONSUMER_STANDING = Gauge(
    "gateway_consumer_standing_seconds", "How long records lie before a consumer that takes none", ["role", "consumer"]
)
JOB_OVERDUE = Gauge("gateway_job_overdue_seconds", "How long a timer is past its time", ["role", "job"])
LOG_STANDING = Gauge(
    "gateway_log_standing_seconds", "How long entries or the signed head wait for their next step", ["role", "stage"]
)
JOBS = Counter("gateway_jobs_total", "Runs of timers", ["job", "result"])

FIELDS = frozenset(
    {
        *("event", "level", "logger", "timestamp", "request_id", "trace_id", "dropped"),
        *("role", "component", "consumer", "topic", "partition", "offset", "seq", "key_id", "release", "source"),
        *(
            "error",
            "code",
            "where",
            "reason",
            "state",
            "result",
            "attempt",
            "count",
            "rows",
            "bytes",
            "duration_ms",
            "task",
        ),
        *("route", "method", "status", "host", "port", "url", "pid", "job", "folder", "database", "bus", "version"),
        *("case_id", "claim_id", "msg_id", "eid", "batch_id", "obligation_id", "party", "rule", "year", "size"),
    }
)
"""Names of log fields. Ids are random tokens of ours; no field holds what a person has, got or is called."""

Event = MutableMapping[str, Any]


def configure_logging(level: str, clock: Clock, stream: TextIO = sys.stderr) -> None:
    """Send our lines and those of libraries to `stream`: JSON, or columns where it is a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if stream.isatty() else _render_json
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            keep_known_fields,
            partial(_add_time, clock=clock),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    # What a library does in the ordinary course is told by our own lines, or by none.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_LibraryLines()], force=True)


def keep_known_fields(_logger: Any, _method: str, event: Event) -> Event:
    """Keep fields that `FIELDS` names, cut; exceptions and stacks are reduced to a class name."""
    error = event.pop("exc_info", None)
    if error:
        kind = error if isinstance(error, BaseException) else sys.exception()
        event.setdefault("error", type(kind).__name__)
    kept = {name: _cut(value) for name, value in event.items() if name in FIELDS}
    dropped = sorted(set(event) - FIELDS)
    return kept | {"dropped": ",".join(dropped)} if dropped else kept


def _cut(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)[:VALUE_CHARACTERS_MAX]


def _add_time(_logger: Any, _method: str, event: Event, clock: Clock) -> Event:
    return {"timestamp": rfc3339(clock.now()), **event}


def _render_json(_logger: Any, _method: str, event: Event) -> str:
    return compact(dict(event)).decode()


class _LibraryLines(logging.Handler):
    """Pass on a library's line as its template, without arguments and without exception text."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        structlog.get_logger(record.name).log(record.levelno, str(record.msg), **fields)


async def watch_loop(role: str, every_s: float = 0.5, rounds: int = 10) -> None:
    """Measure for ever what blocks the event loop: by how much a timer was late at worst, of the last few rounds.

    K14: whatever computes for longer than a heartbeat on this loop costs a consumer its partitions.
    """
    loop = asyncio.get_running_loop()
    while True:
        worst = 0.0
        for _ in range(rounds):
            due = loop.time() + every_s
            await asyncio.sleep(every_s)
            worst = max(worst, loop.time() - due)
        LOOP_LAG.labels(role).set(worst)


# Health, readiness, metrics

Check = Callable[[], Awaitable[str | None]]


@dataclass
class Readiness:
    """Named checks; each returns why it is not ready, or None. `add` is called while a role is wired."""

    checks: dict[str, Check] = field(default_factory=dict)

    def add(self, name: str, check: Check) -> None:
        self.checks[name] = check

    async def answers(self) -> dict[str, str | None]:
        """Ask every check, each for at most 2 s; return name → why it is not ready, or None."""
        reasons = await asyncio.gather(*(self._ask(check) for check in self.checks.values()))
        return dict(zip(self.checks, reasons, strict=True))

    async def _ask(self, check: Check) -> str | None:
        try:
            return await asyncio.wait_for(check(), CHECK_S_MAX)
        except TimeoutError:
            return "no answer in time"
        except Exception as error:  # noqa: BLE001 a check that fails is an answer
            return type(error).__name__


def health_routes(readiness: Readiness) -> APIRouter:
    """`/healthz`: the process answers. `/readyz`: it can do its work, else 503 with who is down."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Response:
        return Response(compact({"status": "ok"}), 200, {"cache-control": "no-store"}, "application/json")

    @router.get("/readyz")
    async def readyz() -> Response:
        answers = await readiness.answers()
        ready = not any(answers.values())
        body = {"ready": ready, "checks": {name: reason or "ok" for name, reason in answers.items()}}
        headers = {"cache-control": "no-store"} | ({} if ready else {"retry-after": "5"})
        return Response(compact(body), 200 if ready else 503, headers, "application/json")

    return router


def metrics_routes() -> APIRouter:
    """`/metrics` in Prometheus' text format."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), 200, {"content-type": CONTENT_TYPE_LATEST})

    return router
