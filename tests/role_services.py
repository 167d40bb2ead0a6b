"""The services of a role over a database, for a component that runs by itself in a test."""

from gateway.protocol.clock import Clock
from gateway.protocol.jose import PrivateKey
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import Keyring, TrustHolder
from gateway.runtime.delivery.outbox import Admission, Outbox, Sender
from gateway.runtime.services import RoleServices
from gateway.runtime.storage.database import Database
from gateway.runtime.web.feed import FeedSequencer
from tests.parties import world

STORAGE = bytes(range(32))


def role_services(
    database: Database,
    role: str,
    clock: Clock,
    *,
    keyring: Keyring | None = None,
    trust: TrustHolder | None = None,
    outbox: Outbox | None = None,
) -> RoleServices:
    """Build them with the world's release in force and a stamp key, unless given otherwise."""
    stamp = f"{role}/stamp/1"
    keys = keyring or Keyring({stamp: PrivateKey.generate(stamp, "Ed25519")}, STORAGE)
    if trust is None:
        trust = TrustHolder(world().trust)
        trust.install(world().signed, world().directory)
    vault = Vault(keys.storage)
    if outbox is None:
        sender = Sender(role, "hosted", keys.named(f"{role}/stamp/"), vault, trust, clock)
        outbox = Outbox(sender, Admission(100_000, 1 << 30))
    return RoleServices(
        database=database,
        outbox=outbox,
        keyring=keys,
        trust=trust,
        clock=clock,
        vault=vault,
        feed=FeedSequencer(database, clock, keys.storage),
    )
