"""The exchange object: `{manifest, dossier?, receipt, stamp}`, one JSON object of strings, on HTTP and on the bus.

* Manifest: compact JWS (RFC 7515) by the author over a fixed allow-list of clear fields. `content_sha256` in it is
  the hash of the dossier's plain bytes, so the author's signature covers the content, hides it, and stays valid when
  the content is sealed again.
* Dossier: JWE in JSON form (RFC 7516), ECDH-ES+A256KW and A256GCM, to the other party and the author's archive key,
  over gzip of the content. A 32-byte nonce inside the content keeps its hash from being guessed.
* Stamp: compact JWS by the sending role. The first stamp is the sender's receipt and travels on unchanged.

JWS are signed and verified over bytes as sent. Algorithms come from the key's registry row, never from the token.
"""

import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.protocol.canonical import (
    BODY_BYTES_MAX,
    compact,
    parse_b64url,
    read_any_number,
    read_json_object,
    sha256_hex,
)
from gateway.protocol.errors import Fault, InvalidInputError, MalformedInputError, TooLargeError
from gateway.protocol.facts import bounds_of

EXCHANGE_BYTES_MAX = 256 * 1024
CONTENT_BYTES_MAX = 8 * 1024 * 1024
NONCE_BYTES = 32
GZIP_LEVEL = 1
"""The fastest: a 30-line dossier grows from 3.1 to 3.6 KB and takes a third of the time."""
CLAIM_VERSION_MAX = 9999

MessageId = Annotated[str, Field(pattern=r"^[!-~]{8,64}$")]
"""An id of a message, case or claim: visible ASCII, since every database and log must be able to hold it."""

Code = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
"""A token, party code or reference in clear: visible ASCII, so that it is never a person's name in Chinese."""


class Message(BaseModel):
    """What crosses: frozen, and unknown fields are refused where a message is authored or accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


M = TypeVar("M", bound=Message)


class Manifest(Message):
    """The clear fields of every exchange object; each message type adds its own allow-list."""

    msg_id: MessageId
    type: str
    case_id: MessageId
    claim_id: MessageId
    claim_version: int = Field(ge=1, le=CLAIM_VERSION_MAX)
    based_on: int | None = None
    in_reply_to: MessageId | None = None
    sender: Code
    recipients: tuple[Code, ...] = Field(min_length=1, max_length=8, strict=False)
    sent_at: AwareDatetime = Field(strict=False)
    content_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


EPOCH_MAX = 1_000_000
"""More restores than any role lives to see; a bound, so that no stamp can name an epoch that none can follow."""


class Stamp(Message):
    """What the sending role vouches for. `stream` is (role, topic, key, epoch); `seq` counts in it from 1.

    A role whose database was set back to an older backup numbers anew in its next `epoch`; absent, it is the first.
    """

    eid: str
    role: str
    custody: str
    topic: str
    key: str
    seq: int = Field(ge=1)
    type: str
    received_at: AwareDatetime = Field(strict=False)
    expires: AwareDatetime = Field(strict=False)
    registry_release: int = Field(ge=0)
    manifest_sha256: str | None = None
    dossier_sha256: str | None = None
    message: dict[str, Any] | None = None
    epoch: int | None = Field(default=None, ge=2, le=EPOCH_MAX)

    @property
    def stream_epoch(self) -> int:
        return self.epoch or 1


@dataclass(frozen=True, slots=True)
class Exchange:
    """The object itself, as strings; nothing in it is trusted before it is verified."""

    stamp: str
    manifest: str | None = None
    dossier: str | None = None
    receipt: str | None = None

    def encode(self) -> bytes:
        parts = {"manifest": self.manifest, "dossier": self.dossier, "receipt": self.receipt, "stamp": self.stamp}
        return compact({name: part for name, part in parts.items() if part is not None})

    @classmethod
    def decode(cls, raw: bytes) -> "Exchange":
        """Read the wire form; unknown members, non-strings or more than 256 KiB are refused."""
        parts = _strings(read_json_object(raw, bytes_max=EXCHANGE_BYTES_MAX))
        if "stamp" not in parts:
            raise MalformedInputError("exchange.malformed")
        return cls(**parts)

    def restamped(self, stamp: str) -> "Exchange":
        return replace(self, stamp=stamp)


def _strings(found: Mapping[str, Any]) -> dict[str, str]:
    allowed = {"manifest", "dossier", "receipt", "stamp"}
    if not set(found) <= allowed or not all(isinstance(part, str) for part in found.values()):
        raise MalformedInputError("exchange.malformed")
    return dict(found)


@dataclass(frozen=True, slots=True)
class Posted:
    """What a party posts over HTTP: a manifest and, where its type has content, a dossier. Roles add stamps."""

    manifest: str
    dossier: str | None = None

    def encode(self) -> bytes:
        parts = {"manifest": self.manifest, "dossier": self.dossier}
        return compact({name: part for name, part in parts.items() if part is not None})

    @classmethod
    def decode(cls, raw: bytes) -> "Posted":
        if len(raw) > EXCHANGE_BYTES_MAX:
            raise TooLargeError("exchange.too-large", facts={"bytes_max": EXCHANGE_BYTES_MAX})
        parts = read_json_object(raw, bytes_max=EXCHANGE_BYTES_MAX)
        names = ("manifest", "dossier")
        faults = [] if "manifest" in parts else [Fault("field.missing", "/manifest")]
        faults += [Fault("field.string-type", f"/{name}") for name in names if not isinstance(parts.get(name, ""), str)]
        if not set(parts) <= set(names):
            # an unknown name came from outside too, so the object it is in stands for it
            faults.append(Fault("field.extra-forbidden"))
        if faults:
            raise MalformedInputError("exchange.malformed", faults=faults)
        return cls(**parts)


def pack(content: bytes) -> bytes:
    """Gzip `content` with a fixed header, so that the same content gives the same bytes and the same hash."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=GZIP_LEVEL) as stream:
        stream.write(content)
    return buffer.getvalue()


def unpack(packed: bytes) -> bytes:
    """Inflate at most 8 MiB; anything that is not one whole gzip member is `dossier.malformed`."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        content = inflate.decompress(packed, CONTENT_BYTES_MAX + 1)
    except zlib.error:
        raise MalformedInputError("dossier.malformed") from None
    if len(content) > CONTENT_BYTES_MAX:
        raise TooLargeError("claim.too-large", facts={"bytes_max": CONTENT_BYTES_MAX})
    if not inflate.eof or inflate.unused_data:
        raise MalformedInputError("dossier.malformed")
    return content


def content_hash(packed: bytes) -> str:
    return sha256_hex(packed)


def text_hash(text: str | None) -> str | None:
    """Hash a manifest or dossier as it travels, for the stamp."""
    return None if text is None else sha256_hex(text.encode())


def within_window(sent_at: datetime, now: datetime, window_s: int) -> bool:
    return abs((sent_at - now).total_seconds()) <= window_s


def faults_of(error: ValidationError, prefix: str = "", *, name_unknown: bool = False) -> list[Fault]:
    """Turn a pydantic error into faults: places and codes, never the value.

    The name of an unknown field is text somebody sent: the fault points at the object that holds it, unless
    `name_unknown` says that the reader is the one who wrote it (a settings file).
    """
    faults = []
    for detail in error.errors(include_url=False, include_input=False):
        place = detail["loc"] if name_unknown or detail["type"] != "extra_forbidden" else detail["loc"][:-1]
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)
        faults.append(Fault(f"field.{detail['type'].replace('_', '-')}", prefix + pointer, bounds_of(detail)))
    return faults


def parse_message(model: type[M], found: Mapping[str, Any]) -> M:
    """Validate a mapping as `model`; `InvalidInputError` with every fault named."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise InvalidInputError("message.invalid", faults=faults_of(error)) from None


def read_payload(token: str, *, bytes_max: int = BODY_BYTES_MAX, any_number: bool = False) -> dict[str, Any]:
    """Read a compact JWS payload WITHOUT verifying it: only for choosing the key that then verifies it.

    Numbers are integers only, as in our own messages; with `any_number` those of others, see `read_any_number`.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise MalformedInputError("jws.malformed")
    odd_number = read_any_number if any_number else None
    return read_json_object(parse_b64url(parts[1]), bytes_max=bytes_max, decimals=any_number, odd_number=odd_number)


def check_sizes(exchange_parts: Sequence[str | None]) -> None:
    """Refuse what would not fit on the bus: the parts and 16 KiB for receipt, stamp and names."""
    parts_bytes_max = EXCHANGE_BYTES_MAX - 16 * 1024
    if sum(len(part) for part in exchange_parts if part) > parts_bytes_max:
        raise InvalidInputError("claim.too-large", facts={"bytes_max": parts_bytes_max})
