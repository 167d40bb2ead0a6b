"""Checks of money: every sum of the bill, and who may still be asked for what. Integers of minor units throughout.

Lines = categories = total = receipts, within the tolerance of the rule row; total = paid + unpaid; the hospital is
never paid what has been paid already. The same mistake is told once, where it was made, and not again by every sum
that it enters.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from adapters.sz import checks_receipts
from adapters.sz.findings import Findings
from gateway.protocol.charges import CHARGE_CATEGORIES
from gateway.protocol.claim_terms import BillingMode, PaidKind, Payee
from gateway.protocol.money import Money

_HALF = Decimal("0.5")


def check(findings: Findings) -> None:
    corrected = _check_lines(findings)
    _check_refunds(findings, corrected)
    _check_currencies(findings)
    sums = Sums.of(findings, corrected)
    _check_totals(findings, sums)
    _check_categories(findings, sums, corrected)
    _check_figures(findings, sums)
    checks_receipts.check(findings, sums.whole, sums.paid_apart())
    _check_payments(findings, sums)


@dataclass(frozen=True, slots=True)
class Sums:
    """What each part of a bill says its whole is, in minor units; None where a part cannot be read or says nothing.

    `whole` is what most parts agree on: a part that differs from it is what is wrong, and the only fault. `corrected`
    is the lines' sum with quantity times price in place of amounts that are at odds with it.
    """

    total: int | None
    lines: int | None
    corrected: int | None
    paid: int | None
    figures: int | None
    whole: int

    @classmethod
    def of(cls, findings: Findings, corrected: Mapping[int, int]) -> "Sums":
        bill, billing = findings.bill, findings.bill.billing
        total = billing.total.amount_minor if findings.sound("/billing/total") else None
        lines = None
        if findings.sound("/lines/*/amount"):
            lines = sum(line.amount.amount_minor for line in bill.lines)
        paid = None
        if findings.sound("/billing/paid", "/billing/unpaid"):
            paid = sum(payment.amount.amount_minor for payment in billing.paid) + billing.unpaid.amount_minor
        figures = None
        own = (bill.figures.self_paid, bill.figures.self_funded)
        if findings.sound("/billing/paid", *_FIGURES) and None not in own:
            figures = _sum(*own) + billing.paid_by(_FUND)
        categories = None
        if bill.figures.categories and findings.sound("/figures/categories"):
            categories = _sum(*bill.figures.categories.values())
        receipts = checks_receipts.receipts_sum(findings)
        stated = (lines, receipts, total, paid, figures, categories)
        votes = Counter(value for value in stated if value is not None)
        whole = votes.most_common(1)[0][0] if votes else 0
        if total is not None and abs(total - whole) <= findings.around.rules.tolerance_minor:
            whole = total
        shift = sum(amount - bill.lines[index].amount.amount_minor for index, amount in corrected.items())
        return cls(total, lines, None if lines is None else lines + shift, paid, figures, whole)

    def paid_apart(self) -> int:
        """Return by how much payments and rest miss the whole; 0 where they agree with the total that is stated."""
        return 0 if self.paid is None or self.paid == self.total else self.paid - self.whole


_FUND = frozenset({PaidKind.BASIC_FUND})
_FIGURES = ("/figures/self_paid", "/figures/self_funded", "/figures/account_paid", "/figures/cash_paid")


def _check_refunds(findings: Findings, corrected: Mapping[int, int]) -> None:
    """Tell what is wrong between a refund and its original, unless a fault of one of the two alone explains it."""
    if not findings.netted.faults:
        return
    lines = findings.bill.lines
    serials = Counter(line.serial for line in lines)
    serials_name_lines = findings.sound("/lines/*/serial") and max(serials.values()) == 1
    for fault in findings.netted.faults:
        index = int(fault.pointer.split("/")[2])
        serial = lines[index].refund_of or lines[index].serial
        pair = [place for place, line in enumerate(lines) if serial in (line.serial, line.refund_of)]
        readable = all(findings.sound(f"/lines/{place}/{name}") for place in pair for name in _OF_REFUNDS)
        at_odds = fault.code == "refund.over-original" and not corrected.keys().isdisjoint(pair)
        named = serials_name_lines or fault.code != "refund.original-unknown"
        twice = any(serials[lines[place].serial] > 1 for place in pair)
        if readable and named and not at_odds and not twice:
            findings.fault(fault.code, fault.pointer)


_OF_REFUNDS = ("amount", "quantity", "refund_of", "national_code", "hospital_code")


def _check_currencies(findings: Findings) -> None:
    """One bill, one currency: amounts never add over two."""
    bill = findings.bill
    currency = bill.billing.currency
    stated = [
        *((f"/lines/{index}/amount", line.amount) for index, line in enumerate(bill.lines)),
        *((f"/receipts/{index}/amount", receipt.amount) for index, receipt in enumerate(bill.receipts)),
        *((f"/billing/paid/{index}/amount", paid.amount) for index, paid in enumerate(bill.billing.paid)),
    ]
    for pointer, amount in stated:
        if amount.currency != currency:
            findings.fault("bill.two-currencies", pointer)


def _check_lines(findings: Findings) -> dict[int, int]:
    """Check that quantity times unit price is the amount, rounded to the minor unit either way, within the tolerance.

    Returns, by line, the amounts that quantity and price give where that is another one. A line whose refund, price or
    quantity is wrong in itself is told that and nothing else.
    """
    margin = findings.around.rules.tolerance_minor + _HALF
    told = {fault.pointer.split("/")[2] for fault in findings.netted.faults if fault.code != "refund.over-original"}
    corrected: dict[int, int] = {}
    for index, line in enumerate(findings.bill.lines):
        if findings.reading.broken and not findings.sound(*(f"/lines/{index}/{name}" for name in _FACTORS)):
            continue
        exact = line.quantity * line.unit_price * 100
        if line.unit_price < 0:
            findings.fault("line.price-negative", f"/lines/{index}/unit_price")
        elif line.refund_of is None and line.quantity <= 0 and line.amount.amount_minor >= 0:
            findings.fault("line.quantity-not-positive", f"/lines/{index}/quantity")
        elif abs(exact - line.amount.amount_minor) > margin and str(index) not in told:
            findings.fault("line.amount-mismatch", f"/lines/{index}/amount")
            corrected[index] = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    return corrected


_FACTORS = ("quantity", "unit_price", "amount")


def _check_totals(findings: Findings, sums: Sums) -> None:
    tolerance = findings.around.rules.tolerance_minor
    lines_apart = sums.lines is not None and min(
        abs(value - sums.whole) for value in (sums.lines, sums.corrected) if value is not None
    )
    if findings.netted.faults or (lines_apart and _lines_once(findings) == sums.whole):
        # A refund that is wrong, or a line that stands twice, has been told, and takes the lines' sum along.
        lines_apart = 0
    if sums.total is not None and sums.lines is not None and max(lines_apart, abs(sums.total - sums.whole)) > tolerance:
        findings.fault("bill.total-mismatch", "/billing/total")
    if sums.lines is not None and not findings.netted.faults and not findings.netted.lines:
        findings.fault("bill.nothing-to-claim", "/lines")
    negative = any(payment.amount.amount_minor < 0 for payment in findings.bill.billing.paid)
    apart = 0 if _is_payment_twice(findings, sums) else sums.paid_apart()
    if sums.total is not None and apart and not negative and findings.bill.billing.unpaid.amount_minor >= 0:
        findings.fault("billing.paid-and-unpaid", "/billing/unpaid")


def _lines_once(findings: Findings) -> int:
    """Add up the lines without those whose serial stood before: an export that writes a row twice."""
    by_serial = {line.serial: line.amount.amount_minor for line in reversed(findings.bill.lines)}
    return sum(by_serial.values())


def _check_categories(findings: Findings, sums: Sums, corrected: Mapping[int, int]) -> None:
    """Hold the lines of each category against the settlement list's row; lines that are missing are told once."""
    bill = findings.bill
    if not bill.figures.categories or not findings.sound("/lines/*/amount", "/lines/*/category", "/figures/categories"):
        return
    if any(line.category not in CHARGE_CATEGORIES for line in bill.lines):
        # told by the line, whose amount belongs to a category that nobody knows
        return
    stated = {code: amount.amount_minor for code, amount in bill.figures.categories.items()}
    written: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    for index, line in enumerate(bill.lines):
        written[line.category] += line.amount.amount_minor
        exact[line.category] += corrected.get(index, line.amount.amount_minor)
    apart = {}
    for code in written.keys() | stated.keys():
        differences = (written[code] - stated.get(code, 0), exact[code] - stated.get(code, 0))
        if min(map(abs, differences)) > findings.around.rules.tolerance_minor:
            apart[code] = differences[0]
    one_way = min(apart.values(), default=0) >= 0 or max(apart.values(), default=0) <= 0
    explained = one_way and sums.lines is not None and sum(apart.values()) == sums.lines - sums.whole
    if apart and not explained:
        findings.fault("bill.category-mismatch", "/figures/categories")


def _check_figures(findings: Findings, sums: Sums) -> None:
    """Check the settlement list's own sums as far as the hospital filled them in."""
    bill, figures = findings.bill, findings.bill.figures
    if sums.figures is None or sums.total is None:
        return
    tolerance = findings.around.rules.tolerance_minor
    fund = bill.billing.paid_by(_FUND)
    apart = sums.figures - sums.whole
    # A payment of the fund that is wrong has been told with the payments; it takes the own share along.
    by_receipts = checks_receipts.payers_apart(findings)
    paid_apart = sums.paid_apart()
    missing = by_receipts if paid_apart and sum(by_receipts.values()) == paid_apart else {}
    explained = apart != 0 and (apart == missing.get("fund") or (fund != 0 and apart == paid_apart))
    if abs(apart) > tolerance and not explained:
        findings.fault("bill.setlinfo-identity", "/figures/self_funded")
    account = bill.billing.paid_by(frozenset({PaidKind.PERSONAL_ACCOUNT}))
    account_apart = 0 if figures.account_paid is None else figures.account_paid.amount_minor - account
    if account_apart not in (0, -paid_apart, -missing.get("account", 0)):
        findings.fault("bill.setlinfo-identity", "/figures/account_paid")
    cash = (figures.account_paid, figures.cash_paid)
    if None in cash or explained:
        return
    own_apart = _sum(*cash) - (sums.whole - fund)
    if abs(own_apart) > tolerance and own_apart != account_apart:
        findings.fault("bill.setlinfo-identity", "/figures/cash_paid")


def _sum(*amounts: Money | None) -> int:
    return sum(amount.amount_minor for amount in amounts if amount is not None)


def _is_payment_twice(findings: Findings, sums: Sums) -> bool:
    """Say whether a payment whose order stood before, which is told, is by how much the payments miss the whole."""
    payments = findings.bill.billing.paid
    first = {payment.order: payment.amount.amount_minor for payment in reversed(payments)}
    return sums.paid_apart() == sum(payment.amount.amount_minor for payment in payments) - sum(first.values())


def _check_payments(findings: Findings, sums: Sums) -> None:
    billing = findings.bill.billing
    orders: set[int] = set()
    for index, payment in enumerate(billing.paid):
        if payment.order in orders and findings.sound("/billing/paid"):
            findings.fault("billing.order-twice", f"/billing/paid/{index}/order")
        orders.add(payment.order)
        if payment.amount.amount_minor < 0:
            findings.fault("billing.negative", f"/billing/paid/{index}/amount")
    if billing.unpaid.amount_minor < 0:
        findings.fault("billing.negative", "/billing/unpaid")
    if findings.sound("/billing"):
        _check_asked(findings, sums)


def _check_asked(findings: Findings, sums: Sums) -> None:
    """Check who is asked: the payee fits the mode, and nobody pays what is paid or what third parties paid.

    A total, payment or rest that is at odds with the others has been told, and what is asked is not held against it.
    """
    billing = findings.bill.billing
    asked, unpaid = billing.asked.amount_minor, billing.unpaid.amount_minor
    rest = max(billing.total.amount_minor, sums.whole) - billing.paid_by(findings.around.rules.third_party_kinds)
    apart = sums.paid_apart() != 0
    if asked <= 0:
        findings.fault("billing.nothing-asked", "/billing/asked")
    elif asked > rest and not (apart and asked <= unpaid):
        findings.fault("billing.asked-over-rest", "/billing/asked")
    direct = billing.billing_mode is BillingMode.DIRECT
    if direct != (billing.payee is Payee.HOSPITAL):
        findings.fault("billing.payee-against-mode", "/billing/payee")
    elif apart:
        return
    elif direct and unpaid == 0:
        findings.fault("billing.paid-already", "/billing/billing_mode")
    elif direct and unpaid < asked <= rest:
        findings.fault("billing.asked-over-unpaid", "/billing/asked")
    elif not direct and rest - unpaid < asked <= rest:
        findings.fault("billing.asked-over-paid", "/billing/asked")
