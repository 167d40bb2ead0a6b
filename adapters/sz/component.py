"""Wiring of the Shenzhen edge: the only component in which a hospital's record is in clear."""

from adapters.sz.actions import Deps
from adapters.sz.formats import FORMATS
from adapters.sz.handlers import (
    on_claim_state,
    on_decided,
    on_dispute_withdrawn,
    on_disputed,
    on_refused,
    on_rejected,
    on_returned,
    prepare_decided,
    prepare_returned,
)
from adapters.sz.routes import hospital_routes
from adapters.sz.tables import METADATA
from gateway.protocol.topics import HOSPITAL_NOTICES
from gateway.runtime.component import Component, Subscription


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
    handlers = {
        "claim_state": on_claim_state,
        "decided": on_decided,
        "returned": on_returned,
        "disputed": on_disputed,
        "dispute_withdrawn": on_dispute_withdrawn,
        "rejected": on_rejected,
    }
    prepare = {"decided": prepare_decided, "returned": prepare_returned}
    return Component(
        name="sz",
        deps=deps,
        metadata=METADATA,
        migrations="adapters.sz.migrations",
        subscriptions=(Subscription(HOSPITAL_NOTICES, handlers, on_refused, prepare),),
        routers=(hospital_routes(deps),),
    )
