"""Read camt.054.001.08 (BankToCustomerDebitCreditNotification) into bank entries.

A row of the bank may hold several transactions; each becomes an entry of its own with its own ids and amount. What
the details leave of the row's total becomes one more entry without ids, so that entries always sum to the rows: a
total is never taken for a line, and no fen is lost to charges that the bank booked in between. Rows that are not
booked (pending, information) are no money and are left out.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.money import Money, total
from settlement.bank_entry import BankEntry, Side
from settlement.iso20022.xml import (
    Element,
    child,
    children,
    parse,
    read_amount,
    read_date,
    read_flag,
    required,
    required_text,
    text,
)

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"
NOT_PROVIDED = "NOTPROVIDED"

_SIDES = {"CRDT": Side.CREDIT, "DBIT": Side.DEBIT}


def read_camt054(raw: bytes) -> tuple[BankEntry, ...]:
    """Read every booked entry, in document order; `MalformedInputError` (`iso20022.<what>`) otherwise."""
    body = required(parse(raw, NAMESPACE), "BkToCstmrDbtCdtNtfctn")
    seen: Counter[str] = Counter()
    entries = []
    for notification in children(body, "Ntfctn"):
        account = _account(required(notification, "Acct/Id"))
        for row in children(notification, "Ntry"):
            for entry in _row(row, account):
                seen[entry.fingerprint] += 1
                entries.append(replace(entry, occurrence=seen[entry.fingerprint]))
    return tuple(entries)


def _account(node: Element) -> str:
    found = text(node, "IBAN") or text(node, "Othr/Id")
    if found is None:
        raise MalformedInputError("iso20022.element-missing")
    return found


def _row(row: Element, account: str) -> Iterator[BankEntry]:
    if (text(row, "Sts/Cd") or text(row, "Sts/Prtry")) != "BOOK":
        return
    whole = BankEntry(
        account=account,
        side=_side(required_text(row, "CdtDbtInd")),
        amount=read_amount(required(row, "Amt")),
        booking_date=read_date(row, "BookgDt"),
        value_date=read_date(row, "ValDt"),
        uetr=None,
        end_to_end_id=None,
        reference=None,
        entry_ref=text(row, "AcctSvcrRef") or text(row, "NtryRef"),
        reversal=read_flag(row, "RvslInd"),
    )
    details = [found for group in children(row, "NtryDtls") for found in children(group, "TxDtls")]
    entries = [_transaction(found, whole, alone=len(details) == 1) for found in details]
    yield from entries
    rest = _rest(whole, entries)
    if rest is not None:
        yield rest


def _transaction(node: Element, whole: BankEntry, *, alone: bool) -> BankEntry:
    """Read one transaction of a row."""
    side, uetr = text(node, "CdtDbtInd"), text(node, "Refs/UETR")
    return replace(
        whole,
        side=whole.side if side is None else _side(side),
        amount=_transaction_amount(node, whole.amount, alone=alone),
        uetr=None if uetr is None else uetr.lower(),
        end_to_end_id=_given(text(node, "Refs/EndToEndId")),
        reference=text(node, "RltdRmtInf/RmtId") or text(node, "RmtInf/Ustrd"),
        entry_ref=text(node, "Refs/AcctSvcrRef") or whole.entry_ref,
    )


def _transaction_amount(node: Element, whole: Money, *, alone: bool) -> Money:
    """Return the transaction's amount in the account's currency; one without it must be the row's only transaction."""
    found = child(node, "Amt")
    if found is not None and found.get("Ccy") == whole.currency:
        return read_amount(found)
    if not alone:
        raise MalformedInputError("iso20022.amount")
    return whole


def _rest(whole: BankEntry, entries: list[BankEntry]) -> BankEntry | None:
    """Return what the transactions leave of the row's total, on the side that makes the sum right; None if nothing."""
    currency = whole.amount.currency
    left = whole.signed - total((entry.signed for entry in entries), currency)
    if left.amount_minor == 0:
        return None
    side = Side.CREDIT if left.amount_minor > 0 else Side.DEBIT
    return replace(whole, side=side, amount=Money(abs(left.amount_minor), currency))


def _side(written: str) -> Side:
    if written not in _SIDES:
        raise MalformedInputError("iso20022.side")
    return _SIDES[written]


def _given(end_to_end_id: str | None) -> str | None:
    return None if end_to_end_id == NOT_PROVIDED else end_to_end_id
