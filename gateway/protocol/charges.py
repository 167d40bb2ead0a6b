"""The 14 national charge categories of a mainland bill and the item of a VHIS plan that each usually falls under.

`tables/charge-categories.csv` is the table. Code and names are the national ones; the mapping to VHIS items a to l is
our own proposal, and `review` means that only a person can tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.tables import read_table, rows_of

REVIEW = "review"


@dataclass(frozen=True, slots=True)
class ChargeCategory:
    """`code` is the national `med_chrgitm_type`; `vhis_item` a letter a to l, or `review`."""

    code: str
    zh_hans: str
    zh_hant: str
    en: str
    vhis_item: str
    note: str

    @property
    def needs_review(self) -> bool:
        return self.vhis_item == REVIEW


def _load() -> dict[str, ChargeCategory]:
    return {
        row["nhsa_code"]: ChargeCategory(
            code=row["nhsa_code"],
            zh_hans=row["name_zh_hans"],
            zh_hant=row["name_zh_hant"],
            en=row["name_en"],
            vhis_item=row["vhis_item_default"],
            note=row["note"],
        )
        for row in rows_of(read_table("charge-categories.csv"))
    }


CHARGE_CATEGORIES: Mapping[str, ChargeCategory] = MappingProxyType(_load())


def charge_category(code: str) -> ChargeCategory:
    """Return the category `01` to `14`; `MalformedInputError("charge.category-unknown")` for any other."""
    found = CHARGE_CATEGORIES.get(code)
    if found is None:
        raise MalformedInputError("charge.category-unknown")
    return found
