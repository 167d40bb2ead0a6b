"""The field names of the national formats: what a claim uses, what is known and left out, where the noun's places are.

Names left out are accepted, since settlement lists carry them, and go no further: among them the personal extras that
PIPL 6 keeps out of a claim (address, employer, contact persons, ethnicity, occupation, insurance number).
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP = frozenset({"settlement_list", "fee_lines", "receipts", "billing", "coverage", "consent"})

SETLINFO = _names(
    "mdtrt_id fixmedins_code fixmedins_name medcasno psn_name gend brdy patn_cert_type certno adm_time "
    "dscg_time bill_code bill_no setl_begn_date setl_end_date psn_selfpay psn_ownpay acct_pay psn_cashpay"
)
SETLINFO_DROPPED = _names(
    "curr_addr emp_name emp_addr emp_tel poscode coner_name patn_rlts coner_addr coner_tel naty prfs hi_no"
)
"""`setlinfo_drop_for_minimisation`: never part of a claim, whatever the insurer might like to know."""

SETLINFO_UNUSED = SETLINFO_DROPPED | _names(
    "setl_id ntly adm_caty dscg_caty act_ipt_days dscg_way biz_sn chfpdr_name chfpdr_code"
)

DISEINFO = _names("maindiag_flag diag_type diag_code diag_name adm_cond_type")
OPRNINFO = _names("oprn_oprt_code oprn_oprt_name oprn_oprt_date")
OPRNINFO_UNUSED = _names("oprn_oprt_type anst_way oper_dr_name oper_dr_code")
ITEMINFO = _names("med_chrgitm amt")
ITEMINFO_UNUSED = _names("claa_sumfee clab_amt fulamt_ownpay_amt oth_amt")

FEE_LINE = _names(
    "feedetl_sn fee_ocur_time med_list_codg medins_list_codg medins_list_name med_chrgitm_type cnt pric "
    "det_item_fee_sumamt spec refund_of currency programme"
)
FEE_LINE_UNUSED = _names(
    "mdtrt_id chrg_bchno rxno pric_uplmt_amt selfpay_prop fulamt_ownpay_amt overlmt_amt preselfpay_amt "
    "inscp_scp_amt chrgitm_lv prodname dosform_name bilg_dept_codg bilg_dept_name bilg_dr_codg "
    "bilg_dr_name dscg_tkdrug_flag"
)

PROGRAMME = _names(
    "product_key approval_no hk_reg_no udi lot expires_on trace_code used_at indication_code consent_hash"
)

E_RECEIPT = _names("billCode billNumber checkCode invoiceDate amount flushedRed redInvoiceDate currency")
E_RECEIPT_UNUSED = _names(
    "billName feeitems payer unifiedSocialCreditCode institutionsType insuranceNum medicareType "
    "medicarePay otherPayment selfAcountAmount personalCashPayment personalPay personalExpense preAmount "
    "mendAmount refundAmount hospitalization recordsNo hospitalizationDate inpatientDepartment "
    "redInvoiceReason businessNo"
)
"""The fund, account, cash and other payments among them are compared with `paid`; they stay behind."""

BILLING = _names("claim_number billing_mode payee paid unpaid payer_rank asked currency total")
COVERAGE = _names(
    "carrier administrator payer policy_kind policy_number insured_name_hant insured_name_en hkid residency"
)
CONSENT = _names(
    "consent_id version subject_ref subject_role grantor given_at channel language notice_version_hash "
    "purposes data_categories sensitive exporter recipients separate_consents retention_until "
    "rights_channel mechanism mechanism_ref withdrawn_at evidence_hash signature"
)

_HEADER = "/settlement_list/setlinfo"

PLACES = {
    "/institution_code": f"{_HEADER}/fixmedins_code",
    "/patient": _HEADER,
    "/patient/gender": f"{_HEADER}/gend",
    "/patient/birth_date": f"{_HEADER}/brdy",
    "/patient/certificate_no": f"{_HEADER}/certno",
    "/patient/certificate_type": f"{_HEADER}/patn_cert_type",
    "/visit": _HEADER,
    "/visit/admitted_at": f"{_HEADER}/adm_time",
    "/visit/discharged_at": f"{_HEADER}/dscg_time",
    "/visit/first_day": f"{_HEADER}/setl_begn_date",
    "/visit/last_day": f"{_HEADER}/setl_end_date",
    "/diagnoses": "/settlement_list/diseinfo",
    "/diagnoses/*/code": "/settlement_list/diseinfo/*/diag_code",
    "/procedures": "/settlement_list/oprninfo",
    "/procedures/*/code": "/settlement_list/oprninfo/*/oprn_oprt_code",
    "/procedures/*/on": "/settlement_list/oprninfo/*/oprn_oprt_date",
    "/lines": "/fee_lines",
    "/lines/*": "/fee_lines/*",
    "/lines/*/serial": "/fee_lines/*/feedetl_sn",
    "/lines/*/national_code": "/fee_lines/*/med_list_codg",
    "/lines/*/category": "/fee_lines/*/med_chrgitm_type",
    "/lines/*/quantity": "/fee_lines/*/cnt",
    "/lines/*/unit_price": "/fee_lines/*/pric",
    "/lines/*/amount": "/fee_lines/*/det_item_fee_sumamt",
    "/lines/*/charged_at": "/fee_lines/*/fee_ocur_time",
    "/lines/*/refund_of": "/fee_lines/*/refund_of",
    "/lines/*/programme": "/fee_lines/*/programme",
    "/lines/*/programme/udi": "/fee_lines/*/programme/udi",
    "/lines/*/programme/lot": "/fee_lines/*/programme/lot",
    "/lines/*/programme/expires_on": "/fee_lines/*/programme/expires_on",
    "/lines/*/programme/hk_reg_no": "/fee_lines/*/programme/hk_reg_no",
    "/lines/*/programme/trace_code": "/fee_lines/*/programme/trace_code",
    "/lines/*/programme/used_at": "/fee_lines/*/programme/used_at",
    "/lines/*/programme/indication_code": "/fee_lines/*/programme/indication_code",
    "/lines/*/programme/consent_hash": "/fee_lines/*/programme/consent_hash",
    "/receipts": "/receipts",
    "/receipts/*": "/receipts/*",
    "/receipts/*/amount": "/receipts/*/amount",
    "/receipts/*/code": "/receipts/*/billCode",
    "/receipts/*/split/fund": "/receipts/*/medicarePay",
    "/receipts/*/split/account": "/receipts/*/selfAcountAmount",
    "/receipts/*/split/cash": "/receipts/*/personalCashPayment",
    "/receipts/*/split/other": "/receipts/*/otherPayment",
    "/receipts/*/state": "/receipts/*/flushedRed",
    "/receipts/*/issued_on": "/receipts/*/invoiceDate",
    "/figures": _HEADER,
    "/figures/categories": "/settlement_list/iteminfo",
    "/figures/self_paid": f"{_HEADER}/psn_selfpay",
    "/figures/self_funded": f"{_HEADER}/psn_ownpay",
    "/figures/account_paid": f"{_HEADER}/acct_pay",
    "/figures/cash_paid": f"{_HEADER}/psn_cashpay",
    "/figures/receipt_number": f"{_HEADER}/bill_no",
} | {
    place: place
    for place in (
        *("/billing", *(f"/billing/{name}" for name in BILLING), "/billing/paid/*", "/billing/paid/*/amount"),
        *("/billing/paid/*/order", "/billing/paid/*/kind"),
        *("/coverage", *(f"/coverage/{name}" for name in COVERAGE)),
        *("/consent", *(f"/consent/{name}" for name in CONSENT)),
    )
}
