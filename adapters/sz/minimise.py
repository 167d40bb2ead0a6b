"""The one place where a hospital's record becomes a wire message.

In clear goes the manifest's allow-list and nothing else: who pays whom, amounts of netted lines, tokens instead of
numbers, a commitment instead of the consent. What the insurer must see goes into the dossier. What is not in
`HospitalBill` does not cross at all: formats leave personal extras, doctors, departments and item levels behind.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from adapters.sz.bill import HospitalBill
from adapters.sz.consent import commitment
from adapters.sz.dossier import Submission, bundle
from adapters.sz.r4_json import encode
from gateway.protocol.claim_terms import Eligibility, Mechanism, Use
from gateway.protocol.exchange import content_hash, pack
from gateway.protocol.messages.submitted import Paid, Programme, SubmittedManifest

CLAIM_VERSION = 1
"""A bill handed in is version 1 of its claim; later versions come as replacements, which are messages of their own."""


@dataclass(frozen=True, slots=True)
class Minimised:
    """What may leave: the clear manifest, the packed content to be sealed, and facts that the log only commits to."""

    manifest: SubmittedManifest
    packed: bytes
    facts: Mapping[str, Any]
    earlier_claim_token: str | None = None
    """The claim number's token as an earlier state of the gateway made it, where it folded the number otherwise."""


def token(key: bytes, kind: str, text: str) -> str:
    """HMAC-SHA256 under the hospital's own key, in hex: the same number gives the same token, and only there."""
    return hmac.digest(key, f"szhk-token/1\n{kind}\n{text}".encode(), "sha256").hex()


def claim_token(bill: HospitalBill, token_key: bytes) -> str:
    return token(token_key, "claim", bill.billing.claim_number)


def minimise(submission: Submission, token_key: bytes, catalogue_sha256: str) -> Minimised:
    """Make the message of a bill; `token_key` is the hospital's, `catalogue_sha256` the release in force."""
    packed = pack(encode(bundle(submission)))
    manifest = _manifest(submission, token_key, catalogue_sha256, content_hash(packed))
    billing = submission.bill.billing
    earlier = None
    if billing.earlier_claim_number not in ("", billing.claim_number):
        earlier = token(token_key, "claim", billing.earlier_claim_number)
    return Minimised(manifest, packed, _facts(submission, manifest), earlier)


def _manifest(
    submission: Submission, token_key: bytes, catalogue_sha256: str, content_sha256: str
) -> SubmittedManifest:
    bill, route = submission.bill, submission.route
    billing = bill.billing
    on_programme = sum(line.programme is not None for line in submission.netted.lines)
    worst = Eligibility.UNDETERMINED if on_programme else None
    return SubmittedManifest(
        msg_id=submission.msg_id,
        case_id=submission.case_id,
        claim_id=submission.claim_id,
        claim_version=submission.claim_version,
        sender=submission.hospital,
        recipients=(route.reader,),
        sent_at=submission.at,
        content_sha256=content_sha256,
        claim_token=claim_token(bill, token_key),
        receipt_tokens=tuple(token(token_key, "receipt", f"{one.code}|{one.number}") for one in bill.receipts),
        payer_rank=billing.payer_rank,
        use=Use.CLAIM,
        billing_mode=billing.billing_mode,
        payee=billing.payee,
        carrier=bill.coverage.carrier,
        administrator=route.administrator,
        payer=bill.coverage.payer,
        policy_kind=bill.coverage.policy_kind,
        currency=cast("Literal['CNY', 'HKD']", billing.currency),
        line_amounts_minor=submission.netted.amounts_minor,
        paid=tuple(
            Paid(kind=paid.kind, amount_minor=paid.amount.amount_minor, order=paid.order) for paid in billing.paid
        ),
        unpaid_minor=billing.unpaid.amount_minor,
        asked_minor=billing.asked.amount_minor,
        mechanism=Mechanism(route.mechanism),
        filing_ref=route.filing_ref,
        consent_commitment=commitment(submission.consent, submission.salt),
        programme=Programme(count=on_programme, worst=worst, release_sha256=catalogue_sha256),
    )


def _facts(submission: Submission, manifest: SubmittedManifest) -> dict[str, Any]:
    """Collect what the log commits to and never shows."""
    visit = submission.bill.visit
    evidence = [line.programme for line in submission.netted.lines if line.programme is not None]
    return {
        "total_minor": manifest.total_minor,
        "asked_minor": manifest.asked_minor,
        "currency": manifest.currency,
        "receipts": list(manifest.receipt_tokens),
        "consent": manifest.consent_commitment,
        "programme": [
            {"product_key": one.product_key or "", "lot": one.lot or "", "trace_code": one.trace_code or ""}
            for one in evidence
        ],
        "service_from": str(visit.begins),
        "service_to": str(visit.ends),
    }
