"""Tables and columns of the bundle, and where the noun's places are in it. A pointer's index counts a table's rows
from 0, after the heading: `/明细.csv/3/数量`.
"""

VISIT, DIAGNOSES, PROCEDURES = "就诊与保单.csv", "诊断.csv", "手术.csv"
LINES, RECEIPTS, PAID, CATEGORIES = "明细.csv", "票据.csv", "其他支付.csv", "费用分类.csv"
CONSENT, RECIPIENTS = "知情同意.csv", "接收方.csv"

TABLES = frozenset({VISIT, DIAGNOSES, PROCEDURES, LINES, RECEIPTS, PAID, CATEGORIES, CONSENT, RECIPIENTS})
OPTIONAL = frozenset({PROCEDURES, PAID, CATEGORIES})

YES_OR_NO = frozenset({"敏感个人信息", "单独同意敏感", "单独同意提供", "单独同意出境"})
"""Columns of consents: exactly 是 or 否."""

LISTS = frozenset({"目的", "数据类别"})
"""Columns that hold several codes with ; or ； between them."""


def _columns(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROGRAMME = _columns("产品键 批准文号 香港注册号 UDI 批号 有效期 追溯码 使用时间 适应症编码 告知书哈希")

COLUMNS = {
    VISIT: _columns(
        "医疗机构编码 医疗机构名称 就诊号 病案号 姓名 性别 出生日期 证件类型 证件号码 入院时间 出院时间 "
        "结算开始日期 结算结束日期 结算票据代码 结算票据号码 个人自付 个人自费 个人账户支付 个人现金支付 "
        "理赔号 结算方式 收款方 未付金额 付款顺位 申请金额 币种 总金额 "
        "保险人 管理人 付款人 保单类型 保单号 被保险人中文名 被保险人英文名 香港身份证号 居住地"
    ),
    DIAGNOSES: _columns("编码 名称 主诊断"),
    PROCEDURES: _columns("编码 名称 日期"),
    LINES: _columns("序号 发生时间 国家编码 院内编码 名称 规格 费用类别 数量 单价 金额 退费原序号") | PROGRAMME,
    RECEIPTS: _columns("票据代码 票据号码 校验码 金额 开票日期 冲红 医保基金支付 个人账户支付 个人现金支付 其他支付"),
    PAID: _columns("类别 金额 顺序"),
    CATEGORIES: _columns("费用类别 金额"),
    CONSENT: YES_OR_NO
    | LISTS
    | _columns(
        "同意书编号 版本 主体编号 主体身份 签署人 签署时间 渠道 语言 告知书版本哈希 出境方 出境方联系方式 "
        "保存期限 权利渠道 出境机制 出境机制编号 撤回时间 证据哈希 签名"
    ),
    RECIPIENTS: _columns("接收方 名称 联系方式 所在地 用途 方式"),
}

_VISIT, _CONSENT = f"/{VISIT}/0", f"/{CONSENT}/0"
_LINE, _RECEIPT, _PAID = f"/{LINES}/*", f"/{RECEIPTS}/*", f"/{PAID}/*"

PLACES = {
    "/institution_code": f"{_VISIT}/医疗机构编码",
    "/patient": _VISIT,
    "/patient/gender": f"{_VISIT}/性别",
    "/patient/birth_date": f"{_VISIT}/出生日期",
    "/patient/certificate_no": f"{_VISIT}/证件号码",
    "/patient/certificate_type": f"{_VISIT}/证件类型",
    "/visit": _VISIT,
    "/visit/admitted_at": f"{_VISIT}/入院时间",
    "/visit/discharged_at": f"{_VISIT}/出院时间",
    "/visit/first_day": f"{_VISIT}/结算开始日期",
    "/visit/last_day": f"{_VISIT}/结算结束日期",
    "/diagnoses": f"/{DIAGNOSES}",
    "/diagnoses/*/code": f"/{DIAGNOSES}/*/编码",
    "/procedures": f"/{PROCEDURES}",
    "/procedures/*/code": f"/{PROCEDURES}/*/编码",
    "/procedures/*/on": f"/{PROCEDURES}/*/日期",
    "/lines": f"/{LINES}",
    "/lines/*": _LINE,
    "/lines/*/serial": f"{_LINE}/序号",
    "/lines/*/national_code": f"{_LINE}/国家编码",
    "/lines/*/category": f"{_LINE}/费用类别",
    "/lines/*/quantity": f"{_LINE}/数量",
    "/lines/*/unit_price": f"{_LINE}/单价",
    "/lines/*/amount": f"{_LINE}/金额",
    "/lines/*/charged_at": f"{_LINE}/发生时间",
    "/lines/*/refund_of": f"{_LINE}/退费原序号",
    "/lines/*/programme": _LINE,
    "/lines/*/programme/udi": f"{_LINE}/UDI",
    "/lines/*/programme/lot": f"{_LINE}/批号",
    "/lines/*/programme/expires_on": f"{_LINE}/有效期",
    "/lines/*/programme/hk_reg_no": f"{_LINE}/香港注册号",
    "/lines/*/programme/trace_code": f"{_LINE}/追溯码",
    "/lines/*/programme/used_at": f"{_LINE}/使用时间",
    "/lines/*/programme/indication_code": f"{_LINE}/适应症编码",
    "/lines/*/programme/consent_hash": f"{_LINE}/告知书哈希",
    "/receipts": f"/{RECEIPTS}",
    "/receipts/*": _RECEIPT,
    "/receipts/*/amount": f"{_RECEIPT}/金额",
    "/receipts/*/code": f"{_RECEIPT}/票据代码",
    "/receipts/*/split/fund": f"{_RECEIPT}/医保基金支付",
    "/receipts/*/split/account": f"{_RECEIPT}/个人账户支付",
    "/receipts/*/split/cash": f"{_RECEIPT}/个人现金支付",
    "/receipts/*/split/other": f"{_RECEIPT}/其他支付",
    "/receipts/*/state": f"{_RECEIPT}/冲红",
    "/receipts/*/issued_on": f"{_RECEIPT}/开票日期",
    "/figures": _VISIT,
    "/figures/categories": f"/{CATEGORIES}",
    "/figures/self_paid": f"{_VISIT}/个人自付",
    "/figures/self_funded": f"{_VISIT}/个人自费",
    "/figures/account_paid": f"{_VISIT}/个人账户支付",
    "/figures/cash_paid": f"{_VISIT}/个人现金支付",
    "/figures/receipt_number": f"{_VISIT}/结算票据号码",
    "/billing": _VISIT,
    "/billing/claim_number": f"{_VISIT}/理赔号",
    "/billing/billing_mode": f"{_VISIT}/结算方式",
    "/billing/payee": f"{_VISIT}/收款方",
    "/billing/paid": f"/{PAID}",
    "/billing/paid/*": _PAID,
    "/billing/paid/*/amount": f"{_PAID}/金额",
    "/billing/paid/*/order": f"{_PAID}/顺序",
    "/billing/paid/*/kind": f"{_PAID}/类别",
    "/billing/unpaid": f"{_VISIT}/未付金额",
    "/billing/payer_rank": f"{_VISIT}/付款顺位",
    "/billing/asked": f"{_VISIT}/申请金额",
    "/billing/currency": f"{_VISIT}/币种",
    "/billing/total": f"{_VISIT}/总金额",
    "/coverage": _VISIT,
    "/coverage/carrier": f"{_VISIT}/保险人",
    "/coverage/administrator": f"{_VISIT}/管理人",
    "/coverage/payer": f"{_VISIT}/付款人",
    "/coverage/policy_kind": f"{_VISIT}/保单类型",
    "/coverage/policy_number": f"{_VISIT}/保单号",
    "/coverage/insured_name_hant": f"{_VISIT}/被保险人中文名",
    "/coverage/insured_name_en": f"{_VISIT}/被保险人英文名",
    "/coverage/hkid": f"{_VISIT}/香港身份证号",
    "/coverage/residency": f"{_VISIT}/居住地",
    "/consent": _CONSENT,
    "/consent/version": f"{_CONSENT}/版本",
    "/consent/given_at": f"{_CONSENT}/签署时间",
    "/consent/subject_role": f"{_CONSENT}/主体身份",
    "/consent/purposes": f"{_CONSENT}/目的",
    "/consent/data_categories": f"{_CONSENT}/数据类别",
    "/consent/sensitive": f"{_CONSENT}/敏感个人信息",
    "/consent/exporter": f"{_CONSENT}/出境方",
    "/consent/recipients": f"/{RECIPIENTS}",
    "/consent/retention_until": f"{_CONSENT}/保存期限",
    "/consent/mechanism": f"{_CONSENT}/出境机制",
    "/consent/withdrawn_at": f"{_CONSENT}/撤回时间",
}
