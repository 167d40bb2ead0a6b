"""The demo prints commands as they can be typed again."""

import sys
from pathlib import Path

import pytest

from gateway.sandbox import demo


@pytest.mark.parametrize(
    ("running", "printed"),
    [("tree/.venv/bin/python", ".venv/bin/python"), ("elsewhere/bin/python3", "python")],
)
def test_the_verifiers_command_names_the_python_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: str, printed: str
) -> None:
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setattr(sys, "executable", str(tmp_path / running))

    assert demo._interpreter() == printed
