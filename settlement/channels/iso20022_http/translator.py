"""ISO 20022 over HTTP: pain.001.001.09 out, pain.002.001.10 and camt.054.001.08 back, a bearer token.

`POST /v1/payments` instructs, `GET /v1/payments/{MsgId}` asks for the status, `GET /v1/notifications?after=` reads
on; the next cursor stands in the header `Next-Cursor`.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming, Outgoing
from settlement.bank_entry import BankEntry, UnreadableRow
from settlement.channels.iso20022_http.options import Options
from settlement.iso20022.camt054 import read_camt054
from settlement.iso20022.pain001 import write_pain001
from settlement.iso20022.pain002 import References, Status, read_pain002
from settlement.payment import ChargeBearer, PaymentInstruction
from settlement.ports import BankAnswer, BankProfile, Notifications, Verdict

_XML = "application/xml"
_CURSOR = re.compile(r"[A-Za-z0-9._~-]{1,64}")

_ACCEPTED = frozenset({"ACTC", "ACCP", "ACSP", "ACWC", "ACWP", "ACPD", "ACFC", "ACSC", "ACCC"})
"""ExternalPaymentTransactionStatus1Code: the bank has it and goes on. Money is believed only when an entry shows it."""
_REJECTED = frozenset({"RJCT", "CANC"})
_DUPLICATES = frozenset({"DUPL", "AM05", "DU01", "DU02", "DU03", "DU04", "DU05"})
"""ExternalStatusReason1Code: the bank has this payment, or one under the same reference, already."""


class Iso20022Http:
    """A stateless translator; one instance serves every bank that speaks this way."""

    name = "iso20022_http"

    def read_options(self, written: Mapping[str, Any]) -> Options:
        return Options.read(written)

    def sample_options(self) -> Mapping[str, Any]:
        return {
            "base_url": "http://bank.test/bank/",
            "token": "synthetic-secret",
            "charge_bearer": "SHAR",
            "rmb_purpose_field": "unset",
            "timeout_s": 10,
        }

    def urls(self, options: Options) -> tuple[str, ...]:
        return (options.base_url,)

    def charge_bearer(self, options: Options) -> ChargeBearer:
        return options.charge_bearer

    def instruct(self, payment: PaymentInstruction, profile: BankProfile[Options]) -> Outgoing:
        body = write_pain001(payment, profile.options.rmb_purpose_field)
        headers = {**_headers(profile), "Content-Type": _XML}
        return Outgoing("POST", f"{_root(profile)}/payments", headers, body, profile.options.timeout_s)

    def read_instruct_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        """Read the verdict. *Duplicate* is no refusal: the bank has something like it, so its status is asked first."""
        if answer.status != 200:
            return BankAnswer(Verdict.UNKNOWN, f"http-{answer.status}")
        status = _status_of(payment, answer.body)
        duplicate = next((reason for reason in status.reasons if reason in _DUPLICATES), None)
        if status.code in _REJECTED and duplicate is not None:
            return BankAnswer(Verdict.UNKNOWN, duplicate)
        return _answer(status)

    def ask_status(self, payment: PaymentInstruction, profile: BankProfile[Options]) -> Outgoing:
        url = f"{_root(profile)}/payments/{quote(payment.message_id, safe='')}"
        return Outgoing("GET", url, _headers(profile), b"", profile.options.timeout_s)

    def read_status_answer(self, payment: PaymentInstruction, answer: Incoming) -> BankAnswer:
        if answer.status == 404:
            return BankAnswer(Verdict.NOT_FOUND)
        if answer.status != 200:
            return BankAnswer(Verdict.UNKNOWN, f"http-{answer.status}")
        return _answer(_status_of(payment, answer.body))

    def ask_notifications(self, profile: BankProfile[Options], cursor: str) -> Outgoing:
        query = f"?after={quote(cursor, safe='')}" if cursor else ""
        return Outgoing(
            "GET", f"{_root(profile)}/notifications{query}", _headers(profile), b"", profile.options.timeout_s
        )

    def read_notifications(self, answer: Incoming, cursor: str) -> Notifications:
        if answer.status == 204:
            return Notifications((), cursor)
        following = answer.header("Next-Cursor")
        if answer.status != 200 or following is None or _CURSOR.fullmatch(following) is None:
            raise MalformedInputError("channel.notifications")
        rows = read_camt054(answer.body)
        return Notifications(
            entries=tuple(row for row in rows if isinstance(row, BankEntry)),
            next_cursor=following,
            unreadable=tuple(row for row in rows if isinstance(row, UnreadableRow)),
            page=answer.body,
        )


def _root(profile: BankProfile[Options]) -> str:
    return f"{profile.options.base_url.rstrip('/')}/v1"


def _headers(profile: BankProfile[Options]) -> Mapping[str, str]:
    return {"Accept": _XML, "Authorization": f"Bearer {profile.options.token}"}


def _status_of(payment: PaymentInstruction, body: bytes) -> Status:
    return read_pain002(body).of(References.sent_with(payment))


def _answer(status: Status) -> BankAnswer:
    if status.code in _ACCEPTED:
        return BankAnswer(Verdict.ACCEPTED, status.code)
    if status.code in _REJECTED:
        return BankAnswer(Verdict.REJECTED, status.reasons[0] if status.reasons else status.code)
    return BankAnswer(Verdict.UNKNOWN, status.code)
