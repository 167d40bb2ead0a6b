"""`gateway demo`, `gateway run` and `gateway sandbox` on a folder: who may have it, and where its profiles point."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.__main__ import _cli
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import SystemClock
from gateway.sandbox.folders import init, rebase
from gateway.sandbox.layout import Layout
from tests.children import start_child
from tests.integration.test_run_command import command, sentence
from tests.served import Served, free_port, served
from tests.walk import until

DEMO = (sys.executable, "-m", "gateway", "demo")
DEMO_S_MAX = 120.0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path / "trial") as (gateway, _):
        assert await gateway.start()
        yield gateway


def base_urls(data: Path) -> set[str]:
    """Return every address that a profile, a role's settings or the sandbox's own file names."""
    profiles = [
        read_json_object(path.read_bytes()) for path in data.glob("profiles/*-*.json") if path.stem != "log-trust"
    ]
    assert profiles
    settings = [path.read_text() for path in data.glob("roles/*/settings.toml")]
    lines = [line for text in settings for line in text.splitlines() if line.startswith("base_url")]
    of_roles = {"/".join(line.split('"')[1].split("/")[:3]) for line in lines}
    return {profile["base_url"] for profile in profiles} | of_roles


async def test_nothing_deletes_or_overwrites_a_folder_under_a_running_server(running: Served) -> None:
    assert running.process is not None
    data = str(running.data)
    before = sorted(path for path in running.data.rglob("*.json"))

    refused = [
        command("demo", "--data", data),
        command("sandbox", "init", "--data", data),
        command("sandbox", "services", "--data", data, "--kafka", "127.0.0.1:1", "--database", "x"),
        command("sandbox", "remove", "--data", data),
        command("run", "all", "--data", data),
        command("run", "all", "--data", data, "--port", str(free_port())),
        command("run", "witness", "--instance", "witness-sz", "--data", data, "--port", "0"),
        command("sandbox", "bank", "--data", data, "--port", "0"),
    ]

    assert [f"in use by process {running.process.pid}; stop it first" in sentence(one) for one in refused] == [True] * 8
    assert sorted(path for path in running.data.rglob("*.json")) == before
    assert base_urls(running.data) == {f"http://127.0.0.1:{running.port}"}


async def test_a_folder_is_free_again_after_kill_nine(running: Served) -> None:
    running.kill()

    assert command("sandbox", "remove", "--data", str(running.data)).returncode == 0
    assert not running.data.exists()


async def test_the_server_says_in_its_own_lines_where_it_listens_and_that_it_stops(running: Served) -> None:
    assert running.process is not None
    assert await running.stop() == 0

    lines = [read_json_object(line.encode()) for line in running.log.read_text().splitlines()]

    [listening] = [line for line in lines if line["event"] == "serve.listening"]
    assert listening["url"] == f"http://127.0.0.1:{running.port}"
    assert listening["role"] == "core, sz, hk, insurer, audit, witness-sz, witness-hk"
    assert listening["pid"] == running.process.pid
    assert [line["reason"] for line in lines if line["event"] == "serve.stopping"] == ["SIGTERM"]
    assert lines[-1]["event"] == "serve.stopped"
    assert [line["event"] for line in lines if "%" in line["event"] or line.get("logger")] == []


async def test_a_later_start_takes_the_port_of_the_folder_and_another_port_moves_the_profiles(running: Served) -> None:
    assert await running.stop() == 0
    other = free_port()

    words = [sys.executable, "-m", "gateway", "run", "all", "--data", str(running.data)]
    same = start_child(words, running.log, dict(os.environ))  # noqa: TID251 the child gets ours
    running.process = same
    assert await running.start_is_ready()
    assert await running.stop() == 0
    running.port = other
    assert await running.start()

    assert base_urls(running.data) == {f"http://127.0.0.1:{other}"}


async def test_the_bank_by_itself_ends_in_order_and_says_so(tmp_path: Path) -> None:
    init(tmp_path / "trial", layout=Layout("http://127.0.0.1:8080"), clock=SystemClock())
    log = tmp_path / "bank.log"
    words = [sys.executable, "-m", "gateway", "sandbox", "bank", "--data", str(tmp_path / "trial"), "--port", "0"]
    bank = start_child(words, log, dict(os.environ))  # noqa: TID251 the child gets ours

    async def listening() -> bool:
        return "serve.listening" in log.read_text()

    await until(listening, "the bank", within_s=DEMO_S_MAX)
    bank.terminate()

    assert bank.wait(30) == 0
    assert log.read_text().splitlines()[-1].endswith('"event":"serve.stopped","level":"info"}')


def test_two_demos_at_once_end_with_one_walk_and_one_refusal(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    init(data, layout=Layout("http://127.0.0.1:8080"), clock=SystemClock())
    pair = [
        subprocess.Popen([*DEMO, "--data", str(data), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]

    ended = [process.communicate(timeout=DEMO_S_MAX) for process in pair]

    assert sorted(process.returncode for process in pair) == [0, 1]
    [refused] = [place for place in range(2) if pair[place].returncode == 1]
    assert b"is in use by process" in ended[refused][1]
    assert b"claim               ok" in ended[1 - refused][0]
    assert command("sandbox", "remove", "--data", str(data)).returncode == 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_demo_that_is_killed_never_leaves_its_server_without_the_lock(
    tmp_path: Path, signal_number: signal.Signals
) -> None:
    data = tmp_path / "demo"
    demo = start_child([*DEMO, "--data", str(data), "--port", "0"], tmp_path / "demo.log", dict(os.environ))  # noqa: TID251 the child gets ours

    async def serving() -> int | None:
        log = data / "server.log"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [read_json_object(line.encode()) for line in lines if "serve.listening" in line]
        return int(found[0]["pid"]) if found else None

    server = int(await until(serving, "the demo's server", within_s=DEMO_S_MAX) or 0)
    demo.send_signal(signal_number)
    demo.wait()
    after = command("sandbox", "init", "--data", str(data))

    if signal_number is signal.SIGTERM:
        assert "already holds a sandbox" in sentence(after)
    else:
        assert f"in use by process {server}" in sentence(after)
        os.kill(server, signal.SIGTERM)


def test_a_demo_leaves_profiles_of_the_port_it_was_given(tmp_path: Path) -> None:
    port = free_port()

    done = command("demo", "--data", str(tmp_path / "demo"), "--port", str(port))

    assert done.returncode == 0, done.stderr
    assert base_urls(tmp_path / "demo") == {f"http://127.0.0.1:{port}"}
    assert f"http://127.0.0.1:{port}/" in done.stdout


def test_a_demo_whose_port_is_taken_deletes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    init(data, layout=Layout("http://127.0.0.1:8080"), clock=SystemClock())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("demo", "--data", str(data), "--port", str(taken.getsockname()[1]))

    assert "Address already in use" in sentence(done)
    assert (data / "sandbox.json").is_file()


@pytest.mark.parametrize("words", [("demo",), ("sandbox", "init"), ("sandbox", "remove")])
def test_a_folder_with_other_files_is_left_as_it_is(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")

    assert CliRunner().invoke(_cli(), [*words, "--data", str(tmp_path)]).exit_code == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.txt"]


def test_a_sandbox_that_was_half_written_is_not_served_and_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "roles" / "core").mkdir(parents=True)
    (tmp_path / "roles" / "core" / "settings.toml").write_text('role = "core"\n')
    (tmp_path / ".unfinished").touch()

    assert "is not finished" in sentence(command("run", "all", "--data", str(tmp_path)))
    assert command("sandbox", "init", "--data", str(tmp_path)).returncode == 0
    assert (tmp_path / "sandbox.json").is_file()
    assert not (tmp_path / ".unfinished").exists()


def test_a_move_that_was_interrupted_is_finished_at_the_next_start(tmp_path: Path) -> None:
    # 808 is the beginning of 8080: what is moved already must not be moved twice
    init(tmp_path, layout=Layout("http://127.0.0.1:808"), clock=SystemClock())
    moved = tmp_path / "profiles" / "hosp-nanshan-his.json"
    moved.write_text(moved.read_text().replace("127.0.0.1:808", "127.0.0.1:8080"))

    rebase(tmp_path, "http://127.0.0.1:8080")

    assert base_urls(tmp_path) == {"http://127.0.0.1:8080"}
    assert moved.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.rglob("*.new")) == []
