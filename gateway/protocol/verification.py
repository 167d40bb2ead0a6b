"""What a receiver checks, in one place: stamp, receipt, manifest, dossier hash, recipient, time.

Time is checked once, where a party's object comes in over HTTP; later receivers check the stamps, the author's key
at the receipt's `received_at`, and `now <= expires`.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import BadSignatureError, HeldError, InvalidInputError, MalformedInputError
from gateway.protocol.exchange import (
    Exchange,
    Manifest,
    Message,
    Stamp,
    parse_message,
    text_hash,
    within_window,
)
from gateway.protocol.jose import Typ, key_id, verify
from gateway.protocol.messages import parse_manifest, parse_role_message
from gateway.protocol.registry import Directory, Holder, Use


@dataclass(frozen=True, slots=True)
class Verified:
    """A delivery that holds: the stamp, when the first role received it, and the author's manifest or message."""

    stamp: Stamp
    received_at: datetime
    manifest: Manifest | None
    message: Message | None


def verify_stamp(token: str, directory: Directory) -> Stamp:
    """Verify a role's stamp; the key must be a role's stamp key, valid when it stamped, and name its own role."""
    kid = key_id(token, Typ.STAMP)
    holder = directory.holder(kid)
    stamp = parse_message(Stamp, read_json_object(verify(token, holder.public, Typ.STAMP)))
    directory.signer(kid, Use.STAMP, stamp.received_at)
    if holder.party.kind != "role" or holder.party.code != stamp.role:
        raise BadSignatureError("stamp.role")
    return stamp


def verify_exchange(
    exchange: Exchange, directory: Directory, *, topic: str, key: str, writer: str, now: datetime
) -> Verified:
    """Verify all of a delivery on `topic` under `key` that only role `writer` may send."""
    stamp = verify_stamp(exchange.stamp, directory)
    if stamp.topic != topic or stamp.key != key or stamp.role.partition("-")[0] != writer:
        raise BadSignatureError("stamp.stream")
    if stamp.manifest_sha256 != text_hash(exchange.manifest) or stamp.dossier_sha256 != text_hash(exchange.dossier):
        raise BadSignatureError("stamp.content")
    if now > stamp.expires:
        raise HeldError("exchange.expired")
    if exchange.manifest is None:
        if stamp.message is None:
            raise MalformedInputError("exchange.empty")
        _check_type(stamp, stamp.message.get("type"))
        return Verified(stamp, stamp.received_at, None, parse_role_message(stamp.message))
    received_at = _received_at(exchange, stamp, directory)
    manifest = verify_manifest(exchange.manifest, directory, received_at, accepting=False)
    _check_type(stamp, manifest.type)
    return Verified(stamp, received_at, manifest, None)


def _check_type(stamp: Stamp, found: object) -> None:
    """A worker chooses the handler by the stamp's type, so it must be that of the content."""
    if stamp.type != found:
        raise BadSignatureError("stamp.type")


def _received_at(exchange: Exchange, stamp: Stamp, directory: Directory) -> datetime:
    """Read the time of the first stamp, which travels on as `receipt`; it must be over the same manifest."""
    if exchange.receipt is None or exchange.receipt == exchange.stamp:
        return stamp.received_at
    receipt = verify_stamp(exchange.receipt, directory)
    if receipt.manifest_sha256 != stamp.manifest_sha256:
        raise BadSignatureError("receipt.content")
    return receipt.received_at


def manifest_signer(token: str, directory: Directory, at: datetime) -> Holder:
    return directory.signer(key_id(token, Typ.MANIFEST), Use.SIGN, at)


def verify_manifest(token: str, directory: Directory, at: datetime, *, accepting: bool) -> Manifest:
    """Verify the author's signature with a key valid at `at`; the sender it names must be the key's holder."""
    kid = key_id(token, Typ.MANIFEST)
    payload = verify(token, directory.holder(kid).public, Typ.MANIFEST)
    holder = manifest_signer(token, directory, at)
    manifest = parse_manifest(read_json_object(payload), accepting=accepting)
    if manifest.sender != holder.party.code:
        raise BadSignatureError("manifest.sender")
    return manifest


def check_sent_at(manifest: Manifest, now: datetime, window_s: int) -> None:
    """The time rule of the accepting edge: |sent_at - now| within the window (rule `exchange.clock_window_s`)."""
    if not within_window(manifest.sent_at, now, window_s):
        raise InvalidInputError("exchange.time-window")
