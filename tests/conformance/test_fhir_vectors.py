"""HL7's own R4 examples: each Claim, Coverage and ClaimResponse round-trips in what the subset keeps, or is refused.

What is dropped is written down by element, so that leaving out one more is a decision and not an accident.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import Fault, MalformedInputError
from gateway.protocol.fhir.claim import Claim
from gateway.protocol.fhir.claim_response import ClaimResponse
from gateway.protocol.fhir.resources import Coverage, Resource
from gateway.protocol.fhir.wire import parse_resource, read_resource, to_json

FOLDER = Path(__file__).parents[2].parent / "shared" / "vectors" / "fhir-r4"
KINDS: dict[str, type[Resource]] = {"Claim": Claim, "ClaimResponse": ClaimResponse, "Coverage": Coverage}

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the shared vector folder is not beside this checkout")

LEFT_OUT = {
    "Claim-100150.json": {"text", "careTeam", "item.careTeamSequence"},
    "Claim-100151.json": {"text", "careTeam", "item.careTeamSequence", "item.subSite"},
    "Claim-100153.json": {"text", "careTeam", "fundsReserve", "item.careTeamSequence", "item.subSite"},
    "Claim-660151.json": {"text", "careTeam", "prescription", "item.careTeamSequence"},
    "Claim-760152.json": {"text", "careTeam", "item.careTeamSequence", "item.detail.subDetail"},
    "Claim-860150.json": {"text", "careTeam", "item.careTeamSequence"},
    "Claim-960150.json": {"text", "careTeam", "item.careTeamSequence", "item.encounter", "procedure.udi"},
    "Claim-MED-00050.json": {
        "text",
        "contained",
        "careTeam",
        "item.careTeamSequence",
        "item.locationCodeableConcept",
    },
    "ClaimResponse-R3500.json": {"text", "payment"},
    "ClaimResponse-R3502.json": {"text", "payment", "item.detail"},
    "Coverage-9876B1.json": {"text"},
    "Coverage-SP1234.json": {"text"},
}
"""Narrative, care teams, encounters, dental surfaces, prescriptions, reserves, third-level lines and payments."""

REFUSED = {
    "ClaimResponse-UR3503.json": Fault("fhir.element-not-carried", "/addItem"),
}
"""Added items grant money for lines nobody claimed."""


def _kind(name: str) -> type[Resource]:
    return KINDS[name.split("-", maxsplit=1)[0]]


def _left_out(source: Any, kept: Any, path: str = "") -> set[str]:
    """Compare member by member; return the elements that `kept` lacks, fail where it says something else."""
    if isinstance(source, dict):
        assert set(kept) <= set(source), path
        return set().union(
            *(
                _left_out(member, kept[name], f"{path}.{name}") if name in kept else {f"{path}.{name}".strip(".")}
                for name, member in source.items()
            )
        )
    if isinstance(source, list):
        assert len(kept) == len(source), path
        return set().union(*(_left_out(one, other, path) for one, other in zip(source, kept, strict=True)))
    assert (type(kept), str(kept)) == (type(source), str(source)), path
    return set()


def test_every_example_of_the_three_kinds_is_either_kept_or_refused() -> None:
    examples = {path.name for path in FOLDER.glob("*.json") if path.name.split("-")[0] in KINDS}

    assert examples == set(LEFT_OUT) | set(REFUSED)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_example_round_trips_in_all_that_the_subset_keeps(name: str) -> None:
    raw = (FOLDER / name).read_bytes()

    resource = read_resource(_kind(name), raw)

    source, kept = (read_json_object(text, decimals=True) for text in (raw, to_json(resource)))
    assert _left_out(source, kept) == LEFT_OUT[name]
    assert read_resource(_kind(name), to_json(resource), refuse_unknown=True) == resource


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_accepting_edge_names_the_places_of_elements_it_does_not_know(name: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_resource(_kind(name), (FOLDER / name).read_bytes(), refuse_unknown=True)

    contained = {"fhir.element-not-carried"} if "contained" in LEFT_OUT[name] else set()
    assert {fault.code for fault in refused.value.faults} == {"fhir.unknown-element"} | contained


@pytest.mark.parametrize("name", REFUSED)
def test_an_example_whose_meaning_would_change_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(MalformedInputError) as refused:
        read_resource(_kind(name), (FOLDER / name).read_bytes())

    assert refused.value.faults == (REFUSED[name],)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_example_is_whole_but_for_that_element(name: str) -> None:
    source = read_json_object((FOLDER / name).read_bytes(), decimals=True)
    element = REFUSED[name].pointer.removeprefix("/")

    parsed = parse_resource(_kind(name), {key: member for key, member in source.items() if key != element})

    assert to_json(parsed)


def test_amounts_of_an_example_keep_their_digits() -> None:
    claim = read_resource(Claim, (FOLDER / "Claim-100151.json").read_bytes())

    amounts = [item.net.value for item in claim.item if item.net is not None]

    assert [str(amount) for amount in amounts] == ["135.57", "105.00", "1100.00"]
    assert all(isinstance(amount, Decimal) for amount in amounts)
