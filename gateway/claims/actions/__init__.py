"""Use cases of the claims component, one file a subject, and what all of them get from the role."""

from dataclasses import dataclass

from gateway.protocol.claim_terms import PaidKind
from gateway.runtime.services import RoleDeps


@dataclass(frozen=True)
class Deps(RoleDeps):
    third_party_kinds: frozenset[PaidKind]
    """From the rule row `claim.paid_by_third_party_kinds`."""
