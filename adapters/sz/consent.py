"""The consent object: what the person was told and agreed to, in three separate flags, and its salted commitment.

Fields follow PIPL 17, 23, 29, 31 and 39 and the filing of the route's mechanism. The clear message carries only the
commitment; consent and salt travel in the dossier, so that the insurer can check one against the other.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from gateway.protocol.canonical import canonical
from gateway.protocol.claim_terms import Mechanism
from gateway.protocol.clock import rfc3339

_DOMAIN = b"szhk-consent/1\n"


class SubjectRole(StrEnum):
    PATIENT = "patient"
    GUARDIAN = "guardian"
    """Consents for a child below the age of the rule `privacy.guardian_below_age` (PIPL 31)."""


class Purpose(StrEnum):
    PREAUTH = "PREAUTH"
    CLAIM = "CLAIM"
    ADJUDICATION = "ADJUDICATION"
    SETTLEMENT = "SETTLEMENT"
    AUDIT = "AUDIT"
    FRAUD_CHECK = "FRAUD_CHECK"
    APPEAL = "APPEAL"


class Category(StrEnum):
    """Categories of data that a consent may name; a claim carries all four."""

    IDENTITY = "identity"
    HEALTH = "health"
    CHARGES = "charges"
    INSURANCE = "insurance"


@dataclass(frozen=True, slots=True)
class Flags:
    """Three consents, each given for itself (PIPL 29, 23, 39); one never stands for another."""

    sensitive: bool
    provide_to_other_processor: bool
    cross_border: bool


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets the record: `party` is its code in the registry; the rest is what the person was told."""

    party: str
    name: str
    contact: str
    place: str
    purpose: str
    method: str


@dataclass(frozen=True, slots=True)
class Exporter:
    party: str
    contact: str


@dataclass(frozen=True, slots=True)
class Consent:
    """One version of one consent. `mechanism_ref` is the filing number of the lawful way over the border."""

    consent_id: str
    version: int
    subject_ref: str
    subject_role: SubjectRole
    grantor: str
    given_at: datetime | None
    channel: str
    language: str
    notice_version_hash: str
    purposes: frozenset[Purpose]
    data_categories: frozenset[Category]
    sensitive: bool
    exporter: Exporter
    recipients: tuple[Recipient, ...]
    separate_consents: Flags
    retention_until: date | None
    rights_channel: str
    mechanism: Mechanism
    mechanism_ref: str | None
    withdrawn_at: datetime | None
    evidence_hash: str
    signature: str | None

    def names(self, party: str, purpose: Purpose) -> bool:
        """Say whether the person was told of this recipient for this purpose."""
        return any(recipient.party == party and recipient.purpose == purpose for recipient in self.recipients)

    def encode(self) -> bytes:
        """Write the consent as it stands in the dossier and under the commitment: RFC 8785 bytes."""
        return canonical(
            {
                "consent_id": self.consent_id,
                "version": self.version,
                "subject_ref": self.subject_ref,
                "subject_role": self.subject_role.value,
                "grantor": self.grantor,
                "given_at": _moment(self.given_at),
                "channel": self.channel,
                "language": self.language,
                "notice_version_hash": self.notice_version_hash,
                "purposes": sorted(purpose.value for purpose in self.purposes),
                "data_categories": sorted(category.value for category in self.data_categories),
                "sensitive": self.sensitive,
                "exporter": {"party": self.exporter.party, "contact": self.exporter.contact},
                "recipients": [_recipient(recipient) for recipient in self.recipients],
                "separate_consents": {
                    "sensitive": self.separate_consents.sensitive,
                    "provide_to_other_processor": self.separate_consents.provide_to_other_processor,
                    "cross_border": self.separate_consents.cross_border,
                },
                "retention_until": None if self.retention_until is None else self.retention_until.isoformat(),
                "rights_channel": self.rights_channel,
                "mechanism": self.mechanism.value,
                "mechanism_ref": self.mechanism_ref,
                "withdrawn_at": _moment(self.withdrawn_at),
                "evidence_hash": self.evidence_hash,
                "signature": self.signature,
            }
        )


def commitment(encoded: bytes, salt: bytes) -> str:
    """SHA-256 over the domain line, the salt and the encoded consent, in hex: opened by showing salt and consent."""
    return sha256(_DOMAIN + salt + encoded).hexdigest()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _recipient(recipient: Recipient) -> dict[str, Any]:
    return {
        "party": recipient.party,
        "name": recipient.name,
        "contact": recipient.contact,
        "place": recipient.place,
        "purpose": recipient.purpose,
        "method": recipient.method,
    }
