"""Read pain.002.001.10 (CustomerPaymentStatusReport): what the bank says of a message, a payment, a transaction."""

import re
from dataclasses import dataclass

from gateway.protocol.errors import MalformedInputError
from settlement.iso20022.xml import Element, children, parse, required, required_text, text

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"

_STATUS = re.compile(r"[A-Z0-9]{1,4}")
_REASON = re.compile(r"[A-Za-z0-9 ./-]{1,35}")


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """`status` is the nearest one given: of the transaction, else of its payment, else of the group; None if none is.

    `reasons` are ExternalStatusReason1Code values or a bank's own codes; the free text beside them is not read.
    """

    end_to_end_id: str | None
    uetr: str | None
    status: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusReport:
    message_id: str
    original_message_id: str
    group_status: str | None
    group_reasons: tuple[str, ...]
    transactions: tuple[TransactionStatus, ...]

    def of(self, end_to_end_id: str) -> TransactionStatus:
        """Return the status of one transaction; where it is not listed, the group's stands for it."""
        for found in self.transactions:
            if found.end_to_end_id == end_to_end_id:
                return found
        return TransactionStatus(end_to_end_id, None, self.group_status, self.group_reasons)


def read_pain002(raw: bytes) -> StatusReport:
    """Read one report; `MalformedInputError` (`iso20022.<what>`) otherwise."""
    report = required(parse(raw, NAMESPACE), "CstmrPmtStsRpt")
    group = required(report, "OrgnlGrpInfAndSts")
    group_status, group_reasons = _status(group, "GrpSts"), _reasons(group)
    return StatusReport(
        message_id=required_text(report, "GrpHdr/MsgId"),
        original_message_id=required_text(group, "OrgnlMsgId"),
        group_status=group_status,
        group_reasons=group_reasons,
        transactions=tuple(
            found
            for payment in children(report, "OrgnlPmtInfAndSts")
            for found in _transactions(payment, group_status, group_reasons)
        ),
    )


def _transactions(
    payment: Element, group_status: str | None, group_reasons: tuple[str, ...]
) -> list[TransactionStatus]:
    status, reasons = _status(payment, "PmtInfSts") or group_status, _reasons(payment) or group_reasons
    return [
        TransactionStatus(
            end_to_end_id=text(found, "OrgnlEndToEndId"),
            uetr=text(found, "OrgnlUETR"),
            status=_status(found, "TxSts") or status,
            reasons=_reasons(found) or reasons,
        )
        for found in children(payment, "TxInfAndSts")
    ]


def _status(node: Element, name: str) -> str | None:
    written = text(node, name)
    if written is not None and _STATUS.fullmatch(written) is None:
        raise MalformedInputError("iso20022.status")
    return written


def _reasons(node: Element) -> tuple[str, ...]:
    found = [text(reason, "Rsn/Cd") or text(reason, "Rsn/Prtry") for reason in children(node, "StsRsnInf")]
    given = tuple(reason for reason in found if reason is not None)
    if any(_REASON.fullmatch(reason) is None for reason in given):
        raise MalformedInputError("iso20022.reason")
    return given
