"""Wiring of the insurer's desk: timers that pull and send, and an API for the insurer's people. It has no topics."""

from adapters.hk.desk.actions import Deps
from adapters.hk.desk.jobs import JOBS
from adapters.hk.desk.routes import desk_routes
from adapters.hk.desk.tables import METADATA
from gateway.runtime.component import Component


def build(deps: Deps) -> Component:
    async def ready() -> str | None:
        return None if deps.trust.number else "no registry release yet"

    return Component(
        name="desk",
        deps=deps,
        metadata=METADATA,
        migrations="adapters.hk.desk.migrations",
        routers=(desk_routes(deps),),
        jobs=JOBS,
        ready=ready,
    )
