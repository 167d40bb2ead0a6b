"""Wiring of the claims component: what it reads and which function takes it."""

from gateway.claims.actions import Deps, lifecycle
from gateway.claims.actions.closing import TWO_PERSON_ACTIONS
from gateway.claims.routes import claims_routes
from gateway.claims.tables import METADATA
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.outcome import Outcome
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_RESPONSES, SETTLEMENT_OUTCOMES
from gateway.runtime.component import Component, Subscription, on


def build(deps: Deps) -> Component:
    return Component(
        name="claims",
        deps=deps,
        metadata=METADATA,
        migrations="gateway.claims.migrations",
        subscriptions=(
            Subscription(
                HOSPITAL_REQUESTS,
                (
                    on(SubmittedManifest, lifecycle.receive, accept=True),
                    on(DisputedManifest, lifecycle.dispute, accept=True),
                    on(DisputeWithdrawnManifest, lifecycle.withdraw_dispute, accept=True),
                    on(GivenUpManifest, lifecycle.give_up, accept=True),
                ),
                lifecycle.refuse,
            ),
            Subscription(
                INSURER_RESPONSES,
                (
                    on(AcknowledgedManifest, lifecycle.acknowledge, accept=True),
                    on(ReturnedManifest, lifecycle.return_unprocessed, accept=True),
                    on(DisputedManifest, lifecycle.dispute, accept=True),
                    on(DisputeWithdrawnManifest, lifecycle.withdraw_dispute, accept=True),
                    on(DecidedManifest, lifecycle.decide, accept=True),
                ),
                lifecycle.refuse,
            ),
            Subscription(SETTLEMENT_OUTCOMES, (on(Outcome, lifecycle.follow_money),), lifecycle.refuse),
        ),
        routers=(claims_routes(deps),),
        two_person_actions=TWO_PERSON_ACTIONS,
    )
