"""Every known pitfall of the Kafka client has its row, and every row a test or a place that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operating" / "kafka.md"
ROW = re.compile(r"^\| (K[0-9]+) \| ([^|]+) \| ([^|]+) \| `([^`|]+)` \|$", re.MULTILINE)
NUMBERS = [f"K{number}" for number in range(1, 29)]
ROWS = {number: place for number, _, _, place in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def test_every_pitfall_stands_in_the_table_once_and_in_order() -> None:
    assert [number for number, *_ in ROW.findall(PAGE.read_text(encoding="utf-8"))] == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_pitfall_names_a_test_or_a_place_that_exists(number: str) -> None:
    name, _, test = ROWS[number].partition("::")
    text = (ROOT / name).read_text(encoding="utf-8")

    assert f"def {test}(" in text if test else number in text


def test_a_comment_names_no_pitfall_that_the_table_does_not_know() -> None:
    sources = (ROOT / "gateway" / "runtime").rglob("*.py")
    named = {found for path in sources for found in re.findall(r"\bK[0-9]{1,2}\b", path.read_text(encoding="utf-8"))}

    assert named - set(NUMBERS) == set()
    assert named
