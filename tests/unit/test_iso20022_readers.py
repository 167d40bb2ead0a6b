import contextlib
from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.protocol.errors import MalformedInputError
from settlement.bank_entry import BankEntry, Side, UnreadableRow
from settlement.iso20022.camt054 import read_camt054
from settlement.iso20022.pain002 import References, Status, read_pain002
from settlement.iso20022.xml import TEXT_LENGTH_MAX, XML_BYTES_MAX
from tests.bank_notifications import Row, a_notification, details, ids, read_broken, read_entries
from tests.settlement_builders import UETR, cny

PAIN002 = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"


def a_report(group: str = "<GrpSts>ACCP</GrpSts>", payments: str = "") -> bytes:
    return f"""<Document xmlns="{PAIN002}"><CstmrPmtStsRpt>
      <GrpHdr><MsgId>STS1</MsgId><CreDtTm>2026-03-02T01:00:00Z</CreDtTm></GrpHdr>
      <OrgnlGrpInfAndSts><OrgnlMsgId>MSG1</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>{group}
      </OrgnlGrpInfAndSts>{payments}</CstmrPmtStsRpt></Document>""".encode()


def a_transaction(inner: str, above: str = "") -> str:
    return (
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>MSG1</OrgnlPmtInfId>{above}"
        f"<TxInfAndSts><OrgnlEndToEndId>E2E1</OrgnlEndToEndId>{inner}</TxInfAndSts></OrgnlPmtInfAndSts>"
    )


SENT = References("MSG1", "MSG1", "E2E1", "E2E1", UETR)


def test_a_transactions_own_status_stands_before_its_payments_and_the_groups() -> None:
    reason = "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf>"

    own = read_pain002(a_report(payments=a_transaction(f"<TxSts>RJCT</TxSts>{reason}", "<PmtInfSts>PART</PmtInfSts>")))
    of_payment = read_pain002(a_report(payments=a_transaction("", f"<PmtInfSts>RJCT</PmtInfSts>{reason}")))
    of_group = read_pain002(a_report(f"<GrpSts>RJCT</GrpSts>{reason}"))

    for report in (own, of_payment, of_group):
        assert report.of(SENT) == Status("RJCT", ("AC04",))
        assert report.original_message_id == "MSG1"


def test_a_report_that_lists_another_transaction_only_says_nothing_about_ours() -> None:
    report = read_pain002(a_report(payments=a_transaction("<TxSts>RJCT</TxSts>")))

    with pytest.raises(MalformedInputError, match=r"channel\.other-payment"):
        report.of(References(message_id="MSG1", end_to_end_id="E2E2"))


def test_a_banks_own_reason_is_read_and_its_free_text_is_not() -> None:
    words = "<StsRsnInf><Rsn><Prtry>B17</Prtry></Rsn><AddtlInf>call Ms QQ</AddtlInf></StsRsnInf>"

    report = read_pain002(a_report(f"<GrpSts>RJCT</GrpSts>{words}"))

    assert report.group.reasons == ("B17",)
    assert "QQ" not in repr(report)


def test_a_report_without_any_status_says_so() -> None:
    assert read_pain002(a_report("")).of(SENT) == Status(None)


def test_an_entry_carries_what_the_bank_wrote() -> None:
    transaction = f"{ids('E2E1')}<RltdRmtInf><RmtId>RMT1</RmtId></RltdRmtInf>"

    (entry,) = read_entries(a_notification(Row(more="<AcctSvcrRef>B1</AcctSvcrRef>", details=details(transaction))))

    assert (entry.account, entry.side, entry.amount) == ("QQ-1", Side.CREDIT, cny("100.00"))
    assert (entry.uetr, entry.end_to_end_id, entry.reference) == (UETR, "E2E1", "RMT1")
    assert (entry.value_date, entry.entry_ref, entry.reversal) == (date(2026, 3, 2), "B1", False)


def test_an_iban_is_an_account_too() -> None:
    (entry,) = read_entries(a_notification(Row(), account="<IBAN>QQ00SYNTHETIC</IBAN>"))

    assert entry.account == "QQ00SYNTHETIC"


def test_a_row_of_several_transactions_is_several_entries_that_sum_to_it() -> None:
    first = f'{ids("E2E1")}<Amt Ccy="CNY">60.00</Amt>'
    second = f'{ids("E2E2")}<Amt Ccy="CNY">40.00</Amt>'

    entries = read_entries(a_notification(Row(details=details(first, second))))

    assert [(entry.end_to_end_id, str(entry.amount)) for entry in entries] == [("E2E1", "60.00"), ("E2E2", "40.00")]


@pytest.mark.parametrize(
    ("written", "rest", "side"), [("110.00", "10.00", Side.DEBIT), ("70.00", "30.00", Side.CREDIT)]
)
def test_what_transactions_leave_of_the_row_is_an_entry_without_ids(written: str, rest: str, side: Side) -> None:
    transaction = f'{ids("E2E1")}<Amt Ccy="CNY">{written}</Amt>'

    own, left = read_entries(a_notification(Row(details=details(transaction))))

    assert str(own.amount) == written
    assert (left.uetr, left.end_to_end_id, left.side, str(left.amount)) == (None, None, side, rest)
    assert own.signed + left.signed == cny("100.00")


def test_one_transaction_in_another_currency_counts_by_the_account() -> None:
    transaction = f'{ids("E2E1")}<Amt Ccy="USD">14.00</Amt>'

    (entry,) = read_entries(a_notification(Row(details=details(transaction))))

    assert entry.amount == cny("100.00")


def test_several_transactions_without_amounts_are_one_entry_in_doubt_of_the_rows_total() -> None:
    (entry,) = read_entries(a_notification(Row(details=details(ids("E2E1"), ids("E2E2")))))

    assert (str(entry.amount), entry.end_to_end_id, entry.doubt) == ("100.00", None, "iso20022.details-amount")


@pytest.mark.parametrize(
    "amounts",
    [
        '<AmtDtls><TxAmt><Amt Ccy="CNY">{}</Amt></TxAmt></AmtDtls>',
        '<AmtDtls><InstdAmt><Amt Ccy="USD">9.00</Amt></InstdAmt><TxAmt><Amt Ccy="CNY">{}</Amt></TxAmt></AmtDtls>',
        '<AmtDtls><TxAmt><Amt Ccy="USD">9</Amt></TxAmt><CntrValAmt><Amt Ccy="CNY">{}</Amt></CntrValAmt></AmtDtls>',
    ],
)
def test_the_amount_may_stand_in_the_breakdown_alone(amounts: str) -> None:
    first, second = ids("E2E1") + amounts.format("60.000"), ids("E2E2") + amounts.format("40.")

    entries = read_entries(a_notification(Row(details=details(first, second))))

    assert [(entry.end_to_end_id, str(entry.amount)) for entry in entries] == [("E2E1", "60.00"), ("E2E2", "40.00")]


def test_an_entry_carries_every_reference_that_a_bank_may_give_back() -> None:
    remittance = (
        "<RltdRmtInf><RmtId>R1</RmtId></RltdRmtInf><RmtInf><Ustrd>U1</Ustrd><Ustrd>U2</Ustrd>"
        "<Strd><RfrdDocInf><Nb>N1</Nb></RfrdDocInf><CdtrRefInf><Ref>C1</Ref></CdtrRefInf></Strd></RmtInf>"
    )
    refs = "<Refs><MsgId>M1</MsgId><PmtInfId>P1</PmtInfId><InstrId>I1</InstrId><EndToEndId>NONREF</EndToEndId></Refs>"

    (entry,) = read_entries(a_notification(Row(details=details(refs + remittance))))

    assert (entry.message_id, entry.payment_id, entry.instruction_id, entry.end_to_end_id) == ("M1", "P1", "I1", None)
    assert set(entry.references) == {"R1", "U1", "U2", "C1", "N1"}


def test_two_identical_rows_are_two_entries_and_the_same_document_again_is_the_same_two() -> None:
    raw = a_notification(Row(), Row())

    first, second = read_entries(raw)

    assert first.fingerprint == second.fingerprint
    assert first.key != second.key
    assert read_camt054(raw) == (first, second)


@pytest.mark.parametrize(
    "changed",
    [
        Row(amount="100.01"),
        Row(side="DBIT"),
        Row(value_date="<Dt>2026-03-03</Dt>"),
        Row(more="<AcctSvcrRef>B2</AcctSvcrRef>"),
        Row(reversal="<RvslInd>true</RvslInd>"),
        Row(details=details(ids("E2E1"))),
        Row(currency="HKD"),
    ],
)
def test_anything_the_bank_writes_differently_is_another_fingerprint(changed: Row) -> None:
    (plain,) = read_entries(a_notification(Row()))
    (other,) = read_entries(a_notification(changed))

    assert plain.fingerprint != other.fingerprint


@pytest.mark.parametrize("status", ["<Cd>PDNG</Cd>", "<Cd>INFO</Cd>", "<Prtry>DRAFT</Prtry>"])
def test_a_row_that_is_not_booked_is_no_money(status: str) -> None:
    assert read_entries(a_notification(Row(status=status))) == ()


def test_a_reversal_is_marked() -> None:
    (entry,) = read_entries(a_notification(Row(reversal="<RvslInd>1</RvslInd>")))

    assert entry.reversal


def test_not_provided_is_no_end_to_end_id_and_a_uetr_is_compared_in_lower_case() -> None:
    (entry,) = read_entries(a_notification(Row(details=details(ids("NOTPROVIDED", UETR.upper())))))

    assert (entry.end_to_end_id, entry.uetr) == (None, UETR)


@pytest.mark.parametrize(
    ("written", "minor"),
    [
        *(("100", 10_000), ("100.", 10_000), ("100.5", 10_050), ("100.50000", 10_050), ("+1.00", 100), ("0.01", 1)),
        *((".50", 50), ("300.000", 30_000), ("1.000000", 100), ("0000000000000000001.00", 100), (".01", 1)),
    ],
)
def test_an_amount_is_read_as_the_schema_lets_banks_write_it(written: str, minor: int) -> None:
    (entry,) = read_entries(a_notification(Row(amount=written)))

    assert entry.amount.amount_minor == minor


@pytest.mark.parametrize(
    "written", ["", "-1.00", "1.005", "1e3", "1,00", "\uff11.\uff10\uff10", ".", "+", "9" * 16, "NaN", "0x1", "0" * 41]
)
def test_an_amount_that_is_not_exact_minor_units_cannot_be_booked(written: str) -> None:
    row = read_broken(a_notification(Row(amount=written)))

    assert (row.code, row.account, row.amount) == ("iso20022.amount", "QQ-1", written)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Row(currency="CNH"), "iso20022.currency"),
        (Row(currency="USD"), "iso20022.currency"),
        (Row(amount="9" * 15), "iso20022.amount"),
        (Row(side="CREDIT"), "iso20022.side"),
        (Row(status=""), "iso20022.entry-status"),
        (Row(status="<Cd>BOOKED</Cd>"), "iso20022.entry-status"),
    ],
)
def test_a_row_that_cannot_be_booked_holds_up_no_other(wrong: Row, code: str) -> None:
    first, broken, last = read_camt054(a_notification(Row(amount="1.00"), wrong, Row(amount="2.00")))

    assert isinstance(broken, UnreadableRow)
    assert (broken.code, broken.position, broken.entry_ref) == (code, 2, "N1")
    assert [str(row.amount) for row in (first, last) if isinstance(row, BankEntry)] == ["1.00", "2.00"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Row(value_date="<Dt>2026-02-30</Dt>"), "iso20022.date"),
        (Row(value_date="<Dt>tomorrow</Dt>"), "iso20022.date"),
        (Row(reversal="<RvslInd>perhaps</RvslInd>"), "iso20022.flag"),
        (Row(details=details('<Amt Ccy="CNY">1.005</Amt>')), "iso20022.amount"),
        (Row(details=details("<CdtDbtInd>BOTH</CdtDbtInd>")), "iso20022.side"),
        (Row(details=details('<Amt Ccy="CNY">60.00</Amt>', '<Amt Ccy="USD">9</Amt>')), "iso20022.details-amount"),
    ],
)
def test_a_row_whose_money_is_clear_is_an_entry_in_doubt_of_its_whole_amount(wrong: Row, code: str) -> None:
    good, entry = read_entries(a_notification(Row(amount="1.00"), wrong))

    assert (good.doubt, entry.doubt, str(entry.amount), entry.end_to_end_id) == (None, code, "100.00", None)


def test_a_row_without_an_account_cannot_be_booked() -> None:
    assert read_broken(a_notification(Row(), account="")).code == "iso20022.account"


def test_a_booking_date_that_cannot_be_read_is_none_since_nothing_depends_on_it() -> None:
    raw = a_notification(Row()).replace(b"<ValDt>", b"<BookgDt><Dt>soon</Dt></BookgDt><ValDt>")

    (entry,) = read_entries(raw)

    assert (entry.booking_date, entry.doubt) == (None, None)


@pytest.mark.parametrize("written", ["A" * 141, "A" * 5000, "\u4f59\u989d", "a\u202eb", "two\nlines"])
def test_a_text_that_is_only_passed_on_is_kept_visible_and_bounded(written: str) -> None:
    transaction = f"{ids('E2E1')}<RmtInf><Ustrd>{written}</Ustrd></RmtInf>"

    (entry,) = read_entries(
        a_notification(Row(more=f"<AcctSvcrRef>{written}</AcctSvcrRef>", details=details(transaction)))
    )

    for kept in (entry.reference, entry.entry_ref, entry.servicer_ref):
        assert kept is not None
        assert kept.isprintable()
        assert len(kept) <= TEXT_LENGTH_MAX


def test_a_date_with_a_time_is_the_day_that_the_bank_wrote() -> None:
    (entry,) = read_entries(a_notification(Row(value_date="<DtTm>2026-03-02T23:30:00+08:00</DtTm>")))

    assert entry.value_date == date(2026, 3, 2)


def test_a_comment_does_not_split_a_code() -> None:
    raw = a_report("<GrpSts>RJ<!-- AC -->CT</GrpSts>")

    assert read_pain002(raw).group.code == "RJCT"


BOMB = b'<!DOCTYPE d [<!ENTITY a "AC"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
READERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (read_pain002, a_report()),
    (read_camt054, a_notification(Row())),
]


@pytest.mark.parametrize(("reader", "good"), READERS)
@pytest.mark.parametrize(
    "prefix", [BOMB, OUTSIDE, b"<!DOCTYPE Document>", b'<!DOCTYPE d SYSTEM "http://127.0.0.1:9/d">']
)
def test_a_doctype_is_refused_whatever_it_declares(
    reader: Callable[[bytes], object], good: bytes, prefix: bytes
) -> None:
    with pytest.raises(MalformedInputError) as refusal:
        reader(prefix + good)

    assert refusal.value.code == "iso20022.doctype"


@pytest.mark.parametrize(("reader", "good"), READERS)
def test_another_version_of_the_message_is_another_message(reader: Callable[[bytes], object], good: bytes) -> None:
    other = good.replace(b".001.10", b".001.14").replace(b".001.08", b".001.02")

    with pytest.raises(MalformedInputError) as refusal:
        reader(other)

    assert refusal.value.code == "iso20022.other-message"


@pytest.mark.parametrize(("reader", "good"), READERS)
def test_a_document_over_the_size_cap_is_refused(reader: Callable[[bytes], object], good: bytes) -> None:
    with pytest.raises(MalformedInputError) as refusal:
        reader(good + b" " * XML_BYTES_MAX)

    assert refusal.value.code == "iso20022.too-large"


@pytest.mark.parametrize(("reader", "good"), READERS)
@given(data=st.data())
def test_any_bytes_give_a_value_or_the_one_error(
    reader: Callable[[bytes], object], good: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 20))
    raw = good[:cut] + data.draw(st.binary(max_size=20)) + good[cut + length :]

    with contextlib.suppress(MalformedInputError):
        reader(raw)


@pytest.mark.parametrize(("reader", "good"), READERS)
@pytest.mark.parametrize("change", ["remove", "empty"])
def test_every_element_taken_out_or_emptied_gives_a_value_or_the_one_error(
    reader: Callable[[bytes], object], good: bytes, change: str
) -> None:
    count = len(list(etree.fromstring(good).iter()))

    for index in range(1, count):
        tree = etree.fromstring(good)
        node = list(tree.iter())[index]
        parent = node.getparent()
        assert parent is not None
        if change == "remove":
            parent.remove(node)
        else:
            node.clear()
        with contextlib.suppress(MalformedInputError):
            reader(etree.tostring(tree))
