"""Checks of receipts' money: their sum against the bill, and who paid by their word against who paid by the bill's.

`paid` and the receipts tell one story twice. If the receipt says that fund, account or cash paid another sum, one of
the two is wrong, and what is asked of the insurer with it: that refuses the bill, to the minor unit.
"""

from collections.abc import Callable

from adapters.sz.bill import Receipt, ReceiptSplit, ReceiptState
from adapters.sz.findings import Findings
from gateway.protocol.claim_terms import PaidKind
from gateway.protocol.money import Money

_READ_FROM: tuple[tuple[str, str, Callable[[ReceiptSplit], Money | None], frozenset[PaidKind]], ...] = (
    ("fund", "receipt.fund-differs", lambda split: split.fund, frozenset({PaidKind.BASIC_FUND})),
    ("account", "receipt.account-differs", lambda split: split.account, frozenset({PaidKind.PERSONAL_ACCOUNT})),
    ("cash", "receipt.cash-differs", lambda split: split.cash, frozenset({PaidKind.CASH, PaidKind.DEPOSIT})),
)
"""A receipt's field, the fault, and the kinds of payment that it covers. A deposit is cash by the time of the receipt;
what is not paid yet stands under `otherPayment`."""


def receipts_sum(findings: Findings) -> int | None:
    """Add up what the receipts say, each once; None where that is no evidence of the whole."""
    receipts = findings.bill.receipts
    if not findings.sound("/receipts", "/receipts/*/amount"):
        return None
    if any(receipt.state is ReceiptState.RED_FLUSHED or receipt.amount.amount_minor <= 0 for receipt in receipts):
        return None
    return sum({(receipt.code, receipt.number): receipt.amount.amount_minor for receipt in receipts}.values())


def check(findings: Findings, whole: int, paid_apart: int) -> None:
    """Check receipts against the bill's `whole`; payments that miss it by `paid_apart` have been told already."""
    receipts = findings.bill.receipts
    for index, receipt in enumerate(receipts):
        if receipt.state is ReceiptState.RED_FLUSHED:
            findings.fault("receipt.red-flushed", f"/receipts/{index}/state")
        if receipt.amount.amount_minor <= 0 and findings.sound(f"/receipts/{index}/amount"):
            findings.fault("receipt.not-positive", f"/receipts/{index}/amount")
    stated = receipts_sum(findings)
    if stated is None or not findings.sound("/billing/total"):
        return
    if abs(stated - whole) > findings.around.rules.tolerance_minor:
        findings.fault("receipt.total-mismatch", "/receipts")
    elif findings.sound("/billing/paid") and not _check_payers(findings, paid_apart):
        _check_splits(findings)


def _check_payers(findings: Findings, paid_apart: int) -> bool:
    """Hold what the receipts say of fund, account and cash against `paid`; say whether anything differs."""
    apart_by_name = payers_apart(findings)
    if paid_apart and sum(apart_by_name.values()) == paid_apart:
        # payments that are missing or wrong have been told by the sum that they miss
        return True
    for name, code, _, _ in _READ_FROM:
        apart = apart_by_name.get(name, 0)
        if abs(apart) > findings.around.rules.tolerance_minor and apart != paid_apart:
            findings.fault(code, f"/receipts/0/split/{name}" if len(findings.bill.receipts) == 1 else "/receipts")
    return any(apart_by_name.values())


def payers_apart(findings: Findings) -> dict[str, int]:
    """Return by how much `paid` exceeds what the receipts say of fund, account and cash, as far as they say it."""
    bill = findings.bill
    # a receipt that stands twice has been told, and counts once
    receipts = {(receipt.code, receipt.number): receipt for receipt in bill.receipts}.values()
    apart: dict[str, int] = {}
    for name, _, amount_of, kinds in _READ_FROM:
        amounts = [amount_of(receipt.split) for receipt in receipts]
        if None not in amounts and findings.sound(f"/receipts/*/split/{name}"):
            stated = sum(amount.amount_minor for amount in amounts if amount is not None)
            apart[name] = bill.billing.paid_by(kinds) - stated
    return apart


def _check_splits(findings: Findings) -> None:
    """Refuse a receipt whose payers paid more than its amount; warn where it names the others and paid less."""
    tolerance = findings.around.rules.tolerance_minor
    for index, receipt in enumerate(findings.bill.receipts):
        if not findings.sound(*(f"/receipts/{index}/split/{name}" for name in ("fund", "account", "cash", "other"))):
            continue
        apart = _split_sum(receipt) - receipt.amount.amount_minor
        if apart > tolerance:
            findings.fault("receipt.split-differs", f"/receipts/{index}/amount")
        elif receipt.split.other is not None and -apart > tolerance:
            findings.warn("receipt.split-differs", f"/receipts/{index}/amount")


def _split_sum(receipt: Receipt) -> int:
    split = receipt.split
    parts = (split.fund, split.account, split.cash, split.other)
    return sum(part.amount_minor for part in parts if part is not None)
