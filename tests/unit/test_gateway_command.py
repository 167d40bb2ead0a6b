"""What `gateway` says of itself."""

import subprocess
import sys
import tomllib
from pathlib import Path

from click.testing import CliRunner

from gateway import VERSION
from gateway.__main__ import _cli

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_the_project_s() -> None:
    done = CliRunner().invoke(_cli(), ["--version"])

    assert PROJECT["project"]["version"] == VERSION
    assert (done.exit_code, done.output) == (0, f"gateway {VERSION}\n")


def test_the_verifier_is_in_the_list_of_commands() -> None:
    listed = CliRunner().invoke(_cli(), ["--help"]).output.partition("Commands:")[2]

    assert "  audit " in listed


def test_every_command_says_in_one_line_what_it_does() -> None:
    listed = CliRunner().invoke(_cli(), ["--help"]).output.partition("Commands:\n")[2].splitlines()

    assert listed
    assert [line for line in listed if line and len(line.split()) < 2] == []


def test_audit_is_the_verifier_s_program_with_and_without_verify() -> None:
    for words in (("audit", "--help"), ("audit", "verify", "--help")):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words], capture_output=True, text=True, check=False, timeout=60
        )

        assert done.returncode == 0
        assert "proof" in done.stdout
