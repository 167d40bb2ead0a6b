"""What a newcomer's tools rely on: targets that exist, hooks and containers of this tree, locks without addresses."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.protocol.canonical import read_json_object

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
TEXTS = {".py", ".md", ".js", ".toml", ".yaml", ".csv", ".css", ".html", ".lock"}
ROOMS = ("adapters", "audit", "docs", "examples", "gateway", "settlement", "tests", ".ci", ".devcontainer")


def hooks() -> list[dict[str, Any]]:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    return list(repository["hooks"])


def make_targets() -> set[str]:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    return {target for line in lines if (match := re.match(r"([a-z/]+):(?!=)", line)) for target in match[1].split()}


def texts() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in TEXTS and not {"golden", "node_modules"} & set(path.parts):
                yield path
    yield from (
        path for path in sorted(ROOT.iterdir()) if path.suffix in TEXTS or path.name in ("Makefile", "Dockerfile")
    )


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: str(hook["id"]))
def test_a_hook_runs_a_tool_of_this_tree_and_fetches_nothing(hook: dict[str, Any]) -> None:
    program, *words = hook["entry"].split()

    assert hook["language"] == "system"
    assert "additional_dependencies" not in hook
    assert program.startswith(".venv/bin/") or (program == "make" and set(words) <= make_targets())


def test_every_make_target_that_a_page_names_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py")]
    named = {
        (target, path.name)
        for path in pages
        for target in re.findall(r"(?:`|^)make ([a-z/]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert ("quick", "CONTRIBUTING.md") in named
    assert sorted((target, name) for target, name in named if target not in make_targets()) == []


def test_the_development_container_is_a_stage_of_our_dockerfile() -> None:
    build = read_json_object((ROOT / ".devcontainer" / "devcontainer.json").read_bytes())
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    stages = [line.split() for line in lines if line.startswith("FROM ")]

    assert "image" not in build
    assert (ROOT / ".devcontainer" / build["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert build["build"]["target"] in [words[-1] for words in stages if "AS" in words]
    assert set(build["postCreateCommand"].split()[1:]) <= make_targets()
    assert len({words[1] for words in stages}) == 1
    assert "AS" not in stages[-1], "the last stage is the image of the roles"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.name))
def test_a_lock_holds_a_hash_of_everything_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(
        r"^([a-z0-9._\[\]-]+==\S+.*)\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)*)", text, re.MULTILINE
    )

    assert len(pins) > 1
    assert [pin for pin, hashes in pins if not hashes] == []
    assert not re.search(r"https?:|--(?:extra-)?index-url|--find-links", text)


def test_texts_are_as_the_editor_is_told_to_write_them() -> None:
    wrong = []
    for path in texts():
        raw = path.read_bytes()
        if raw and (not raw.endswith(b"\n") or b"\r" in raw or re.search(rb"[ \t]\n", raw)):
            wrong.append(path.relative_to(ROOT).as_posix())

    assert wrong == []


def test_the_script_of_ci_is_read_by_its_shell() -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=False).returncode == 0
