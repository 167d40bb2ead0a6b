"""A client of Kafka under supervision: built when needed, asked how it is, thrown away when it fails or falls silent.

Health is the age of the last success, since a client without brokers raises nothing. States: starting, ready,
degraded (a probe failed), rebuilding (thrown away; the next one comes after a back-off with jitter).
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import structlog

from gateway.protocol.errors import UnavailableError
from gateway.runtime.signals.observability import BUS_CLIENT_STATE, BUS_REBUILDS

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

    A member that does not ask for `poll` leaves its group (K13): it waits out its database, and comes back.
    K12: JoinGroup waits for `request`, so it must be longer than `rebalance`; a drain must end before both. A member
    starts by joining, which after a crash lasts as long as a rebalance: a `start` that gives up before leaves one more
    member that nobody hears of, again and again.
    """

    send: float = 20.0
    request: float = 35.0
    session: float = 30.0
    heartbeat: float = 5.0
    rebalance: float = 25.0
    poll: float = 300.0
    start: float = 40.0
    stop: float = 5.0
    probe_every: float = 4.0
    probe: float = 5.0
    unready_after: float = 10.0
    rebuild_after: float = 60.0
    back_off: tuple[float, float] = (1.0, 30.0)


async def within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    """Await a client's call for at most `limit_s`, then leave it behind cancelled; `TimeoutError`. K2, K21.

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


def sever(client: Any) -> None:
    """End what a `stop` that did not come back leaves running: a member that still beats keeps its partitions.

    aiokafka has no public way; every attribute of its parts that is a task is cancelled, every connection closed.
    """
    names = ("_coordinator", "_fetcher", "_sender", "_client", "client")
    for part in (getattr(client, name) for name in names if getattr(client, name, None) is not None):
        for value in list(vars(part).values()):
            if isinstance(value, asyncio.Task):
                value.cancel()
        for connection in list(getattr(part, "_conns", {}).values()):
            connection.close()


class Supervised(Generic[C]):
    """One client that is built when needed and thrown away when it fails. Owner: the bus or consumer that holds it.

    Whatever building, starting or asking raises is a failure: a password file that is just being replaced must not end
    the supervision. `sever` ends what a `stop` left running.
    """

    def __init__(self, name: str, build: Callable[[], C], limits: KafkaLimits) -> None:
        self._name = name
        self.become(State.STARTING)
        self._last_success: float | None = None
        """None until a broker answered for the first time: until then nobody is ready."""
        self._build = build
        self._limits = limits
        self._client: C | None = None
        self._failures = 0
        self._not_before = 0.0
        self._lock = asyncio.Lock()
        self._closed = False

    def become(self, state: State) -> None:
        BUS_CLIENT_STATE.labels(self._name).state(state.value)

    def succeeded(self) -> None:
        self._last_success = time.monotonic()
        self.become(State.READY)
        self._failures = 0

    def silent_s(self) -> float:
        return math.inf if self._last_success is None else time.monotonic() - self._last_success

    def running(self) -> C | None:
        return self._client

    async def client(self) -> C:
        """Return the running client or start one; `UnavailableError` while backing off or if it does not start."""
        async with self._lock:
            if self._client is not None:
                return self._client
            if self._closed or time.monotonic() < self._not_before:
                raise UnavailableError("bus.unavailable", retry_after_s=5)
            try:
                fresh = await self._start()
            except Exception as error:  # noqa: BLE001 a certificate that cannot be read is a failure like a dead broker
                self._failed(error)
                raise UnavailableError("bus.unavailable", retry_after_s=5) from None
            self._client = fresh
            self.succeeded()
            return fresh

    async def _start(self) -> C:
        fresh = self._build()
        try:  # K5, K28: a client whose start failed hangs its callers, one that was not started fails them
            await within(self._limits.start, fresh.start())
        except BaseException:
            await self._stop(fresh)
            raise
        return fresh

    async def throw_away(self, client: C, error: BaseException, *, at_once: bool = False) -> None:
        """Drop a client for good: K4 after an error it fails for ever, K20 it never looks for brokers anew.

        `at_once`: the brokers are well and the next client may follow without a back-off.
        """
        if self._client is not client:
            return  # somebody else already did
        self._client = None
        self._failed(error)
        if at_once:
            self._failures, self._not_before = 0, 0.0
        await self._stop(client)

    async def probe(self, client: C, ask: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Ask one thing under a deadline; note success, or silence, or that it lasted too long."""
        try:
            await within(self._limits.probe, ask())
        except Exception as error:  # noqa: BLE001 whatever a client raises when it is asked is no success
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
        kind, code = type(error).__name__, getattr(error, "errno", None)
        log.warning("kafka.rebuilding-broker-away-or-login-refused", task=self._name, error=kind, code=code)

    async def _stop(self, client: C) -> None:
        # K2, K22: stop() may wait for ever on a broker that is gone, and cancelled it leaves its tasks behind
        with contextlib.suppress(Exception):
            await within(self._limits.stop, client.stop())
        with contextlib.suppress(Exception):
            sever(client)

    async def close(self) -> None:
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await self._stop(client)
