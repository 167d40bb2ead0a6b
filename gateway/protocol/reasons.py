"""Why a line was not paid in full: the gateway's own codes G001 to G027, their texts and their neighbours abroad.

`tables/reason-codes.csv` is the table. The X12 and FHIR columns name the nearest code, not an official mapping; the
texts are our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.tables import read_table, rows_of


@dataclass(frozen=True, slots=True)
class Reason:
    """`x12_groups` are the groups that may bear the adjustment (CO, PR, OA, CR); `fhir_adjudication` its category."""

    code: str
    name: str
    en: str
    zh_hans: str
    zh_hant: str
    x12_carc_nearest: tuple[str, ...]
    x12_groups: tuple[str, ...]
    fhir_adjudication: str

    def text(self, language: str = "en") -> str:
        """Pick by an `Accept-Language` value: zh-Hant, zh-HK, zh-MO and zh-TW read 繁體, other Chinese 简体."""
        tag = language.lower()
        if tag.startswith(("zh-hant", "zh-hk", "zh-mo", "zh-tw")):
            return self.zh_hant
        return self.zh_hans if tag.startswith("zh") else self.en


def _load() -> dict[str, Reason]:
    return {
        row["gateway_code"]: Reason(
            code=row["gateway_code"],
            name=row["name"],
            en=row["en"],
            zh_hans=row["zh_hans"],
            zh_hant=row["zh_hant"],
            x12_carc_nearest=tuple(row["x12_carc_nearest"].split("/")),
            x12_groups=tuple(row["x12_group"].split("/")),
            fhir_adjudication=row["fhir_adjudication"],
        )
        for row in rows_of(read_table("reason-codes.csv"))
    }


REASONS: Mapping[str, Reason] = MappingProxyType(_load())


def reason(code: str) -> Reason:
    """Return the row of `code`; `MalformedInputError("reason.unknown")` for any other."""
    found = REASONS.get(code)
    if found is None:
        raise MalformedInputError("reason.unknown")
    return found
