"""Wiring of the participants component: core is the authority, every other role holds a replica."""

from gateway.participants import store
from gateway.participants.actions import Deps, publish
from gateway.participants.handlers import take_releases
from gateway.participants.routes import registry_routes
from gateway.participants.tables import METADATA
from gateway.protocol.topics import REGISTRY_RELEASES
from gateway.runtime.component import Component, Job, Verbatim


def build(deps: Deps) -> Component:
    authority = deps.source is not None

    async def ready() -> str | None:
        return None if deps.trust.number else "no registry release yet"

    return Component(
        name="participants",
        deps=deps,
        metadata=METADATA,
        migrations="gateway.participants.migrations",
        verbatim=() if authority else (Verbatim(REGISTRY_RELEASES, take_releases),),
        routers=(registry_routes(deps),),
        jobs=(Job("participants.publish", 1.0, publish),) if authority else (),
        again={REGISTRY_RELEASES: store.unmark_published} if authority else {},
        ready=ready,
    )
