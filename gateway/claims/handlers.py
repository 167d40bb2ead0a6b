"""Messages in: what hospitals and insurers say of claims, and what settlement says of money."""

from typing import TypeVar

from gateway.claims.actions import Deps, lifecycle
from gateway.protocol.acceptance import check_acceptance
from gateway.protocol.errors import GatewayError
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.outcome import Outcome
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.runtime.component import Delivery
from gateway.runtime.storage.database import Transaction

M = TypeVar("M", bound=Manifest)


def _newly_arrived(deps: Deps, delivery: Delivery, kind: type[M]) -> M:
    """Return a party's manifest once each of its clear fields stands in its table; stored ones are never asked."""
    manifest = delivery.manifest_as(kind)
    check_acceptance(manifest, deps.trust.directory)
    return manifest


async def on_submitted(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.receive(tx, deps, delivery, _newly_arrived(deps, delivery, SubmittedManifest))


async def on_acknowledged(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.acknowledge(tx, deps, delivery, _newly_arrived(deps, delivery, AcknowledgedManifest))


async def on_returned(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.return_unprocessed(tx, deps, delivery, _newly_arrived(deps, delivery, ReturnedManifest))


async def on_disputed(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.dispute(tx, deps, delivery, _newly_arrived(deps, delivery, DisputedManifest))


async def on_dispute_withdrawn(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.withdraw_dispute(tx, deps, delivery, _newly_arrived(deps, delivery, DisputeWithdrawnManifest))


async def on_given_up(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.give_up(tx, deps, delivery, _newly_arrived(deps, delivery, GivenUpManifest))


async def on_decided(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.decide(tx, deps, delivery, _newly_arrived(deps, delivery, DecidedManifest))


async def on_outcome(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await lifecycle.follow_money(tx, deps, delivery, delivery.message_as(Outcome))


async def on_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    await lifecycle.refuse(tx, deps, delivery, error)
