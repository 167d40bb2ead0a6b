"""The names of identifier systems, code systems and extensions that both ends of a dossier must agree on.

What HL7 or a country has named keeps that name; the rest stands under `urn:szhk:`.
"""

from collections.abc import Iterable

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.fhir.elements import Identifier
from gateway.protocol.identifiers import SCHEMES

CLAIM_TYPE = "http://terminology.hl7.org/CodeSystem/claim-type"
CLAIM_INFORMATION = "http://terminology.hl7.org/CodeSystem/claiminformationcategory"
PROCESS_PRIORITY = "http://terminology.hl7.org/CodeSystem/processpriority"
PAYEE_TYPE = "http://terminology.hl7.org/CodeSystem/payeetype"
ADJUDICATION = "http://terminology.hl7.org/CodeSystem/adjudication"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"

DIAGNOSIS_TYPE = "http://terminology.hl7.org/CodeSystem/ex-diagnosistype"
LANGUAGE = "urn:ietf:bcp:47"

CLAIM_ID = "urn:szhk:id:claim"
CASE_ID = "urn:szhk:id:case"
CLAIM_NUMBER = "urn:szhk:id:claim-number"
VISIT = "urn:szhk:id:visit"
RECORD_NUMBER = "urn:szhk:id:medical-record"
POLICY = "urn:szhk:id:policy"
PARTY = "urn:szhk:id:party"
HKID = "urn:szhk:id:hkid"
INSTITUTION = "urn:szhk:id:nhsa_institution"
CONSENT_ID = "urn:szhk:id:consent"
CERTIFICATE = "urn:szhk:id:certificate-{}"
"""With the national two-digit certificate type, e.g. `urn:szhk:id:certificate-04`."""

CHARGE_CATEGORY = "urn:szhk:code:charge-category"
"""The 14 national charge categories, `gateway.protocol.charges`."""

REASON = "urn:szhk:code:reason"
"""The gateway's codes G001 to G027, `gateway.protocol.reasons`."""

NHSA_ITEM = "urn:szhk:code:nhsa-item"
HOSPITAL_ITEM = "urn:szhk:code:hospital-item"
ICD10_CN = "urn:szhk:code:icd10-cn-nhsa"
ICD9CM3_CN = "urn:szhk:code:icd9cm3-cn-nhsa"

INFORMATION = "urn:szhk:code:information"
POLICY_KIND = "urn:szhk:code:policy-kind"
CONSENT_ACTION = "urn:szhk:code:separate-consent"
PURPOSE = "urn:szhk:code:purpose"
DATA_CATEGORY = "urn:szhk:code:data-category"

ANSWER_FIGURE = "urn:szhk:code:answer-figure"
"""Figures of an entry that HL7's adjudication codes have no word for: `other-payer`, `adjusted`."""

NONCE = "urn:szhk:nonce"
CLAIM_VERSION = "urn:szhk:extension:claim-version"
DECISION_VERSION = "urn:szhk:extension:decision-version"
BILLING = "urn:szhk:extension:billing"
PAID = "urn:szhk:extension:paid"
SERIAL = "urn:szhk:extension:serial"
RECEIPT_AMOUNT = "urn:szhk:extension:receipt-amount"
RESIDENCY = "urn:szhk:extension:residency"
REFUNDED_LINE = "urn:szhk:extension:refunded-line"
CONSENT_TEXT = "urn:szhk:extension:consent"
CONSENT_SALT = "urn:szhk:extension:consent-salt"

ENTRY = "urn:szhk:entry"
"""On an item, figure or note of an answer: the index of the manifest's entry that it belongs to."""

PROGRAMME = "urn:szhk:extension:programme"
"""Evidence of the drug and device connect on a line: an extension of extensions."""

ATTACHMENT_SHA256 = "urn:szhk:extension:attachment-sha256"
ATTACHMENT_KEY = "urn:szhk:extension:attachment-key"


def identifier_of(scheme: str, text: str) -> Identifier:
    """Check `text` by its scheme and write it in normal form under `urn:szhk:id:<scheme>`."""
    return Identifier(system=_system(scheme), value=SCHEMES[scheme](text))


def find_identifier(scheme: str, identifiers: Iterable[Identifier]) -> str | None:
    """Return the identifier of `scheme` in normal form, checked again; none is None, two are refused, `old` is none."""
    current = (identifier for identifier in identifiers if identifier.use != "old")
    found = [one.value for one in current if one.system == _system(scheme) and one.value is not None]
    if len(found) > 1:
        raise MalformedInputError("fhir.not-exactly-one")
    return SCHEMES[scheme](found[0]) if found else None


def _system(scheme: str) -> str:
    return f"urn:szhk:id:{scheme}"
