"""Read camt.054.001.08 (BankToCustomerDebitCreditNotification) into bank entries.

Rows are independent facts: one that cannot be read is returned as such, and the others are read nevertheless. Only a
document that is no such message at all is refused.

A row of the bank may hold several transactions; each becomes an entry of its own with its own ids and amount. What
the details leave of the row's total becomes one more entry without ids, so that entries always sum to the rows: a
total is never taken for a line, and no fen is lost to charges that the bank booked in between. Where the details do
not say how much belongs to which transaction, the row is one entry in doubt. Rows that are not booked (pending,
information, future) are no money and are left out.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from lxml import etree

from gateway.protocol.canonical import canonical, sha256_hex
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.money import Money, total
from settlement.bank_entry import BankEntry, Side, UnreadableRow
from settlement.iso20022.xml import (
    Element,
    child,
    children,
    is_no_reference,
    parse,
    read_amount,
    read_date,
    read_flag,
    required,
    required_text,
    text,
    visible,
)

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"
REFERENCES_MAX = 50

_SIDES = {"CRDT": Side.CREDIT, "DBIT": Side.DEBIT}
_BOOKED = "BOOK"
_NOT_BOOKED = frozenset({"PDNG", "INFO", "FUTR"})
"""ExternalEntryStatus1Code, besides BOOK."""
_REMITTANCE = ("RltdRmtInf/RmtId", "RmtInf/Ustrd", "RmtInf/Strd/CdtrRefInf/Ref", "RmtInf/Strd/RfrdDocInf/Nb")


def read_camt054(raw: bytes) -> tuple[BankEntry | UnreadableRow, ...]:
    """Read every booked row, in document order; `MalformedInputError` (`iso20022.<what>`) for another document."""
    body = required(parse(raw, NAMESPACE), "BkToCstmrDbtCdtNtfctn")
    return tuple(
        row
        for place, notification in enumerate(children(body, "Ntfctn"))
        for row in _notification(notification, raw, place)
    )


def _notification(notification: Element, raw: bytes, place: int) -> Iterator[BankEntry | UnreadableRow]:
    account = text(notification, "Acct/Id/IBAN") or text(notification, "Acct/Id/Othr/Id")
    origin = _origin(notification, account, raw, place)
    seen: Counter[str] = Counter()
    for position, row in enumerate(children(notification, "Ntry"), start=1):
        try:
            entries = list(_row(row, account, origin))
        except MalformedInputError as error:
            yield _unreadable(row, account, origin, position, error.code)
            continue
        for entry in entries:
            seen[entry.fingerprint] += 1
            yield replace(entry, occurrence=seen[entry.fingerprint])


def _origin(notification: Element, account: str | None, raw: bytes, place: int) -> str:
    """Return what stands for this notification. One without an id is known by its document and its place in it."""
    notification_id = _given(text(notification, "Id"))
    form = etree.tostring(notification, method="c14n", exclusive=True, with_tail=False)
    where = [] if notification_id else [sha256_hex(raw), place]
    return sha256_hex(canonical([account, notification_id, sha256_hex(form), *where]))


def _row(row: Element, account: str | None, origin: str) -> Iterator[BankEntry]:
    if not _is_booked(row):
        return
    if account is None:
        raise MalformedInputError("iso20022.account")
    servicer_ref, (value_date, doubt) = _given(text(row, "AcctSvcrRef")), _value_date(row)
    whole = BankEntry(
        account=account,
        side=_side(required_text(row, "CdtDbtInd")),
        amount=read_amount(required(row, "Amt")),
        booking_date=_booking_date(row),
        value_date=value_date,
        uetr=None,
        end_to_end_id=None,
        reference=None,
        entry_ref=text(row, "AcctSvcrRef") or text(row, "NtryRef"),
        reversal=False,
        servicer_ref=servicer_ref,
        origin=origin,
        doubt=doubt,
    )
    try:
        whole = replace(whole, reversal=read_flag(row, "RvslInd"))
        entries = list(_parts(row, whole)) if whole.doubt is None else [whole]
    except MalformedInputError as error:
        entries = [replace(whole, doubt=error.code)]
    yield from entries


def _is_booked(row: Element) -> bool:
    code, own = text(row, "Sts/Cd"), text(row, "Sts/Prtry")
    if code is None and own is None:
        raise MalformedInputError("iso20022.entry-status")
    if code is not None and code not in {_BOOKED, *_NOT_BOOKED}:
        raise MalformedInputError("iso20022.entry-status")
    return (code or own) == _BOOKED


def _booking_date(row: Element) -> date | None:
    """Return the day of booking; nothing depends on it, so one that cannot be read is none."""
    try:
        return read_date(row, "BookgDt")
    except MalformedInputError:
        return None


def _value_date(row: Element) -> tuple[date | None, str | None]:
    """Return the value date, or why the journal cannot take it."""
    try:
        return read_date(row, "ValDt"), None
    except MalformedInputError as error:
        return None, error.code


def _parts(row: Element, whole: BankEntry) -> Iterator[BankEntry]:
    """Yield the row's transactions, and what they leave of its total; an unclear detail is `MalformedInputError`."""
    details = [node for group in children(row, "NtryDtls") for node in children(group, "TxDtls")]
    entries = [_transaction(node, whole, alone=len(details) == 1) for node in details]
    yield from entries
    rest = _rest(whole, entries)
    if rest is not None:
        yield rest
    elif not entries:
        yield whole


def _transaction(node: Element, whole: BankEntry, *, alone: bool) -> BankEntry:
    """Read one transaction of a row."""
    side, uetr, servicer_ref = text(node, "CdtDbtInd"), text(node, "Refs/UETR"), text(node, "Refs/AcctSvcrRef")
    references = [found for path in _REMITTANCE for found in _texts(node, path)]
    return replace(
        whole,
        side=whole.side if side is None else _side(side),
        amount=_transaction_amount(node, whole.amount, alone=alone),
        uetr=None if uetr is None else uetr.lower(),
        end_to_end_id=_given(text(node, "Refs/EndToEndId")),
        reference=text(node, "RltdRmtInf/RmtId") or text(node, "RmtInf/Ustrd"),
        entry_ref=servicer_ref or whole.entry_ref,
        servicer_ref=_given(servicer_ref) or whole.servicer_ref,
        instruction_id=_given(text(node, "Refs/InstrId")),
        payment_id=_given(text(node, "Refs/PmtInfId")),
        message_id=_given(text(node, "Refs/MsgId")),
        references=tuple(references[:REFERENCES_MAX]),
    )


def _texts(node: Element, path: str) -> Iterator[str]:
    written = ((found.text or "").strip() for found in children(node, path))
    yield from (visible(words) for words in written if words)


def _transaction_amount(node: Element, whole: Money, *, alone: bool) -> Money:
    """Return the transaction's amount in the account's currency; one without it must be the row's only transaction.

    `Amt` is the amount booked. Where it is absent the bank's breakdown stands for it: the transaction's amount, or
    its counter value in the account's currency.
    """
    for path in ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/CntrValAmt/Amt"):
        found = child(node, path)
        if found is not None and found.get("Ccy") == whole.currency:
            return read_amount(found)
    if not alone:
        raise MalformedInputError("iso20022.details-amount")
    return whole


def _rest(whole: BankEntry, entries: list[BankEntry]) -> BankEntry | None:
    """Return what the transactions leave of the row's total, on the side that makes the sum right; None if nothing."""
    currency = whole.amount.currency
    left = whole.signed - total((entry.signed for entry in entries), currency)
    if left.amount_minor == 0:
        return None
    side = Side.CREDIT if left.amount_minor > 0 else Side.DEBIT
    return replace(whole, side=side, amount=Money(abs(left.amount_minor), currency))


def _unreadable(row: Element, account: str | None, origin: str, position: int, code: str) -> UnreadableRow:
    amount = child(row, "Amt")
    return UnreadableRow(
        code=code,
        origin=origin,
        position=position,
        account=account,
        side=text(row, "CdtDbtInd"),
        amount=None if amount is None else visible((amount.text or "").strip()),
        currency=None if amount is None else visible(amount.get("Ccy", "")),
        entry_ref=text(row, "AcctSvcrRef") or text(row, "NtryRef"),
    )


def _side(written: str) -> Side:
    if written not in _SIDES:
        raise MalformedInputError("iso20022.side")
    return _SIDES[written]


def _given(written: str | None) -> str | None:
    return None if is_no_reference(written) else written
