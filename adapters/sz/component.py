"""Wiring of the Shenzhen edge: the only component in which a hospital's record is in clear."""

from adapters.sz.actions import Deps, answers
from adapters.sz.formats import FORMATS
from adapters.sz.routes import hospital_routes
from adapters.sz.tables import METADATA
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.topics import HOSPITAL_NOTICES
from gateway.runtime.component import Component, Subscription, on


class UnknownFormatError(Exception):
    """A setting names a hospital format that is not in the catalogue: the role refuses to start."""


class MissingInstitutionsError(Exception):
    """A hospital without institution codes could hand in anybody's bill: the role refuses to start."""


def build(deps: Deps) -> Component:
    unknown = sorted(set(deps.formats.values()) - set(FORMATS))
    if unknown:
        raise UnknownFormatError(f"no such hospital format: {', '.join(unknown)}")
    without = sorted(hospital for hospital in deps.formats if not deps.institutions.get(hospital))
    if without:
        raise MissingInstitutionsError(f"no institution codes for: {', '.join(without)}")
    notices = Subscription(
        HOSPITAL_NOTICES,
        (
            on(ClaimState, answers.follow_state),
            on(DecidedManifest, answers.store_answer, prepare=answers.open_answer),
            on(ReturnedManifest, answers.store_answer, prepare=answers.open_answer),
            on(DisputedManifest, answers.take_dispute),
            on(DisputeWithdrawnManifest, answers.take_withdrawal),
            on(Rejected, answers.take_rejection),
        ),
        answers.note_refused,
    )
    return Component(
        name="sz",
        deps=deps,
        metadata=METADATA,
        migrations="adapters.sz.migrations",
        subscriptions=(notices,),
        routers=(hospital_routes(deps),),
    )
