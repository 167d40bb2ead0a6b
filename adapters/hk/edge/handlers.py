"""Messages in from core: claims for insurers, what hospitals say of them, and core's word on where they stand."""

from adapters.hk.edge import actions
from adapters.hk.edge.actions import Deps
from gateway.protocol.errors import GatewayError
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.runtime.component import Delivery
from gateway.runtime.storage.database import Transaction


async def on_submitted(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.present(tx, deps, delivery, delivery.manifest_as(SubmittedManifest))


async def on_disputed(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.present_message(tx, deps, delivery, delivery.manifest_as(DisputedManifest))


async def on_dispute_withdrawn(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.present_message(tx, deps, delivery, delivery.manifest_as(DisputeWithdrawnManifest))


async def on_given_up(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.present_message(tx, deps, delivery, delivery.manifest_as(GivenUpManifest))


async def on_claim_state(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.show_state(tx, deps, delivery, delivery.message_as(ClaimState))


async def on_accepted(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.show_outcome(tx, deps, delivery, delivery.message_as(Accepted))


async def on_rejected(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await actions.show_outcome(tx, deps, delivery, delivery.message_as(Rejected))


async def on_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    await actions.note_refused(tx, deps, delivery, error)
