"""Every code that we raise has a sentence and a fix in three languages, once; no row is left over."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from gateway.protocol.errors import Fault, GatewayError
from gateway.protocol.hints import HINTS, Hint, hint_for
from tests.architecture.raised_codes import COMPUTED, computed, raised, written

TABLE = Path(__file__).parents[2] / "gateway" / "protocol" / "hints.csv"
COLUMNS = ["code", "sentence", "fix_en", "fix_hans", "fix_hant", "sentence_hans", "sentence_hant"]
HAN = re.compile("[\u4e00-\u9fff]")


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_code_that_is_raised_has_a_row() -> None:
    known = {row["code"] for row in rows()}

    missing = sorted({(one.code, one.where) for one in raised() if one.code not in known})

    assert missing == []


def test_codes_are_computed_only_where_the_scan_knows_from_what() -> None:
    assert computed() <= COMPUTED


def test_no_code_has_two_rows() -> None:
    assert [code for code, times in Counter(row["code"] for row in rows()).items() if times > 1] == []


def test_no_row_is_for_a_code_that_nobody_raises() -> None:
    assert sorted({row["code"] for row in rows()} - written()) == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["code"]))
def test_a_row_is_filled_in_every_language(row: dict[str, str]) -> None:
    assert list(row) == COLUMNS
    assert [name for name, text in row.items() if not text or text != text.strip()] == []
    assert row["sentence"].endswith(".")
    assert row["fix_en"].endswith((".", "?"))
    assert row["fix_hans"].endswith("。")
    assert row["fix_hant"].endswith("。")
    for name in ("sentence_hans", "sentence_hant"):
        assert row[name].endswith("。")
        assert HAN.search(row[name])


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row["code"]))
def test_a_sentence_is_plain_english(row: dict[str, str]) -> None:
    assert not re.search(r"\b(this|it|that|value|text|json|infinity) (is|are) no [a-z]", row["sentence"], re.IGNORECASE)


def test_chinese_keeps_to_the_words_of_its_place() -> None:
    wrong = {
        "sentence_hans": ("索償", "索偿", "受保人", "閘道", "帳", "訊息"),
        "sentence_hant": ("理賠金", "被保險人", "網關", "消息", "患者", "賬單", "字段", "数", "发", "账", "请", "该"),
    }

    found = [
        (row["code"], word) for row in rows() for name, words in wrong.items() for word in words if word in row[name]
    ]

    assert found == []


def test_rows_are_in_order_so_that_two_authors_rarely_meet() -> None:
    codes = [row["code"] for row in rows()]

    assert codes == sorted(codes)


@pytest.mark.parametrize(
    ("language", "column"),
    [("en", 2), ("fr", 2), ("zh-CN", 3), ("zh", 3), ("zh-Hant", 4), ("zh-HK", 4), ("ZH-hk,en;q=0.5", 4), ("zh-TW", 4)],
)
def test_the_fix_is_told_in_the_caller_s_language(language: str, column: int) -> None:
    row = next(row for row in rows() if row["code"] == "claim.unknown")

    assert hint_for("claim.unknown").fix(language) == row[COLUMNS[column]]


@pytest.mark.parametrize(
    ("language", "column"), [("en", 1), ("fr", 1), ("zh-CN", 5), ("zh", 5), ("zh-Hant", 6), ("zh-HK", 6), ("zh-TW", 6)]
)
def test_the_sentence_is_told_in_the_caller_s_language(language: str, column: int) -> None:
    row = next(row for row in rows() if row["code"] == "claim.unknown")

    assert hint_for("claim.unknown").sentence_in(language) == row[COLUMNS[column]]


def test_a_sentence_without_a_translation_is_told_in_english() -> None:
    assert Hint("Wrong.", "Mend it.", "", "").sentence_in("zh-HK") == "Wrong."
    assert Hint("Wrong.", "Mend it.", "", "").fix("zh-HK") == "Mend it."


def test_an_error_tells_its_sentence_and_fix_in_both_of_its_forms() -> None:
    error = GatewayError("claim.stale", faults=[Fault("claim.stale", "/based_on")], allowed_actions=["decide"])

    problem = error.problem("req_1", "zh-HK")
    outcome = error.operation_outcome("zh-HK")

    assert problem["title"] == problem["errors"][0]["detail"] == HINTS["claim.stale"].sentence_hant
    assert error.sentence == HINTS["claim.stale"].sentence
    assert problem["fix"] == problem["errors"][0]["fix"] == outcome["issue"][0]["diagnostics"]
    assert problem["allowed_actions"] == ["decide"]
    assert outcome["issue"][0]["expression"] == ["/based_on"]


def test_a_code_without_a_row_still_gives_a_sentence() -> None:
    assert hint_for("no.such-code").sentence != ""
