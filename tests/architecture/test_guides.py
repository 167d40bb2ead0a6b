"""Guides hold together: links resolve, blocks are run or say why not, commands look alike in three languages."""

import re
import sys
from pathlib import Path

import pytest

from tests.guides import CHECKED, ROOT, SHOWN, anchors, blocks, links, name_of, pages

COMMAND = re.compile(r"^(    |\t)(gateway|make|python|curl|docker|\.venv/bin/\S+|mkdir) ", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return a page's shell lines without their comments."""
    text = "".join(block.text for block in blocks(page) if block.language == "sh")
    return [line.partition("#")[0].strip() for line in text.splitlines()]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_link_of_a_guide_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if link.startswith("https://"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_has_a_language_that_is_checked_or_only_shown(page: Path) -> None:
    assert [block.place for block in blocks(page) if block.language not in (*CHECKED, *SHOWN)] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_block_that_is_not_run_says_why_and_what_tries_it_instead(page: Path) -> None:
    for block in blocks(page):
        if block.why_not_run is None:
            continue
        tests = re.findall(r"tests/[a-z_/]+(?:\.py)?", block.why_not_run)

        assert len(block.why_not_run.split()) >= 4, block.place
        assert all((ROOT / path).exists() for path in tests), block.place


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_stand_in_fenced_blocks_where_they_are_run(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)

    assert COMMAND.findall(text) == []


@pytest.mark.parametrize("name", ["README.zh-Hans.md", "README.zh-Hant.md"])
def test_a_translation_gives_the_same_commands(name: str) -> None:
    assert commands(ROOT / name) == commands(ROOT / "README.md") != []


def test_a_file_that_a_reader_saves_does_not_shadow_a_module_of_python() -> None:
    names = [block.file_name for page in pages() for block in blocks(page) if block.file_name]

    assert names
    assert [name for name in names if name.removesuffix(".py") in sys.stdlib_module_names] == []
