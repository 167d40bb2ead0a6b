"""Open dossiers. Only the hospital's edge, the insurer's desk and the client may import this (import-linter).

Decryption is RFC 7516 section 5.2 for the one pair of algorithms that `sealed.py` lets pass: X25519 agreement
(RFC 8037 section 3.2.1), Concat KDF over SHA-256 (RFC 7518 section 4.6.2), AES Key Wrap (RFC 3394), AES-GCM.
"""

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.exchange import Manifest, content_hash
from gateway.protocol.jose import SEAL_ALGORITHM, PrivateKey
from gateway.protocol.sealed import Sealed, SealedRecipient, read_sealed

KEY_BYTES = 32


def open_dossier(dossier: str | None, manifest: Manifest, *keys: PrivateKey) -> bytes:
    """Open a dossier and check that its packed bytes are those the author signed; returns the packed content.

    `keys` are all that it may be sealed to: after a change of keys a party holds more than one. Raises
    `BadSignatureError("dossier.content")` if it opens to other bytes, and any other code if it does not open.
    """
    if dossier is None or manifest.content_sha256 is None:
        raise MalformedInputError("dossier.missing")
    packed = open_sealed(dossier, *keys)
    if content_hash(packed) != manifest.content_sha256:
        raise BadSignatureError("dossier.content")
    return packed


def open_sealed(dossier: str, *keys: PrivateKey) -> bytes:
    """Open a dossier with one recipient's key; `BadSignatureError("dossier.cannot-open")` if it is not for it.

    A recipient without a key id, which RFC 7516 allows, is tried where no recipient names the key.
    """
    sealed = read_sealed(dossier)
    for key in keys:
        for recipient in _candidates(sealed.recipients, key):
            plain = _decrypt(sealed, recipient, key)
            if plain is not None:
                return plain
    raise BadSignatureError("dossier.cannot-open")


def _candidates(recipients: Sequence[SealedRecipient], key: PrivateKey) -> Sequence[SealedRecipient]:
    named = [recipient for recipient in recipients if recipient.kid == key.kid]
    if len(named) > 1:
        return ()
    return named or [recipient for recipient in recipients if recipient.kid is None]


def _decrypt(sealed: Sealed, recipient: SealedRecipient, key: PrivateKey) -> bytes | None:
    """Decrypt for one recipient; None if it was sealed to another key or changed on its way."""
    own = key.jwk.private_key
    if not isinstance(own, X25519PrivateKey):
        return None
    try:
        # an all-zero shared secret, from a point of small order, is a ValueError (RFC 7748 section 6.1)
        shared_secret = own.exchange(X25519PublicKey.from_public_bytes(recipient.ephemeral))
        wrapping_key = ConcatKDFHash(SHA256(), KEY_BYTES, _other_info(recipient)).derive(shared_secret)
        content_key = aes_key_unwrap(wrapping_key, recipient.wrapped_key)
        return AESGCM(content_key).decrypt(sealed.iv, sealed.ciphertext + sealed.tag, sealed.authenticated)
    except (InvalidTag, InvalidUnwrap, ValueError):
        return None


def _other_info(recipient: SealedRecipient) -> bytes:
    """Write AlgorithmID, PartyUInfo, PartyVInfo and SuppPubInfo, the key's length in bits (RFC 7518 section 4.6.2)."""
    parts = (SEAL_ALGORITHM.encode(), recipient.apu, recipient.apv)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts) + (KEY_BYTES * 8).to_bytes(4, "big")
