"""The small bills that an earlier state read wrongly, beside this checkout; what each must give is in their README."""

from pathlib import Path

import pytest

from adapters.sz.findings import Findings
from gateway.protocol.identifiers import parse_hkid
from tests.crossings import dossier_of
from tests.hospital_bills import findings_of

CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def case(name: str) -> Findings:
    path = CASES / name
    if not path.is_file():
        pytest.skip(f"../shared/cases/{name} is not beside this checkout")
    return findings_of(path.read_bytes())


def test_four_decimals_that_are_zero_are_two_decimals() -> None:
    assert case("bill-01-four-decimals-all-zero.json").faults == ()


def test_full_width_brackets_in_an_identity_number_are_normalised_up_to_the_dossier() -> None:
    findings = case("bill-02-hkid-full-width-brackets.json")

    assert findings.faults == ()
    assert "/coverage/hkid" in findings.reading.normalised
    assert findings.bill.coverage.hkid == parse_hkid("QQ000000(9)")
    assert "QQ0000009" in dossier_of((CASES / "bill-02-hkid-full-width-brackets.json").read_bytes())


def test_a_device_identifier_with_a_wrong_digit_is_refused_in_full_width_brackets_too() -> None:
    findings = case("bill-03-udi-wrong-digit-full-width-brackets.json")

    assert [(fault.code, fault.pointer) for fault in findings.faults] == [
        ("identifier.udi_gs1", "/fee_lines/8/programme/udi")
    ]
