"""The reviewed tables that ship with the protocol, one CSV each, UTF-8 with a header line."""

import csv
import io
from importlib.resources import files

from gateway.protocol.errors import MalformedInputError


def read_table(name: str) -> str:
    """Return the text of the shipped table `name`, e.g. `rules.csv`."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def rows_of(csv_text: str) -> list[dict[str, str]]:
    """Split a CSV with a header line into rows; `MalformedInputError("table.malformed")` if a row is short or long."""
    try:
        reader = csv.DictReader(io.StringIO(csv_text, newline=""), strict=True)
        rows: list[dict[str, str]] = list(reader)
    except csv.Error:
        raise MalformedInputError("table.malformed") from None
    if any(None in row or None in row.values() for row in rows):
        raise MalformedInputError("table.malformed")
    return rows
