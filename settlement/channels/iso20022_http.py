"""ISO 20022 over HTTP: pain.001.001.09 out, pain.002.001.10 and camt.054.001.08 back, a bearer token.

`POST /v1/payments` instructs, `GET /v1/payments/{MsgId}` asks for the status, `GET /v1/notifications?after=` reads
on; the next cursor stands in the header `Next-Cursor`.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming, Outgoing
from settlement.iso20022.camt054 import read_camt054
from settlement.iso20022.pain001 import write_pain001
from settlement.iso20022.pain002 import read_pain002
from settlement.payment import PaymentInstruction
from settlement.ports import BankAnswer, BankProfile, Notifications, Verdict

_XML = "application/xml"
_CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,64}")

_ACCEPTED = frozenset({"ACTC", "ACCP", "ACSP", "ACWC", "ACWP", "ACPD", "ACFC", "ACSC", "ACCC"})
"""ExternalPaymentTransactionStatus1Code: the bank has it and goes on. Money is believed only when an entry shows it."""
_REJECTED = frozenset({"RJCT", "CANC"})
_DUPLICATE = "DUPL"


class Iso20022Http:
    """A stateless translator; one instance serves every bank that speaks this way."""

    name = "iso20022_http"

    def instruct(self, payment: PaymentInstruction, profile: BankProfile) -> Outgoing:
        body = write_pain001(payment, profile.rmb_purpose_field)
        headers = {**_headers(profile), "Content-Type": _XML}
        return Outgoing("POST", f"{_root(profile)}/payments", headers, body, profile.timeout_s)

    def read_instruct_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        """Read the verdict. *Duplicate* is no refusal: the bank has something like it, so its status is asked first."""
        if answer.status != 200:
            return BankAnswer(Verdict.UNKNOWN, f"http-{answer.status}")
        found = _read_status(payment, answer.body)
        if found.verdict is Verdict.REJECTED and found.reason == _DUPLICATE:
            return BankAnswer(Verdict.UNKNOWN, _DUPLICATE)
        return found

    def ask_status(self, payment: PaymentInstruction, profile: BankProfile) -> Outgoing:
        url = f"{_root(profile)}/payments/{quote(payment.message_id, safe='')}"
        return Outgoing("GET", url, _headers(profile), b"", profile.timeout_s)

    def read_status_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        if answer.status == 404:
            return BankAnswer(Verdict.NOT_FOUND)
        if answer.status != 200:
            return BankAnswer(Verdict.UNKNOWN, f"http-{answer.status}")
        return _read_status(payment, answer.body)

    def ask_notifications(self, profile: BankProfile, cursor: str) -> Outgoing:
        query = f"?after={quote(cursor, safe='')}" if cursor else ""
        return Outgoing("GET", f"{_root(profile)}/notifications{query}", _headers(profile), b"", profile.timeout_s)

    def read_notifications(self, answer: Incoming, cursor: str) -> Notifications:
        if answer.status == 204:
            return Notifications((), cursor)
        following = answer.header("Next-Cursor")
        if answer.status != 200 or following is None or _CURSOR.fullmatch(following) is None:
            raise MalformedInputError("channel.notifications")
        return Notifications(read_camt054(answer.body), following)


def _root(profile: BankProfile) -> str:
    return f"{profile.base_url.rstrip('/')}/v1"


def _headers(profile: BankProfile) -> Mapping[str, str]:
    return {"Accept": _XML, "Authorization": f"Bearer {profile.token}"}


def _read_status(payment: PaymentInstruction, body: bytes) -> BankAnswer:
    report = read_pain002(body)
    if report.original_message_id != payment.message_id:
        raise MalformedInputError("channel.other-payment")
    found = report.of(payment.end_to_end_id)
    if found.uetr not in {None, payment.uetr}:
        raise MalformedInputError("channel.other-payment")
    if found.status in _ACCEPTED:
        return BankAnswer(Verdict.ACCEPTED, found.status)
    if found.status in _REJECTED:
        return BankAnswer(Verdict.REJECTED, found.reasons[0] if found.reasons else found.status)
    return BankAnswer(Verdict.UNKNOWN, found.status)
