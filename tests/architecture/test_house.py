"""House rules that no tool checks: sizes and names of files, full catalogues, nothing of the machine it was made on."""

import importlib
import re
from collections.abc import Sized
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "adapters", "settlement", "audit", "tests")
LINES_MAX = 400
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "data", "info"}
TEXTS = {".py", ".md", ".toml", ".csv", ".html", ".css", ".js", ".yml", ".yaml", ".sh", ".cfg", ".txt"}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
WRITTEN = sorted(
    path
    for top in ("gateway", "adapters", "settlement", "audit", "docs", "README.md", "Makefile", "pyproject.toml")
    for path in ([ROOT / top] if (ROOT / top).is_file() else (ROOT / top).rglob("*"))
    if path.is_file() and (path.suffix in TEXTS or path.name == "Makefile")
)
OF_THE_MACHINE = re.compile(r"/(home|root|Users|work|tmp|mnt|var/folders)/|\bC:\\")
DOSSIER_NAME = re.compile(r'"urn:szhk:(?:id|code|extension):[a-z]')

CATALOGUES = {
    "adapters.sz.formats": "FORMATS",
    "settlement.channels": "CHANNELS",
    "audit.rules": "RULES",
    "gateway.protocol.identifiers": "SCHEMES",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 100
    assert len(WRITTEN) > 100


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_is_longer_than_a_person_reads_at_once(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


def test_no_file_or_folder_is_named_after_nothing() -> None:
    named = {path for path in SOURCES if FORBIDDEN_NAMES & {path.stem, *path.relative_to(ROOT).parts[:-1]}}

    assert sorted(map(name_of, named)) == []


def test_the_names_in_a_dossier_stand_in_one_file() -> None:
    writers = {name_of(path) for path in SOURCES if DOSSIER_NAME.search(path.read_text(encoding="utf-8"))}

    assert {name for name in writers if not name.startswith("tests/")} == {"gateway/protocol/fhir/systems.py"}


@pytest.mark.parametrize(("module", "name"), CATALOGUES.items())
def test_every_catalogue_of_plug_ins_offers_something(module: str, name: str) -> None:
    catalogue = getattr(importlib.import_module(module), name)

    assert isinstance(catalogue, Sized)
    assert len(catalogue) > 0


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_nothing_tells_of_the_machine_it_was_written_on(path: Path) -> None:
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if OF_THE_MACHINE.search(line)]

    assert found == []


@pytest.mark.parametrize("path", [path for path in SOURCES if ROOT / "tests" not in path.parents], ids=name_of)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8").strip()

    assert not text or text.startswith(('"""', 'r"""')) or "migrations" in path.parts
