"""Write pain.001.001.09 (CustomerCreditTransferInitiation): one message, one payment, one credit transfer.

CBPR+ relay wants PmtInfId equal to MsgId and a single transaction. Town and country stand in every party's address
whatever the rail's cut-over date for unstructured addresses. The element that carries the RMB purpose (/CSTRDR/)
differs from bank to bank and is left out while the bank's profile has it unset (`rmb.purpose.field`).
"""

from typing import Literal

from gateway.protocol.clock import rfc3339
from settlement.iso20022.xml import Element, add, document, to_bytes
from settlement.payment import AccountHolder, Agent, PaymentInstruction

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
MESSAGE_NAME = "pain.001.001.09"
CATEGORY_PURPOSE = "SUPP"
"""Supplier payment (ExternalCategoryPurpose1Code)."""

RmbPurposeField = Literal["RgltryRptg", "InstrForCdtrAgt"]

_RMB_SERVICES = "/CSTRDR/"
"""Cross-border RMB for services, first in its field, between slashes."""


def write_pain001(payment: PaymentInstruction, rmb_purpose_field: RmbPurposeField | None) -> bytes:
    """Return the message's bytes; the same instruction and setting give the same bytes."""
    root, body = document(NAMESPACE, "CstmrCdtTrfInitn")
    _group_header(body, payment)
    info = add(body, "PmtInf")
    add(info, "PmtInfId", payment.message_id)
    add(info, "PmtMtd", "TRF")
    add(info, "NbOfTxs", "1")
    add(info, "CtrlSum", str(payment.amount))
    add(add(add(info, "PmtTpInf"), "CtgyPurp"), "Cd", CATEGORY_PURPOSE)
    add(add(info, "ReqdExctnDt"), "Dt", payment.value_date.isoformat())
    _party(add(info, "Dbtr"), payment.debtor)
    _account(add(info, "DbtrAcct"), payment.debtor)
    _agent(add(info, "DbtrAgt"), payment.debtor.agent)
    _transfer(add(info, "CdtTrfTxInf"), payment, rmb_purpose_field)
    return to_bytes(root)


def _group_header(body: Element, payment: PaymentInstruction) -> None:
    header = add(body, "GrpHdr")
    add(header, "MsgId", payment.message_id)
    add(header, "CreDtTm", rfc3339(payment.created_at))
    add(header, "NbOfTxs", "1")
    add(header, "CtrlSum", str(payment.amount))
    _party(add(header, "InitgPty"), payment.debtor)


def _transfer(transfer: Element, payment: PaymentInstruction, rmb_purpose_field: RmbPurposeField | None) -> None:
    ids = add(transfer, "PmtId")
    add(ids, "InstrId", payment.end_to_end_id)
    add(ids, "EndToEndId", payment.end_to_end_id)
    add(ids, "UETR", payment.uetr)
    add(add(transfer, "Amt"), "InstdAmt", str(payment.amount), Ccy=payment.amount.currency)
    add(transfer, "ChrgBr", payment.charge_bearer)
    _agent(add(transfer, "CdtrAgt"), payment.creditor.agent)
    _party(add(transfer, "Cdtr"), payment.creditor)
    _account(add(transfer, "CdtrAcct"), payment.creditor)
    if rmb_purpose_field == "InstrForCdtrAgt":
        add(add(transfer, "InstrForCdtrAgt"), "InstrInf", _RMB_SERVICES)
    add(add(transfer, "Purp"), "Cd", payment.purpose)
    if rmb_purpose_field == "RgltryRptg":
        add(add(add(transfer, "RgltryRptg"), "Dtls"), "Inf", _RMB_SERVICES)
    add(add(transfer, "RltdRmtInf"), "RmtId", payment.remittance_id)
    _remittance(add(transfer, "RmtInf"), payment)


def _remittance(remittance: Element, payment: PaymentInstruction) -> None:
    """One structured line an obligation: its reference and its share; the lines sum to the payment (SET-4)."""
    for line in payment.lines:
        structured = add(remittance, "Strd")
        add(add(structured, "RfrdDocInf"), "Nb", line.reference)
        add(add(structured, "RfrdDocAmt"), "RmtdAmt", str(line.amount), Ccy=line.amount.currency)


def _party(node: Element, holder: AccountHolder) -> None:
    add(node, "Nm", holder.name)
    address = add(node, "PstlAdr")
    add(address, "TwnNm", holder.town)
    add(address, "Ctry", holder.country)
    if holder.lei is not None:
        add(add(add(node, "Id"), "OrgId"), "LEI", holder.lei)


def _account(node: Element, holder: AccountHolder) -> None:
    add(add(add(node, "Id"), "Othr"), "Id", holder.account)
    add(node, "Ccy", holder.currency)


def _agent(node: Element, agent: Agent) -> None:
    institution = add(node, "FinInstnId")
    if agent.bic is not None:
        add(institution, "BICFI", agent.bic)
    member = add(institution, "ClrSysMmbId")
    add(add(member, "ClrSysId"), "Cd", agent.clearing_system)
    add(member, "MmbId", agent.member_id)
