"""One measured figure, and the table of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    database: str
    bus: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"value": round(self.value, 3)}


def table(rows: Sequence[Row]) -> str:
    head = f"{'figure':<46} {'value':>10} {'unit':<10} {'database':<11} {'bus':<9} note"
    lines = [
        f"{row.name:<46} {row.value:>10.2f} {row.unit:<10} {row.database:<11} {row.bus:<9} {row.note}" for row in rows
    ]
    return "\n".join([head, "-" * len(head), *lines])
