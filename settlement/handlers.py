"""Messages in from core: obligations, and requests to stop them. What takes them stands in `actions.py`."""

from gateway.protocol.errors import GatewayError
from gateway.runtime.component import Delivery
from gateway.runtime.storage.database import Transaction
from settlement.actions import Deps


async def on_refused(tx: Transaction, deps: Deps, delivery: Delivery, error: GatewayError) -> None:
    """Core is ours: what settlement refuses of it is our own fault, so the topic halts instead of going on."""
    del tx, deps, delivery
    raise error
