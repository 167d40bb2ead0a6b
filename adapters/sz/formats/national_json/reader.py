"""The national fee lines and settlement list of a self-payer as one JSON object.

`{settlement_list, fee_lines, receipts[], billing, coverage, consent}`. `settlement_list` holds the groups setlinfo,
diseinfo, oprninfo and iteminfo of the national settlement list (4101), `fee_lines` the national fee line (with
`refund_of`, `currency` and `programme` added), `receipts` the fields of the fiscal e-receipt. `billing`, `coverage` and
`consent` are ours. Times are UTC+8, amounts decimal strings or JSON numbers, read lexically. How values may be written
is `adapters.sz.spelling`; identifiers are read into the normal form of their scheme (`adapters.sz.schemes`).
"""

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from adapters.sz import schemes
from adapters.sz.bill import (
    Billing,
    BillLine,
    Coverage,
    Diagnosis,
    Gender,
    HospitalBill,
    Patient,
    Payment,
    Procedure,
    ProgrammeEvidence,
    Receipt,
    ReceiptSplit,
    ReceiptState,
    Residency,
    SettlementFigures,
    Visit,
)
from adapters.sz.consent import Category, Consent, Exporter, Flags, Purpose, Recipient, SubjectRole
from adapters.sz.formats.national_json.names import (
    BILLING,
    CONSENT,
    COVERAGE,
    DISEINFO,
    E_RECEIPT,
    E_RECEIPT_UNUSED,
    FEE_LINE,
    FEE_LINE_UNUSED,
    ITEMINFO,
    ITEMINFO_UNUSED,
    OPRNINFO,
    OPRNINFO_UNUSED,
    PLACES,
    PROGRAMME,
    SETLINFO,
    SETLINFO_UNUSED,
    TOP,
)
from adapters.sz.ports import Mutation, Reading
from adapters.sz.reading import Fields, Notes
from adapters.sz.spelling import earlier_fold, odd_number
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.claim_terms import LINES_MAX, BillingMode, Mechanism, PaidKind, Payee, PolicyKind
from gateway.protocol.identifier_checks import ascii_upper
from gateway.protocol.identifiers import parse_hkid
from gateway.protocol.money import MINOR_DIGITS, Money
from gateway.protocol.product_identifiers import (
    parse_hk_drug_reg,
    parse_icd9cm3_cn_nhsa,
    parse_icd10_cn_nhsa,
    parse_nhsa_institution,
)

_GENDERS = {"0": Gender.UNKNOWN, "1": Gender.MALE, "2": Gender.FEMALE, "9": Gender.OTHER}
"""GB/T 2261.1."""

_CURRENCY = "CNY"
"""Stands in while a bill's currency cannot be read; that is a fault, and no sum is checked then."""


class NationalJson:
    """The first format. It holds no state: the same bytes give the same reading."""

    name = "national_json"
    media_types = ("application/json",)
    places: Mapping[str, str] = MappingProxyType(PLACES)

    def read(self, raw: bytes) -> Reading:
        # Editors and exports on Windows begin UTF-8 with a mark, which RFC 8259 (section 8.1) lets a reader ignore.
        text = raw.removeprefix(BOM_UTF8)
        found = read_json_object(text, bytes_max=len(raw), decimals=True, odd_number=odd_number)
        notes = Notes()
        if text != raw:
            notes.tidied("")
        body = Fields(found, "", notes)
        body.expect(TOP)
        bill = _bill(body)
        return Reading(
            bill,
            tuple(notes.faults),
            frozenset(notes.broken),
            tuple(notes.normalised),
            tuple(sorted(notes.left_out)),
        )

    def sample(self) -> bytes:
        return files(__package__).joinpath("sample.json").read_bytes()

    def mutations(self) -> Iterator[Mutation]:
        line, billing = "/fee_lines/1", "/billing"
        for name, place, value, code, pointer in (
            ("an amount is no number", f"{line}/det_item_fee_sumamt", "一百", "field.not-a-number", None),
            ("an amount is missing", f"{line}/det_item_fee_sumamt", None, "field.missing", None),
            ("a line does not add up", f"{line}/cnt", "7", "line.amount-mismatch", f"{line}/det_item_fee_sumamt"),
            ("there is no such day", f"{line}/fee_ocur_time", "2026-02-30", "field.date-malformed", None),
            ("a charge category is unknown", f"{line}/med_chrgitm_type", "77", "charge.category-unknown", None),
            ("a claim has no number", f"{billing}/claim_number", "无", "field.missing", None),
            ("the currency is unknown", f"{billing}/currency", "XXX", "money.currency-unknown", None),
            ("a consent says perhaps", "/consent/sensitive", "perhaps", "field.not-true-or-false", None),
            ("a field is unknown", f"{line}/surprise", "1", "field.unknown", line),
            ("receipts are no list", "/receipts", {}, "field.not-a-list", None),
        ):
            bill = read_json_object(self.sample())
            *way, last = place.removeprefix("/").split("/")
            owner: Any = bill
            for step in way:
                owner = owner[int(step)] if isinstance(owner, list) else owner[step]
            owner[last] = value
            yield Mutation(name, compact(bill), frozenset({(code, pointer or place)}))


def _bill(body: Fields) -> HospitalBill:
    billing = _billing(body.object("billing"))
    settlement = body.object("settlement_list")
    settlement.expect({"setlinfo", "diseinfo", "oprninfo", "iteminfo"})
    header = settlement.object("setlinfo")
    header.expect(SETLINFO, SETLINFO_UNUSED)
    return HospitalBill(
        institution_code=header.identifier("fixmedins_code", 40, parse_nhsa_institution),
        institution_name=header.text("fixmedins_name"),
        patient=_patient(header),
        visit=_visit(header),
        diagnoses=tuple(map(_diagnosis, settlement.objects("diseinfo", 50))),
        procedures=tuple(map(_procedure, settlement.objects("oprninfo", 50, required=False))),
        lines=tuple(_line(line, billing.currency) for line in body.objects("fee_lines", LINES_MAX)),
        receipts=tuple(_receipt(receipt, billing.currency) for receipt in body.objects("receipts", 100)),
        figures=_figures(header, settlement, billing.currency),
        billing=billing,
        coverage=_coverage(body.object("coverage")),
        consent=_consent(body.object("consent")),
    )


def _patient(header: Fields) -> Patient:
    gender = header.text("gend", 2, code=True)
    if gender and gender not in _GENDERS:
        header.notes.broke("field.not-a-choice", f"{header.at}/gend")
    certificate_type = header.text("patn_cert_type", 2, code=True)
    certificate_no = header.identifier("certno", 40, schemes.certificate(certificate_type))
    birth_date = header.day("brdy", confirmed=schemes.birth_date_in(certificate_type, certificate_no))
    if birth_date is None:
        header.lacks("brdy")
    return Patient(
        name=header.text("psn_name", 100),
        certificate_type=certificate_type,
        certificate_no=certificate_no,
        birth_date=birth_date,
        gender=_GENDERS.get(gender, Gender.UNKNOWN),
    )


def _visit(header: Fields) -> Visit:
    return Visit(
        visit_id=header.text("mdtrt_id", 30, code=True),
        record_no=header.maybe_text("medcasno", 40, code=True),
        admitted_at=header.moment("adm_time"),
        discharged_at=header.moment("dscg_time"),
        first_day=header.day("setl_begn_date"),
        last_day=header.day("setl_end_date"),
    )


def _diagnosis(row: Fields) -> Diagnosis:
    row.expect(DISEINFO)
    return Diagnosis(
        code=row.identifier("diag_code", 20, parse_icd10_cn_nhsa),
        name=row.text("diag_name", 200),
        main=row.text("maindiag_flag", 1, code=True) == "1",
    )


def _procedure(row: Fields) -> Procedure:
    row.expect(OPRNINFO, OPRNINFO_UNUSED)
    return Procedure(
        code=row.identifier("oprn_oprt_code", 20, parse_icd9cm3_cn_nhsa),
        name=row.text("oprn_oprt_name", 200),
        on=row.day("oprn_oprt_date"),
    )


def _figures(header: Fields, settlement: Fields, currency: str) -> SettlementFigures:
    categories: dict[str, Money] = {}
    for row in settlement.objects("iteminfo", 50, required=False):
        row.expect(ITEMINFO, ITEMINFO_UNUSED)
        code, amount = row.text("med_chrgitm", 6, code=True), row.money("amt", currency)
        if code in categories:
            row.notes.broke("bill.category-twice", f"{row.at}/med_chrgitm")
        categories[code] = amount
    return SettlementFigures(
        categories=categories,
        self_paid=header.maybe_money("psn_selfpay", currency),
        self_funded=header.maybe_money("psn_ownpay", currency),
        account_paid=header.maybe_money("acct_pay", currency),
        cash_paid=header.maybe_money("psn_cashpay", currency),
        receipt_code=header.maybe_identifier("bill_code", 40, schemes.digits),
        receipt_number=header.maybe_identifier("bill_no", 40, schemes.digits),
    )


def _line(row: Fields, currency: str) -> BillLine:
    row.expect(FEE_LINE, FEE_LINE_UNUSED)
    return BillLine(
        serial=row.text("feedetl_sn", 40, code=True),
        national_code=row.maybe_identifier("med_list_codg", 50, schemes.item_code),
        hospital_code=row.maybe_text("medins_list_codg", 100, code=True),
        name=row.text("medins_list_name", 200),
        specification=row.maybe_text("spec", 200),
        category=row.text("med_chrgitm_type", 6, code=True),
        quantity=row.number("cnt", 4),
        unit_price=row.number("pric", 6),
        amount=row.money("det_item_fee_sumamt", _currency(row, currency)),
        charged_at=row.moment("fee_ocur_time"),
        refund_of=row.maybe_text("refund_of", 40, code=True),
        programme=_programme(row.object("programme")) if row.found.get("programme") is not None else None,
    )


def _programme(row: Fields) -> ProgrammeEvidence:
    row.expect(PROGRAMME)
    return ProgrammeEvidence(
        product_key=row.maybe_text("product_key", 40, code=True),
        approval_no=row.maybe_text("approval_no", 60, code=True),
        hk_reg_no=row.maybe_identifier("hk_reg_no", 20, parse_hk_drug_reg),
        udi=row.maybe_identifier("udi", 200, schemes.udi),
        lot=row.maybe_text("lot", 40, code=True),
        expires_on=row.day("expires_on"),
        trace_code=row.maybe_text("trace_code", 60, code=True),
        used_at=row.moment("used_at"),
        indication_code=row.maybe_identifier("indication_code", 20, parse_icd10_cn_nhsa),
        consent_hash=row.maybe_identifier("consent_hash", 64, schemes.hash_in_hex),
    )


def _receipt(row: Fields, currency: str) -> Receipt:
    row.expect(E_RECEIPT, E_RECEIPT_UNUSED)
    currency = _currency(row, currency)
    return Receipt(
        code=row.identifier("billCode", 20, schemes.digits),
        number=row.identifier("billNumber", 20, schemes.digits),
        check_code=row.identifier("checkCode", 20, schemes.digits),
        amount=row.money("amount", currency),
        issued_on=row.day("invoiceDate"),
        state=_receipt_state(row),
        split=ReceiptSplit(
            fund=row.maybe_money("medicarePay", currency),
            account=row.maybe_money("selfAcountAmount", currency),
            cash=row.maybe_money("personalCashPayment", currency),
            other=row.maybe_money("otherPayment", currency),
        ),
    )


def _receipt_state(row: Fields) -> ReceiptState:
    """Read the red-flush mark: JSON true or a text 1; the date of a red-flush is one, too."""
    mark: Any = row.found.get("flushedRed")
    if mark is not None and type(mark) is not bool:
        mark = row.maybe_text("flushedRed", 1, code=True)
        if mark not in (None, "0", "1"):
            row.notes.broke("field.not-a-choice", f"{row.at}/flushedRed")
    flushed = mark in (True, "1") or row.day("redInvoiceDate") is not None
    return ReceiptState.RED_FLUSHED if flushed else ReceiptState.LIVE


def _billing(row: Fields) -> Billing:
    row.expect(BILLING)
    currency = row.identifier("currency", 3, ascii_upper)
    if currency not in MINOR_DIGITS:
        if currency:
            row.notes.broke("money.currency-unknown", f"{row.at}/currency")
        currency = _CURRENCY
    return Billing(
        claim_number=row.text("claim_number", 64, code=True),
        billing_mode=row.choice("billing_mode", BillingMode, BillingMode.DIRECT),
        payee=row.choice("payee", Payee, Payee.HOSPITAL),
        paid=tuple(_payment(paid, currency) for paid in row.objects("paid", 20, required=False)),
        unpaid=row.money("unpaid", currency),
        payer_rank=row.whole("payer_rank", 1, 9),
        asked=row.money("asked", currency),
        currency=currency,
        total=row.money("total", currency),
        earlier_claim_number=earlier_fold(row.found.get("claim_number")),
    )


def _payment(row: Fields, currency: str) -> Payment:
    row.expect({"kind", "amount", "order", "currency"})
    return Payment(
        kind=row.choice("kind", PaidKind, PaidKind.CASH),
        amount=row.money("amount", _currency(row, currency)),
        order=row.whole("order", 1, 99),
    )


def _currency(row: Fields, usual: str) -> str:
    """Return a row's own currency where it states one; two currencies in one bill are found by the checks."""
    stated = row.maybe_identifier("currency", 3, ascii_upper)
    if stated is None or stated in MINOR_DIGITS:
        return stated or usual
    row.notes.broke("money.currency-unknown", f"{row.at}/currency")
    return usual


def _coverage(row: Fields) -> Coverage:
    row.expect(COVERAGE)
    return Coverage(
        carrier=row.text("carrier", 64, code=True),
        administrator=row.maybe_text("administrator", 64, code=True),
        payer=row.text("payer", 64, code=True),
        policy_kind=row.choice("policy_kind", PolicyKind, PolicyKind.INDIVIDUAL_MEDICAL),
        policy_number=row.text("policy_number", 64, code=True),
        insured_name_hant=row.maybe_text("insured_name_hant", 100),
        insured_name_en=row.maybe_text("insured_name_en", 100),
        hkid=row.identifier("hkid", 20, parse_hkid),
        residency=row.choice("residency", Residency, Residency.OTHER),
    )


def _consent(row: Fields) -> Consent:
    row.expect(CONSENT)
    flags = row.object("separate_consents")
    flags.expect({"sensitive", "provide_to_other_processor", "cross_border"})
    exporter = row.object("exporter")
    exporter.expect({"party", "contact"})
    given_at = row.moment("given_at")
    if given_at is None:
        row.lacks("given_at")
    return Consent(
        consent_id=row.text("consent_id", 64, code=True),
        version=row.whole("version", 1, 9999),
        subject_ref=row.text("subject_ref", 64, code=True),
        subject_role=row.choice("subject_role", SubjectRole, SubjectRole.PATIENT),
        grantor=row.text("grantor", 100),
        given_at=given_at,
        channel=row.text("channel", 40),
        language=row.text("language", 20, code=True),
        notice_version_hash=row.identifier("notice_version_hash", 64, schemes.hash_in_hex),
        purposes=row.words("purposes", Purpose),
        data_categories=row.words("data_categories", Category),
        sensitive=row.flag("sensitive"),
        exporter=Exporter(exporter.text("party", 64, code=True), exporter.text("contact", 200)),
        recipients=tuple(map(_recipient, row.objects("recipients", 20))),
        separate_consents=Flags(
            flags.flag("sensitive"), flags.flag("provide_to_other_processor"), flags.flag("cross_border")
        ),
        retention_until=row.day("retention_until"),
        rights_channel=row.text("rights_channel", 200),
        mechanism=row.choice("mechanism", Mechanism, Mechanism.GBA_SC),
        mechanism_ref=row.maybe_text("mechanism_ref", 100, code=True),
        withdrawn_at=row.moment("withdrawn_at"),
        evidence_hash=row.identifier("evidence_hash", 64, schemes.hash_in_hex),
        signature=row.maybe_text("signature", 2000),
    )


def _recipient(row: Fields) -> Recipient:
    names = ("party", "name", "contact", "place", "purpose", "method")
    row.expect(set(names))
    return Recipient(*(row.text(name, 200, code=name == "party") for name in names))
