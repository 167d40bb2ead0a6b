"""W3C Trace Context (level 1): one trace id from a party's request through every message that it causes.

Only `traceparent` travels; `tracestate` is free text of strangers and is dropped. A trace is for finding log lines:
nobody decides anything by it.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog

TRACEPARENT = "traceparent"

_GIVEN = re.compile(r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.{0,200})?")
_CURRENT: ContextVar[str | None] = ContextVar("traceparent", default=None)

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Traced(Protocol):
    """A message on its way, whose headers may name a trace."""

    @property
    def trace(self) -> str | None: ...


M = TypeVar("M", bound=Traced)


def current() -> str | None:
    """Return the `traceparent` of what is being done, or None where nobody asked for it."""
    return _CURRENT.get()


def next_step(given: str | None) -> str:
    """Go on with a trace under a parent id of our own; begin a new one where none is given or it is malformed."""
    match = _GIVEN.fullmatch(given or "")
    if match is None or (match[1] == "00" and match[4]):
        return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    return f"00-{match[2]}-{secrets.token_hex(8)}-0{int(match[3], 16) & 1}"


@contextmanager
def following(given: str | None) -> Iterator[None]:
    """Do what follows within a trace: log lines name it, messages and records carry it on."""
    step = next_step(given)
    token = _CURRENT.set(step)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=step.split("-")[1]):
            yield
    finally:
        _CURRENT.reset(token)


def carried(work: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Have `work` run within the caller's trace: whoever writes for all has a context of its own."""
    step = _CURRENT.get()
    if step is None:
        return work

    async def within(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _CURRENT.set(step)
        try:
            return await work(*args, **kwargs)
        finally:
            _CURRENT.reset(token)

    return within


def of_message(
    handle: Callable[Concatenate[S, M, P], Awaitable[R]],
) -> Callable[Concatenate[S, M, P], Coroutine[Any, Any, R]]:
    """Have a method handle its message within the message's trace."""

    @wraps(handle)
    async def within(self: S, message: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with following(message.trace):
            return await handle(self, message, *args, **kwargs)

    return within
