"""港澳药械通: what a claim line says of a product's use, and the catalogue release it was judged against.

Until a catalogue has been loaded the release is the empty one, and every use is `UNDETERMINED`: missing evidence never
becomes a refusal without saying so.
"""

from pydantic import Field

from gateway.protocol.canonical import canonical, sha256_hex
from gateway.protocol.exchange import Message


class CatalogueRelease(Message):
    """A numbered snapshot of listings, designations, approvals and batches. Number 0 is the empty one."""

    release: int = Field(ge=0)
    rows: tuple[dict[str, str], ...] = Field(default=(), strict=False)

    @property
    def sha256(self) -> str:
        """Hash of the RFC 8785 bytes; decisions and records name the release by it."""
        return sha256_hex(canonical(self.model_dump(mode="json")))


EMPTY = CatalogueRelease(release=0)
