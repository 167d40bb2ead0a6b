"""What a component offers to its role: subscriptions, routes, jobs, schema. Roles compose components; nothing else.

A handler is a use case, registered for the message it takes: `on(DecidedManifest, actions.decide)`. A `prepare` runs
before the work, outside any transaction, for cryptography; the handler gets what it returns. A job is a timer. `Deps`
are frozen; what a component needs from another is a small port in them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

from fastapi import APIRouter
from sqlalchemy import MetaData

from gateway.protocol.acceptance import check_acceptance
from gateway.protocol.errors import GatewayError
from gateway.protocol.exchange import Exchange, Manifest, Message, Stamp
from gateway.protocol.message_spec import types_of
from gateway.protocol.registry import Directory
from gateway.runtime.bus.port import Fetched
from gateway.runtime.storage.database import Transaction

D = TypeVar("D")
M = TypeVar("M", bound=Message)
P = TypeVar("P")


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

    @property
    def trace(self) -> str | None:
        return self.fetched.trace

    @property
    def body(self) -> Manifest | Message | None:
        """What the message says: a party's manifest, or a role's own message."""
        return self.manifest or self.message

    @property
    def case_id(self) -> str:
        """The case that the message is about; its key where it names none."""
        return str(getattr(self.body, "case_id", self.fetched.key))


Apply = Callable[[Transaction, Directory], Awaitable[None]]
"""What is left to do with a message once it is prepared: all of it in the work that admits it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A verified and prepared message, with what is left to do with it."""

    delivery: Delivery
    apply: Apply

    @property
    def trace(self) -> str | None:
        return self.delivery.trace


OnRefused = Callable[[Transaction, D, Delivery, GatewayError], Awaitable[None]]
"""Tells the author: writes a signed `rejected` and a record in the transaction that advances the inbox."""


@dataclass(frozen=True)
class Registration(Generic[D]):
    """One message as a component takes it; `on` makes it. `bind` prepares, outside any transaction."""

    model: type[Message]
    accept: bool
    bind: Callable[[D, Delivery], Awaitable[Apply]]


@overload
def on(
    model: type[M], handler: Callable[[Transaction, D, Delivery, M], Awaitable[None]], *, accept: bool = False
) -> Registration[D]: ...


@overload
def on(
    model: type[M],
    handler: Callable[[Transaction, D, Delivery, M, P], Awaitable[None]],
    *,
    prepare: Callable[[D, Delivery, M], Awaitable[P]],
    accept: bool = False,
) -> Registration[D]: ...


def on(
    model: type[Message],
    handler: Callable[..., Awaitable[None]],
    *,
    prepare: Callable[[Any, Delivery, Any], Awaitable[object]] | None = None,
    accept: bool = False,
) -> Registration[Any]:
    """Register the handler of a message, and what prepares it; both get the message as `model`.

    With `accept`, each clear field of a party's manifest must stand in its table (`acceptance.py`) before the handler
    runs. That is where a message newly comes in; what is stored is never asked.
    """
    if accept and not issubclass(model, Manifest):
        raise TypeError(f"{model.__name__} is not signed by a party")

    async def bind(deps: Any, delivery: Delivery) -> Apply:
        body = delivery.body
        if not isinstance(body, model):
            raise TypeError(f"{delivery.stamp.type} is not a {model.__name__}")
        prepared = () if prepare is None else (await prepare(deps, delivery, body),)

        async def apply(tx: Transaction, directory: Directory) -> None:
            if accept and isinstance(body, Manifest):
                check_acceptance(body, directory)
            await handler(tx, deps, delivery, body, *prepared)

        return apply

    return Registration(model, accept, bind)


@dataclass(frozen=True)
class Subscription(Generic[D]):
    """One topic as a component reads it. Each message of the topic is registered once."""

    topic: str
    registrations: tuple[Registration[D], ...]
    on_refused: OnRefused[D]

    @cached_property
    def handlers(self) -> dict[str, Registration[D]]:
        """Type on the wire → its registration."""
        return {kind: taken for taken in self.registrations for kind in types_of(taken.model)}


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
    subscriptions: tuple[Subscription[Any], ...] = ()
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
