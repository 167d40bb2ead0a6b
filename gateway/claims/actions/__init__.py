"""Use cases of the claims component, one file a subject, and what all of them get from the role."""

from dataclasses import dataclass

from gateway.protocol.claims import PaidKind
from gateway.protocol.clock import Clock
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.storage.database import Database


@dataclass(frozen=True)
class Deps:
    database: Database
    outbox: Outbox
    trust: TrustHolder
    clock: Clock
    third_party_kinds: frozenset[PaidKind]
    """From the rule row `claim.paid_by_third_party_kinds`."""
