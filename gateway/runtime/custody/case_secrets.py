"""Case secrets and openings: what commitments hide, and content at rest, under one random key per case.

A case secret is 32 random bytes, wrapped (AES-256-GCM) under the role's storage key with the case id as associated
data. From it HKDF-SHA256 derives the box key of openings and content, and the field keys of commitments
(`audit` shows how a stranger checks one). Destroying the secret erases all of it and changes no leaf.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import bindparam, insert, select

from gateway.protocol.canonical import canonical, read_json_object
from gateway.protocol.errors import NotFoundError
from gateway.runtime.storage.database import Transaction, one, rows
from gateway.runtime.storage.tables import case_secrets, openings

NONCE_BYTES = 12
SECRET_BYTES = 32
_SECRET_OF = select(case_secrets.c.wrapped).where(case_secrets.c.case_id == bindparam("of_case"))
_ADD_SECRET = insert(case_secrets)
_ADD_OPENING = insert(openings)


def derive(secret: bytes, info: str) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt, 32 bytes."""
    return HKDF(SHA256(), 32, None, info.encode()).derive(secret)


@dataclass(frozen=True, slots=True)
class CaseSecret:
    """The secret of one case, unwrapped; lives only as long as the work or relay batch that loaded it."""

    case_id: str
    secret: bytes

    @classmethod
    def mint(cls, case_id: str) -> "CaseSecret":
        return cls(case_id, os.urandom(SECRET_BYTES))

    def box(self, plain: bytes, purpose: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(purpose).encrypt(nonce, plain, self.case_id.encode())

    def unbox(self, box: bytes, purpose: str) -> bytes:
        return self._cipher(purpose).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], self.case_id.encode())

    def _cipher(self, purpose: str) -> AESGCM:
        return AESGCM(derive(self.secret, f"szhk-box/1|{purpose}"))


@dataclass(frozen=True, slots=True)
class Vault:
    """Wraps and unwraps case secrets with the role's storage key."""

    storage: bytes

    def wrap(self, secret: CaseSecret) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.storage).encrypt(nonce, secret.secret, secret.case_id.encode())

    def unwrap(self, case_id: str, wrapped: bytes) -> CaseSecret:
        plain = AESGCM(self.storage).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], case_id.encode())
        return CaseSecret(case_id, plain)

    async def of_case(self, tx: Transaction, case_id: str) -> CaseSecret:
        """Load the secret of a case, or make it in this work. The caller holds the case's stream or aggregate."""
        found = await one(tx, _SECRET_OF, {"of_case": case_id})
        if found is not None:
            return self.unwrap(case_id, found.wrapped)
        secret = CaseSecret.mint(case_id)
        await self.keep(tx, secret)
        return secret

    async def keep(self, tx: Transaction, secret: CaseSecret) -> None:
        """Store the secret of a new case."""
        await tx.later(_ADD_SECRET, {"case_id": secret.case_id, "wrapped": self.wrap(secret)})

    async def existing(self, tx: Transaction, case_id: str) -> CaseSecret:
        """Load the secret of a case; `NotFoundError` once it has been erased."""
        found = await one(tx, _SECRET_OF, {"of_case": case_id})
        if found is None:
            raise NotFoundError("case.erased")
        return self.unwrap(case_id, found.wrapped)


async def add(tx: Transaction, secret: CaseSecret, facts_by_eid: Mapping[str, Mapping[str, Any]]) -> None:
    """Store the facts behind records of one case."""
    boxes = [
        {"eid": eid, "case_id": secret.case_id, "box": secret.box(canonical(facts), "opening")}
        for eid, facts in facts_by_eid.items()
    ]
    if boxes:
        await tx.later(_ADD_OPENING, *boxes)


async def load(tx: Transaction, vault: Vault, case_ids: set[str], eids: list[str]) -> dict[str, tuple[bytes, Any]]:
    """Return eid → (case secret, facts) for those records that have openings."""
    found = await rows(tx, select(case_secrets).where(case_secrets.c.case_id.in_(case_ids)))
    secrets = {row.case_id: vault.unwrap(row.case_id, row.wrapped) for row in found}
    boxes = await rows(tx, select(openings).where(openings.c.eid.in_(eids)))
    return {
        row.eid: (
            secrets[row.case_id].secret,
            read_json_object(secrets[row.case_id].unbox(row.box, "opening")),
        )
        for row in boxes
        if row.case_id in secrets
    }
