"""Wiring of settlement."""

from gateway.protocol.topics import SETTLEMENT_REQUESTS
from gateway.runtime.component import Component, Subscription
from settlement.actions import WRITER, Deps
from settlement.handlers import on_obligation, on_refused, on_void_asked
from settlement.jobs import JOBS
from settlement.routes import settlement_routes
from settlement.tables import METADATA


def build(deps: Deps) -> Component:
    handlers = {"obligation": on_obligation, "void_asked": on_void_asked}
    return Component(
        name="settlement",
        deps=deps,
        metadata=METADATA,
        migrations="settlement.migrations",
        subscriptions=(Subscription(SETTLEMENT_REQUESTS, handlers, on_refused),),
        routers=(settlement_routes(deps),),
        jobs=JOBS,
        writer=WRITER,
    )
