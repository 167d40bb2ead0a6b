"""Wiring of settlement."""

from functools import partial

from gateway.protocol.topics import SETTLEMENT_REQUESTS
from gateway.runtime.component import Component, Subscription
from settlement.actions import WRITER, Deps
from settlement.actions.closing import TWO_PERSON_ACTIONS
from settlement.handlers import on_obligation, on_refused, on_void_asked
from settlement.health import measure, why_not_ready
from settlement.jobs import JOBS
from settlement.operator_routes import operator_routes
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
        operator_routers=(operator_routes(deps),),
        jobs=JOBS,
        writer=WRITER,
        ready=partial(why_not_ready, deps),
        two_person_actions=TWO_PERSON_ACTIONS,
        measure=partial(measure, deps),
    )
