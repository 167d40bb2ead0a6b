"""Messages in, all from core: where a claim stands, what the insurer answered, what was refused."""

from adapters.sz.actions import Deps, answers
from adapters.sz.actions.answers import Prepared
from gateway.protocol.errors import GatewayError
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.runtime.component import Delivery
from gateway.runtime.storage.database import Transaction


async def prepare_decided(deps: Deps, delivery: Delivery) -> Prepared:
    return await answers.open_answer(deps, delivery, delivery.manifest_as(DecidedManifest))


async def prepare_returned(deps: Deps, delivery: Delivery) -> Prepared:
    return await answers.open_answer(deps, delivery, delivery.manifest_as(ReturnedManifest))


async def on_claim_state(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await answers.follow_state(tx, deps, delivery.message_as(ClaimState))


async def on_decided(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await answers.store_answer(tx, deps, delivery, delivery.manifest_as(DecidedManifest))


async def on_returned(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await answers.store_answer(tx, deps, delivery, delivery.manifest_as(ReturnedManifest))


async def on_disputed(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await answers.take_dispute(tx, deps, delivery, delivery.manifest_as(DisputedManifest))


async def on_dispute_withdrawn(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await answers.take_withdrawal(tx, deps, delivery, delivery.manifest_as(DisputeWithdrawnManifest))


async def on_rejected(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await answers.take_rejection(tx, deps, delivery.message_as(Rejected))


async def on_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    await answers.note_refused(tx, deps, delivery, error)
