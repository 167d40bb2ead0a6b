"""Messages in from core: obligations, and requests to stop them."""

from gateway.protocol.errors import GatewayError
from gateway.protocol.messages.obligation import ObligationAsked
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.runtime.component import Delivery
from gateway.runtime.storage.database import Transaction
from settlement.actions import Deps, obligations


async def on_obligation(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await obligations.open_obligation(tx, deps, delivery, delivery.message_as(ObligationAsked))


async def on_void_asked(tx: Transaction, deps: Deps, delivery: Delivery) -> None:
    await obligations.void_obligation(tx, deps, delivery, delivery.message_as(VoidAsked))


async def on_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    """Core is ours: what settlement refuses of it is our own fault, so the topic halts instead of going on."""
    del tx, deps, delivery
    raise error
