"""Checks of money: every sum of the bill, and who may still be asked for what. Integers of minor units throughout.

Lines = categories = total = receipts, within the tolerance of the rule row; total = paid + unpaid; the hospital is
never paid what has been paid already.
"""

from collections import Counter
from decimal import Decimal

from adapters.sz.bill import ReceiptState
from adapters.sz.findings import Findings
from gateway.protocol.claims import BillingMode, PaidKind, Payee
from gateway.protocol.money import Money

_HALF = Decimal("0.5")


def check(findings: Findings) -> None:
    for fault in findings.netted.faults:
        if findings.sound(fault.pointer):
            findings.fault(fault.code, fault.pointer)
    _check_currencies(findings)
    _check_lines(findings)
    _check_totals(findings)
    _check_figures(findings)
    _check_receipts(findings)
    _check_payments(findings)


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


def _check_lines(findings: Findings) -> None:
    """Quantity times unit price is the amount, rounded to the minor unit either way, within the tolerance."""
    margin = findings.around.rules.tolerance_minor + _HALF
    for index, line in enumerate(findings.bill.lines):
        if findings.reading.broken and not findings.sound(*(f"/lines/{index}/{name}" for name in _FACTORS)):
            continue
        exact = line.quantity * line.unit_price * 100
        if abs(exact - line.amount.amount_minor) > margin:
            findings.fault("line.amount-mismatch", f"/lines/{index}/amount")
        if line.unit_price < 0:
            findings.fault("line.price-negative", f"/lines/{index}/unit_price")
        if line.refund_of is None and line.quantity <= 0:
            findings.fault("line.quantity-not-positive", f"/lines/{index}/quantity")


_FACTORS = ("quantity", "unit_price", "amount")


def _check_totals(findings: Findings) -> None:
    billing = findings.bill.billing
    tolerance = findings.around.rules.tolerance_minor
    total = billing.total.amount_minor
    if findings.sound("/lines/*/amount", "/billing/total"):
        lines = sum(line.amount.amount_minor for line in findings.bill.lines)
        if abs(lines - total) > tolerance:
            findings.fault("bill.total-mismatch", "/billing/total")
        if not findings.netted.faults and not findings.netted.lines:
            findings.fault("bill.nothing-to-claim", "/lines")
    if findings.sound("/billing/total", "/billing/paid", "/billing/unpaid"):
        paid = sum(payment.amount.amount_minor for payment in billing.paid)
        if paid + billing.unpaid.amount_minor != total:
            findings.fault("billing.paid-and-unpaid", "/billing/unpaid")


def _check_figures(findings: Findings) -> None:
    """Check the settlement list's own sums as far as the hospital filled them in."""
    bill, figures = findings.bill, findings.bill.figures
    total = bill.billing.total.amount_minor
    tolerance = findings.around.rules.tolerance_minor
    if figures.categories and findings.sound("/lines/*/amount", "/lines/*/category", "/figures/categories"):
        sums: Counter[str] = Counter()
        for line in bill.lines:
            sums[line.category] += line.amount.amount_minor
        told = {code: amount.amount_minor for code, amount in figures.categories.items()}
        if any(abs(sums[code] - told.get(code, 0)) > tolerance for code in sums.keys() | told.keys()):
            findings.fault("bill.category-mismatch", "/figures/categories")
    own = (figures.self_paid, figures.self_funded)
    cash = (figures.account_paid, figures.cash_paid)
    if not findings.sound("/billing/total", "/billing/paid", *_FIGURES) or None in own:
        return
    borne = _sum(*own)
    fund = bill.billing.paid_by(frozenset({PaidKind.BASIC_FUND}))
    if abs(total - fund - borne) > tolerance:
        findings.fault("bill.setlinfo-identity", "/figures/self_funded")
    if None not in cash and abs(borne - _sum(*cash)) > tolerance:
        findings.fault("bill.setlinfo-identity", "/figures/cash_paid")
    account = bill.billing.paid_by(frozenset({PaidKind.PERSONAL_ACCOUNT}))
    if figures.account_paid is not None and figures.account_paid.amount_minor != account:
        findings.fault("bill.setlinfo-identity", "/figures/account_paid")


_FIGURES = ("/figures/self_paid", "/figures/self_funded", "/figures/account_paid", "/figures/cash_paid")


def _sum(*amounts: Money | None) -> int:
    return sum(amount.amount_minor for amount in amounts if amount is not None)


def _check_receipts(findings: Findings) -> None:
    """Receipts that are live add up to the bill; one that was red-flushed is evidence of nothing."""
    bill = findings.bill
    flushed = False
    for index, receipt in enumerate(bill.receipts):
        if receipt.state is ReceiptState.RED_FLUSHED:
            findings.fault("receipt.red-flushed", f"/receipts/{index}/state")
            flushed = True
        if receipt.amount.amount_minor <= 0 and findings.sound(f"/receipts/{index}/amount"):
            findings.fault("receipt.not-positive", f"/receipts/{index}/amount")
    told = sum(receipt.amount.amount_minor for receipt in bill.receipts)
    apart = abs(told - bill.billing.total.amount_minor) > findings.around.rules.tolerance_minor
    if apart and not flushed and findings.sound("/receipts/*/amount", "/billing/total"):
        findings.fault("receipt.total-mismatch", "/receipts")


def _check_payments(findings: Findings) -> None:
    billing = findings.bill.billing
    orders = Counter(payment.order for payment in billing.paid)
    for index, payment in enumerate(billing.paid):
        if orders[payment.order] > 1 and findings.sound("/billing/paid"):
            findings.fault("billing.order-twice", f"/billing/paid/{index}/order")
        if payment.amount.amount_minor < 0:
            findings.fault("billing.negative", f"/billing/paid/{index}/amount")
    if billing.unpaid.amount_minor < 0:
        findings.fault("billing.negative", "/billing/unpaid")
    if findings.sound("/billing"):
        _check_asked(findings)


def _check_asked(findings: Findings) -> None:
    """Check who is asked: the payee fits the mode, and nobody pays what is paid or what third parties paid."""
    billing = findings.bill.billing
    asked, unpaid = billing.asked.amount_minor, billing.unpaid.amount_minor
    rest = billing.total.amount_minor - billing.paid_by(findings.around.rules.third_party_kinds)
    if asked <= 0:
        findings.fault("billing.nothing-asked", "/billing/asked")
    elif asked > rest:
        findings.fault("billing.asked-over-rest", "/billing/asked")
    direct = billing.billing_mode is BillingMode.DIRECT
    if direct != (billing.payee is Payee.HOSPITAL):
        findings.fault("billing.payee-against-mode", "/billing/payee")
    elif direct and unpaid == 0:
        findings.fault("billing.paid-already", "/billing/billing_mode")
    elif direct and asked > unpaid:
        findings.fault("billing.asked-over-unpaid", "/billing/asked")
    elif not direct and rest - unpaid < asked <= rest:
        findings.fault("billing.asked-over-paid", "/billing/asked")
