"""Records in: signed entries of every role, as they lie on the bus."""

from audit.actions import Deps
from gateway.runtime.bus.port import Fetched


async def take_records(deps: Deps, fetched: list[Fetched]) -> None:
    await deps.sequencer.take(fetched)
