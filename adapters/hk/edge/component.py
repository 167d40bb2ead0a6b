"""Wiring of the Hong Kong edge. It holds no insurer key: what it stores it cannot open."""

from adapters.hk.edge import actions
from adapters.hk.edge.actions import Deps
from adapters.hk.edge.routes import inbox_routes
from adapters.hk.edge.tables import METADATA
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.runtime.component import Component, Subscription, on


def build(deps: Deps) -> Component:
    deliveries = Subscription(
        INSURER_DELIVERIES,
        (
            on(SubmittedManifest, actions.present),
            on(DisputedManifest, actions.present_message),
            on(DisputeWithdrawnManifest, actions.present_message),
            on(GivenUpManifest, actions.present_message),
            on(Accepted, actions.show_outcome),
            on(Rejected, actions.show_outcome),
            on(ClaimState, actions.show_state),
        ),
        actions.note_refused,
    )
    return Component(
        name="edge",
        deps=deps,
        metadata=METADATA,
        migrations="adapters.hk.edge.migrations",
        subscriptions=(deliveries,),
        routers=(inbox_routes(deps),),
    )
