"""Sign, verify, seal: cryptographic verbs over joserfc, with the algorithms fixed; `opening.py` has the fourth.

JWS: compact, `Ed25519` (RFC 9864). JWE: general JSON, `ECDH-ES+A256KW` over X25519 with `A256GCM` (RFC 7518, 8037).
A token that names another algorithm, carries `crit`, `jku`, `x5u`, `jwk` or `zip`, or another `typ` than asked for,
is refused before any key is used.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwe import GeneralJSONEncryption, JWERegistry
from joserfc.jwk import OKPKey

from gateway.protocol.canonical import compact, parse_b64url, read_json_object
from gateway.protocol.errors import BadSignatureError, MalformedInputError

SIGN_ALGORITHM = "Ed25519"
SEAL_ALGORITHM = "ECDH-ES+A256KW"
SEAL_ENCRYPTION = "A256GCM"

SEALS = JWERegistry(algorithms=[SEAL_ALGORITHM, SEAL_ENCRYPTION], verify_all_recipients=False)


class Typ(StrEnum):
    """The `typ` of each kind of token, so that one kind never stands for another."""

    MANIFEST = "szhk-manifest+jws"
    STAMP = "szhk-stamp+jws"
    RELEASE = "szhk-release+jws"
    ENTRY = "szhk-party+jws"
    REGISTRY_KEY = "szhk-registry-key+jws"
    APPROVAL = "szhk-approval+jws"
    ACCESS = "at+jwt"
    ASSERTION = "JWT"


@dataclass(frozen=True)
class PublicKey:
    """A party's public key: `crv` is Ed25519 (signatures) or X25519 (seals); `x` as in RFC 8037."""

    kid: str
    crv: str
    x: str

    @cached_property
    def jwk(self) -> OKPKey:
        try:
            return OKPKey.import_key({"kty": "OKP", "crv": self.crv, "x": self.x, "kid": self.kid})
        except (JoseError, ValueError):
            raise MalformedInputError("key.malformed") from None


@dataclass(frozen=True)
class PrivateKey:
    """A private key of ours. Its repr never shows `d`."""

    kid: str
    crv: str
    _jwk: OKPKey

    @classmethod
    def generate(cls, kid: str, crv: Literal["Ed25519", "X25519"]) -> "PrivateKey":
        return cls(kid, crv, OKPKey.generate_key(crv, {"kid": kid}))

    @classmethod
    def parse(cls, raw: bytes) -> "PrivateKey":
        """Read a private JWK; `MalformedInputError` for anything else."""
        found = read_json_object(raw)
        try:
            key = OKPKey.import_key(found)
        except (JoseError, ValueError, KeyError, TypeError):
            raise MalformedInputError("key.malformed") from None
        if not key.is_private or not isinstance(found.get("kid"), str):
            raise MalformedInputError("key.malformed")
        return cls(found["kid"], str(found["crv"]), key)

    def encode(self) -> bytes:
        """Write the private JWK; for key files with mode 600 only."""
        return compact({**self._jwk.as_dict(private=True), "kid": self.kid})

    @property
    def jwk(self) -> OKPKey:
        return self._jwk

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.kid, self.crv, str(self._jwk.as_dict(private=False)["x"]))

    def sign_raw(self, data: bytes) -> bytes:
        """Return the 64 bytes of an Ed25519 signature over `data` (RFC 8032), for what is no JWS: notes of the log."""
        own = self._jwk.private_key
        if not isinstance(own, Ed25519PrivateKey):
            raise TypeError("this key seals, it does not sign")
        return own.sign(data)

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r})"


def sign(payload: bytes, key: PrivateKey, typ: Typ) -> str:
    """Sign bytes as they are; the same bytes and key give the same token again (RFC 8032 is deterministic)."""
    header = {"alg": SIGN_ALGORITHM, "kid": key.kid, "typ": str(typ)}
    return jws.serialize_compact(header, payload, key.jwk, algorithms=[SIGN_ALGORITHM])


def key_id(token: str, typ: Typ) -> str:
    """Read the `kid` of a compact JWS whose header is exactly {alg, kid, typ}; nothing is verified yet."""
    head, dot, _ = token.partition(".")
    if not dot or token.count(".") != 2:
        raise MalformedInputError("jws.malformed")
    return _key_id_of_header(head, typ)


@lru_cache(maxsize=1024)  # a key's tokens of one kind all begin alike, and each is looked at several times
def _key_id_of_header(head: str, typ: Typ) -> str:
    header = read_json_object(parse_b64url(head), bytes_max=1024)
    if set(header) != {"alg", "kid", "typ"} or not isinstance(header["kid"], str):
        raise MalformedInputError("jws.header")
    if header["alg"] != SIGN_ALGORITHM or header["typ"] != str(typ):
        raise BadSignatureError("jws.algorithm")
    return header["kid"]


def verify(token: str, key: PublicKey, typ: Typ) -> bytes:
    """Verify a compact JWS and return its payload bytes; `BadSignatureError` if it is not `key`'s."""
    if key_id(token, typ) != key.kid:
        raise BadSignatureError("jws.key")
    try:
        return jws.deserialize_compact(token, key.jwk, algorithms=[SIGN_ALGORITHM]).payload
    except (JoseError, ValueError):
        raise BadSignatureError("jws.signature") from None


def seal(content: bytes, recipients: list[PublicKey]) -> str:
    """Seal packed content to each recipient's X25519 key; returns the JWE as JSON text."""
    jar = GeneralJSONEncryption({"enc": SEAL_ENCRYPTION}, content)
    for recipient in recipients:
        jar.add_recipient({"alg": SEAL_ALGORITHM, "kid": recipient.kid}, recipient.jwk)
    return compact(jwe.encrypt_json(jar, None, registry=SEALS)).decode()
