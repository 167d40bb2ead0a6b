"""Which of a bank's words about a payment decides, over every combination of levels, references and statuses."""

from itertools import product

import pytest

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.outgoing import Incoming
from settlement.channels.iso20022_http import Iso20022Http
from settlement.ports import BankAnswer, Verdict
from tests.settlement_builders import OTHER_UETR, a_payment
from tests.shared_cases import shared_case

CHANNEL = Iso20022Http()
PAYMENT = a_payment()

STATUSES = (None, "ACTC", "ACSC", "PART", "PDNG", "RJCT", "ZZ?")
VERDICTS = {"ACTC": Verdict.ACCEPTED, "ACSC": Verdict.ACCEPTED, "RJCT": Verdict.REJECTED}

OWN = {
    "OrgnlInstrId": PAYMENT.end_to_end_id,
    "OrgnlEndToEndId": PAYMENT.end_to_end_id,
    "OrgnlUETR": PAYMENT.uetr,
}
FOREIGN = {"OrgnlInstrId": "INSTROTHER", "OrgnlEndToEndId": "E2EOTHER", "OrgnlUETR": OTHER_UETR}


def element(name: str, status: str | None, *, reasons: bool = True) -> str:
    """A status with a reason that names its level, so that a test sees from where the reason came."""
    if status is None:
        return ""
    why = f"<StsRsnInf><Rsn><Prtry>{name}</Prtry></Rsn></StsRsnInf>" if reasons else ""
    return f"<{name}>{status}</{name}>{why}"


def a_transaction(references: dict[str, str], status: str | None = None, *, reasons: bool = True) -> str:
    ids = "".join(f"<{name}>{value}</{name}>" for name, value in references.items())
    return f"<TxInfAndSts>{ids}{element('TxSts', status, reasons=reasons)}</TxInfAndSts>"


def a_payment_block(
    inner: str = "", status: str | None = None, payment_id: str = PAYMENT.message_id, *, reasons: bool = True
) -> str:
    own = element("PmtInfSts", status, reasons=reasons)
    return f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{payment_id}</OrgnlPmtInfId>{own}{inner}</OrgnlPmtInfAndSts>"


def a_report(*payments: str, group: str | None = None, message_id: str = PAYMENT.message_id) -> Incoming:
    body = f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
      <GrpHdr><MsgId>S</MsgId><CreDtTm>2026-03-02T01:00:00Z</CreDtTm></GrpHdr>
      <OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>
      {element("GrpSts", group)}</OrgnlGrpInfAndSts>{"".join(payments)}</CstmrPmtStsRpt></Document>"""
    return Incoming(200, {}, body.encode())


def read(answer: Incoming) -> BankAnswer:
    return CHANNEL.read_status_answer(PAYMENT, answer)


def expected(*nearest_first: tuple[str, str | None]) -> BankAnswer:
    """The word of the first level that has one; a refusal carries that level's reason."""
    for name, status in nearest_first:
        if status is not None:
            verdict = VERDICTS.get(status, Verdict.UNKNOWN)
            return BankAnswer(verdict, name if verdict is Verdict.REJECTED else status)
    return BankAnswer(Verdict.UNKNOWN)


@pytest.mark.parametrize("names", [(), *((name,) for name in OWN), tuple(OWN)], ids=str)
@pytest.mark.parametrize(("group", "payment", "transaction"), list(product(STATUSES, repeat=3)))
def test_the_nearest_status_decides_whichever_reference_the_bank_gives(
    group: str | None, payment: str | None, transaction: str | None, names: tuple[str, ...]
) -> None:
    references = {name: OWN[name] for name in names}
    report = a_report(a_payment_block(a_transaction(references, transaction), payment), group=group)

    assert read(report) == expected(("TxSts", transaction), ("PmtInfSts", payment), ("GrpSts", group))


@pytest.mark.parametrize(("group", "payment"), list(product(STATUSES, repeat=2)))
def test_a_payment_without_transactions_speaks_before_the_group(group: str | None, payment: str | None) -> None:
    report = a_report(a_payment_block(status=payment), group=group)

    assert read(report) == expected(("PmtInfSts", payment), ("GrpSts", group))


@pytest.mark.parametrize("group", STATUSES)
def test_a_group_without_payments_speaks_for_itself(group: str | None) -> None:
    assert read(a_report(group=group)) == expected(("GrpSts", group))


@pytest.mark.parametrize("name", list(OWN))
@pytest.mark.parametrize("payment_id", [PAYMENT.message_id, "NOTPROVIDED"])
def test_one_reference_is_enough_even_where_the_bank_has_no_payment_id(name: str, payment_id: str) -> None:
    block = a_payment_block(a_transaction({name: OWN[name]}, "RJCT"), payment_id=payment_id)

    assert read(a_report(block, group="ACTC")).verdict is Verdict.REJECTED


def test_a_uetr_is_ours_in_either_case() -> None:
    block = a_payment_block(a_transaction({"OrgnlUETR": PAYMENT.uetr.upper()}, "RJCT"))

    assert read(a_report(block)).verdict is Verdict.REJECTED


@pytest.mark.parametrize("nothing", ["NOTPROVIDED", "NotProvided", "NOT PROVIDED", "NONREF"])
def test_an_id_that_is_not_provided_is_no_reference_and_no_contradiction(nothing: str) -> None:
    references = {"OrgnlEndToEndId": nothing, "OrgnlUETR": PAYMENT.uetr}

    assert read(a_report(a_payment_block(a_transaction(references, "RJCT")))).verdict is Verdict.REJECTED


@pytest.mark.parametrize("wrong", list(FOREIGN))
@pytest.mark.parametrize("right", [(), *((name,) for name in OWN), tuple(OWN)], ids=str)
@pytest.mark.parametrize("status", ["RJCT", "ACSC"])
def test_references_that_contradict_ours_are_another_payment(wrong: str, right: tuple[str, ...], status: str) -> None:
    references = {name: OWN[name] for name in right} | {wrong: FOREIGN[wrong]}
    report = a_report(a_payment_block(a_transaction(references, status), status), group=status)

    with pytest.raises(MalformedInputError, match=r"channel\.other-payment"):
        read(report)


@pytest.mark.parametrize(
    "report",
    [
        a_report(a_payment_block(status="RJCT", payment_id="MSGOTHER"), group="RJCT"),
        a_report(a_payment_block(a_transaction(OWN, "RJCT"), payment_id="MSGOTHER"), group="RJCT"),
        a_report(a_payment_block(a_transaction(OWN, "RJCT")), message_id="MSGOTHER"),
        a_report(group="RJCT", message_id="MSGOTHER"),
    ],
    ids=["other payment", "other payment around ours", "other message", "other group"],
)
def test_a_report_about_other_payments_only_is_never_taken_as_ours(report: Incoming) -> None:
    with pytest.raises(MalformedInputError, match=r"channel\.other-payment"):
        read(report)


def test_what_a_report_says_of_others_beside_ours_is_left_out() -> None:
    other = a_payment_block(a_transaction(FOREIGN, "RJCT"), "RJCT", "MSGOTHER")
    own = a_payment_block(a_transaction(OWN, "ACSP"))

    assert read(a_report(other, own, group="PART")) == BankAnswer(Verdict.ACCEPTED, "ACSP")
    assert read(a_report(own, other, group="PART")) == BankAnswer(Verdict.ACCEPTED, "ACSP")


def test_a_transactions_status_decides_before_another_mention_of_its_payment() -> None:
    whole = a_payment_block(status="ACSP")
    own = a_payment_block(a_transaction(OWN, "RJCT"))

    assert read(a_report(whole, own)).verdict is read(a_report(own, whole)).verdict is Verdict.REJECTED


def test_two_mentions_of_ours_that_differ_decide_nothing() -> None:
    report = a_report(a_payment_block(a_transaction(OWN, "RJCT") + a_transaction(OWN, "ACSC")))

    with pytest.raises(MalformedInputError, match=r"channel\.contradictory"):
        read(report)


def test_a_reason_above_the_level_that_speaks_is_no_reason() -> None:
    silent = a_payment_block(a_transaction(OWN, "RJCT", reasons=False), "ACSP")

    assert read(a_report(silent, group="ACTC")) == BankAnswer(Verdict.REJECTED, "RJCT")


def test_a_reason_beside_a_transaction_explains_its_payments_status() -> None:
    why = "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf>"
    inner = a_transaction(OWN).replace("</TxInfAndSts>", f"{why}</TxInfAndSts>")

    assert read(a_report(a_payment_block(inner, "RJCT"))) == BankAnswer(Verdict.REJECTED, "AC04")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("INSUF_FUNDS", "INSUF_FUNDS"),
        ("余额不足，请联系客户经理", "余额不足，请联系客户经理"),
        ("E#42: limit & co; 50% (see §3)", "E#42: limit & co; 50% (see §3)"),
        ("R" * 35, "R" * 35),
        ("a\u202eb\u0085c", "a\\u202eb\\u0085c"),
        ("two\nlines", "two\\u000alines"),
        ("\U000e0001" * 35, "\\U000e0001" * 35),
    ],
)
@pytest.mark.parametrize("name", ["Cd", "Prtry"])
def test_a_banks_own_reason_is_kept_and_never_makes_a_refusal_unreadable(name: str, written: str, kept: str) -> None:
    escaped = written.replace("&", "&amp;")
    why = f"<StsRsnInf><Rsn><{name}>{escaped}</{name}></Rsn></StsRsnInf>"
    inner = a_transaction(OWN, "RJCT", reasons=False).replace("</TxInfAndSts>", f"{why}</TxInfAndSts>")

    assert read(a_report(a_payment_block(inner))) == BankAnswer(Verdict.REJECTED, kept)


def test_a_reason_longer_than_any_field_is_cut_to_its_bound_and_keeps_its_difference() -> None:
    answers = []
    for end in "ab":
        why = f"<StsRsnInf><Rsn><Prtry>{'x' * 5000}{end}</Prtry></Rsn></StsRsnInf>"
        inner = a_transaction(OWN, "RJCT", reasons=False).replace("</TxInfAndSts>", f"{why}</TxInfAndSts>")
        answers.append(read(a_report(a_payment_block(inner))))

    assert [answer.verdict for answer in answers] == [Verdict.REJECTED] * 2
    assert all(len(answer.reason or "") == 350 for answer in answers)
    assert answers[0] != answers[1]


@pytest.mark.parametrize("status", ["RJCT_", "rjct", "拒绝", "R" * 400, "A B", "00\u00a0"])
def test_a_status_that_nobody_knows_is_an_unknown_verdict_and_no_fault(status: str) -> None:
    assert read(a_report(a_payment_block(a_transaction(OWN, status)), group="ACTC")).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("reason", ["DUPL", "AM05", "DU01", "DU02", "DU03", "DU04", "DU05"])
def test_a_duplicate_is_asked_about_before_anything_is_paid_again(reason: str) -> None:
    why = f"<StsRsnInf><Rsn><Cd>NARR</Cd></Rsn></StsRsnInf><StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>"
    inner = a_transaction(OWN, "RJCT", reasons=False).replace("</TxInfAndSts>", f"{why}</TxInfAndSts>")

    answer = CHANNEL.read_instruct_answer(PAYMENT, a_report(a_payment_block(inner)))

    assert answer == BankAnswer(Verdict.UNKNOWN, reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bank-01-payment-refused-group-accepted.pain002.xml", "AC04"),
        ("bank-03-refused-own-reason-code.pain002.xml", "INSUF_FUNDS"),
    ],
)
def test_the_cases_that_were_got_wrong_before_are_refusals(name: str, reason: str) -> None:
    raw = shared_case(name)

    assert read(Incoming(200, {}, raw)) == BankAnswer(Verdict.REJECTED, reason)
