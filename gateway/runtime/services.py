"""What a role gives each of its components: its database, outbox, keys, trust, clock, case secrets and feed.

A component's `Deps` is a `RoleDeps` with what that component alone needs besides; it is frozen, and nothing that a
use case changes is a member of it.
"""

from dataclasses import dataclass

from gateway.protocol.clock import Clock
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.storage.database import Database
from gateway.runtime.web.feed import FeedSequencer


@dataclass(frozen=True, slots=True)
class RoleServices:
    """One role's own; in role `all` each of the six has another."""

    database: Database
    outbox: Outbox
    keyring: Keyring
    trust: TrustHolder
    clock: Clock
    vault: Vault
    feed: FeedSequencer


@dataclass(frozen=True)
class RoleDeps:
    """What use cases are given: the role's services, under their own names."""

    services: RoleServices

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def outbox(self) -> Outbox:
        return self.services.outbox

    @property
    def keyring(self) -> Keyring:
        return self.services.keyring

    @property
    def trust(self) -> TrustHolder:
        return self.services.trust

    @property
    def clock(self) -> Clock:
        return self.services.clock

    @property
    def vault(self) -> Vault:
        return self.services.vault

    @property
    def feed(self) -> FeedSequencer:
        return self.services.feed
