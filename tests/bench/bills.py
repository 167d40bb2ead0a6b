"""A synthetic outpatient bill of 30 lines, another one for each number. No person in it exists."""

from typing import Any

from gateway.protocol.canonical import compact

LINES = 30
SERVICE_CODE = "002101020150000-210102015"
"""A national item code on every line, as a hospital's mapping gives it: without one each line would be a warning."""
CATEGORIES = ("02", "03", "04", "05", "06", "07")
INSURER = "ins-lantau"


def bill_body(number: int, lines: int = LINES) -> bytes:
    """Write the bill as a hospital posts it, national field names, about 9 KB at 30 lines."""
    return compact(bill(number, lines))


def bill(number: int, lines: int = LINES) -> dict[str, Any]:
    amounts = [1_000 + 37 * line for line in range(lines)]
    total = _decimal(sum(amounts))
    receipt = {"billCode": "44060126", "billNumber": f"{number % 10**10:010d}", "checkCode": "a1b2c3"}
    return {
        "settlement_list": {
            "setlinfo": _header(number),
            "diseinfo": [{"maindiag_flag": "1", "diag_code": "I10.x00x002", "diag_name": "高血压病（测试）"}],
            "oprninfo": [],
            "iteminfo": [],
        },
        "fee_lines": [_line(line, amount) for line, amount in enumerate(amounts)],
        "receipts": [receipt | {"invoiceDate": "20260302", "amount": total, "flushedRed": "0"}],
        "billing": {
            "claim_number": f"BENCH-{number}",
            "billing_mode": "direct",
            "payee": "hospital",
            "paid": [],
            "unpaid": total,
            "payer_rank": 1,
            "asked": total,
            "currency": "CNY",
            "total": total,
        },
        "coverage": {
            "carrier": INSURER,
            "payer": INSURER,
            "policy_kind": "vhis_standard",
            "policy_number": "S00017-01-000-02",
            "insured_name_hant": "測試甲",
            "insured_name_en": "TEST PERSON A",
            "hkid": "QQ0000009",
            "residency": "hong_kong",
        },
        "consent": _consent(),
    }


def _decimal(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _header(number: int) -> dict[str, str]:
    return {
        "mdtrt_id": f"V{number}",
        "fixmedins_code": "H44030599999",
        "fixmedins_name": "南山湾沙盒医院",
        "psn_name": "测试甲",
        "gend": "1",
        "brdy": "1900-01-02",
        "patn_cert_type": "04",
        "certno": "H00000001",
        "setl_begn_date": "2026-03-02",
        "setl_end_date": "2026-03-02",
    }


def _line(line: int, amount_minor: int) -> dict[str, str]:
    return {
        "feedetl_sn": f"L{line + 1}",
        "fee_ocur_time": "2026-03-02 09:30:00",
        "med_list_codg": SERVICE_CODE,
        "medins_list_codg": f"T{line + 1:04d}",
        "medins_list_name": f"测试项目 {line + 1}",
        "med_chrgitm_type": CATEGORIES[line % len(CATEGORIES)],
        "cnt": "1",
        "pric": _decimal(amount_minor),
        "det_item_fee_sumamt": _decimal(amount_minor),
    }


def _consent() -> dict[str, Any]:
    told = {"name": "Lantau Sandbox Insurance", "contact": "sandbox", "place": "Hong Kong", "method": "gateway"}
    purposes = ["CLAIM", "ADJUDICATION", "SETTLEMENT"]
    return {
        "consent_id": "consent-bench",
        "version": 1,
        "subject_ref": "subject-bench",
        "subject_role": "patient",
        "grantor": "测试甲",
        "given_at": "2026-03-02 08:00:00",
        "channel": "paper",
        "language": "zh-Hans",
        "notice_version_hash": "0" * 64,
        "purposes": purposes,
        "data_categories": ["identity", "health", "charges", "insurance"],
        "sensitive": True,
        "exporter": {"party": "hosp-nanshan", "contact": "sandbox"},
        "recipients": [told | {"party": INSURER, "purpose": purpose} for purpose in purposes],
        "separate_consents": {"sensitive": True, "provide_to_other_processor": True, "cross_border": True},
        "retention_until": "2036-03-02",
        "rights_channel": "sandbox",
        "mechanism": "gba_sc",
        "mechanism_ref": "SANDBOX-GBA-SC-0001",
        "evidence_hash": "0" * 64,
    }
