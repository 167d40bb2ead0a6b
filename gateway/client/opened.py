"""A claim as its reader opens it: every signature verified, the dossier opened, content held against the manifest.

What is wrong with stamp, receipt or the author's signature is raised: such bytes are nobody's claim. What is wrong
inside the dossier is a difference, for the author has signed for it and is told with a signed `disputed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway.client.comparison import compare
from gateway.protocol.differences import UNREADABLE, difference_of
from gateway.protocol.errors import BadSignatureError, RefuseError
from gateway.protocol.exchange import Exchange, unpack
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.bundle import Bundle
from gateway.protocol.fhir.claim import Claim, Item
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.jose import PrivateKey
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.opening import open_dossier
from gateway.protocol.registry import Directory
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.protocol.verification import Verified, verify_exchange, verify_stamp

__all__ = [
    "OpenedClaim",
    "OpenedLine",
    "compare",
    "lines_of",
    "open_submitted",
    "read_outcome",
    "read_said",
    "read_state",
]


@dataclass(frozen=True, slots=True)
class OpenedLine:
    """One line of the bill, `index` from 0 as decisions count. The amount is the signed one, in minor units."""

    index: int
    amount_minor: int
    text: str = field(default="", repr=False)
    code: str | None = field(default=None, repr=False)
    category: str | None = field(default=None, repr=False)
    programme: bool = field(default=False, repr=False)
    """A 港澳药械通 product; its evidence stands in the item's extension."""


@dataclass(frozen=True, slots=True)
class OpenedClaim:
    """`differences` are JSON Pointers into the manifest, or one of `/dossier`, `/content_sha256`, `/content`.

    `content` is the FHIR collection Bundle as JSON bytes; it never shows in `repr`.
    """

    manifest: SubmittedManifest
    token: str = field(repr=False)
    """The hospital's signed manifest, a compact JWS."""
    received_at: datetime
    cause: str
    """Id of the audit record under which it was delivered."""
    content: bytes | None = field(repr=False)
    bundle: Bundle | None = field(repr=False)
    lines: tuple[OpenedLine, ...] = field(repr=False)
    differences: tuple[str, ...]

    @property
    def claim_id(self) -> str:
        return self.manifest.claim_id

    @property
    def case_id(self) -> str:
        return self.manifest.case_id

    @property
    def msg_id(self) -> str:
        return self.manifest.msg_id


def open_submitted(
    exchange: Exchange, directory: Directory, seal_keys: Sequence[PrivateKey], *, party: str, now: datetime
) -> OpenedClaim:
    """Verify and open a claim delivered to `party`.

    Raises as `verify_exchange` does, and `BadSignatureError` if it is no claim or addressed to somebody else.
    """
    verified = _verified(exchange, directory, now)
    manifest = verified.manifest
    if not isinstance(manifest, SubmittedManifest) or exchange.manifest is None:
        raise BadSignatureError("exchange.not-a-claim")
    if party not in manifest.recipients or manifest.case_id != verified.stamp.key:
        raise BadSignatureError("exchange.not-for-us")
    content, bundle, differences = _read_dossier(exchange.dossier, manifest, seal_keys)
    return OpenedClaim(
        manifest=manifest,
        token=exchange.manifest,
        received_at=verified.received_at,
        cause=verified.stamp.eid,
        content=content,
        bundle=bundle,
        lines=lines_of(manifest, bundle),
        differences=differences,
    )


def read_outcome(exchange: Exchange, directory: Directory, *, party: str, now: datetime) -> Accepted | Rejected:
    """Verify what core says of a message of `party`; raises as `verify_exchange`, or if it is another's."""
    verified = _verified(exchange, directory, now)
    message = verified.message
    if not isinstance(message, (Accepted, Rejected)):
        raise BadSignatureError("exchange.not-an-outcome")
    if message.to != party or message.case_id != verified.stamp.key:
        raise BadSignatureError("exchange.not-for-us")
    return message


HospitalSaid = DisputedManifest | DisputeWithdrawnManifest | GivenUpManifest
"""What a hospital says of a claim after it has submitted it."""


def read_said(exchange: Exchange, directory: Directory, *, party: str, now: datetime) -> HospitalSaid:
    """Verify what a hospital says of a claim to `party`; raises as `verify_exchange`, or if it is to another."""
    verified = _verified(exchange, directory, now)
    manifest = verified.manifest
    if not isinstance(manifest, HospitalSaid):
        raise BadSignatureError("exchange.not-an-outcome")
    if party not in manifest.recipients or manifest.case_id != verified.stamp.key:
        raise BadSignatureError("exchange.not-for-us")
    return manifest


def read_state(exchange: Exchange, directory: Directory, *, party: str, now: datetime) -> ClaimState:
    """Verify where core says a claim of `party` stands; raises as `verify_exchange`, or if it is another's."""
    verified = _verified(exchange, directory, now)
    message = verified.message
    if not isinstance(message, ClaimState):
        raise BadSignatureError("exchange.not-an-outcome")
    if message.to != party or message.case_id != verified.stamp.key:
        raise BadSignatureError("exchange.not-for-us")
    return message


def _verified(exchange: Exchange, directory: Directory, now: datetime) -> Verified:
    """Verify a delivery of core; the case it names must be the stream it came in."""
    key = verify_stamp(exchange.stamp, directory).key
    return verify_exchange(exchange, directory, topic=INSURER_DELIVERIES, key=key, writer="core", now=now)


def _read_dossier(
    dossier: str | None, manifest: SubmittedManifest, keys: Sequence[PrivateKey]
) -> tuple[bytes | None, Bundle | None, tuple[str, ...]]:
    """Open, inflate, read and compare; the differences say at which of these steps it ended."""
    try:
        packed = open_dossier(dossier, manifest, *keys)
    except RefuseError as error:
        return None, None, (difference_of(error),)
    content: bytes | None = None
    try:
        content = unpack(packed)
        bundle = read_bundle(content)
    except RefuseError:
        return content, None, (UNREADABLE,)
    return content, bundle, compare(bundle, manifest)


def lines_of(manifest: SubmittedManifest, bundle: Bundle | None) -> tuple[OpenedLine, ...]:
    """Join the signed amounts with what the dossier says of each line; without a dossier the amounts stand alone."""
    claims = () if bundle is None else bundle.all_of(Claim)
    items = claims[0].item if claims else ()
    return tuple(
        _line(index, amount_minor, items[index] if index < len(items) else None)
        for index, amount_minor in enumerate(manifest.line_amounts_minor)
    )


def _line(index: int, amount_minor: int, item: Item | None) -> OpenedLine:
    if item is None:
        return OpenedLine(index, amount_minor)
    product = item.product_or_service
    return OpenedLine(
        index=index,
        amount_minor=amount_minor,
        text=product.text or next((coding.display for coding in product.coding if coding.display), ""),
        code=next((coding.code for coding in product.coding if coding.code), None),
        category=None if item.category is None else item.category.code_of(systems.CHARGE_CATEGORY),
        programme=any(extension.url == systems.PROGRAMME for extension in item.extension),
    )
