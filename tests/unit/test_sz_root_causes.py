"""One mistake is one fault, where it was made: no sum that it enters tells it again."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.protocol.canonical import compact
from tests.hospital_bills import SAMPLES, changed, findings_of, sample_object

HEADER = "/settlement_list/setlinfo"


def faults(bill: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in findings_of(compact(bill)).faults]


def shifted(pointer: str, by: str, name: str = "inpatient-direct") -> dict[str, Any]:
    """Return a sample with one amount a little more or less."""
    bill = sample_object(name)
    place: Any = bill
    for step in pointer.removeprefix("/").split("/"):
        place = place[int(step)] if isinstance(place, list) else place[step]
    return changed(pointer, str(Decimal(place) + Decimal(by)), bill)


@pytest.mark.parametrize("by", ["0.01", "-0.01", "100.00", "-100.00"])
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    ("pointer", "code", "place"),
    [
        ("/billing/total", "bill.total-mismatch", "/billing/total"),
        ("/receipts/0/amount", "receipt.total-mismatch", "/receipts"),
        ("/fee_lines/0/det_item_fee_sumamt", "line.amount-mismatch", "/fee_lines/0/det_item_fee_sumamt"),
        ("/fee_lines/0/pric", "line.amount-mismatch", "/fee_lines/0/det_item_fee_sumamt"),
        ("/settlement_list/iteminfo/0/amt", "bill.category-mismatch", "/settlement_list/iteminfo"),
        (f"{HEADER}/psn_ownpay", "bill.setlinfo-identity", f"{HEADER}/psn_ownpay"),
        (f"{HEADER}/psn_cashpay", "bill.setlinfo-identity", f"{HEADER}/psn_cashpay"),
        (f"{HEADER}/acct_pay", "bill.setlinfo-identity", f"{HEADER}/acct_pay"),
    ],
)
def test_one_wrong_amount_is_one_fault(pointer: str, code: str, place: str, name: str, by: str) -> None:
    if pointer == "/fee_lines/0/pric" and by == "-100.00":
        code, place = "line.price-negative", "/fee_lines/0/pric"
    if pointer == "/fee_lines/0/det_item_fee_sumamt" and name == "outpatient-pay-and-claim" and by == "-100.00":
        code = "refund.without-original"

    assert faults(shifted(pointer, by, name)) == [(code, place)]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("by", ["0.01", "1.00"])
def test_a_rest_that_is_too_much_is_one_fault(name: str, by: str) -> None:
    assert faults(shifted("/billing/unpaid", by, name)) == [("billing.paid-and-unpaid", "/billing/unpaid")]


def test_a_wrong_payment_is_told_with_the_payments_and_by_no_document_beside_it() -> None:
    for place in ("/billing/paid/0/amount", "/billing/paid/1/amount"):
        for by in ("0.01", "-0.01"):
            assert faults(shifted(place, by, "inpatient-basic-fund")) == [
                ("billing.paid-and-unpaid", "/billing/unpaid")
            ]


def test_a_total_that_the_rest_follows_is_still_one_fault() -> None:
    bill = shifted("/billing/total", "0.01")
    bill["billing"] |= {"unpaid": bill["billing"]["total"], "asked": bill["billing"]["total"]}

    assert faults(bill) == [("bill.total-mismatch", "/billing/total")]


def test_a_line_that_is_missing_is_told_by_the_total_alone() -> None:
    bill = sample_object()
    del bill["fee_lines"][0]

    assert faults(bill) == [("bill.total-mismatch", "/billing/total")]


def test_a_line_under_another_category_is_told_by_the_categories_alone() -> None:
    assert faults(changed("/fee_lines/0/med_chrgitm_type", "14")) == [
        ("bill.category-mismatch", "/settlement_list/iteminfo")
    ]


def test_what_is_asked_too_much_is_told_once() -> None:
    assert faults(shifted("/billing/asked", "0.01")) == [("billing.asked-over-rest", "/billing/asked")]


def test_a_receipt_listed_twice_or_without_an_amount_changes_no_sum() -> None:
    twice = sample_object()
    twice["receipts"].append(dict(twice["receipts"][0]))

    assert faults(twice) == [("receipt.twice", "/receipts/1")]
    assert faults(changed("/receipts/0/amount", "0.00")) == [("receipt.not-positive", "/receipts/0/amount")]


def test_a_negative_payment_and_a_refund_of_the_wrong_sign_are_told_once() -> None:
    assert faults(changed("/billing/paid/0/amount", "-1.00")) == [("billing.negative", "/billing/paid/0/amount")]
    [first, *others] = faults(changed("/fee_lines/11/cnt", "2"))
    assert (first, others) == (("refund.not-negative", "/fee_lines/11/refund_of"), [])


def test_two_mistakes_are_two_faults() -> None:
    bill = shifted("/billing/total", "0.01")
    bill = changed(f"{HEADER}/psn_cashpay", "1.00", bill)

    assert set(faults(bill)) == {
        ("bill.total-mismatch", "/billing/total"),
        ("bill.setlinfo-identity", f"{HEADER}/psn_cashpay"),
    }


# Who paid, by the receipts


@pytest.mark.parametrize("by", ["0.01", "-0.01"])
@pytest.mark.parametrize(
    ("name", "field", "code"),
    [
        ("inpatient-basic-fund", "medicarePay", "receipt.fund-differs"),
        ("inpatient-basic-fund", "selfAcountAmount", "receipt.account-differs"),
        ("outpatient-pay-and-claim", "personalCashPayment", "receipt.cash-differs"),
    ],
)
def test_a_receipt_and_the_payments_agree_to_the_fen(name: str, field: str, code: str, by: str) -> None:
    pointer = f"/receipts/0/{field}"

    assert faults(shifted(pointer, by, name)) == [(code, pointer)]


def test_cash_on_the_receipt_of_a_bill_that_is_called_unpaid_refuses_it() -> None:
    bill = changed("/receipts/0/personalCashPayment", "53878.84", changed("/receipts/0/otherPayment", "0.00"))

    assert faults(bill) == [("receipt.cash-differs", "/receipts/0/personalCashPayment")]


def test_a_payment_of_the_fund_that_only_the_receipt_names_refuses_the_bill() -> None:
    bill = changed("/receipts/0/medicarePay", "100.00", changed("/receipts/0/otherPayment", "53778.84"))

    assert faults(bill) == [("receipt.fund-differs", "/receipts/0/medicarePay")]


def test_a_deposit_is_cash_by_the_time_of_the_receipt() -> None:
    bill = sample_object()
    bill["billing"] |= {"unpaid": "33878.84", "asked": "33878.84"}
    bill["billing"]["paid"][0]["amount"] = "20000.00"
    bill["receipts"][0] |= {"personalCashPayment": "20000.00", "otherPayment": "33878.84"}

    assert faults(bill) == []


def test_several_receipts_are_added_up_before_they_are_compared() -> None:
    bill = sample_object("outpatient-pay-and-claim")
    [receipt] = bill["receipts"]
    halves = [("0000000202", "800.00"), ("0000000203", "23.30")]
    bill["receipts"] = [
        receipt | {"billNumber": number, "amount": amount, "personalCashPayment": amount} for number, amount in halves
    ]

    assert faults(bill) == []
    assert faults(changed("/receipts/1/personalCashPayment", "23.29", bill)) == [("receipt.cash-differs", "/receipts")]


def test_payers_of_a_receipt_that_paid_more_than_its_amount_refuse_and_less_warn() -> None:
    more, less = changed("/receipts/0/otherPayment", "53878.85"), changed("/receipts/0/otherPayment", "53878.83")

    assert faults(more) == [("receipt.split-differs", "/receipts/0/amount")]
    assert faults(less) == []
    assert ("receipt.split-differs", "/receipts/0/amount") in {
        (warning.code, warning.pointer) for warning in findings_of(compact(less)).warnings
    }


def test_a_receipt_that_does_not_say_who_paid_is_compared_with_nothing() -> None:
    bill = sample_object()
    for name in ("personalCashPayment", "otherPayment"):
        del bill["receipts"][0][name]

    assert faults(bill) == []


# The stay


@pytest.mark.parametrize("moment", ["2026-02-01 23:50:00", "2026-02-07 00:10:00"])
def test_a_charge_one_day_outside_the_stay_warns_and_one_further_out_is_refused(moment: str) -> None:
    pointer = "/fee_lines/0/fee_ocur_time"
    further = {"2026-02-01 23:50:00": "2026-01-31 23:50:00", "2026-02-07 00:10:00": "2026-02-08 00:10:00"}

    assert faults(changed(pointer, moment)) == []
    assert ("line.near-stay", pointer) in {
        (warning.code, warning.pointer) for warning in findings_of(compact(changed(pointer, moment))).warnings
    }
    assert faults(changed(pointer, further[moment])) == [("line.outside-stay", pointer)]


def test_a_malformed_institution_code_is_not_told_as_another_hospitals_too() -> None:
    assert faults(changed(f"{HEADER}/fixmedins_code", "H440305")) == [
        ("identifier.nhsa_institution", f"{HEADER}/fixmedins_code")
    ]


@pytest.mark.parametrize(
    ("field", "moment"), [("adm_time", "2026-02-05 09:30:00"), ("dscg_time", "2026-02-02 23:30:00")]
)
def test_a_stay_that_most_charges_lie_outside_of_is_one_fault(field: str, moment: str) -> None:
    findings = findings_of(compact(changed(f"{HEADER}/{field}", moment)))

    assert [(fault.code, fault.pointer) for fault in findings.faults] == [("stay.charges-outside", f"{HEADER}/{field}")]
    assert "line.near-stay" not in {warning.code for warning in findings.warnings}


def test_a_few_charges_outside_the_stay_are_told_each_for_itself() -> None:
    bill = sample_object()
    for index in (0, 1, 2):
        bill = changed(f"/fee_lines/{index}/fee_ocur_time", "2026-01-20 10:00:00", bill)

    assert faults(bill) == [("line.outside-stay", f"/fee_lines/{index}/fee_ocur_time") for index in (0, 1, 2)]


ONE_MISTAKE = {
    "a category that nobody knows": ("/fee_lines/9/med_chrgitm_type", "19", "charge.category-unknown"),
    "a serial that another line has": ("/fee_lines/9/feedetl_sn", "SYN-0011", "line.serial-twice"),
    "a serial that is missing": ("/fee_lines/9/feedetl_sn", None, "field.missing"),
    "a quantity that is missing": ("/fee_lines/9/cnt", None, "field.missing"),
    "a refund's quantity that is missing": ("/fee_lines/11/cnt", None, "field.missing"),
    "a refund's amount that is missing": ("/fee_lines/11/det_item_fee_sumamt", None, "field.missing"),
    "a refunded line that is negative": ("/fee_lines/9/det_item_fee_sumamt", "-74.10", "refund.without-original"),
    "a refund's amount that is too much": ("/fee_lines/11/det_item_fee_sumamt", "-247.00", "line.amount-mismatch"),
    "a refund's amount a fen too much": ("/fee_lines/15/det_item_fee_sumamt", "-37.21", "line.amount-mismatch"),
    "a refund's quantity that is too much": ("/fee_lines/15/cnt", "-3", "line.amount-mismatch"),
    "an order that another payment has": ("/billing/paid/1/order", 1, "billing.order-twice"),
}


@pytest.mark.parametrize("what", ONE_MISTAKE)
def test_one_wrong_field_of_a_line_its_refund_or_a_payment_is_one_fault(what: str) -> None:
    pointer, value, code = ONE_MISTAKE[what]

    assert [told for told, _ in faults(changed(pointer, value))] == [code]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_line_that_an_export_wrote_twice_is_one_fault(name: str) -> None:
    lines = sample_object(name)["fee_lines"]
    for index in range(len(lines)):
        twice = changed("/fee_lines", [*lines[: index + 1], *lines[index:]], sample_object(name))

        assert faults(twice) == [("line.serial-twice", f"/fee_lines/{index + 1}/feedetl_sn")]


def test_a_receipt_or_payment_that_an_export_wrote_twice_is_one_fault() -> None:
    bill = sample_object("inpatient-basic-fund")
    receipt, payments = bill["receipts"][0], bill["billing"]["paid"]

    assert faults(changed("/receipts", [receipt, receipt], bill)) == [("receipt.twice", "/receipts/1")]
    for index in range(len(payments)):
        twice = changed("/billing/paid", [*payments[: index + 1], *payments[index:]], bill)
        assert faults(twice) == [("billing.order-twice", f"/billing/paid/{index + 1}/order")]


@pytest.mark.parametrize("payments", [[], None])
def test_payments_that_are_missing_are_told_by_the_sum_alone(payments: list[Any] | None) -> None:
    bill = changed("/billing/paid", payments, sample_object("inpatient-basic-fund"))

    assert faults(bill) == [("billing.paid-and-unpaid", "/billing/unpaid")]


def test_a_payment_of_nothing_where_the_fund_paid_is_one_fault() -> None:
    bill = changed("/billing/paid/0/amount", "0.00", sample_object("inpatient-basic-fund"))

    assert faults(bill) == [("billing.paid-and-unpaid", "/billing/unpaid")]
