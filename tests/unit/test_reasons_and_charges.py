import pytest

from gateway.protocol.charges import CHARGE_CATEGORIES, charge_category
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.reasons import REASONS, reason

ADJUDICATION_CODES = {
    "submitted",
    "copay",
    "eligible",
    "deductible",
    "unallocdeduct",
    "eligpercent",
    "tax",
    "benefit",
    "CR",  # a reversal has no adjudication category of its own
}


def test_there_are_27_reasons_numbered_without_gap() -> None:
    assert list(REASONS) == [f"G{number:03d}" for number in range(1, 28)]


def test_a_reason_reads_in_three_languages() -> None:
    consent = reason("G022")

    assert consent.text() == "No valid consent or purpose for this transfer"
    assert consent.text("zh-Hans-CN") == consent.text("zh") == "缺少有效同意或目的"
    assert consent.text("zh-Hant-HK") == consent.text("zh-HK") == "欠缺有效同意或目的"


def test_every_reason_has_all_texts_and_known_neighbours() -> None:
    for one in REASONS.values():
        assert one.en
        assert one.zh_hans
        assert one.zh_hant
        assert set(one.x12_groups) <= {"CO", "PR", "OA", "CR"}
        assert one.fhir_adjudication in ADJUDICATION_CODES


def test_a_reason_may_have_two_neighbours() -> None:
    assert reason("G017").x12_carc_nearest == ("16", "252")
    assert reason("G008").x12_groups == ("CO", "PR")


@pytest.mark.parametrize("code", ["G000", "G028", "g001", "", "45"])
def test_a_reason_outside_the_table_is_refused(code: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        reason(code)

    assert refused.value.code == "reason.unknown"


def test_there_are_14_charge_categories_and_each_falls_under_a_plan_item_or_a_person() -> None:
    assert list(CHARGE_CATEGORIES) == [f"{number:02d}" for number in range(1, 15)]
    assert {one.vhis_item for one in CHARGE_CATEGORIES.values()} <= {*"abcdefghijkl", "review"}


def test_a_connect_drug_stands_among_western_medicine() -> None:
    category = charge_category("09")

    assert (category.zh_hans, category.zh_hant, category.en) == ("西药费", "西藥費", "Western medicine")
    assert category.vhis_item == "b"
    assert "connect drugs" in category.note


def test_chinese_medicine_and_other_fees_need_a_person() -> None:
    in_review = [code for code, category in CHARGE_CATEGORIES.items() if category.needs_review]

    assert in_review == ["10", "11", "13", "14"]


@pytest.mark.parametrize("code", ["00", "15", "1", ""])
def test_a_charge_category_outside_the_table_is_refused(code: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        charge_category(code)

    assert refused.value.code == "charge.category-unknown"
