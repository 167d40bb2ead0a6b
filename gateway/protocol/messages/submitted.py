"""A hospital submits a claim: who pays whom in clear, because core enforces it; the rest is sealed.

Core enforces sums, payee, asked amount, and one live claim per receipt and payer rank. Names, diagnoses, products and
residency are in the sealed dossier.
"""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.protocol.claim_terms import (
    LINES_MAX,
    BillingMode,
    Eligibility,
    Mechanism,
    PaidKind,
    Payee,
    PolicyKind,
    Use,
)
from gateway.protocol.exchange import Code, Manifest, Message
from gateway.protocol.message_spec import Author, Content, MessageSpec
from gateway.protocol.money import AMOUNT_MINOR_MAX
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_DELIVERIES


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


SPEC = MessageSpec(
    name="submitted",
    model=SubmittedManifest,
    topics=(HOSPITAL_REQUESTS, INSURER_DELIVERIES),
    authors=frozenset((Author.HOSPITAL,)),
    content=Content.SEALED,
)
