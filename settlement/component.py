"""Wiring of settlement."""

from functools import partial

from gateway.protocol.messages.obligation import ObligationAsked
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.topics import SETTLEMENT_REQUESTS
from gateway.runtime.component import Component, Subscription, on
from settlement.actions import WRITER, Deps, obligations
from settlement.actions.closing import TWO_PERSON_ACTIONS
from settlement.handlers import on_refused
from settlement.health import measure, why_not_ready
from settlement.jobs import JOBS
from settlement.operator_routes import operator_routes
from settlement.routes import settlement_routes
from settlement.tables import METADATA


def build(deps: Deps) -> Component:
    requests = Subscription(
        SETTLEMENT_REQUESTS,
        (on(ObligationAsked, obligations.open_obligation), on(VoidAsked, obligations.void_obligation)),
        on_refused,
    )
    return Component(
        name="settlement",
        deps=deps,
        metadata=METADATA,
        migrations="settlement.migrations",
        subscriptions=(requests,),
        routers=(settlement_routes(deps),),
        operator_routers=(operator_routes(deps),),
        jobs=JOBS,
        writer=WRITER,
        ready=partial(why_not_ready, deps),
        two_person_actions=TWO_PERSON_ACTIONS,
        measure=partial(measure, deps),
    )
