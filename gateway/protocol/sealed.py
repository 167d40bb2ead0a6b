"""The form of a dossier that anybody may read without a key: a JWE in JSON form (RFC 7516 section 7.2).

General and flattened serialisation are read, and each header parameter wherever the RFC lets it stand: `protected`,
shared `unprotected`, a recipient's `header`. A parameter in two of them is refused (section 7.2.1), so are another
algorithm than ECDH-ES+A256KW over X25519 with A256GCM (RFC 7518 sections 4.6 and 5.3, RFC 8037 section 3.2), `zip`,
and `crit`. Parameters and members that nobody defined are ignored by a reader (section 4.2) and listed in
`Sealed.surplus`, since an accepting edge takes no text in clear that the protocol does not know.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.protocol.canonical import parse_b64url, read_any_number, read_json_object
from gateway.protocol.errors import BadSignatureError, Fault, MalformedInputError, RefuseError
from gateway.protocol.exchange import EXCHANGE_BYTES_MAX
from gateway.protocol.jose import SEAL_ALGORITHM, SEAL_ENCRYPTION

HEADER_BYTES_MAX = 4096
RECIPIENTS_MAX = 16
IV_BYTES, TAG_BYTES = 12, 16
WRAPPED_KEY_BYTES = 40
"""A 256-bit content key under AES Key Wrap (RFC 3394)."""
PUBLIC_KEY_BYTES = 32
AGREEMENT_INFO_BYTES_MAX = 64
AAD_BYTES_MAX = 256

_SHARED_MEMBERS = frozenset(("protected", "unprotected", "iv", "aad", "ciphertext", "tag"))
_RECIPIENT_MEMBERS = frozenset(("header", "encrypted_key"))
_PARAMETERS = frozenset(("alg", "enc", "kid", "epk", "apu", "apv", "typ", "cty"))
_REFUSED = {"zip": "dossier.zip", "crit": "dossier.crit"}
_KNOWN = _PARAMETERS | set(_REFUSED)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+/-]{1,64}")

Faults = list[Fault]


@dataclass(frozen=True, slots=True)
class SealedRecipient:
    """One recipient: `ephemeral` is the sender's X25519 public key, `wrapped_key` the content key as wrapped for it.

    `pointer` is its place in the dossier; `kid_pointer` where its key id stands, or would stand.
    """

    pointer: str
    kid: str | None
    kid_pointer: str
    ephemeral: bytes
    apu: bytes
    apv: bytes
    wrapped_key: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A dossier of good form; `authenticated` is the additional data of RFC 7516 section 5.1, step 14."""

    authenticated: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes
    recipients: tuple[SealedRecipient, ...]
    surplus: tuple[Fault, ...]
    texts: tuple[tuple[str, bytes], ...]
    """What the author chose freely and everybody can read, with its places: `aad`, `apu`, `apv`, `typ`, `cty`."""


@dataclass(frozen=True, slots=True)
class _Header:
    """Where a header stands, e.g. `/recipients/1/header`, and its parameters."""

    pointer: str
    parameters: Mapping[str, Any]


def read_sealed(dossier: str) -> Sealed:
    """Read the form of a dossier; the error names every fault by its place in the dossier, never a value.

    `MalformedInputError("dossier.malformed")` where it is no JWE in JSON form, `BadSignatureError("dossier.algorithm")`
    where it is one that this protocol does not take.
    """
    return _Reader().read(dossier)


class _Reader:
    """Collects what is wrong while it reads; what is `surplus` is no fault to a reader."""

    def __init__(self) -> None:
        self.faults: Faults = []
        self.surplus: Faults = []
        self.texts: dict[str, bytes] = {}

    def read(self, dossier: str) -> Sealed:
        try:
            members = read_json_object(
                dossier.encode(), bytes_max=EXCHANGE_BYTES_MAX, decimals=True, odd_number=read_any_number
            )
        except (RefuseError, UnicodeEncodeError):
            raise MalformedInputError("dossier.malformed", faults=[Fault("dossier.malformed")]) from None
        shared = [self._protected(members), self._header(members, "unprotected", "")]
        iv = self._octets(members, "iv", exactly=IV_BYTES)
        tag = self._octets(members, "tag", exactly=TAG_BYTES)
        ciphertext = self._octets(members, "ciphertext")
        if not ciphertext:
            self.surplus.append(Fault("dossier.size", "/ciphertext"))
        aad = self._octets(members, "aad") if "aad" in members else b""
        self.texts["/aad"] = aad
        if len(aad) > AAD_BYTES_MAX:
            self.surplus.append(Fault("dossier.not-carried", "/aad"))
        recipients = tuple(self._recipient(member, where, shared) for where, member in self._listed(members))
        if self.faults:
            raise _error(self.faults)
        authenticated = members.get("protected", "").encode() + (b"." + members["aad"].encode() if aad else b"")
        surplus, texts = tuple(dict.fromkeys(self.surplus)), tuple(self.texts.items())
        return Sealed(authenticated, iv, ciphertext, tag, recipients, surplus, texts)

    def _listed(self, members: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the recipients with their places: general form lists them, in flattened form there is one."""
        listed = members.get("recipients")
        if listed is None and "recipients" not in members:
            self._note_unknown(members, _SHARED_MEMBERS | _RECIPIENT_MEMBERS, "")
            return [("", members)]
        self._note_unknown(members, _SHARED_MEMBERS | {"recipients"}, "")
        if not isinstance(listed, list) or not 1 <= len(listed) <= RECIPIENTS_MAX or _RECIPIENT_MEMBERS & set(members):
            self._malformed("/recipients")
            return []
        recipients: list[tuple[str, Mapping[str, Any]]] = []
        for index, member in enumerate(listed):
            pointer = f"/recipients/{index}"
            if isinstance(member, dict):
                self._note_unknown(member, _RECIPIENT_MEMBERS, pointer)
                recipients.append((pointer, member))
            else:
                self._malformed(pointer)
        return recipients

    def _recipient(self, member: Mapping[str, Any], pointer: str, shared: list[_Header]) -> SealedRecipient:
        own = self._header(member, "header", pointer)
        headers = (*shared, own)
        self._check_disjoint(headers)
        for header in headers:
            for name in set(_REFUSED) & set(header.parameters):
                self.fault(_REFUSED[name], f"{header.pointer}/{name}")
            self._note_unknown(header.parameters, _KNOWN, header.pointer)
            for name in ("typ", "cty"):
                text = header.parameters.get(name)
                if isinstance(text, str) and _MEDIA_TYPE.fullmatch(text):
                    self.texts[f"{header.pointer}/{name}"] = text.encode()
                elif text is not None:
                    self.surplus.append(Fault("dossier.not-carried", f"{header.pointer}/{name}"))
        for name, only in (("alg", SEAL_ALGORITHM), ("enc", SEAL_ENCRYPTION)):
            value, where = _find(headers, name)
            if value != only:
                self.fault("dossier.algorithm", where)
        kid, kid_pointer = _find(headers, "kid")
        if kid is not None and not isinstance(kid, str):
            self._malformed(kid_pointer)
            kid = None
        return SealedRecipient(
            pointer=pointer,
            kid=kid,
            kid_pointer=kid_pointer,
            ephemeral=self._ephemeral(headers),
            apu=self._agreement_info(headers, "apu"),
            apv=self._agreement_info(headers, "apv"),
            wrapped_key=self._octets(member, "encrypted_key", pointer, exactly=WRAPPED_KEY_BYTES),
        )

    def _ephemeral(self, headers: Iterable[_Header]) -> bytes:
        """Read `epk`: an X25519 public key (RFC 7518 section 4.6.1.1), 32 octets."""
        epk, where = _find(headers, "epk")
        if not isinstance(epk, dict) or (epk.get("kty"), epk.get("crv")) != ("OKP", "X25519") or "d" in epk:
            self.fault("dossier.ephemeral-key", where)
            return b""
        if set(epk) != {"kty", "crv", "x"}:
            self.surplus.append(Fault("dossier.not-carried", where))
        key = _octets_of(epk.get("x"))
        if key is None or len(key) != PUBLIC_KEY_BYTES:
            self.fault("dossier.ephemeral-key", where)
            return b""
        return key

    def _agreement_info(self, headers: Iterable[_Header], name: str) -> bytes:
        """Read `apu` or `apv` (RFC 7518 sections 4.6.1.2 and 4.6.1.3); absent is empty."""
        text, where = _find(headers, name)
        if text is None:
            return b""
        octets = _octets_of(text)
        if octets is None:
            self._malformed(where)
            return b""
        self.texts[where] = octets
        if len(octets) > AGREEMENT_INFO_BYTES_MAX:
            self.surplus.append(Fault("dossier.not-carried", where))
        return octets

    def _protected(self, members: Mapping[str, Any]) -> _Header:
        text = members.get("protected")
        if text is None and "protected" not in members:
            return _Header("/protected", {})
        octets = _octets_of(text)
        try:
            if octets is not None:
                return _Header(
                    "/protected",
                    read_json_object(octets, bytes_max=HEADER_BYTES_MAX, decimals=True, odd_number=read_any_number),
                )
        except RefuseError:
            pass
        self._malformed("/protected")
        return _Header("/protected", {})

    def _header(self, members: Mapping[str, Any], name: str, pointer: str) -> _Header:
        where = f"{pointer}/{name}"
        parameters = members.get(name, {})
        if not isinstance(parameters, dict):
            self._malformed(where)
            parameters = {}
        return _Header(where, parameters)

    def _octets(self, members: Mapping[str, Any], name: str, pointer: str = "", *, exactly: int | None = None) -> bytes:
        """Read a base64url member, of `exactly` so many octets where it has a fixed size."""
        octets = _octets_of(members.get(name))
        if octets is None:
            self._malformed(f"{pointer}/{name}")
            return b""
        if exactly is not None and len(octets) != exactly:
            self.fault("dossier.size", f"{pointer}/{name}")
        return octets

    def _check_disjoint(self, headers: tuple[_Header, ...]) -> None:
        seen: set[str] = set()
        for header in headers:
            for name in header.parameters:
                if name in seen:
                    # the name of an unknown parameter is text somebody sent
                    self.fault("dossier.header-twice", f"{header.pointer}/{name}" if name in _KNOWN else header.pointer)
                seen.add(name)

    def _note_unknown(self, members: Mapping[str, Any], known: frozenset[str], pointer: str) -> None:
        if not set(members) <= known:
            self.surplus.append(Fault("dossier.not-carried", pointer))

    def _malformed(self, pointer: str) -> None:
        self.fault("dossier.malformed", pointer)

    def fault(self, code: str, pointer: str) -> None:
        if (fault := Fault(code, pointer)) not in self.faults:
            self.faults.append(fault)


def _find(headers: Iterable[_Header], name: str) -> tuple[Any, str]:
    """Return a parameter with its place; where it is absent, the place of the recipient's own header."""
    pointer = ""
    for header in headers:
        if name in header.parameters:
            return header.parameters[name], f"{header.pointer}/{name}"
        pointer = header.pointer
    return None, f"{pointer}/{name}"


def _octets_of(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return parse_b64url(text)
    except (MalformedInputError, UnicodeEncodeError):
        return None


def _error(faults: Faults) -> RefuseError:
    malformed = any(fault.code == "dossier.malformed" for fault in faults)
    make: Callable[..., RefuseError] = MalformedInputError if malformed else BadSignatureError
    return make("dossier.malformed" if malformed else "dossier.algorithm", faults=faults)
