"""Every error code with its status, sentence and fix, for people; a page of `reference_pages`."""

import csv
from pathlib import Path

from gateway.protocol import errors
from gateway.protocol.errors import GatewayError
from tests.architecture.raised_codes import ERRORS, _called, _calls, _codes, sources

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "gateway" / "protocol" / "hints.csv"
PAGE = ROOT / "docs" / "reference" / "errors.md"

HEAD = """# Error codes

Generated from `gateway/protocol/hints.csv` and the code by `make pages`; do not edit. How an answer that carries them
looks, and what the three dispositions mean, stands in [errors.md](../operating/errors.md); the table in the sources
has each fix in 简体 and 繁體 too.

*Status* and *disposition* are those of the error that is raised under the code. A code without them names one fault
inside an answer, in its `errors`; the answer's own code and status are those of the error that carries it.

| code | status | disposition | what it says | what to do |
|---|---|---|---|---|
"""


def raised_as() -> dict[str, set[type[GatewayError]]]:
    """Return by code the error classes that the sources raise it with, read from literals."""
    classes: dict[str, set[type[GatewayError]]] = {"internal": {GatewayError}}
    for _, tree in sources():
        for call in _calls(tree):
            if _called(call) in ERRORS:
                for code in _codes(call):
                    classes.setdefault(code, set()).add(getattr(errors, _called(call)))
    return classes


def page() -> str:
    classes = raised_as()
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["code"])
    return HEAD + "".join(_line(row, classes.get(row["code"], set())) for row in rows)


def _line(row: dict[str, str], classes: set[type[GatewayError]]) -> str:
    statuses = ", ".join(map(str, sorted({error.status for error in classes})))
    dispositions = ", ".join(f"`{name.upper()}`" for name in sorted({error.disposition for error in classes}))
    sentence, fix = (row[column].replace("|", "\\|") for column in ("sentence", "fix_en"))
    return f"| `{row['code']}` | {statuses} | {dispositions} | {sentence} | {fix} |\n"
