"""A bill as a ZIP of CSV tables under Chinese headings, as a hospital's own database exports it.

Nine tables (`names.py`): 就诊与保单 has one row with patient, visit, sums, claim and policy, 知情同意 one with the
consent; 明细 has a row for each fee line, and 票据, 诊断, 手术, 其他支付, 费用分类 and 接收方 likewise. Codes, dates
and numbers are written as in the national format; a fault's pointer names table, row and column.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType

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
from adapters.sz.formats.csv_tables import names
from adapters.sz.formats.csv_tables.bundle import open_tables
from adapters.sz.ports import Mutation, Reading
from adapters.sz.reading import Fields, Notes
from adapters.sz.spelling import earlier_fold
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

_EPOCH = (1980, 1, 1, 0, 0, 0)


class CsvTables:
    """It holds no state: the same bytes give the same reading."""

    name = "csv_tables"
    media_types = ("application/zip",)
    places: Mapping[str, str] = MappingProxyType(names.PLACES)

    def read(self, raw: bytes) -> Reading:
        notes = Notes()
        body = Fields(open_tables(raw, notes), "", notes)
        bill = _bill(body)
        return Reading(
            bill,
            tuple(notes.faults),
            frozenset(notes.broken),
            tuple(notes.normalised),
            tuple(sorted(notes.left_out)),
        )

    def sample(self) -> bytes:
        return write_bundle(_sample_tables())

    def mutations(self) -> Iterator[Mutation]:
        line, visit, consent = f"/{names.LINES}/1", f"/{names.VISIT}/0", f"/{names.CONSENT}/0"
        for name, pointer, value, code in (
            ("an amount is no number", f"{line}/金额", "一百", "field.not-a-number"),
            ("an amount is missing", f"{line}/金额", "", "field.missing"),
            ("a line does not add up", f"{line}/金额", "7.00", "line.amount-mismatch"),
            ("there is no such day", f"{line}/发生时间", "2026-02-30", "field.date-malformed"),
            ("a charge category is unknown", f"{line}/费用类别", "77", "charge.category-unknown"),
            ("a claim has no number", f"{visit}/理赔号", "无", "field.missing"),
            ("the currency is unknown", f"{visit}/币种", "XXX", "money.currency-unknown"),
            ("a consent says perhaps", f"{consent}/敏感个人信息", "可能", "field.not-true-or-false"),
        ):
            _, table, row, column = pointer.split("/")
            tables = _sample_tables()
            tables[table][int(row) + 1][tables[table][0].index(column)] = value
            yield Mutation(name, write_bundle(tables), frozenset({(code, pointer)}))
        tables = _sample_tables()
        tables[names.LINES][2].append("多")
        yield Mutation("a row is too long", write_bundle(tables), frozenset({("csv.row-length", line)}))
        tables = _sample_tables()
        tables[names.LINES][0][0] = "序列"
        yield Mutation("a heading is unknown", write_bundle(tables), frozenset({("field.unknown", line)}))
        tables = _sample_tables()
        del tables[names.RECEIPTS]
        yield Mutation("a table is missing", write_bundle(tables), frozenset({("field.missing", f"/{names.RECEIPTS}")}))


Tables = dict[str, list[list[str]]]
"""Each table's rows with the heading first, as written."""


def _sample_tables() -> Tables:
    """Read the folder's sample: tables one after the other, each under a line with its name in brackets."""
    tables: Tables = {}
    for line in files(__package__).joinpath("sample.csv").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            rows = tables[line.strip("[]")] = []
        else:
            rows.append(line.split(","))
    return tables


def write_bundle(tables: Mapping[str, list[list[str]]], encoding: str = "utf-8") -> bytes:
    """Write a bundle of tables whose cells need no quotes; the same tables give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, rows in tables.items():
            text = "".join(",".join(cells) + "\r\n" for cells in rows)
            bundle.writestr(zipfile.ZipInfo(name, _EPOCH), text.encode(encoding), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _bill(body: Fields) -> HospitalBill:
    body.expect(names.TABLES)
    visit = _only_row(body, names.VISIT)
    billing = _billing(visit, body)
    currency = billing.currency
    return HospitalBill(
        institution_code=visit.identifier("医疗机构编码", 40, parse_nhsa_institution),
        institution_name=visit.text("医疗机构名称"),
        patient=_patient(visit),
        visit=Visit(
            visit_id=visit.text("就诊号", 30, code=True),
            record_no=visit.maybe_text("病案号", 40, code=True),
            admitted_at=visit.moment("入院时间"),
            discharged_at=visit.moment("出院时间"),
            first_day=visit.day("结算开始日期"),
            last_day=visit.day("结算结束日期"),
        ),
        diagnoses=tuple(map(_diagnosis, _rows(body, names.DIAGNOSES, 50))),
        procedures=tuple(map(_procedure, _rows(body, names.PROCEDURES, 50))),
        lines=tuple(_line(row, currency) for row in _rows(body, names.LINES, LINES_MAX)),
        receipts=tuple(_receipt(row, currency) for row in _rows(body, names.RECEIPTS, 100)),
        figures=_figures(visit, body, currency),
        billing=billing,
        coverage=_coverage(visit),
        consent=_consent(_only_row(body, names.CONSENT), body),
    )


def _rows(body: Fields, table: str, rows_max: int) -> list[Fields]:
    rows = body.objects(table, rows_max, required=table not in names.OPTIONAL)
    for row in rows:
        row.expect(names.COLUMNS[table])
    return rows


def _only_row(body: Fields, table: str) -> Fields:
    rows = _rows(body, table, 1)
    return rows[0] if rows else Fields({}, f"/{table}/0", Notes())


def _patient(visit: Fields) -> Patient:
    gender = visit.text("性别", 2, code=True)
    if gender and gender not in _GENDERS:
        visit.notes.broke("field.not-a-choice", f"{visit.at}/性别")
    certificate_type = visit.text("证件类型", 2, code=True)
    certificate_no = visit.identifier("证件号码", 40, schemes.certificate(certificate_type))
    birth_date = visit.day("出生日期", confirmed=schemes.birth_date_in(certificate_type, certificate_no))
    if birth_date is None:
        visit.lacks("出生日期")
    return Patient(
        name=visit.text("姓名", 100),
        certificate_type=certificate_type,
        certificate_no=certificate_no,
        birth_date=birth_date,
        gender=_GENDERS.get(gender, Gender.UNKNOWN),
    )


def _yes(row: Fields, column: str) -> bool:
    word = row.text(column, 1)
    if word not in ("是", "否", ""):
        row.notes.broke("field.not-a-choice", f"{row.at}/{column}")
    return word == "是"


def _diagnosis(row: Fields) -> Diagnosis:
    return Diagnosis(
        code=row.identifier("编码", 20, parse_icd10_cn_nhsa),
        name=row.text("名称", 200),
        main=_yes(row, "主诊断"),
    )


def _procedure(row: Fields) -> Procedure:
    return Procedure(
        code=row.identifier("编码", 20, parse_icd9cm3_cn_nhsa),
        name=row.text("名称", 200),
        on=row.day("日期"),
    )


def _figures(visit: Fields, body: Fields, currency: str) -> SettlementFigures:
    categories: dict[str, Money] = {}
    for row in _rows(body, names.CATEGORIES, 50):
        code, amount = row.text("费用类别", 6, code=True), row.money("金额", currency)
        if code in categories:
            row.notes.broke("bill.category-twice", f"{row.at}/费用类别")
        categories[code] = amount
    return SettlementFigures(
        categories=categories,
        self_paid=visit.maybe_money("个人自付", currency),
        self_funded=visit.maybe_money("个人自费", currency),
        account_paid=visit.maybe_money("个人账户支付", currency),
        cash_paid=visit.maybe_money("个人现金支付", currency),
        receipt_code=visit.maybe_identifier("结算票据代码", 40, schemes.digits),
        receipt_number=visit.maybe_identifier("结算票据号码", 40, schemes.digits),
    )


def _line(row: Fields, currency: str) -> BillLine:
    evidence = any(row.found.get(column) is not None for column in names.PROGRAMME)
    return BillLine(
        serial=row.text("序号", 40, code=True),
        national_code=row.maybe_identifier("国家编码", 50, schemes.item_code),
        hospital_code=row.maybe_text("院内编码", 100, code=True),
        name=row.text("名称", 200),
        specification=row.maybe_text("规格", 200),
        category=row.text("费用类别", 6, code=True),
        quantity=row.number("数量", 4),
        unit_price=row.number("单价", 6),
        amount=row.money("金额", currency),
        charged_at=row.moment("发生时间"),
        refund_of=row.maybe_text("退费原序号", 40, code=True),
        programme=_programme(row) if evidence else None,
    )


def _programme(row: Fields) -> ProgrammeEvidence:
    return ProgrammeEvidence(
        product_key=row.maybe_text("产品键", 40, code=True),
        approval_no=row.maybe_text("批准文号", 60, code=True),
        hk_reg_no=row.maybe_identifier("香港注册号", 20, parse_hk_drug_reg),
        udi=row.maybe_identifier("UDI", 200, schemes.udi),
        lot=row.maybe_text("批号", 40, code=True),
        expires_on=row.day("有效期"),
        trace_code=row.maybe_text("追溯码", 60, code=True),
        used_at=row.moment("使用时间"),
        indication_code=row.maybe_identifier("适应症编码", 20, parse_icd10_cn_nhsa),
        consent_hash=row.maybe_identifier("告知书哈希", 64, schemes.hash_in_hex),
    )


def _receipt(row: Fields, currency: str) -> Receipt:
    return Receipt(
        code=row.identifier("票据代码", 20, schemes.digits),
        number=row.identifier("票据号码", 20, schemes.digits),
        check_code=row.identifier("校验码", 20, schemes.digits),
        amount=row.money("金额", currency),
        issued_on=row.day("开票日期"),
        state=ReceiptState.RED_FLUSHED if _yes(row, "冲红") else ReceiptState.LIVE,
        split=ReceiptSplit(
            fund=row.maybe_money("医保基金支付", currency),
            account=row.maybe_money("个人账户支付", currency),
            cash=row.maybe_money("个人现金支付", currency),
            other=row.maybe_money("其他支付", currency),
        ),
    )


def _billing(visit: Fields, body: Fields) -> Billing:
    currency = visit.identifier("币种", 3, ascii_upper)
    if currency not in MINOR_DIGITS:
        if currency:
            visit.notes.broke("money.currency-unknown", f"{visit.at}/币种")
        currency = _CURRENCY
    return Billing(
        claim_number=visit.text("理赔号", 64, code=True),
        billing_mode=visit.choice("结算方式", BillingMode, BillingMode.DIRECT),
        payee=visit.choice("收款方", Payee, Payee.HOSPITAL),
        paid=tuple(
            Payment(
                kind=row.choice("类别", PaidKind, PaidKind.CASH),
                amount=row.money("金额", currency),
                order=row.whole("顺序", 1, 99),
            )
            for row in _rows(body, names.PAID, 20)
        ),
        unpaid=visit.money("未付金额", currency),
        payer_rank=visit.whole("付款顺位", 1, 9),
        asked=visit.money("申请金额", currency),
        currency=currency,
        total=visit.money("总金额", currency),
        earlier_claim_number=earlier_fold(visit.found.get("理赔号")),
    )


def _coverage(visit: Fields) -> Coverage:
    return Coverage(
        carrier=visit.text("保险人", 64, code=True),
        administrator=visit.maybe_text("管理人", 64, code=True),
        payer=visit.text("付款人", 64, code=True),
        policy_kind=visit.choice("保单类型", PolicyKind, PolicyKind.INDIVIDUAL_MEDICAL),
        policy_number=visit.text("保单号", 64, code=True),
        insured_name_hant=visit.maybe_text("被保险人中文名", 100),
        insured_name_en=visit.maybe_text("被保险人英文名", 100),
        hkid=visit.identifier("香港身份证号", 20, parse_hkid),
        residency=visit.choice("居住地", Residency, Residency.OTHER),
    )


def _consent(row: Fields, body: Fields) -> Consent:
    given_at = row.moment("签署时间")
    if given_at is None:
        row.lacks("签署时间")
    return Consent(
        consent_id=row.text("同意书编号", 64, code=True),
        version=row.whole("版本", 1, 9999),
        subject_ref=row.text("主体编号", 64, code=True),
        subject_role=row.choice("主体身份", SubjectRole, SubjectRole.PATIENT),
        grantor=row.text("签署人", 100),
        given_at=given_at,
        channel=row.text("渠道", 40),
        language=row.text("语言", 20, code=True),
        notice_version_hash=row.identifier("告知书版本哈希", 64, schemes.hash_in_hex),
        purposes=row.words("目的", Purpose),
        data_categories=row.words("数据类别", Category),
        sensitive=row.flag("敏感个人信息"),
        exporter=Exporter(row.text("出境方", 64, code=True), row.text("出境方联系方式", 200)),
        recipients=tuple(
            Recipient(
                *(
                    recipient.text(column, 200, code=column == "接收方")
                    for column in ("接收方", "名称", "联系方式", "所在地", "用途", "方式")
                )
            )
            for recipient in _rows(body, names.RECIPIENTS, 20)
        ),
        separate_consents=Flags(row.flag("单独同意敏感"), row.flag("单独同意提供"), row.flag("单独同意出境")),
        retention_until=row.day("保存期限"),
        rights_channel=row.text("权利渠道", 200),
        mechanism=row.choice("出境机制", Mechanism, Mechanism.GBA_SC),
        mechanism_ref=row.maybe_text("出境机制编号", 100, code=True),
        withdrawn_at=row.moment("撤回时间"),
        evidence_hash=row.identifier("证据哈希", 64, schemes.hash_in_hex),
        signature=row.maybe_text("签名", 2000),
    )
