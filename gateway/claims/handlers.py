"""Messages in: what hospitals and insurers say of claims, and what settlement says of money."""

from gateway.claims import actions
from gateway.claims.actions import Deps
from gateway.protocol.claims import AcknowledgedManifest, DisputedManifest, ReturnedManifest, SubmittedManifest
from gateway.protocol.decisions import DecidedManifest
from gateway.protocol.errors import GatewayError
from gateway.protocol.settlements import Outcome
from gateway.runtime.component import Delivery
from gateway.runtime.database import Transaction


async def on_submitted(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.receive(tx, deps, delivery, delivery.manifest_as(SubmittedManifest))


async def on_acknowledged(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.acknowledge(tx, deps, delivery, delivery.manifest_as(AcknowledgedManifest))


async def on_returned(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.return_unprocessed(tx, deps, delivery, delivery.manifest_as(ReturnedManifest))


async def on_disputed(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.dispute(tx, deps, delivery, delivery.manifest_as(DisputedManifest))


async def on_decided(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.decide(tx, deps, delivery, delivery.manifest_as(DecidedManifest))


async def on_outcome(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.follow_money(tx, deps, delivery, delivery.message_as(Outcome))


async def on_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    await actions.refuse(tx, deps, delivery, error)
