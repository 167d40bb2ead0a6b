"""The national format knows every field name that the national interfaces publish."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.sz.formats.national_json import names
from gateway.protocol.canonical import read_json_object

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture
def published() -> dict[str, Any]:
    path = SHARED / "vectors" / "domain" / "formats.json"
    if not path.is_file():
        pytest.skip("../shared/vectors/domain/formats.json is absent")
    return read_json_object(path.read_bytes())


def _split(listed: list[str]) -> set[str]:
    """Undo the list's shorthand: `bilg_dr_codg/name` are two names with one beginning, `a/b` are two names."""
    found: set[str] = set()
    for one in listed:
        first, *others = one.split("/")
        stem = first.rpartition("_")[0]
        found |= {first, *(f"{stem}_{other}" if stem else other for other in others)}
    return found


@pytest.mark.parametrize(
    ("listed", "known"),
    [
        (lambda found: [row[0] for row in found["nhsa_fee_line"]], names.FEE_LINE | names.FEE_LINE_UNUSED),
        (
            lambda found: (
                found["nhsa_settlement_list_4101"]["setlinfo_used"]
                + found["nhsa_settlement_list_4101"]["setlinfo_drop_for_minimisation"]
            ),
            names.SETLINFO | names.SETLINFO_UNUSED,
        ),
        (lambda found: found["nhsa_settlement_list_4101"]["diseinfo"], names.DISEINFO),
        (lambda found: found["nhsa_settlement_list_4101"]["oprninfo"], names.OPRNINFO | names.OPRNINFO_UNUSED),
        (lambda found: found["nhsa_settlement_list_4101"]["iteminfo"], names.ITEMINFO | names.ITEMINFO_UNUSED),
        (lambda found: list(found["e_receipt"]), names.E_RECEIPT | names.E_RECEIPT_UNUSED),
    ],
    ids=["fee line", "setlinfo", "diseinfo", "oprninfo", "iteminfo", "e-receipt"],
)
def test_every_published_national_field_name_is_known(
    published: dict[str, Any], listed: Callable[[dict[str, Any]], list[str]], known: frozenset[str]
) -> None:
    assert _split(listed(published)) <= known


def test_what_must_be_dropped_is_never_read_into_a_bill(published: dict[str, Any]) -> None:
    dropped = set(published["nhsa_settlement_list_4101"]["setlinfo_drop_for_minimisation"])

    assert dropped == names.SETLINFO_DROPPED
    assert dropped.isdisjoint(names.SETLINFO)
