"""A hospital's bill as one noun, whatever format brought it: patient, visit, lines, receipts, who paid, who is asked.

Amounts are `Money`; quantities and unit prices are `Decimal` as the hospital wrote them (at most 4 and 6 decimals).
Pointers in faults name places of this noun, e.g. `/lines/3/amount`; the format that read the bill knows which place of
the hospital's own file that is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from adapters.sz.consent import Consent
from gateway.protocol.claim_terms import BillingMode, PaidKind, Payee, PolicyKind
from gateway.protocol.errors import Fault
from gateway.protocol.money import Money, total


class Gender(StrEnum):
    """National codes 1, 2, 9 and 0 (GB/T 2261.1) under the names that FHIR uses."""

    MALE = "male"
    FEMALE = "female"
    OTHER = "other"
    UNKNOWN = "unknown"


class Residency(StrEnum):
    """Where the insured person resides; it decides rules of payment and is never in clear."""

    HONG_KONG = "hong_kong"
    MAINLAND = "mainland"
    MACAO = "macao"
    OTHER = "other"


class ReceiptState(StrEnum):
    LIVE = "live"
    RED_FLUSHED = "red_flushed"
    """Voided at the issuer (冲红): no longer evidence of anything (reason G014)."""


@dataclass(frozen=True, slots=True)
class Patient:
    """`certificate_type` is the national two-digit code, e.g. 04 Home Return Permit or Hong Kong passport."""

    name: str
    certificate_type: str
    certificate_no: str
    birth_date: date | None
    gender: Gender


@dataclass(frozen=True, slots=True)
class Visit:
    """An inpatient stay has admission and discharge, an outpatient visit first and last day of service."""

    visit_id: str
    record_no: str | None
    admitted_at: datetime | None
    discharged_at: datetime | None
    first_day: date | None
    last_day: date | None

    @property
    def inpatient(self) -> bool:
        return self.admitted_at is not None

    @property
    def begins(self) -> date | None:
        return self.admitted_at.date() if self.admitted_at else self.first_day

    @property
    def ends(self) -> date | None:
        return self.discharged_at.date() if self.discharged_at else self.last_day


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`code` is ICD-10, insurance version 2.0; exactly one diagnosis is the main one."""

    code: str
    name: str
    main: bool


@dataclass(frozen=True, slots=True)
class Procedure:
    """`code` is ICD-9-CM-3, insurance version."""

    code: str
    name: str
    on: date | None


@dataclass(frozen=True, slots=True)
class ProgrammeEvidence:
    """What the hospital knows of a 港澳药械通 product on a line; what is missing stays missing, nothing is inferred."""

    product_key: str | None = None
    approval_no: str | None = None
    hk_reg_no: str | None = None
    udi: str | None = None
    lot: str | None = None
    expires_on: date | None = None
    trace_code: str | None = None
    used_at: datetime | None = None
    indication_code: str | None = None
    consent_hash: str | None = None


@dataclass(frozen=True, slots=True)
class BillLine:
    """One fee line. A refund is negative in quantity and amount and names its original's serial in `refund_of`."""

    serial: str
    national_code: str | None
    hospital_code: str | None
    name: str
    specification: str | None
    category: str
    quantity: Decimal
    unit_price: Decimal
    amount: Money
    charged_at: datetime | None
    refund_of: str | None = None
    programme: ProgrammeEvidence | None = None


@dataclass(frozen=True, slots=True)
class ReceiptSplit:
    """Who paid a receipt, in the receipt's own words; None where it does not say. Compared, and never sent on."""

    fund: Money | None = None
    account: Money | None = None
    cash: Money | None = None
    other: Money | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A fiscal e-receipt; code and number name it, the check code is known to its issuer only."""

    code: str
    number: str
    check_code: str
    amount: Money
    issued_on: date | None
    state: ReceiptState
    split: ReceiptSplit = ReceiptSplit()


@dataclass(frozen=True, slots=True)
class SettlementFigures:
    """Money fields of the settlement list; None where the hospital left one empty."""

    categories: Mapping[str, Money]
    self_paid: Money | None = None
    self_funded: Money | None = None
    account_paid: Money | None = None
    cash_paid: Money | None = None
    receipt_code: str | None = None
    receipt_number: str | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    kind: PaidKind
    amount: Money
    order: int


@dataclass(frozen=True, slots=True)
class Billing:
    """Who pays whom: total is paid plus unpaid; `asked` is what this payer, at `payer_rank`, is asked for.

    `earlier_claim_number` is the number as earlier states of the gateway folded it: another text where it holds
    full-width brackets or blanks, and no part of what makes two bills the same.
    """

    claim_number: str
    billing_mode: BillingMode
    payee: Payee
    paid: tuple[Payment, ...]
    unpaid: Money
    payer_rank: int
    asked: Money
    currency: str
    total: Money
    earlier_claim_number: str = field(default="", compare=False)

    def paid_by(self, kinds: frozenset[PaidKind]) -> int:
        """Sum what payers of these kinds paid, in minor units."""
        return sum(payment.amount.amount_minor for payment in self.paid if payment.kind in kinds)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The policy: `carrier` insures, `administrator` (if any) adjudicates for it, `payer` moves the money."""

    carrier: str
    administrator: str | None
    payer: str
    policy_kind: PolicyKind
    policy_number: str
    insured_name_hant: str | None
    insured_name_en: str | None
    hkid: str
    residency: Residency


@dataclass(frozen=True, slots=True)
class RefundPair:
    """An original line and the refunds that name it, as the hospital wrote them; it stays in the dossier."""

    original: BillLine
    refunds: tuple[BillLine, ...]

    @property
    def lines(self) -> tuple[BillLine, ...]:
        return (self.original, *self.refunds)


@dataclass(frozen=True, slots=True)
class Netted:
    """What is left to claim, in the hospital's order, the pairs behind it, and what was wrong with the refunds."""

    lines: tuple[BillLine, ...]
    pairs: tuple[RefundPair, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def amounts_minor(self) -> tuple[int, ...]:
        return tuple(line.amount.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class HospitalBill:
    """`institution_code` is the national insurance code of the hospital that wrote the bill."""

    institution_code: str
    institution_name: str
    patient: Patient
    visit: Visit
    diagnoses: tuple[Diagnosis, ...]
    procedures: tuple[Procedure, ...]
    lines: tuple[BillLine, ...]
    receipts: tuple[Receipt, ...]
    figures: SettlementFigures
    billing: Billing
    coverage: Coverage
    consent: Consent

    def net_refunds(self) -> Netted:
        """Net every refund against the line it names, before anything crosses.

        A line that is refunded whole leaves the claim; its pair is kept. Faults: a refund that names no line or
        another refund, that is not negative, or more than its original; a negative line that names no original.
        """
        if all(line.refund_of is None and line.amount.amount_minor >= 0 for line in self.lines):
            return Netted(tuple(line for line in self.lines if line.amount.amount_minor))
        originals = {line.serial: line for line in self.lines if line.refund_of is None}
        refunds: dict[str, list[BillLine]] = {}
        faults: list[Fault] = []
        for index, line in enumerate(self.lines):
            code = _refund_fault(line, originals)
            if code is not None:
                faults.append(Fault(code, f"/lines/{index}/{'amount' if line.refund_of is None else 'refund_of'}"))
            elif line.refund_of is not None:
                refunds.setdefault(line.refund_of, []).append(line)
        kept, over = [], []
        for index, line in enumerate(self.lines):
            if line.refund_of is None and line.amount.amount_minor >= 0:
                net = _net(line, refunds.get(line.serial, ()))
                if net.amount.amount_minor < 0 or net.quantity < 0:
                    over.append(Fault("refund.over-original", f"/lines/{index}/amount"))
                elif net.amount.amount_minor:
                    kept.append(net)
        pairs = tuple(RefundPair(originals[serial], tuple(found)) for serial, found in refunds.items())
        return Netted(tuple(kept), pairs, (*faults, *over))


def _refund_fault(line: BillLine, originals: Mapping[str, BillLine]) -> str | None:
    if line.refund_of is None:
        return "refund.without-original" if line.amount.amount_minor < 0 else None
    # an original that is negative itself has been told by the line above, and not by every refund of it
    original = originals.get(line.refund_of)
    if original is None:
        return "refund.original-unknown"
    if line.amount.amount_minor >= 0 or line.quantity >= 0:
        return "refund.not-negative"
    if (line.national_code, line.hospital_code) != (original.national_code, original.hospital_code):
        return "refund.other-item"
    return "bill.two-currencies" if line.amount.currency != original.amount.currency else None


def _net(line: BillLine, refunds: "list[BillLine] | tuple[()]") -> BillLine:
    if not refunds:
        return line
    amount = line.amount + total((refund.amount for refund in refunds), line.amount.currency)
    quantity = line.quantity + sum((refund.quantity for refund in refunds), Decimal())
    return replace(line, amount=amount, quantity=quantity)
