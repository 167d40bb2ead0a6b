"""Core's claims component over a real database: messages go to its handlers as the worker hands them over, verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from gateway.claims import store
from gateway.claims.actions import Deps, lifecycle
from gateway.claims.claim import Claim
from gateway.claims.component import build
from gateway.protocol.canonical import read_json_object
from gateway.protocol.claim_terms import PaidKind
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import RefuseError
from gateway.protocol.exchange import Exchange, Manifest, Message, Stamp
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_RESPONSES, SETTLEMENT_OUTCOMES
from gateway.runtime.bus.port import Fetched
from gateway.runtime.component import Component, Delivery
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import outbox
from tests.parties import HOSPITAL, NOW, a_stamp, world
from tests.role_services import role_services


@dataclass(frozen=True)
class Sent:
    """What core put into its outbox: topic, key, type, and the message that it authored itself, if any."""

    topic: str
    key: str
    type: str
    message: dict[str, Any]


@dataclass(frozen=True)
class Core:
    component: Component
    database: Database

    @classmethod
    def over(cls, database: Database) -> "Core":
        services = role_services(database, "core", VirtualClock(NOW))
        deps = Deps(services, frozenset({PaidKind.BASIC_FUND}))
        return cls(build(deps), database)

    async def take(self, found: Manifest | Message) -> None:
        """Apply one message in a work of its own, as the worker does; what the handler raises comes out."""
        delivery = _delivery(found)
        registration = next(
            one.handlers[delivery.stamp.type]
            for one in self.component.subscriptions
            if one.topic == delivery.fetched.topic
        )
        apply = await registration.bind(self.component.deps, delivery)

        async def work(tx: Transaction) -> None:
            await apply(tx, world().directory)

        await self.database.write(work, key=delivery.fetched.key)

    async def refuse(self, found: Manifest) -> None:
        """Apply one message as the worker does, and let the handler of refusals answer the one that it raises."""
        try:
            await self.take(found)
        except RefuseError as error:
            delivery, refused = _delivery(found), error
        else:
            raise AssertionError("nothing was refused")

        async def work(tx: Transaction) -> None:
            await lifecycle.refuse(tx, self.component.deps, delivery, refused)

        await self.database.write(work, key=delivery.fetched.key)

    async def claim(self, claim_id: str) -> Claim:
        """Read a claim on a read-only snapshot, as an operator's route does."""

        async def query(tx: Transaction) -> Claim:
            return await store.load(tx, claim_id, lock=False)

        return await self.database.read(query)

    async def sent(self) -> Sequence[Sent]:
        """Return everything in the outbox, in the order of each stream."""

        async def query(tx: Transaction) -> Sequence[Any]:
            return await rows(tx, select(outbox).order_by(outbox.c.topic, outbox.c.key, outbox.c.seq))

        found = await self.database.read(query)
        return [Sent(row.topic, row.key, row.type, read_json_object(row.stamp).get("message", {})) for row in found]


def _delivery(found: Manifest | Message) -> Delivery:
    body = found.model_dump(mode="json")
    topic, role = SETTLEMENT_OUTCOMES, "core"
    if isinstance(found, Manifest):
        topic, role = (HOSPITAL_REQUESTS, "sz") if found.sender == HOSPITAL else (INSURER_RESPONSES, "hk")
    key = str(body["case_id"])
    stamp: Stamp = a_stamp(role=role, topic=topic, key=key, type=str(body["type"]))
    manifest = found if isinstance(found, Manifest) else None
    exchange = Exchange(stamp="stamp", manifest="manifest" if manifest else None)
    message = None if manifest else found
    return Delivery("core.claims", Fetched(topic, 0, 0, key, b""), exchange, stamp, NOW, manifest, message)
