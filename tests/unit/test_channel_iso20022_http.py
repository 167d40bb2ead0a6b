import pytest

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming
from settlement.channels.iso20022_http import Iso20022Http
from settlement.iso20022.pain001 import write_pain001
from settlement.ports import BankAnswer, Verdict
from tests.settlement_builders import OTHER_UETR, a_payment, a_profile

CHANNEL = Iso20022Http()
PAYMENT = a_payment()


def an_answer(status: str, reason: str | None = None, *, message_id: str | None = None, uetr: str = "") -> Incoming:
    why = "" if reason is None else f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>"
    own_uetr = f"<OrgnlUETR>{uetr}</OrgnlUETR>" if uetr else ""
    body = f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
      <GrpHdr><MsgId>S</MsgId><CreDtTm>2026-03-02T01:00:00Z</CreDtTm></GrpHdr>
      <OrgnlGrpInfAndSts><OrgnlMsgId>{message_id or PAYMENT.message_id}</OrgnlMsgId>
        <OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId></OrgnlGrpInfAndSts>
      <OrgnlPmtInfAndSts><OrgnlPmtInfId>{PAYMENT.message_id}</OrgnlPmtInfId><TxInfAndSts>
        <OrgnlEndToEndId>{PAYMENT.end_to_end_id}</OrgnlEndToEndId>{own_uetr}<TxSts>{status}</TxSts>{why}
      </TxInfAndSts></OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"""
    return Incoming(200, {}, body.encode())


@pytest.mark.parametrize("status", ["ACTC", "ACCP", "ACSP", "ACWC", "ACWP", "ACPD", "ACFC", "ACSC", "ACCC"])
def test_progress_is_acceptance(status: str) -> None:
    assert CHANNEL.read_instruct_answer(PAYMENT, an_answer(status)) == BankAnswer(Verdict.ACCEPTED, status)


@pytest.mark.parametrize("status", ["PDNG", "RCVD", "PATC", "ACFW", "BLCK", "ZZZZ"])
def test_a_status_that_decides_nothing_is_unknown(status: str) -> None:
    assert CHANNEL.read_instruct_answer(PAYMENT, an_answer(status)) == BankAnswer(Verdict.UNKNOWN, status)


@pytest.mark.parametrize("reason", ["AC01", "AC04", "AM04", "BE01", "RC01", "RR04", "DT01"])
def test_a_rejection_carries_its_reason(reason: str) -> None:
    assert CHANNEL.read_instruct_answer(PAYMENT, an_answer("RJCT", reason)) == BankAnswer(Verdict.REJECTED, reason)


def test_a_rejection_without_a_reason_is_one_nevertheless() -> None:
    assert CHANNEL.read_instruct_answer(PAYMENT, an_answer("RJCT")) == BankAnswer(Verdict.REJECTED, "RJCT")


def test_duplicate_opens_no_second_payment_until_the_status_was_asked() -> None:
    answer = an_answer("RJCT", "DUPL")

    assert CHANNEL.read_instruct_answer(PAYMENT, answer) == BankAnswer(Verdict.UNKNOWN, "DUPL")
    assert CHANNEL.read_status_answer(PAYMENT, answer) == BankAnswer(Verdict.REJECTED, "DUPL")


def test_only_a_status_question_can_be_answered_by_not_found() -> None:
    answer = Incoming(404, {}, b"")

    assert CHANNEL.read_status_answer(PAYMENT, answer).verdict is Verdict.NOT_FOUND
    assert CHANNEL.read_instruct_answer(PAYMENT, answer).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("answer", [an_answer("ACCP", message_id="MSGOTHER"), an_answer("ACCP", uetr=OTHER_UETR)])
def test_an_answer_about_another_payment_is_no_answer(answer: Incoming) -> None:
    with pytest.raises(MalformedInputError) as refusal:
        CHANNEL.read_instruct_answer(PAYMENT, answer)

    assert refusal.value.code == "channel.other-payment"


@pytest.mark.parametrize("headers", [{}, {"Next-Cursor": ""}, {"Next-Cursor": "a b"}, {"Next-Cursor": "9" * 65}])
def test_notifications_without_a_usable_cursor_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(MalformedInputError) as refusal:
        CHANNEL.read_notifications(Incoming(200, headers, b"<x/>"), "7")

    assert refusal.value.code == "channel.notifications"


def test_an_instruction_is_a_post_of_pain_001_with_the_banks_token() -> None:
    question = CHANNEL.instruct(PAYMENT, a_profile("RgltryRptg"))

    assert (question.method, question.url) == ("POST", "http://bank.test/bank/v1/payments")
    assert question.headers["Authorization"] == "Bearer synthetic-secret"
    assert question.headers["Content-Type"] == "application/xml"
    assert question.body == write_pain001(PAYMENT, "RgltryRptg")


def test_a_status_question_names_the_message_and_notifications_the_cursor() -> None:
    profile = a_profile()

    assert CHANNEL.ask_status(PAYMENT, profile).url.endswith(f"/v1/payments/{PAYMENT.message_id}")
    assert CHANNEL.ask_notifications(profile, "").url.endswith("/v1/notifications")
    assert CHANNEL.ask_notifications(profile, "12").url.endswith("/v1/notifications?after=12")


def test_headers_are_found_in_any_case() -> None:
    assert Incoming(200, {"next-cursor": "8"}).header("Next-Cursor") == "8"
    assert Incoming(200).header("Next-Cursor") is None
