"""What a component offers to its role: subscriptions, routes, jobs, schema. Roles compose components; nothing else.

A handler is `async on_<message>(tx, deps, delivery)`; a `prepare` runs before the work, outside any transaction, for
cryptography. A job is a timer. `Deps` are frozen; what a component needs from another is a small port in them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from sqlalchemy import MetaData

from gateway.protocol.errors import GatewayError
from gateway.protocol.exchange import Exchange, Manifest, Message, Stamp
from gateway.runtime.bus.port import Fetched
from gateway.runtime.storage.database import Transaction

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One verified message on its way into a handler. `received_at` is the first role's, from the receipt."""

    consumer: str
    fetched: Fetched
    exchange: Exchange
    stamp: Stamp
    received_at: datetime
    manifest: Manifest | None
    message: Message | None
    prepared: Any = None

    @property
    def trace(self) -> str | None:
        return self.fetched.trace

    def manifest_as(self, model: type[M]) -> M:
        """Return the manifest as the type that the subscription's table promised."""
        if not isinstance(self.manifest, model):
            raise TypeError(f"{self.stamp.type} is no {model.__name__}")
        return self.manifest

    def message_as(self, model: type[M]) -> M:
        """Return the role's message as the type that the subscription's table promised."""
        if not isinstance(self.message, model):
            raise TypeError(f"{self.stamp.type} is no {model.__name__}")
        return self.message

    @property
    def case_id(self) -> str:
        """The case that the message is about; its key where it names none."""
        return str(getattr(self.manifest or self.message, "case_id", self.fetched.key))

    def with_prepared(self, prepared: Any) -> "Delivery":
        return replace(self, prepared=prepared)


Handler = Callable[[Transaction, Any, Delivery], Awaitable[None]]
Prepare = Callable[[Any, Delivery], Awaitable[Any]]


class OnRefused(Protocol):
    async def __call__(self, tx: Transaction, deps: Any, delivery: Delivery, error: GatewayError) -> None:
        """Tell the author: write a signed `rejected` and an audit record in the transaction that advances the inbox."""


@dataclass(frozen=True)
class Subscription:
    """One topic as a component reads it: message type → handler."""

    topic: str
    handlers: Mapping[str, Handler]
    on_refused: OnRefused
    prepare: Mapping[str, Prepare] | None = None


Take = Callable[[Any, list[Fetched]], Awaitable[None]]


@dataclass(frozen=True)
class Verbatim:
    """A topic whose values are no exchange objects but signed bytes of their own: releases and log entries.

    `take` gets a batch in offset order and returns when its effects are durable; it must absorb duplicates.
    """

    topic: str
    take: Take


@dataclass(frozen=True)
class Job:
    """A timer: `run(deps)` every `every_s` seconds; the lease keeps it to one process a database."""

    name: str
    every_s: float
    run: Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TwoPersons:
    """Who asked for something about money, and who confirmed it: clients of two different persons."""

    request_id: str
    asked_by: str
    confirmed_by: str


@dataclass(frozen=True)
class TwoPersonAction:
    """Something about money that one operator asks for and another confirms; nothing changes before.

    `check` refuses, as an error with a code, what cannot be done; it runs when it is asked for. `act` runs when it is
    confirmed, checks again under its locks, and returns what the answer holds besides `count`. The form's `reason` and
    `ticket`, where it has them, stand in the audit record.
    """

    form: type[Message]
    check: Callable[[Transaction, Any, Any], Awaitable[None]]
    act: Callable[[Transaction, Any, Any, TwoPersons], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The value of a gauge in `observability.COMPONENT_GAUGES`, with its labels besides the role."""

    gauge: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    """A wired component. `name` is the consumer group and the Alembic version table's suffix."""

    name: str
    deps: Any
    metadata: MetaData
    migrations: str
    """The package that holds the migrations, e.g. `gateway.claims.migrations`."""
    subscriptions: tuple[Subscription, ...] = ()
    writer: str = ""
    """The key of all its works where its timers lock the rows of many cases; else each case's. One key, one writer:
    works that lock the same rows in different orders must share it, or their batches wait for each other."""
    verbatim: tuple[Verbatim, ...] = ()
    routers: tuple[APIRouter, ...] = ()
    operator_routers: tuple[APIRouter, ...] = ()
    """Routes below `/v1/operations`, served where the role's other operators' routes are."""
    jobs: tuple[Job, ...] = ()
    tasks: tuple[Callable[[], Awaitable[None]], ...] = ()
    """Loops of the component's own, run for as long as the role."""
    again: Mapping[str, Callable[[Transaction, str], Awaitable[int]]] = field(default_factory=dict)
    """Topics that the component publishes by itself: marks what it sent since a moment as unsent, and counts it."""
    ready: Callable[[], Awaitable[str | None]] | None = None
    """Returns why the component is not ready, or None."""
    two_person_actions: Mapping[str, TwoPersonAction] = field(default_factory=dict)
    """What operators may ask for about its money, by name; names are unique in a role."""
    measure: Callable[[], Awaitable[Sequence[Measured]]] | None = None
    """Measures what the component has gauges for."""
    checks: Mapping[str, Callable[[], Awaitable[str | None]]] = field(default_factory=dict)
    """Further signs by name, asked like `ready`; also by every measuring, so that they may set gauges."""
