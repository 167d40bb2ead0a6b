"""Names in dossiers beside those of `gateway.protocol.fhir.systems`: a claim's as the edge writes them, an answer's.

A test holds them against the edge's own list.
"""

CLAIM_ID = "urn:szhk:id:claim"
CASE_ID = "urn:szhk:id:case"
PARTY = "urn:szhk:id:party"

INFORMATION = "urn:szhk:code:information"
POLICY_KIND = "urn:szhk:code:policy-kind"

NONCE = "urn:szhk:nonce"
CLAIM_VERSION = "urn:szhk:extension:claim-version"
BILLING = "urn:szhk:extension:billing"
PAID = "urn:szhk:extension:paid"
CONSENT_TEXT = "urn:szhk:extension:consent"
CONSENT_SALT = "urn:szhk:extension:consent-salt"
DECISION_VERSION = "urn:szhk:extension:decision-version"

ENTRY = "urn:szhk:entry"
"""On an item, figure or note of an answer: the index of the manifest's entry that it belongs to."""

ANSWER_FIGURE = "urn:szhk:code:answer-figure"
"""Figures of an entry that HL7's adjudication codes have no word for: `other-payer`, `adjusted`."""

LANGUAGE = "urn:ietf:bcp:47"
