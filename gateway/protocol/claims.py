"""Messages of a claim: what a hospital submits, what an insurer answers short of a decision, what core tells both.

The *submitted* manifest says who pays whom in clear, because core enforces it: sums, payee, asked amount, one live
claim per receipt and payer rank. Names, diagnoses, products and residency are in the sealed dossier.
"""

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.protocol.exchange import Code, Manifest, Message, MessageId
from gateway.protocol.money import AMOUNT_MINOR_MAX

LINES_MAX = 5000


class BillingMode(StrEnum):
    DIRECT = "direct"
    """The insurer pays the hospital what it approves; the patient has not paid that part."""
    PAY_AND_CLAIM = "pay_and_claim"
    """The insured has paid the hospital and is paid by the insurer."""


class Payee(StrEnum):
    HOSPITAL = "hospital"
    INSURED = "insured"


class PaidKind(StrEnum):
    CASH = "cash"
    DEPOSIT = "deposit"
    BASIC_FUND = "basic_fund"
    PERSONAL_ACCOUNT = "personal_account"
    HUIMINBAO = "huiminbao"
    VOUCHER = "voucher"
    OTHER_INSURER = "other_insurer"


class PolicyKind(StrEnum):
    VHIS_STANDARD = "vhis_standard"
    VHIS_FLEXI = "vhis_flexi"
    GROUP_MEDICAL = "group_medical"
    INDIVIDUAL_MEDICAL = "individual_medical"


class Use(StrEnum):
    CLAIM = "claim"


class Mechanism(StrEnum):
    """The lawful way over the border, as the consent object names it."""

    GBA_SC = "gba_sc"
    NATIONAL_SC = "national_sc"
    CERTIFICATION = "certification"
    ASSESSMENT = "assessment"
    EXEMPT_CONTRACT = "exempt_contract"


class Eligibility(StrEnum):
    ELIGIBLE = "ELIGIBLE"
    INELIGIBLE = "INELIGIBLE"
    UNDETERMINED = "UNDETERMINED"


class Paid(Message):
    """One payment already made on the bill; `order` is the order in which payers paid, from 1."""

    kind: PaidKind = Field(strict=False)
    amount_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    order: int = Field(ge=1, le=99)


class Programme(Message):
    """港澳药械通 lines of the bill: how many, the worst result, and the catalogue release that was read."""

    count: int = Field(ge=0)
    worst: Eligibility | None = Field(default=None, strict=False)
    release_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class SubmittedManifest(Manifest):
    """The clear part of a claim. Amounts are minor units of `currency`, lines after refunds are netted."""

    type: Literal["submitted"] = "submitted"
    claim_token: Code
    receipt_tokens: tuple[Code, ...] = Field(min_length=1, max_length=100, strict=False)
    payer_rank: int = Field(ge=1, le=9)
    use: Use = Field(strict=False)
    billing_mode: BillingMode = Field(strict=False)
    payee: Payee = Field(strict=False)
    carrier: Code
    administrator: Code | None = None
    payer: Code
    policy_kind: PolicyKind = Field(strict=False)
    currency: Literal["CNY", "HKD"]
    line_amounts_minor: tuple[int, ...] = Field(min_length=1, max_length=LINES_MAX, strict=False)
    paid: tuple[Paid, ...] = Field(max_length=20, strict=False)
    unpaid_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    asked_minor: int = Field(ge=1, le=AMOUNT_MINOR_MAX)
    guarantee_id: Code | None = None
    mechanism: Mechanism = Field(strict=False)
    filing_ref: str
    consent_commitment: str = Field(pattern=r"^[0-9a-f]{64}$")
    programme: Programme

    @property
    def total_minor(self) -> int:
        return sum(self.line_amounts_minor)

    @model_validator(mode="after")
    def _money_adds_up(self) -> Self:
        """Check what needs no rule row: sums, and that cash already paid never pays the hospital again."""
        if min(self.line_amounts_minor) < 0 or self.total_minor > AMOUNT_MINOR_MAX:
            raise PydanticCustomError("line-amount", "a line amount is negative, or their sum out of range")
        if self.total_minor != sum(paid.amount_minor for paid in self.paid) + self.unpaid_minor:
            raise PydanticCustomError("total-not-paid-plus-unpaid", "total is not paid plus unpaid")
        if (self.billing_mode is BillingMode.DIRECT) != (self.payee is Payee.HOSPITAL):
            raise PydanticCustomError("payee-against-billing-mode", "payee does not fit the billing mode")
        if self.payee is Payee.HOSPITAL and self.asked_minor > self.unpaid_minor:
            raise PydanticCustomError("asked-over-unpaid", "a hospital is paid no more than is unpaid")
        return self

    def asked_at_most(self, third_party_kinds: frozenset[PaidKind]) -> int:
        """Total less what third parties paid; which kinds count is the rule row `claim.paid_by_third_party_kinds`."""
        return self.total_minor - sum(paid.amount_minor for paid in self.paid if paid.kind in third_party_kinds)


class AcknowledgedManifest(Manifest):
    """The insurer has opened the claim, found it as signed, and takes it into review (`content_sha256` repeats it).

    Where it is authored or accepted `content_sha256` is required, the claim's own; earlier messages may lack it.
    """

    type: Literal["acknowledged"] = "acknowledged"
    based_on: int
    in_reply_to: MessageId


class ReturnedManifest(Manifest):
    """The insurer cannot process the claim; the text is in the dossier, the class code is clear."""

    type: Literal["returned"] = "returned"
    based_on: int
    in_reply_to: MessageId
    class_code: str = Field(pattern=r"^G[0-9]{3}$")


class DisputedManifest(Manifest):
    """Content and manifest of `in_reply_to` differ. It blocks money until people have looked."""

    type: Literal["disputed"] = "disputed"
    in_reply_to: MessageId
    differences: tuple[str, ...] = Field(max_length=50, strict=False)


class DisputeWithdrawnManifest(Manifest):
    """The author takes back its own dispute, whose `msg_id` it names: the claim stands as it did before."""

    type: Literal["dispute_withdrawn"] = "dispute_withdrawn"
    in_reply_to: MessageId


class GivenUpManifest(Manifest):
    """The hospital gives up a submission that the insurer disputes, whose dispute it names; the claim ends."""

    type: Literal["given_up"] = "given_up"
    in_reply_to: MessageId


class DisputeStanding(Message):
    """Who has stopped a claim (party codes), by which message, about which message of the other party."""

    by: str
    against: str
    msg_id: str
    in_reply_to: str


class ClaimState(Message):
    """Core tells a party of a claim where it stands. Payment dates are text of RFC 3339.

    The hospital hears of every change, the insurer (`to`) of what it did not do itself and may answer. `dispute`
    stands while the claim is disputed; `reason` and `receipts` say why operators closed it and what became of those.
    """

    type: Literal["claim_state"] = "claim_state"
    case_id: str
    claim_id: str
    claim_version: int
    revision: int
    state: str
    payment_state: str
    event: str
    at: str
    allowed_actions: tuple[str, ...] = Field(strict=False)
    reference: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    reason_code: str | None = None
    """Why a payment was refused or stopped, as settlement heard it."""
    to: str | None = None
    dispute: DisputeStanding | None = None
    reason: str | None = None
    receipts: str | None = None


class Accepted(Message):
    """Core took a party's message."""

    type: Literal["accepted"] = "accepted"
    case_id: str
    claim_id: str
    in_reply_to: str
    to: str
    state: str
    revision: int
    allowed_actions: tuple[str, ...] = Field(strict=False)
    dispute: DisputeStanding | None = None


class Rejected(Message):
    """A role refused a party's message; the code says why, `allowed_actions` what would have been allowed."""

    type: Literal["rejected"] = "rejected"
    case_id: str
    claim_id: str
    in_reply_to: str
    to: str
    code: str
    faults: tuple[str, ...] = Field(default=(), strict=False)
    state: str | None = None
    allowed_actions: tuple[str, ...] = Field(default=(), strict=False)
