"""Use cases of the insurer's desk, one file a subject, and what all of them get from the role.

Claims come in by `reception`, people answer them by `answering`, and `dispatch` sends what was signed.
"""

from dataclasses import dataclass

from gateway.client.authoring import Author
from gateway.client.insurer import InsurerClient
from gateway.protocol.jose import PrivateKey
from gateway.runtime.services import RoleDeps


@dataclass(frozen=True)
class Deps(RoleDeps):
    """`client` reaches the Hong Kong edge, over the network or in this process; `party` is whose desk this is."""

    client: InsurerClient
    party: str

    @property
    def author(self) -> Author:
        archive = self.keyring.named(f"{self.party}/seal/").public
        return Author(self.party, self.keyring.named(f"{self.party}/sign/"), archive)

    @property
    def seal_keys(self) -> tuple[PrivateKey, ...]:
        """Every key that dossiers to this party may be sealed to, oldest first."""
        held = self.keyring.keys
        return tuple(held[kid] for kid in sorted(held) if kid.startswith(f"{self.party}/seal/"))
