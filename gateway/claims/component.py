"""Wiring of the claims component: what it reads and which function takes it."""

from gateway.claims.actions import Deps
from gateway.claims.actions.closing import TWO_PERSON_ACTIONS
from gateway.claims.handlers import (
    on_acknowledged,
    on_decided,
    on_dispute_withdrawn,
    on_disputed,
    on_given_up,
    on_outcome,
    on_refused,
    on_returned,
    on_submitted,
)
from gateway.claims.routes import claims_routes
from gateway.claims.tables import METADATA
from gateway.protocol.messages import types_on
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_RESPONSES, SETTLEMENT_OUTCOMES
from gateway.runtime.component import Component, Subscription


def build(deps: Deps) -> Component:
    return Component(
        name="claims",
        deps=deps,
        metadata=METADATA,
        migrations="gateway.claims.migrations",
        subscriptions=(
            Subscription(
                HOSPITAL_REQUESTS,
                {
                    "submitted": on_submitted,
                    "disputed": on_disputed,
                    "dispute_withdrawn": on_dispute_withdrawn,
                    "given_up": on_given_up,
                },
                on_refused,
            ),
            Subscription(
                INSURER_RESPONSES,
                {
                    "acknowledged": on_acknowledged,
                    "returned": on_returned,
                    "disputed": on_disputed,
                    "dispute_withdrawn": on_dispute_withdrawn,
                    "decided": on_decided,
                },
                on_refused,
            ),
            Subscription(SETTLEMENT_OUTCOMES, dict.fromkeys(types_on(SETTLEMENT_OUTCOMES), on_outcome), on_refused),
        ),
        routers=(claims_routes(deps),),
        two_person_actions=TWO_PERSON_ACTIONS,
    )
