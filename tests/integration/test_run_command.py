"""`gateway run`: a role by its name on what the sandbox wrote; what keeps it from starting is one sentence, exit 1."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from gateway.__main__ import _cli
from gateway.protocol.clock import SystemClock
from gateway.runtime.settings import load_settings
from gateway.sandbox.folders import complete, init
from gateway.sandbox.layout import Layout
from gateway.serve import StartError, find_role_folder
from tests.children import start_child
from tests.role_processes import START_S_MAX
from tests.served import free_port
from tests.walk import until

SECRET = "n0t-to-be-shown"
GATEWAY = (sys.executable, "-m", "gateway")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    init(tmp_path / "trial", layout=Layout("http://127.0.0.1:8080"), clock=SystemClock())
    return tmp_path / "trial"


def command(*words: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    ours = {**os.environ, **(environment or {})}  # noqa: TID251 the child gets ours and its settings
    return subprocess.run([*GATEWAY, *words], capture_output=True, text=True, timeout=60, check=False, env=ours)


def sentence(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the one line that a command ended with; anything else on stderr may be JSON lines of the log."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    return lines[0]


@pytest.mark.parametrize("role", ["sz", "core", "hk", "insurer", "audit"])
def test_every_role_is_found_by_its_name(data: Path, role: str) -> None:
    assert find_role_folder(data, role) == data / "roles" / role


def test_one_of_several_witnesses_is_named_by_its_instance(data: Path) -> None:
    assert find_role_folder(data, "witness", "witness-hk") == data / "roles" / "witness-hk"
    with pytest.raises(StartError, match="--instance witness-hk or --instance witness-sz"):
        find_role_folder(data, "witness")


def test_an_only_witness_needs_no_instance(tmp_path: Path) -> None:
    (tmp_path / "roles" / "witness-sz").mkdir(parents=True)
    (tmp_path / "roles" / "witness-sz" / "settings.toml").touch()

    assert find_role_folder(tmp_path, "witness") == tmp_path / "roles" / "witness-sz"


@pytest.mark.parametrize("name", ["../core", "nobody"])
def test_an_instance_that_is_not_there_is_told_beside_those_that_are(data: Path, name: str) -> None:
    with pytest.raises(StartError, match="it has audit, core, hk"):
        find_role_folder(data, "core", name)


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "sz"),
        ("run", "hospital", "--data", "trial"),
        ("run", "all", "--role-folder", "trial"),
        ("run", "--data", "trial", "--instance", "sz"),
        ("run", "sz", "--role-folder", "trial", "--instance", "sz"),
        ("run", "sz", "--role-folder", "trial", "--data", "trial"),
    ],
)
def test_a_command_that_names_no_one_folder_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(_cli(), words).exit_code == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"--confirmed-by": "op-gateway-1"},
        {"--confirmed-by": "Two Persons"},
        {"--ticket": "see mail"},
        {"--reason": "because"},
    ],
)
def test_a_role_is_resumed_by_two_persons_for_a_reason_that_has_a_ticket(
    data: Path, changed: Mapping[str, str]
) -> None:
    given = {
        "--operator": "op-gateway-1",
        "--confirmed-by": "op-gateway-2",
        "--reason": "test",
        "--ticket": "OPS-1",
    }
    words = [word for pair in (given | dict(changed)).items() for word in pair]

    assert CliRunner().invoke(_cli(), ["resume", "sz", "--data", str(data), *words]).exit_code == 2


def test_a_role_that_the_log_does_not_know_has_nothing_to_resume(data: Path) -> None:
    persons = ("--operator", "op-gateway-1", "--confirmed-by", "op-gateway-2", "--reason", "test", "--ticket", "OPS-1")

    done = command("resume", "sz", "--data", str(data), *persons)

    assert "the audit role does not say what the log has of sz" in sentence(done)


def test_a_folder_that_is_missing_or_of_another_role_is_refused_in_a_sentence(data: Path) -> None:
    assert "holds no roles" in sentence(command("run", "sz", "--data", str(data / "nowhere")))
    assert "there is no folder" in sentence(command("run", "--role-folder", str(data / "nowhere")))
    other = command("run", "sz", "--role-folder", str(data / "roles" / "core"))
    assert sentence(other).endswith("is of role core, not of sz")


def _unreadable_key(role: Path) -> None:
    (role / "keys" / "storage.key").chmod(0o644)


def _no_trust(role: Path) -> None:
    (role.parents[1] / "trust.json").unlink()


def _no_institutions(role: Path) -> None:
    _replace(role / "settings.toml", '"institutions.hosp-nanshan" = "H44030599999"\n', "")


def _wrong_institutions(role: Path) -> None:
    _replace(role / "settings.toml", "H44030599999", "H44030599999 H1")


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def _no_pins(role: Path) -> None:
    settings = role / "settings.toml"
    settings.write_text("\n".join(line for line in settings.read_text().splitlines() if "pins" not in line))


def _no_database(role: Path) -> None:
    (role / "sz.db").write_bytes(b"this is no database\n" * 100)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_unreadable_key, "storage.key is readable by others"),
        (_no_trust, "trust.json"),
        (_no_pins, "[extra] lacks pins"),
        (_no_institutions, "[extra] lacks institutions.hosp-nanshan"),
        (_wrong_institutions, "[extra] institutions.hosp-nanshan needs valid institution codes"),
        (_no_database, "the database refuses"),
    ],
)
def test_a_role_that_cannot_start_says_why_in_one_sentence(
    data: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(data / "roles" / "sz")

    assert told in sentence(command("run", "sz", "--data", str(data), "--port", "0"))


def test_a_sandbox_of_an_earlier_state_gets_the_institutions_of_its_hospital_once(data: Path) -> None:
    settings = data / "roles" / "sz" / "settings.toml"
    today = settings.read_text(encoding="utf-8")
    _no_institutions(data / "roles" / "sz")

    complete(data)
    complete(data)

    assert settings.read_text(encoding="utf-8") == today
    assert load_settings(settings.parent).own("institutions.hosp-nanshan") == "H44030599999"


@pytest.mark.parametrize(
    ("words", "url", "told"),
    [
        (("run", "--port", "0", "--role-folder"), f"postgresql+asyncpg://sz:{SECRET}@127.0.0.1:1/sz", "database"),
        (("migrate", "--role-folder"), SECRET, "the setting `database_url` is no address of a database"),
    ],
)
def test_a_database_that_is_away_is_told_without_its_password(
    data: Path, words: tuple[str, ...], url: str, told: str
) -> None:
    done = command(*words, str(data / "roles" / "sz"), environment={"GATEWAY_DATABASE_URL": url})

    assert told in sentence(done)
    assert SECRET not in done.stderr


def test_a_schema_that_is_newer_than_the_program_is_told(data: Path) -> None:
    folder = str(data / "roles" / "sz")
    assert command("migrate", "--role-folder", folder).returncode == 0
    with sqlite3.connect(data / "roles" / "sz" / "sz.db") as database:
        database.execute("UPDATE alembic_runtime SET version_num = 'm9999_later'")
    database.close()

    assert sentence(command("run", "sz", "--data", str(data), "--port", "0")).endswith("newer than this program")


async def test_one_role_runs_by_its_name_and_the_embedded_bus_belongs_to_it(data: Path, tmp_path: Path) -> None:
    port = free_port()
    words = [*GATEWAY, "run", "hk", "--data", str(data), "--port", str(port)]
    process = start_child(words, tmp_path / "hk.log", dict(os.environ))  # noqa: TID251 the child gets ours

    async def answers() -> bool:
        async with httpx2.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/hk/healthz")).status_code == 200
            except httpx2.TransportError:
                return False

    await until(answers, "role hk", within_s=START_S_MAX)
    twin = command("run", "hk", "--data", str(data), "--port", "0")
    other = command("run", "core", "--data", str(data), "--port", "0")
    elsewhere = command("run", "witness", "--instance", "witness-hk", "--data", str(data), "--port", str(port))
    process.terminate()

    assert process.wait(25) == 0
    assert sentence(twin).endswith(f"roles/hk is in use by process {process.pid}; stop it first")
    assert f"another process ({process.pid}) has the embedded bus" in sentence(other)
    assert f"cannot listen on 127.0.0.1:{port}" in sentence(elsewhere)


@pytest.mark.parametrize(
    ("ca_file", "password", "told"),
    [
        ("nowhere.pem", "password", "ssl.ca.location"),
        ("", "nowhere", "nowhere is missing"),
    ],
)
def test_topics_are_not_applied_without_what_the_login_needs(
    tmp_path: Path, ca_file: str, password: str, told: str
) -> None:
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("synthetic")
    words = ["--user", "admin", "--password-file", str(tmp_path / password), "--ca-file", ca_file]

    done = CliRunner().invoke(_cli(), ["topics", "apply", "--servers", "127.0.0.1:1", *words])

    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert told in done.output
