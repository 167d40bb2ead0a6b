"""Wiring of the Hong Kong edge. It holds no insurer key: what it stores it cannot open."""

from adapters.hk.edge.actions import Deps
from adapters.hk.edge.handlers import (
    on_accepted,
    on_claim_state,
    on_dispute_withdrawn,
    on_disputed,
    on_given_up,
    on_refused,
    on_rejected,
    on_submitted,
)
from adapters.hk.edge.routes import inbox_routes
from adapters.hk.edge.tables import METADATA
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.runtime.component import Component, Subscription


def build(deps: Deps) -> Component:
    handlers = {
        "submitted": on_submitted,
        "disputed": on_disputed,
        "dispute_withdrawn": on_dispute_withdrawn,
        "given_up": on_given_up,
        "accepted": on_accepted,
        "rejected": on_rejected,
        "claim_state": on_claim_state,
    }
    return Component(
        name="edge",
        deps=deps,
        metadata=METADATA,
        migrations="adapters.hk.edge.migrations",
        subscriptions=(Subscription(INSURER_DELIVERIES, handlers, on_refused),),
        routers=(inbox_routes(deps),),
    )
