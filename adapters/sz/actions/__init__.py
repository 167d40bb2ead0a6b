"""Use cases of the Shenzhen edge, one file a subject, and what all of them get from the role."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.sz.findings import Site
from adapters.sz.pins import Pins
from gateway.protocol.errors import ForbiddenError
from gateway.protocol.rules import Rules
from gateway.runtime.services import RoleDeps


@dataclass(frozen=True)
class Deps(RoleDeps):
    """`pins` names the keys it may seal to, `formats` each hospital's format, `institutions` its national codes.

    Every hospital of `formats` has institutions: a bill of another one is refused.
    """

    pins: Pins
    formats: Mapping[str, str]
    institutions: Mapping[str, frozenset[str]]
    rules: Rules
    bill_bytes_max: int = 4 << 20

    def site(self, hospital: str) -> Site:
        """Return how this hospital writes its bills; `ForbiddenError` for a party that is no hospital of ours."""
        if hospital not in self.formats or hospital not in self.keyring.tokens:
            raise ForbiddenError("hospital.not-served-here")
        return Site(self.formats[hospital], self.institutions[hospital])
