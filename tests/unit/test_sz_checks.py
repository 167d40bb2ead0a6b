"""Every check of a bill: one change to a good bill, and the fault that names its place in the hospital's own file."""

from datetime import timedelta
from typing import Any

import pytest

from adapters.sz.checks import read_rules
from gateway.protocol.canonical import compact
from gateway.protocol.clock import business_date
from gateway.protocol.errors import UnavailableError
from gateway.protocol.rules import Rules, shipped_rules
from tests.hospital_bills import (
    REMOVED,
    SAMPLES,
    around,
    changed,
    faults_of,
    findings_of,
    sample,
    sample_object,
    with_lines,
)
from tests.parties import NOW

HEADER = "/settlement_list/setlinfo"
FLAGS = "/consent/separate_consents"


@pytest.mark.parametrize("name", SAMPLES)
def test_the_sample_bills_are_good(name: str) -> None:
    findings = findings_of(sample(name))

    assert findings.faults == ()
    assert findings.route is not None


def test_a_bill_of_a_thousand_lines_is_good_too() -> None:
    assert findings_of(with_lines(1000)).faults == ()


@pytest.mark.parametrize(
    ("pointer", "value", "code", "place"),
    [
        ("/coverage/hkid", "QQ0000001", "identifier.hkid", "/coverage/hkid"),
        (f"{HEADER}/certno", "H0000001", "identifier.hrp_format_only", f"{HEADER}/certno"),
        (f"{HEADER}/certno", "810000190001010011", "identifier.cn_id_gb11643", f"{HEADER}/certno"),
        (f"{HEADER}/patn_cert_type", "02", "certificate.type-unknown", f"{HEADER}/patn_cert_type"),
        (f"{HEADER}/fixmedins_code", "H440305", "identifier.nhsa_institution", f"{HEADER}/fixmedins_code"),
        (
            "/settlement_list/diseinfo/0/diag_code",
            "I49.5",
            "identifier.icd10_cn_nhsa",
            "/settlement_list/diseinfo/0/diag_code",
        ),
        (
            "/settlement_list/oprninfo/0/oprn_oprt_code",
            "x",
            "identifier.icd9cm3_cn_nhsa",
            "/settlement_list/oprninfo/0/oprn_oprt_code",
        ),
        ("/settlement_list/diseinfo/0/maindiag_flag", "0", "bill.main-diagnosis", "/settlement_list/diseinfo"),
        ("/fee_lines/1/feedetl_sn", "SYN-0001", "line.serial-twice", "/fee_lines/1/feedetl_sn"),
        ("/fee_lines/9/med_list_codg", "X123", "identifier.nhsa_drug", "/fee_lines/9/med_list_codg"),
        ("/fee_lines/0/med_list_codg", "00110", "identifier.nhsa_service", "/fee_lines/0/med_list_codg"),
        (
            "/fee_lines/8/programme/udi",
            "(01)06901234567891",
            "identifier.udi_gs1",
            "/fee_lines/8/programme/udi",
        ),
        ("/fee_lines/8/programme/hk_reg_no", "HK-1", "identifier.hk_drug_reg", "/fee_lines/8/programme/hk_reg_no"),
        ("/fee_lines/8/programme/consent_hash", "x", "field.not-a-hash", "/fee_lines/8/programme/consent_hash"),
        ("/receipts/0/checkCode", "a1b2", "identifier.e_receipt", "/receipts/0"),
        (f"{HEADER}/bill_no", "0000000999", "receipt.not-the-settlement-lists", f"{HEADER}/bill_no"),
    ],
)
def test_an_identifier_that_its_scheme_refuses_is_a_fault(pointer: str, value: str, code: str, place: str) -> None:
    assert (code, place) in faults_of(changed(pointer, value))


@pytest.mark.parametrize("code", ["C0301", "Z1", "本院自编", None])
def test_codes_whose_layout_nobody_confirms_warn_and_never_refuse(code: str | None) -> None:
    findings = findings_of(compact(changed("/fee_lines/8/med_list_codg", code)))

    assert findings.faults == ()
    assert ("line.code-unmapped", "/fee_lines/8/med_list_codg") in {
        (warning.code, warning.pointer) for warning in findings.warnings
    }


@pytest.mark.parametrize("number", ["H00000001", "H0000000102", "K00000001"])
def test_home_return_permits_and_passports_come_under_the_same_type(number: str) -> None:
    assert faults_of(changed(f"{HEADER}/certno", number)) == set()


@pytest.mark.parametrize(
    ("pointer", "value", "code", "place"),
    [
        (f"{HEADER}/dscg_time", "2026-02-01 10:00:00", "stay.ends-before-start", f"{HEADER}/dscg_time"),
        (f"{HEADER}/dscg_time", "2026-02-02 09:00:00", "stay.ends-before-start", f"{HEADER}/dscg_time"),
        (f"{HEADER}/dscg_time", "1900-01-01", "stay.dates-missing", f"{HEADER}/setl_end_date"),
        (f"{HEADER}/dscg_time", "2026-03-03 10:00:00", "date.future", f"{HEADER}/dscg_time"),
        (f"{HEADER}/brdy", "2026-02-03", "patient.born-later", f"{HEADER}/brdy"),
        ("/fee_lines/0/fee_ocur_time", "2026-01-01 08:00:00", "line.outside-stay", "/fee_lines/0/fee_ocur_time"),
        ("/fee_lines/0/fee_ocur_time", "2026-04-01 08:00:00", "date.future", "/fee_lines/0/fee_ocur_time"),
        ("/fee_lines/0/med_chrgitm_type", "15", "charge.category-unknown", "/fee_lines/0/med_chrgitm_type"),
        (
            "/settlement_list/oprninfo/0/oprn_oprt_date",
            "2026-02-07",
            "procedure.outside-stay",
            "/settlement_list/oprninfo/0/oprn_oprt_date",
        ),
        ("/receipts/0/invoiceDate", "20260401", "date.future", "/receipts/0/invoiceDate"),
    ],
)
def test_time_runs_forward_and_charges_lie_inside_the_stay(pointer: str, value: str, code: str, place: str) -> None:
    if code == "stay.dates-missing":
        bill = changed(f"{HEADER}/adm_time", "-", changed(pointer, value))
        assert (code, place) in faults_of(changed(f"{HEADER}/setl_end_date", "-", bill))
    else:
        assert (code, place) in faults_of(changed(pointer, value))


def test_a_bill_of_another_hospital_is_refused_where_the_operator_has_set_the_code() -> None:
    ours, theirs = (around(codes=frozenset({code})) for code in ("H44030599999", "H44030500000"))

    assert findings_of(sample(), ours).faults == ()
    assert [fault.code for fault in findings_of(sample(), theirs).faults] == ["bill.other-hospital"]


@pytest.mark.parametrize(
    ("pointer", "value", "code", "place"),
    [
        ("/billing/total", "53878.83", "bill.total-mismatch", "/billing/total"),
        ("/fee_lines/0/det_item_fee_sumamt", "300.01", "line.amount-mismatch", "/fee_lines/0/det_item_fee_sumamt"),
        ("/fee_lines/0/pric", "-75.00", "line.price-negative", "/fee_lines/0/pric"),
        ("/fee_lines/0/cnt", "0", "line.quantity-not-positive", "/fee_lines/0/cnt"),
        ("/fee_lines/0/currency", "HKD", "bill.two-currencies", "/fee_lines/0/det_item_fee_sumamt"),
        ("/receipts/0/currency", "HKD", "bill.two-currencies", "/receipts/0/amount"),
        ("/billing/paid/0/currency", "HKD", "bill.two-currencies", "/billing/paid/0/amount"),
        ("/billing/unpaid", "1.00", "billing.paid-and-unpaid", "/billing/unpaid"),
        ("/billing/paid/1/order", 1, "billing.order-twice", "/billing/paid/1/order"),
        ("/billing/paid/0/amount", "-1.00", "billing.negative", "/billing/paid/0/amount"),
        ("/billing/asked", "0.00", "billing.nothing-asked", "/billing/asked"),
        ("/billing/asked", "53878.85", "billing.asked-over-rest", "/billing/asked"),
        ("/billing/payee", "insured", "billing.payee-against-mode", "/billing/payee"),
        ("/receipts/0/amount", "53878.85", "receipt.total-mismatch", "/receipts"),
        ("/receipts/0/amount", "0.00", "receipt.not-positive", "/receipts/0/amount"),
        ("/receipts/0/flushedRed", "1", "receipt.red-flushed", "/receipts/0/flushedRed"),
        ("/settlement_list/iteminfo/0/amt", "1.00", "bill.category-mismatch", "/settlement_list/iteminfo"),
        (f"{HEADER}/psn_ownpay", "1.00", "bill.setlinfo-identity", f"{HEADER}/psn_ownpay"),
        (f"{HEADER}/psn_cashpay", "1.00", "bill.setlinfo-identity", f"{HEADER}/psn_cashpay"),
        (f"{HEADER}/acct_pay", "1.00", "bill.setlinfo-identity", f"{HEADER}/acct_pay"),
        ("/fee_lines/11/refund_of", "SYN-9999", "refund.original-unknown", "/fee_lines/11/refund_of"),
        ("/fee_lines/11/refund_of", "-", "refund.without-original", "/fee_lines/11/det_item_fee_sumamt"),
    ],
)
def test_every_sum_holds_or_is_named(pointer: str, value: Any, code: str, place: str) -> None:
    assert (code, place) in faults_of(changed(pointer, value))


def test_a_receipt_listed_twice_is_a_fault() -> None:
    bill = sample_object()
    bill["receipts"].append(bill["receipts"][0])

    assert ("receipt.twice", "/receipts/1") in faults_of(bill)


def test_a_bill_refunded_whole_has_nothing_to_claim() -> None:
    bill = sample_object()
    bill["fee_lines"] = bill["fee_lines"][14:16]

    assert ("bill.nothing-to-claim", "/fee_lines") in faults_of(bill)


def test_a_quantity_times_price_may_be_rounded_either_way_at_half_a_fen() -> None:
    for amount in ("25.02", "25.03"):
        bill = changed("/fee_lines/10/det_item_fee_sumamt", amount, changed("/fee_lines/10/pric", "3.128125"))
        assert ("line.amount-mismatch", "/fee_lines/10/det_item_fee_sumamt") not in faults_of(bill)


# Who pays whom


def billing(name: str = "inpatient-direct", **changes: Any) -> dict[str, Any]:
    bill = sample_object(name)
    bill["billing"] |= changes
    return bill


def billing_faults(bill: dict[str, Any]) -> set[str]:
    return {code for code, pointer in faults_of(bill) if pointer.startswith("/billing")}


def test_a_direct_claim_with_cash_zero_is_fine() -> None:
    paid = [{"kind": "cash", "amount": "0.00", "order": 1}]

    assert billing_faults(billing(paid=paid)) == set()


def test_a_bill_paid_in_cash_never_pays_the_hospital() -> None:
    paid = [{"kind": "cash", "amount": "53878.84", "order": 1}]

    assert billing_faults(billing(paid=paid, unpaid="0.00")) == {"billing.paid-already"}


def test_a_hospital_asks_no_more_than_is_unpaid() -> None:
    paid = [{"kind": "deposit", "amount": "20000.00", "order": 1}]
    rest = "33878.84"

    assert billing_faults(billing(paid=paid, unpaid=rest)) == {"billing.asked-over-unpaid"}
    assert billing_faults(billing(paid=paid, unpaid=rest, asked=rest)) == set()


def test_what_third_parties_paid_is_not_asked_for_again() -> None:
    name = "inpatient-basic-fund"

    assert billing_faults(billing(name, asked="959.27")) == {"billing.asked-over-unpaid"}
    assert "billing.asked-over-rest" in billing_faults(billing(name, asked="1959.27"))


def test_pay_and_claim_pays_the_insured_and_no_more_than_the_insured_paid() -> None:
    name = "outpatient-pay-and-claim"

    assert billing_faults(billing(name, payee="hospital")) == {"billing.payee-against-mode"}
    paid = [{"kind": "cash", "amount": "800.00", "order": 1}]
    assert billing_faults(billing(name, paid=paid, unpaid="23.30")) == {"billing.asked-over-paid"}


# Parties, route, consent


@pytest.mark.parametrize(
    ("pointer", "value", "code", "place"),
    [
        ("/coverage/carrier", "ins-nobody", "coverage.party-unknown", "/coverage/carrier"),
        ("/coverage/carrier", "hosp-nanshan", "coverage.party-unknown", "/coverage/carrier"),
        ("/coverage/administrator", "ins-nobody", "coverage.party-unknown", "/coverage/administrator"),
        ("/coverage/administrator", "ins-lantau", "route.other-administrator", "/coverage/administrator"),
        ("/coverage/payer", "ins-lantau", "route.none", "/coverage/carrier"),
        ("/consent/sensitive", False, "consent.flag-missing", FLAGS),
        (f"{FLAGS}/sensitive", False, "consent.flag-missing", FLAGS),
        (f"{FLAGS}/provide_to_other_processor", False, "consent.flag-missing", FLAGS),
        (f"{FLAGS}/cross_border", False, "consent.flag-missing", FLAGS),
        ("/consent/purposes", ["SETTLEMENT"], "consent.purpose-missing", "/consent/purposes"),
        ("/consent/data_categories", ["identity"], "consent.category-missing", "/consent/data_categories"),
        ("/consent/exporter/party", "hosp-other", "consent.other-exporter", "/consent/exporter"),
        ("/consent/recipients/0/party", "ins-lantau", "consent.recipient-not-named", "/consent/recipients"),
        ("/consent/recipients/0/purpose", "AUDIT", "consent.recipient-not-named", "/consent/recipients"),
        ("/consent/mechanism_ref", None, "consent.filing-missing", "/consent/mechanism_ref"),
        ("/consent/mechanism_ref", "OTHER", "consent.other-mechanism", "/consent/mechanism"),
        ("/consent/mechanism", "assessment", "consent.other-mechanism", "/consent/mechanism"),
        ("/consent/withdrawn_at", "2026-02-05 08:00:00", "consent.withdrawn", "/consent/withdrawn_at"),
        ("/consent/given_at", "2026-03-02 10:00:00", "consent.not-yet-given", "/consent/given_at"),
        ("/consent/retention_until", "2026-03-01", "consent.expired", "/consent/retention_until"),
        ("/consent/evidence_hash", "abc", "field.not-a-hash", "/consent/evidence_hash"),
    ],
)
def test_nothing_crosses_without_a_known_way_and_a_consent_in_force(
    pointer: str, value: Any, code: str, place: str
) -> None:
    assert (code, place) in faults_of(changed(pointer, value))


def test_a_child_needs_a_guardian_and_a_guardian_is_enough() -> None:
    bill = changed(f"{HEADER}/brdy", "2012-02-03")

    assert ("consent.guardian-missing", "/consent/subject_role") in faults_of(bill)
    assert faults_of(changed("/consent/subject_role", "guardian", bill)) == set()
    assert faults_of(changed(f"{HEADER}/brdy", "2012-02-02")) == set()


def test_a_route_that_is_not_yet_or_no_longer_valid_is_none() -> None:
    later = around(NOW + timedelta(days=365 * 11))

    assert "route.none" in {fault.code for fault in findings_of(sample(), later).faults}


# All at once


def test_what_cannot_be_read_is_told_once_and_misleads_no_other_check() -> None:
    unreadable: dict[str, Any] = {
        "/billing/total": "lots",
        "/fee_lines/3/det_item_fee_sumamt": "lots",
        "/consent/separate_consents": None,
        f"{HEADER}/adm_time": "lots",
        "/receipts/0/amount": None,
        "/settlement_list/diseinfo": {},
    }
    for pointer, value in unreadable.items():
        codes = {code for code, _ in faults_of(changed(pointer, value))}
        assert codes <= {
            "field.not-a-number",
            "field.missing",
            "field.date-malformed",
            "field.not-a-list",
        }, (pointer, codes)


def test_faults_of_every_kind_are_told_at_once() -> None:
    codes = [fault.code for fault in findings_of(sample("wrong")).faults]

    assert len(codes) >= 19
    assert codes.count("bill.total-mismatch") == 1


def test_faults_have_an_end() -> None:
    bill = sample_object()
    bill["fee_lines"] = [{"x": 1}] * 4000

    assert len(findings_of(compact(bill)).faults) <= 1000


def test_a_missing_rule_row_is_told_and_not_guessed() -> None:
    with pytest.raises(UnavailableError):
        read_rules(Rules(()), business_date(NOW))
    assert read_rules(shipped_rules(), business_date(NOW)).versions[0] == ("claim.paid_by_third_party_kinds@2026-01-01")


def test_removed_fields_that_must_be_there_are_missing() -> None:
    for pointer in ("/billing/claim_number", "/coverage/hkid", f"{HEADER}/psn_name", "/consent/given_at"):
        assert ("field.missing", pointer) in faults_of(changed(pointer, REMOVED))
