"""Read pain.002.001.10 (CustomerPaymentStatusReport): what the bank says of a message, a payment, a transaction.

The nearest level that speaks decides: the transaction, else the payment that holds it, else the group; a bank that
refuses a whole payment lists no transactions. Our messages hold one payment with one transaction, hence any one of
their references is enough to recognise it, and every reference that the bank gives must be ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from gateway.protocol.errors import MalformedInputError
from settlement.iso20022.xml import Element, child, children, is_no_reference, parse, required, text
from settlement.payment import PaymentInstruction

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"


@dataclass(frozen=True, slots=True)
class References:
    """The ids of one transaction, as we sent them or as the bank gives them back; None where the bank gives none.

    `uetr` is in lower case: UUIDs are compared regardless of case (RFC 9562 section 4).
    """

    message_id: str | None = None
    payment_id: str | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    uetr: str | None = None

    @classmethod
    def sent_with(cls, payment: PaymentInstruction) -> Self:
        """Return the references that pain.001 gave to this payment."""
        own = payment.end_to_end_id
        return cls(payment.message_id, payment.message_id, own, own, payment.uetr.lower())

    def agree_with(self, sent: "References") -> bool:
        """Say whether at least one reference is given, and every one that is given is that of `sent`."""
        pairs = [(getattr(self, name), getattr(sent, name)) for name in self.__slots__]
        given = [(mine, theirs) for mine, theirs in pairs if mine is not None]
        return bool(given) and all(mine == theirs for mine, theirs in given)


@dataclass(frozen=True, slots=True)
class Status:
    """One level's word: an external status code, or any other that the bank writes; None where it does not speak.

    `reasons` are ExternalStatusReason1Code values or a bank's own codes; the free text beside them is not read.
    """

    code: str | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mention:
    """What a report says of one payment or of one transaction in it: the references, and the nearest level first."""

    references: References
    levels: tuple[Status, ...]

    @property
    def depth(self) -> int:
        """How near the level is that speaks: 3 the transaction, 2 the payment, 1 the group, 0 none."""
        return next((len(self.levels) - place for place, level in enumerate(self.levels) if level.code), 0)

    @property
    def status(self) -> Status:
        """The nearest word, with the nearest reasons up to that level; a level above it adds nothing."""
        for place, level in enumerate(self.levels):
            if level.code is not None:
                reasons = (nearer.reasons for nearer in self.levels[: place + 1] if nearer.reasons)
                return Status(level.code, next(reasons, ()))
        return Status(None)


@dataclass(frozen=True, slots=True)
class StatusReport:
    message_id: str | None
    original_message_id: str | None
    group: Status
    mentions: tuple[Mention, ...]
    """Payments without transactions, and transactions."""

    def of(self, sent: References) -> Status:
        """Return what the report says of the transaction that was sent under these references.

        `MalformedInputError`: `channel.other-payment` where it speaks of others only, or gives references that
        contradict each other; `channel.contradictory` where two mentions of it differ in their status.
        """
        if not self.mentions:
            whole = Mention(References(self.original_message_id), (self.group,))
            return _only([whole] if whole.references.agree_with(sent) else [])
        return _only([mention for mention in self.mentions if mention.references.agree_with(sent)])


def _only(mentions: list[Mention]) -> Status:
    if not mentions:
        raise MalformedInputError("channel.other-payment")
    nearest = max(mention.depth for mention in mentions)
    said = [mention.status for mention in mentions if mention.depth == nearest]
    if len({status.code for status in said}) > 1:
        raise MalformedInputError("channel.contradictory")
    return next((status for status in said if status.reasons), said[0])


def read_pain002(raw: bytes) -> StatusReport:
    """Read one report; `MalformedInputError` (`iso20022.<what>`) otherwise."""
    report = required(parse(raw, NAMESPACE), "CstmrPmtStsRpt")
    group = required(report, "OrgnlGrpInfAndSts")
    original_message_id, status = _reference(group, "OrgnlMsgId"), _status(group, "GrpSts")
    return StatusReport(
        message_id=text(report, "GrpHdr/MsgId"),
        original_message_id=original_message_id,
        group=status,
        mentions=tuple(
            mention
            for payment in children(report, "OrgnlPmtInfAndSts")
            for mention in _mentions(payment, original_message_id, status)
        ),
    )


def _mentions(payment: Element, message_id: str | None, group: Status) -> Iterator[Mention]:
    payment_id, status = _reference(payment, "OrgnlPmtInfId"), _status(payment, "PmtInfSts")
    if child(payment, "TxInfAndSts") is None:
        yield Mention(References(message_id, payment_id), (status, group))
    for transaction in children(payment, "TxInfAndSts"):
        uetr = _reference(transaction, "OrgnlUETR")
        references = References(
            message_id,
            payment_id,
            _reference(transaction, "OrgnlInstrId"),
            _reference(transaction, "OrgnlEndToEndId"),
            None if uetr is None else uetr.lower(),
        )
        yield Mention(references, (_status(transaction, "TxSts"), status, group))


def _reference(node: Element, path: str) -> str | None:
    written = text(node, path)
    return None if is_no_reference(written) else written


def _status(node: Element, name: str) -> Status:
    written = (text(reason, "Rsn/Cd") or text(reason, "Rsn/Prtry") for reason in children(node, "StsRsnInf"))
    return Status(text(node, name), tuple(reason for reason in written if reason is not None))
