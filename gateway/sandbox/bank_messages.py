"""The simulated bank's own reading of pain.001.001.09 and writing of pain.002.001.10 and camt.054.001.08.

Written apart from settlement's reader and writer on purpose: where both agree, neither has only agreed with itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from lxml import etree

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.clock import rfc3339
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.money import Money

PAIN001 = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
PAIN002 = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"
CAMT054 = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"

_AMOUNT = re.compile(r"[0-9]{1,15}\.[0-9]{2}")
_MAX35 = re.compile(r"[A-Za-z0-9/?:().,'+ -]{1,35}")
_UETR = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")


@dataclass(frozen=True, slots=True)
class Order:
    """One credit transfer as a customer ordered it. `currency` is whatever was written; amounts have two decimals."""

    message_id: str
    payment_info_id: str
    end_to_end_id: str
    uetr: str
    debtor_account: str
    debtor_bank: str
    creditor_account: str
    creditor_bank: str
    creditor_name: str
    creditor_town: str | None
    creditor_country: str | None
    amount_minor: int
    control_sum_minor: int
    currency: str
    execution_date: date
    remittance_id: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of an order: `status` is an ExternalPaymentTransactionStatus1Code, `reason` goes with RJCT."""

    message_id: str
    payment_info_id: str
    end_to_end_id: str
    uetr: str
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Movement:
    """One booked line of an account; `position` orders the bank's whole journal."""

    position: int
    account: str
    side: str
    """`CRDT` or `DBIT`."""
    amount: Money
    booked_at: datetime
    value_date: date
    message_id: str
    end_to_end_id: str
    uetr: str
    remittance_id: str | None

    @property
    def reference(self) -> str:
        return f"BK{self.position:010d}"


def read_order(raw: bytes) -> Order:
    """Read a message with one payment and one transfer; anything else is `MalformedInputError` (`bank.pain001`)."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(raw, parser)
        if root.tag != f"{{{PAIN001}}}Document" or root.getroottree().docinfo.internalDTD is not None:
            raise MalformedInputError("bank.pain001")
        return _order(root)
    except (etree.LxmlError, ValueError):
        raise MalformedInputError("bank.pain001") from None


def _order(root: etree._Element) -> Order:
    def one(path: str) -> str:
        found = root.findall("/".join(f"{{{PAIN001}}}{name}" for name in f"CstmrCdtTrfInitn/{path}".split("/")))
        if len(found) != 1 or not (found[0].text or "").strip():
            raise MalformedInputError("bank.pain001")
        return (found[0].text or "").strip()

    def maybe(path: str) -> str | None:
        return root.findtext("/".join(f"{{{PAIN001}}}{name}" for name in f"CstmrCdtTrfInitn/{path}".split("/")))

    transfer = "PmtInf/CdtTrfTxInf"
    amount = root.find(f".//{{{PAIN001}}}InstdAmt")
    if one("GrpHdr/NbOfTxs") != "1":
        raise MalformedInputError("bank.pain001")
    return Order(
        message_id=_matching(_MAX35, one("GrpHdr/MsgId")),
        payment_info_id=_matching(_MAX35, one("PmtInf/PmtInfId")),
        end_to_end_id=_matching(_MAX35, one(f"{transfer}/PmtId/EndToEndId")),
        uetr=_matching(_UETR, one(f"{transfer}/PmtId/UETR")),
        debtor_account=one("PmtInf/DbtrAcct/Id/Othr/Id"),
        debtor_bank=one("PmtInf/DbtrAgt/FinInstnId/ClrSysMmbId/MmbId"),
        creditor_account=one(f"{transfer}/CdtrAcct/Id/Othr/Id"),
        creditor_bank=one(f"{transfer}/CdtrAgt/FinInstnId/ClrSysMmbId/MmbId"),
        creditor_name=one(f"{transfer}/Cdtr/Nm"),
        creditor_town=maybe(f"{transfer}/Cdtr/PstlAdr/TwnNm"),
        creditor_country=maybe(f"{transfer}/Cdtr/PstlAdr/Ctry"),
        amount_minor=_minor(one(f"{transfer}/Amt/InstdAmt")),
        control_sum_minor=_minor(one("GrpHdr/CtrlSum")),
        currency="" if amount is None else amount.get("Ccy", ""),
        execution_date=date.fromisoformat(one("PmtInf/ReqdExctnDt/Dt")),
        remittance_id=maybe(f"{transfer}/RltdRmtInf/RmtId"),
    )


def _matching(form: re.Pattern[str], written: str) -> str:
    if form.fullmatch(written) is None:
        raise MalformedInputError("bank.pain001")
    return written


def _minor(written: str) -> int:
    return int(_matching(_AMOUNT, written).replace(".", ""))


class _Maker:
    """Makes elements of one namespace: `make("Amt", "1.00", Ccy="CNY")`, children as further arguments."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def __call__(self, name: str, *content: str | etree._Element, **attributes: str) -> etree._Element:
        names = {None: self._namespace}
        found = etree.Element(f"{{{self._namespace}}}{name}", attributes, names)  # type: ignore[arg-type]  # stubs
        for part in content:
            if isinstance(part, str):
                found.text = part
            else:
                found.append(part)
        return found


STATUS_FORMS = ("transaction", "payment", "group", "bare")
"""Where a bank says what became of an order, and under which references; each form is valid by the schema.

`transaction`: group and transaction, by EndToEndId and UETR. `payment`: the payment alone, below a group that was taken
(ACTC), without transactions. `group`: the group alone. `bare`: a transaction without a group's status, by its UETR
alone, in a payment whose id the bank has not kept.
"""
NOTIFICATION_FORMS = ("full", "bare")
"""`full`: every reference, and `Amt`. `bare`: the payment's id and InstrId alone, and the amount in `AmtDtls`."""


def write_status(standing: Standing, at: datetime, form: str = "transaction") -> bytes:
    """Write pain.002.001.10 for one order in one of `STATUS_FORMS`."""
    make = _Maker(PAIN002)
    group = {"payment": "ACTC", "bare": None}.get(form, standing.status)
    speaks = form in ("transaction", "group")
    status_id = sha256_hex(f"{standing.message_id} {standing.status} {standing.reason} {rfc3339(at)}".encode())
    return _serialised(
        make(
            "Document",
            make(
                "CstmrPmtStsRpt",
                make("GrpHdr", make("MsgId", f"STS{status_id[:32].upper()}"), make("CreDtTm", rfc3339(at))),
                make(
                    "OrgnlGrpInfAndSts",
                    make("OrgnlMsgId", standing.message_id),
                    make("OrgnlMsgNmId", "pain.001.001.09"),
                    *([] if group is None else [make("GrpSts", group)]),
                    *(_reason(make, standing) if speaks else []),
                ),
                *_payment(make, standing, form),
            ),
        )
    )


def _payment(make: _Maker, standing: Standing, form: str) -> list[etree._Element]:
    """Write what a report says below its group."""
    payment_id, reason = make("OrgnlPmtInfId", standing.payment_info_id), _reason(make, standing)
    status = make("TxSts", standing.status)
    if form == "group":
        return []
    if form == "payment":
        return [make("OrgnlPmtInfAndSts", payment_id, make("PmtInfSts", standing.status), *reason)]
    if form == "bare":
        payment_id = make("OrgnlPmtInfId", "NOTPROVIDED")
        transaction = make("TxInfAndSts", make("OrgnlUETR", standing.uetr), status, *reason)
    else:
        ids = (make("OrgnlEndToEndId", standing.end_to_end_id), make("OrgnlUETR", standing.uetr))
        transaction = make("TxInfAndSts", *ids, status, *reason)
    return [make("OrgnlPmtInfAndSts", payment_id, transaction)]


def _reason(make: _Maker, standing: Standing) -> list[etree._Element]:
    return [] if standing.reason is None else [make("StsRsnInf", make("Rsn", make("Cd", standing.reason)))]


def write_notification(movements: Sequence[Movement], form: str = "full") -> bytes:
    """Write camt.054.001.08: one notification a movement, in journal order. The same movements give the same bytes."""
    make = _Maker(CAMT054)
    first, last = movements[0], movements[-1]
    header = make(
        "GrpHdr",
        make("MsgId", f"NTF{first.position:010d}-{last.position:010d}"),
        make("CreDtTm", rfc3339(last.booked_at)),
    )
    shown = [_notification(make, movement, form) for movement in movements]
    return _serialised(make("Document", make("BkToCstmrDbtCdtNtfctn", header, *shown)))


def _notification(make: _Maker, movement: Movement, form: str) -> etree._Element:
    currency = movement.amount.currency
    return make(
        "Ntfctn",
        make("Id", movement.reference),
        make("CreDtTm", rfc3339(movement.booked_at)),
        make("Acct", make("Id", make("Othr", make("Id", movement.account))), make("Ccy", currency)),
        make(
            "Ntry",
            make("NtryRef", movement.reference),
            make("Amt", str(movement.amount), Ccy=currency),
            make("CdtDbtInd", movement.side),
            make("RvslInd", "false"),
            make("Sts", make("Cd", "BOOK")),
            make("BookgDt", make("DtTm", rfc3339(movement.booked_at))),
            make("ValDt", make("Dt", movement.value_date.isoformat())),
            make("AcctSvcrRef", movement.reference),
            make("BkTxCd", make("Prtry", make("Cd", "SANDBOX-TRANSFER"))),
            make("NtryDtls", _bare_transaction(make, movement) if form == "bare" else _transaction(make, movement)),
        ),
    )


def _bare_transaction(make: _Maker, movement: Movement) -> etree._Element:
    """Write a transaction as a bank does that keeps only the ids above and beside EndToEndId; ours are equal to it."""
    amount = make("TxAmt", make("Amt", f"{movement.amount}0", Ccy=movement.amount.currency))
    refs = make("Refs", make("PmtInfId", movement.message_id), make("InstrId", movement.end_to_end_id))
    return make("TxDtls", refs, make("CdtDbtInd", movement.side), make("AmtDtls", amount))


def _transaction(make: _Maker, movement: Movement) -> etree._Element:
    remittance = [] if movement.remittance_id is None else [make("RltdRmtInf", make("RmtId", movement.remittance_id))]
    return make(
        "TxDtls",
        make(
            "Refs",
            make("MsgId", movement.message_id),
            make("AcctSvcrRef", movement.reference),
            make("EndToEndId", movement.end_to_end_id),
            make("UETR", movement.uetr),
        ),
        make("Amt", str(movement.amount), Ccy=movement.amount.currency),
        make("CdtDbtInd", movement.side),
        *remittance,
    )


def _serialised(root: etree._Element) -> bytes:
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")
