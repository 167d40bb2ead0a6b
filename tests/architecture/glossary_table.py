"""The glossary for people, from the table of terms; a page of `reference_pages`."""

import csv
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "gateway" / "protocol" / "tables" / "glossary.csv"
PAGE = ROOT / "docs" / "reference" / "glossary.md"
COLUMNS = ["term", "zh_hans", "zh_hant", "meaning"]

HEAD = """# Glossary

Generated from `gateway/protocol/tables/glossary.csv` by `make pages`; do not edit. 简体 is what a hospital's finance
office in Shenzhen says, 繁體 what a claims department in Hong Kong says; the code uses the English column.

| term | 简体 | 繁體 | meaning here |
|---|---|---|---|
"""


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def page() -> str:
    return HEAD + "".join(f"| {' | '.join(row[column] for column in COLUMNS)} |\n" for row in rows())
