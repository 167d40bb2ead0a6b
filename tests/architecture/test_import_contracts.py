"""The import contracts are complete: every component is laid out to its last module, plug-ins stand apart."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
COMPONENTS = sorted(
    ".".join(path.relative_to(ROOT).parent.parts)
    for room in ("gateway", "adapters", "settlement", "audit")
    for path in (ROOT / room).rglob("component.py")
    if path.parent.name != "runtime"
)
PLUG_INS = ("adapters.sz.formats", "settlement.channels", "audit.rules")


def test_there_are_eight_components() -> None:
    assert len(COMPONENTS) == 8


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_module_of_a_component_stands_inside_a_layer_contract(component: str) -> None:
    contracts = [found for found in CONTRACTS if found.get("exhaustive") and component in found.get("containers", ())]

    assert [found["type"] for found in contracts] == ["layers"]


@pytest.mark.parametrize("folder", PLUG_INS)
def test_plug_ins_of_a_folder_do_not_know_each_other(folder: str) -> None:
    apart = [found["modules"] for found in CONTRACTS if found["type"] == "independence"]

    assert [f"{folder}.*"] in apart


@pytest.mark.parametrize("component", COMPONENTS)
def test_use_cases_of_a_component_stand_in_actions_and_nowhere_else(component: str) -> None:
    folder = ROOT.joinpath(*component.split("."))
    writers = {
        path.relative_to(folder).parts[0].removesuffix(".py")
        for path in folder.rglob("*.py")
        if "deps.outbox.add(" in path.read_text(encoding="utf-8")
    }

    assert writers <= {"actions"}
