"""R4 Bundle of type collection: the content of a dossier, one resource an entry."""

from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.fhir.claim import Claim
from gateway.protocol.fhir.claim_response import ClaimResponse
from gateway.protocol.fhir.elements import Element, Identifier, Instant, Many, Uri
from gateway.protocol.fhir.resources import Consent, Coverage, OperationOutcome, Organization, Patient, Resource

R = TypeVar("R", bound=Resource)
Kind = type[R]  # inside the class `type` is the element of that name

AnyResource = Annotated[
    Claim | ClaimResponse | Consent | Coverage | OperationOutcome | Organization | Patient,
    Field(discriminator="resource_type"),
]


class BundleEntry(Element):
    full_url: Uri | None = None
    resource: AnyResource


class Bundle(Resource):
    """A set of resources that travel together; two entries of one `fullUrl` are refused (R4 invariant bdl-7).

    A Bundle has no extensions in R4: `identifier` is the place for a business id of the whole, `timestamp` the moment
    it was put together. Those of a partner's server are left out, as any element that R4 does not know.
    """

    never_read: ClassVar[frozenset[str]] = frozenset(("contained", "extension"))

    resource_type: Literal["Bundle"] = "Bundle"
    identifier: Identifier | None = None
    type: Literal["collection"]
    timestamp: Instant | None = None
    entry: Many[BundleEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_a_bundle(self) -> Self:
        if self.extension:
            raise ValueError("a Bundle has no extensions")
        urls = [entry.full_url for entry in self.entry if entry.full_url is not None]
        if len(set(urls)) != len(urls):
            raise ValueError("two entries share a fullUrl")
        return self

    def all_of(self, kind: Kind[R]) -> tuple[R, ...]:
        """Return the resources of `kind` in order of entry."""
        resources: tuple[Resource, ...] = tuple(entry.resource for entry in self.entry)
        return tuple(resource for resource in resources if isinstance(resource, kind))

    def one(self, kind: Kind[R]) -> R:
        """Return the only resource of `kind`; none or several is `MalformedInputError("fhir.not-exactly-one")`."""
        found = self.all_of(kind)
        if len(found) != 1:
            raise MalformedInputError("fhir.not-exactly-one")
        return found[0]
