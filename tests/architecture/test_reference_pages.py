"""The pages of `docs/reference` are what their tables make them, and the tables leave nothing out."""

import ast
import csv
import re
import tomllib
from enum import StrEnum
from pathlib import Path

import pytest

from gateway.protocol.clock import SystemClock
from gateway.protocol.errors import BadSignatureError, UnknownKeyError
from gateway.runtime.settings import RoleSettings
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import HOSPITAL
from tests.architecture import error_table, glossary_table, requirement_table, settings_table, state_diagrams
from tests.architecture.raised_codes import sources
from tests.architecture.reference_pages import PAGES
from tests.architecture.state_diagrams import MACHINES, Machine

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.name))
def test_a_generated_page_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "run: make pages"


def test_every_page_of_the_reference_is_generated() -> None:
    assert set((ROOT / "docs" / "reference").iterdir()) <= set(PAGES)


# Glossary


@pytest.mark.parametrize("row", glossary_table.rows(), ids=lambda row: str(row["term"]))
def test_a_term_is_filled_in_every_column(row: dict[str, str]) -> None:
    assert list(row) == glossary_table.COLUMNS
    assert all(text and text == text.strip() and "|" not in text for text in row.values())
    assert row["meaning"].endswith(".")
    assert not any("\u4e00" <= character <= "\u9fff" for character in row["term"] + row["meaning"])


def test_terms_are_in_order_and_stand_once() -> None:
    terms = [row["term"].casefold() for row in glossary_table.rows()]

    assert terms == sorted(set(terms))


# Settings


def test_every_setting_has_one_meaning() -> None:
    fields, told = set(RoleSettings.model_fields) - {"extra"}, set(settings_table.docstrings()) - {"extra"}

    assert told | set(settings_table.MEANINGS) == fields
    assert sorted(told & set(settings_table.MEANINGS)) == [], "the docstring is the meaning: drop the other one"


def test_the_settings_that_a_sandbox_writes_for_each_role_are_in_the_table(tmp_path: Path) -> None:
    init(tmp_path, layout=Layout("http://127.0.0.1:1"), clock=SystemClock())
    written: dict[str, set[str]] = {}
    for path in tmp_path.glob("roles/*/settings.toml"):
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        names = {name.replace(HOSPITAL, "<hospital>") for name in settings["extra"]}
        written.setdefault(settings["role"], set()).update(names)

    assert written == {role: set(names) for role, names in settings_table.EXTRA.items()}


def test_every_setting_of_a_role_that_the_sources_ask_for_is_in_the_table() -> None:
    known = {name for names in settings_table.EXTRA.values() for name in names}

    asked = {
        argument.value
        for _, tree in sources()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "own"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }

    assert "pins" in asked
    assert asked <= known


# Errors


def test_a_code_s_status_is_that_of_the_error_it_is_raised_with() -> None:
    classes = error_table.raised_as()

    assert classes["stamp.role"] == {BadSignatureError}
    assert classes["key.unknown"] == {UnknownKeyError}
    assert "| `key.unknown` | 503 | `RETRY` |" in error_table.page()


def test_every_code_has_one_line() -> None:
    with error_table.TABLE.open(encoding="utf-8", newline="") as file:
        codes = [row["code"] for row in csv.DictReader(file)]

    assert re.findall(r"^\| `([^`]+)` \|", error_table.page(), re.MULTILINE) == sorted(codes)


# States


def machine_ids(machine: Machine) -> str:
    return machine.title


@pytest.mark.parametrize("machine", MACHINES, ids=machine_ids)
def test_every_state_of_a_machine_stands_in_its_table(machine: Machine) -> None:
    assert set(machine.allowed) == set(machine.states)


@pytest.mark.parametrize("machine", MACHINES, ids=machine_ids)
def test_every_move_of_a_machine_is_an_arrow_with_its_event_and_actors(machine: Machine) -> None:
    moves = list(state_diagrams.moves(machine))

    page = state_diagrams.page()

    assert len(moves) == sum(len(events) for events in machine.allowed.values())
    assert all(move.by and move.targets for move in moves)
    for move in moves:
        for target in move.targets:
            assert re.search(rf"^    {move.source} --> {target}: .*\b{move.event} \({move.by}\)", page, re.MULTILINE)


def test_a_move_without_a_guard_has_an_empty_cell() -> None:
    page = state_diagrams.page()

    assert "| received | `acknowledge` | insurer | in_review |  |\n" in page
    assert "None" not in page


def test_a_state_that_is_added_to_a_table_appears_in_the_diagram() -> None:
    class Lamp(StrEnum):
        OFF = "off"
        ON = "on"
        BROKEN = "broken"

    machine = Machine("Lamp", "", "", Lamp, {Lamp.OFF: {"switch": Lamp.ON}, Lamp.ON: {}, Lamp.BROKEN: {}}, by="hand")

    assert [(move.source, move.event, move.targets) for move in state_diagrams.moves(machine)] == [
        ("off", "switch", ("on",))
    ]
    assert state_diagrams.starts(machine) == ["off", "broken"]
    assert state_diagrams.ends(machine) == ["on", "broken"]


# Requirements


def test_every_number_that_the_tree_mentions_is_defined_once() -> None:
    defined = [*requirement_table.MONEY, *requirement_table.kafka()]

    mentioned = requirement_table.mentions()

    assert {"SET-1", "K7"} <= set(mentioned)
    assert sorted(set(mentioned) - set(defined)) == []
    assert len(defined) == len(set(defined))


def test_a_diagnosis_code_is_not_taken_for_a_rule() -> None:
    assert requirement_table._MENTION.findall("K35.900, K7: and SET-16) but K00000001") == ["K7", "SET-16"]
