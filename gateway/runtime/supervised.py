"""A client of Kafka under supervision: built when needed, asked how it is, thrown away when it fails or falls silent.

Health is the age of the last success, since a client without brokers raises nothing. States: starting, ready,
degraded (a probe failed), rebuilding (thrown away; the next one comes after a back-off with jitter).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import structlog

from gateway.protocol.errors import UnavailableError
from gateway.runtime.observability import BUS_CLIENT_STATE, BUS_REBUILDS

Failures = tuple[type[Exception], ...]

log = structlog.get_logger("kafka")


class Startable(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


T = TypeVar("T")
C = TypeVar("C", bound=Startable)


class State(Enum):
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    REBUILDING = "rebuilding"


@dataclass(frozen=True)
class KafkaLimits:
    """Every time limit, in seconds; settings, so that a test plays a long outage in a short time.

    K12: JoinGroup waits for `request`, so it must be longer than `rebalance`; a drain must end before both.
    """

    send: float = 20.0
    request: float = 35.0
    session: float = 30.0
    heartbeat: float = 5.0
    rebalance: float = 25.0
    start: float = 15.0
    stop: float = 5.0
    probe_every: float = 4.0
    probe: float = 5.0
    unready_after: float = 10.0
    rebuild_after: float = 60.0
    back_off: tuple[float, float] = (1.0, 30.0)


async def within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    """Await a client's call for at most `limit_s`, then leave it behind cancelled; `TimeoutError`.

    aiokafka swallows a cancellation here and there (`stop` does while it waits for its own tasks), so whoever waits
    for the cancelled call, as `asyncio.timeout` does, may wait for ever.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_retrieved)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    if task.cancelled():  # by the client that was thrown away under it; for us that is no cancellation
        raise ConnectionError("the client was thrown away meanwhile")
    return task.result()


def _retrieved(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


class Supervised(Generic[C]):
    """One client that is built when needed and thrown away when it fails. Owner: the bus or consumer that holds it.

    `failures` are the exceptions by which a client says that its brokers are away or refuse it; `sever` ends what a
    `stop` left running.
    """

    def __init__(
        self, name: str, build: Callable[[], C], failures: Failures, limits: KafkaLimits, sever: Callable[[C], None]
    ) -> None:
        self._name = name
        self.become(State.STARTING)
        self.last_success = time.monotonic()
        self._build = build
        self._failures_known = failures
        self._limits = limits
        self._sever = sever
        self._client: C | None = None
        self._failures = 0
        self._not_before = 0.0
        self._lock = asyncio.Lock()
        self._closed = False

    def become(self, state: State) -> None:
        BUS_CLIENT_STATE.labels(self._name).state(state.value)

    def succeeded(self) -> None:
        self.last_success = time.monotonic()
        self.become(State.READY)
        self._failures = 0

    def silent_s(self) -> float:
        return time.monotonic() - self.last_success

    def running(self) -> C | None:
        return self._client

    async def client(self) -> C:
        """Return the running client or start one; `UnavailableError` while backing off or if it does not start."""
        async with self._lock:
            if self._client is not None:
                return self._client
            if self._closed or time.monotonic() < self._not_before:
                raise UnavailableError("bus.unavailable", retry_after_s=5)
            fresh = self._build()
            try:  # K5: a client whose start failed hangs its callers; it is never used
                await within(self._limits.start, fresh.start())
            except self._failures_known as error:
                await self._stop(fresh)
                self._failed(error)
                raise UnavailableError("bus.unavailable", retry_after_s=5) from None
            except BaseException:
                await self._stop(fresh)
                raise
            self._client = fresh
            self.succeeded()
            return fresh

    async def throw_away(self, client: C, error: BaseException) -> None:
        """Drop a client for good: K4 after an error it fails for ever, K20 it never looks for brokers anew."""
        if self._client is not client:
            return  # somebody else already did
        self._client = None
        self._failed(error)
        await self._stop(client)

    async def probe(self, client: C, ask: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Ask one thing under a deadline; note success, or silence, or that it lasted too long."""
        try:
            await within(self._limits.probe, ask())
        except self._failures_known as error:
            self.become(State.DEGRADED)
            if self.silent_s() > self._limits.rebuild_after:
                await self.throw_away(client, error)
        else:
            self.succeeded()

    def _failed(self, error: BaseException) -> None:
        low, high = self._limits.back_off
        self._failures += 1
        wait_s = random.uniform(0.5, 1.0) * min(high, low * 2 ** min(self._failures - 1, 10))  # noqa: S311 jitter
        self._not_before = time.monotonic() + wait_s
        self.become(State.REBUILDING)
        BUS_REBUILDS.labels(self._name).inc()
        # K19: a wrong password and a dead broker look alike, so the line names both
        log.warning("kafka.rebuilding-broker-away-or-login-refused", task=self._name, error=type(error).__name__)

    async def _stop(self, client: C) -> None:
        # K2, K22: stop() may wait for ever on a broker that is gone, and cancelled it leaves its tasks behind
        with contextlib.suppress(Exception):
            await within(self._limits.stop, client.stop())
        with contextlib.suppress(Exception):
            self._sever(client)

    async def close(self) -> None:
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await self._stop(client)
