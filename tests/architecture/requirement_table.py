"""The numbered rules that comments and tests refer to, each defined once; a page of `reference_pages`.

`SET-n`, the rules of money, are defined here. `K<n>`, what the Kafka client does and we must answer, are defined in
`docs/operating/kafka.md` beside the answers, and read from there.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "requirements.md"
KAFKA_PAGE = ROOT / "docs" / "operating" / "kafka.md"
OURS = (ROOT / "tests" / "architecture" / name for name in ("requirement_table.py", "test_reference_pages.py"))
NOT_READ = {PAGE, *OURS}

HEAD = """# Requirements

Generated from `tests/architecture/requirement_table.py` by `make pages`; do not edit. These are the numbers that
comments, docstrings and tests refer to, with the files of the code that name them.

## Money: SET

Where the third column is empty, nothing in this version refers to the rule: it belongs to a part that is not built, or
is shown by other means.

| | rule | named in |
|---|---|---|
"""

KAFKA_HEAD = """
## Kafka: K

What the client library does. What we do about each, and what shows it, stands in [kafka.md](../operating/kafka.md).

| | what it does | named in |
|---|---|---|
"""

MONEY: Mapping[str, str] = {
    "SET-1": "The legs of every journal entry sum to zero in each currency, and so do all accounts together.",
    "SET-2": "A balance is nothing but the fold of its legs: it can be computed anew from the journal, up to any time.",
    "SET-3": "An obligation belongs to at most one live batch, and what was paid, is open and was cancelled add up to"
    " its amount; no more than the amount is ever paid.",
    "SET-4": "A payment's amount is the sum of the obligations in it, and the lines of its remittance advice sum to it"
    " exactly.",
    "SET-5": "A pending leg is resolved once, for no more than was pending; one that expires gives back what it held.",
    "SET-6": "What is available is what was posted less pending debits, and never falls below the account's floor.",
    "SET-7": "The same key with the same content gives the first answer again, with other content a conflict; reading"
    " a whole topic again changes nothing.",
    "SET-8": "Suspense and in-transit accounts are zero, or every amount in them is listed with its age.",
    "SET-9": "An amount is converted once, at a rate that was dealt or locked, and rounded once, by the rule in force;"
    " the residue is booked.",
    "SET-10": "An account that mirrors a bank account equals the closing balance of that day's statement, or an open"
    " break equals the difference.",
    "SET-11": "Each credit from abroad to a resident has exactly one live declaration; gross amounts are declared even"
    " where net amounts were paid.",
    "SET-12": "A value date is a working day in every calendar concerned; a date in a year whose calendar is not"
    " confirmed stays a draft.",
    "SET-13": "Who makes a batch, who approves it first and who approves it second are three; what is sent has the hash"
    " that was approved.",
    "SET-14": "Once a settlement window is closed its positions are exactly zero, whether or not anything was in it.",
    "SET-15": "A bank message that leaves passes the schema, our profile and each rule set that is configured, or"
    " carries a recorded waiver.",
    "SET-16": "The order in which the bank's evidence arrives does not matter: every order ends in the same state.",
    "SET-17": "No byte that a bank reads tells who the patient is.",
}

_MENTION = re.compile(r"\b(SET-\d+|K[1-9]\d?)\b(?!\.\d)")
_KAFKA_ROW = re.compile(r"^\| (K\d+) \| ([^|]+) \|", re.MULTILINE)


def kafka() -> dict[str, str]:
    """Return the first two columns of the table in `kafka.md`."""
    return dict(_KAFKA_ROW.findall(KAFKA_PAGE.read_text(encoding="utf-8")))


def mentions() -> dict[str, list[str]]:
    """Return by number the source files and pages that mention it, in order of their names."""
    places: dict[str, list[str]] = {}
    for path in _texts():
        for number in sorted(set(_MENTION.findall(path.read_text(encoding="utf-8")))):
            places.setdefault(number, []).append(path.relative_to(ROOT).as_posix())
    return places


def _texts() -> Iterator[Path]:
    for room in ("adapters", "audit", "docs", "examples", "gateway", "settlement", "tests"):
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".md") and path not in NOT_READ and "node_modules" not in path.parts:
                yield path
    yield from sorted(ROOT.glob("*.md"))


def page() -> str:
    places = mentions()
    return HEAD + "".join(_lines(MONEY, places)) + KAFKA_HEAD + "".join(_lines(kafka(), places))


def _lines(rules: Mapping[str, str], places: Mapping[str, list[str]]) -> Iterator[str]:
    for number, rule in rules.items():
        code = [f"`{place}`" for place in places.get(number, ()) if not place.endswith(".md")]
        yield f"| {number} | {rule} | {', '.join(code)} |\n"
