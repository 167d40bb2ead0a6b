"""The programs of `examples/`, each as a process of its own, against one served sandbox."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.protocol.canonical import pretty, read_json_object
from tests.node import node_path
from tests.served import Served

EXAMPLES = Path(__file__).parents[2] / "examples"
END_S = 90.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a sandbox that is served until the last test of this file."""
    house = Served(tmp_path_factory.mktemp("examples") / "sandbox")
    house.make()
    try:
        assert asyncio.run(house.start()), house.log.read_text()
        yield house.data
    finally:
        house.kill()


def start(name: str, data: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(data), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for the end of a program; its exit code, what it printed, and what it complained about."""
    output, complaints = process.communicate(timeout=END_S)
    return process.returncode, output, complaints


def run(name: str, data: Path, *words: str) -> tuple[int, str, str]:
    return ended(start(name, data, *words))


def after(word: str, output: str) -> str:
    """Return what the first line that starts with `word` says after it."""
    return next(line.removeprefix(word).strip() for line in output.splitlines() if line.startswith(word))


def pay(data: Path) -> None:
    """Have both treasurers approve, the second one after comparing the hash."""
    code, output, complaints = run("treasurer", data, "ins-lantau-treasurer-1")
    assert code == 0, complaints
    digest = after("sha256", output)

    other = run("treasurer", data, "ins-lantau-treasurer-2", "--sha256", "0" * 64)
    code, output, complaints = run("treasurer", data, "ins-lantau-treasurer-2", "--sha256", digest)

    assert other[0] == 1
    assert "not approved" in other[2]
    assert code == 0, complaints
    assert "the batch is approved" in output


def test_four_programs_walk_one_claim_from_the_bill_to_the_proof(data: Path) -> None:
    hospital = start("hospital", data)

    insurer_code, insurer, insurer_complaints = run("insurer", data)
    pay(data)
    hospital_code, followed, hospital_complaints = ended(hospital)
    auditor_code, audited, auditor_complaints = run("auditor", data, after("case", followed))

    assert (insurer_code, hospital_code, auditor_code) == (0, 0, 0), (
        insurer_complaints + hospital_complaints + auditor_complaints
    )
    assert "differences between content and manifest: 0" in insurer
    assert "decided, revision 3" in insurer
    assert "approved_in_part   reconciled" in followed
    assert "approved_in_part: asked 53878.84, approved 53798.84 CNY" in followed
    assert audited.index("claim.submitted") < audited.index("signature           ok")
    assert "claim               ok            complete up to this checkpoint" in audited


def test_an_insurer_who_waits_in_vain_and_an_auditor_of_an_unknown_case_say_so(data: Path) -> None:
    insurer_code, _, insurer_complaints = run("insurer", data, "--wait", "1")
    auditor_code, _, auditor_complaints = run("auditor", data, "case_aaaaaaaaaaaaaaaaaaaaaaaaaa", "--wait", "1")

    assert (insurer_code, auditor_code) == (1, 1)
    assert insurer_complaints == "no claim in 1 s\n"
    assert auditor_complaints == "the case is not in a signed checkpoint after 1 s\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [("hospital", ()), ("insurer", ()), ("treasurer", ("ins-lantau-treasurer-1",)), ("auditor", ("case_a",))],
)
def test_an_example_that_reaches_nobody_or_has_no_profile_says_so_in_one_line(
    data: Path, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    for profile in (data / "profiles").glob("*.json"):
        aside = tmp_path / "unserved" / "profiles" / profile.name
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:1", profile.read_text()))
        aside.chmod(0o600)
    shutil.copytree(data / "bills", tmp_path / "unserved" / "bills")

    code, _, complaints = run(name, tmp_path / "unserved", *words)
    elsewhere_code, _, elsewhere = run(name, tmp_path / "elsewhere", *words)

    assert (code, complaints) == (1, "client.connection-refused: Nothing listens at the gateway's address.\n")
    assert (elsewhere_code, elsewhere.count("\n")) == (1, 1), elsewhere


def test_a_treasurer_cannot_approve_the_same_batch_twice(data: Path) -> None:
    hospital = start("hospital", data)
    assert run("insurer", data)[0] == 0
    assert run("treasurer", data, "ins-lantau-treasurer-1")[0] == 0

    code, _, complaints = run("treasurer", data, "ins-lantau-treasurer-1")

    assert code == 1
    assert complaints.startswith("batch.approved-by-you-already: ")
    assert run("treasurer", data, "ins-lantau-treasurer-2")[0] == 0
    assert ended(hospital)[0] == 0


@pytest.fixture(scope="module")
def node_insurer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The insurer in Node with its dependency from the lock, and the environment to run it in."""
    environment = {**os.environ, "PATH": node_path()}  # noqa: TID251 the child gets ours
    folder = tmp_path_factory.mktemp("insurer-node")
    for name in ("package.json", "package-lock.json", "insurer.js", "compare.js", "exchange.js"):
        shutil.copy(EXAMPLES / "insurer-node" / name, folder / name)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return folder / "insurer.js", environment


def run_node(node_insurer: tuple[Path, dict[str, str]], data: Path) -> tuple[int, str, str]:
    program, environment = node_insurer
    command = ["node", str(program), str(data)]
    return ended(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def test_an_insurer_in_node_decides_and_the_hospital_finds_what_was_signed(
    node_insurer: tuple[Path, dict[str, str]], data: Path
) -> None:
    hospital = start("hospital", data)

    insurer_code, insurer, insurer_complaints = run_node(node_insurer, data)
    pay(data)
    hospital_code, followed, hospital_complaints = ended(hospital)

    assert (insurer_code, hospital_code) == (0, 0), insurer_complaints + hospital_complaints
    assert "differences between content and manifest: 0" in insurer
    assert "approved_in_part, revision 3" in insurer
    assert "disputed" not in followed
    assert "approved_in_part: asked 53878.84, approved 53798.84 CNY" in followed


def test_an_insurer_in_node_believes_no_registry_that_its_root_has_not_signed(
    node_insurer: tuple[Path, dict[str, str]], data: Path, tmp_path: Path
) -> None:
    profile = read_json_object((data / "profiles" / "ins-lantau-system.json").read_bytes())
    profile["trust"]["root_x"] = profile["sign_key"]["x"]
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "ins-lantau-system.json").write_text(pretty(profile))

    code, output, complaints = run_node(node_insurer, tmp_path)

    assert code == 1
    assert output == ""
    assert "signature verification failed" in complaints


def test_the_lock_of_the_node_example_holds_a_hash_of_everything_and_no_address() -> None:
    raw = (EXAMPLES / "insurer-node" / "package-lock.json").read_bytes()
    packages = read_json_object(raw)["packages"]

    assert b"http" not in raw.replace(b"https://github.com/sponsors/", b"")
    assert all(row["integrity"].startswith("sha512-") for name, row in packages.items() if name)
    assert len(packages) > 1
