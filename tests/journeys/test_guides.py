"""The guides as a reader plays them: every block, page by page in order, against the demo that README.md starts."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from adapters.hk.desk.form import read_decision
from gateway.client import HospitalClient, InsurerClient, Profile
from gateway.protocol.canonical import read_json, read_json_object
from gateway.runtime.web.reference import PROBLEM_SCHEMA
from tests.children import start_child
from tests.guides import ROOT, Block, blocks, name_of, pages
from tests.hospital_bills import numbered
from tests.role_processes import START_S_MAX
from tests.served import READY, STOP_S_MAX, free_port
from tests.services import missing
from tests.walk import until

BLOCK_S_MAX = 120.0
DEMO_S_MAX = 180.0
TREE = ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock", "gateway", "audit")
SERVERS = ("make run", "gateway run")
TRANSLATIONS = ("README.zh-Hans.md", "README.zh-Hant.md")
"""Their commands are README.md's, which a test in `tests/architecture` holds."""

PORTS = ("8080", "8081")
"""As the guides write them; each stands for a port that is free here."""


def _is_exchange(shown: Any) -> None:
    assert set(shown) == {"manifest", "dossier", "receipt", "stamp"}


def _is_problem(shown: Any) -> None:
    fault_schema = PROBLEM_SCHEMA["properties"]["errors"]["items"]
    assert set(shown) <= set(PROBLEM_SCHEMA["properties"])
    for fault in shown["errors"]:
        assert set(fault_schema["required"]) <= set(fault) <= set(fault_schema["properties"])


def _is_decision(shown: Any) -> None:
    assert len(read_decision(shown, "CNY").entries) == len(shown["entries"])


JSON_SHOWN: Mapping[tuple[str, int], Callable[[Any], None]] = {
    ("docs/insurers.md", 1): _is_exchange,
    ("docs/insurers.md", 2): _is_decision,
    ("docs/operating/errors.md", 0): _is_problem,
}
"""What a JSON block is, by page and number, where it is not the answer of the command before it."""


@dataclass
class Reader:
    """Somebody in a copy of the tree with a shell: what a block exports or saves is there for the next."""

    folder: Path
    ports: Mapping[str, str] = field(default_factory=lambda: {port: str(free_port()) for port in PORTS})
    servers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def move_in(self) -> None:
        for name in TREE:
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            if not path.name.endswith(".stamp"):
                (self.folder / ".venv" / path.name).symlink_to(path)
        for stamp in ("demo.stamp", "test.stamp"):
            (self.folder / ".venv" / stamp).touch()
        (self.folder / ".exported").touch()

    @property
    def environment(self) -> dict[str, str]:
        ours = dict(os.environ)  # noqa: TID251 the reader's shell gets ours
        path = f"{self.folder / '.venv' / 'bin'}:{ours['PATH']}"
        return ours | {"PATH": path, "PORT": self.ports["8080"], "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def script(self, text: str) -> str:
        return f"set -a; . ./.exported; {self.moved(text)}\nexport -p > .exported"

    def moved(self, text: str) -> str:
        return re.sub(r"\b808[01]\b", lambda match: self.ports[match[0]], text)

    def run(self, *command: str, place: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_S_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{place}: {done.stderr}"
        return done.stdout

    async def serve(self, block: Block, port: str) -> Path:
        """Run a block that ends with a server until all its roles are ready; returns what it has printed."""
        log = self.folder / f"{block.page.replace('/', '-')}-{block.line}.log"
        process = start_child(
            ["bash", "-euo", "pipefail", "-c", self.script(block.text)], log, self.environment, self.folder
        )
        self.servers.append(process)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            async def ready() -> bool:
                assert process.poll() is None, f"{block.place}: {log.read_text(encoding='utf-8')}"
                if "serve.listening" not in log.read_text(encoding="utf-8"):
                    return False
                try:
                    return all([(await client.get(path)).status_code == 200 for path in READY])
                except httpx2.TransportError:
                    return False

            await until(ready, block.place, within_s=DEMO_S_MAX)
        return log

    def stop_serving(self, data: Path) -> None:
        """End the server as an operator does, by the id in the folder's lock."""
        process = self.servers.pop()
        os.kill(int((self.folder / data / ".lock").read_text()), signal.SIGTERM)
        process.wait(STOP_S_MAX)

    def leave(self) -> None:
        for lock in self.folder.glob("build/*/.lock"):
            text = lock.read_text().strip()
            if self.servers and text.isdigit() and Path(f"/proc/{text}").exists():
                os.kill(int(text), signal.SIGKILL)
        for process in self.servers:
            process.kill()
            process.wait()


def shape(line: str) -> str:
    """Reduce a line of output to what is the same at every run."""
    line = re.sub(r"\b(claim|case|bat|ev|req)_[a-z0-9]+", r"\1_ID", line)
    line = re.sub(r"\b[0-9a-f]{8,}\b", "HEX", line)
    # the demo names the Python beside it, and the reader's folder only links to one
    line = line.replace(".venv/bin/python -m", "python -m")
    return re.sub(r"\s+", " ", re.sub(r"[0-9]+", "0", line)).strip()


def is_like(shown: Any, answered: Any, place: str) -> None:
    """Hold what a guide shows against what came: the same members, place by place."""
    if isinstance(shown, dict):
        assert isinstance(answered, dict), place
        assert set(shown) <= set(answered), place
        for name, value in shown.items():
            is_like(value, answered[name], f"{place}/{name}")
    elif isinstance(shown, list):
        assert isinstance(answered, list), place
        assert answered, place
        is_like(shown[0], answered[0], f"{place}/0")
    else:
        assert isinstance(answered, type(shown)), place


async def hand_in_a_claim_for_the_insurer(reader: Reader) -> None:
    """Hand in one more bill, so that whoever reads the insurers' guide has a claim to answer."""
    profile = Profile.load(reader.folder / "build/demo/profiles/hosp-nanshan-his.json")
    async with HospitalClient(profile) as hospital:
        receipt = await hospital.submit(numbered(4711, "outpatient-pay-and-claim"), "guide-4711")
    insurer = Profile.load(reader.folder / "build/demo/profiles/ins-lantau-system.json")
    async with InsurerClient(insurer) as client:

        async def arrived() -> bool:
            return any(item.claim_id == receipt.claim_id for item in (await client.inbox()).items)

        await until(arrived, "the claim in the insurer's inbox", within_s=START_S_MAX)


async def play(reader: Reader, page: Path) -> list[str]:
    """Play one page; returns what its blocks printed."""
    printed: list[str] = []
    numbers = {"json": 0}
    for block in blocks(page):
        if block.why_not_run is not None:
            continue
        if block.file_name is not None:
            (reader.folder / block.file_name).write_text(reader.moved(block.text), encoding="utf-8")
            used = [other for other in blocks(page) if other.language == "sh" and block.file_name in other.text]
            assert used, f"{block.place}: no command uses {block.file_name}"
        elif block.language == "python":
            file = reader.folder / "block.py"
            file.write_text(reader.moved(block.text), encoding="utf-8")
            printed.append(await asyncio.to_thread(reader.run, "python", file.name, place=block.place))
        elif block.language == "sh" and block.text.splitlines()[-1].startswith(SERVERS):
            await reader.serve(block, reader.ports["8081"])
            reader.stop_serving(Path("build/trial"))
        elif block.language == "sh":
            command = ("bash", "-euo", "pipefail", "-c", reader.script(block.text))
            printed.append(await asyncio.to_thread(reader.run, *command, place=block.place))
        elif block.language == "json":
            shown = read_json(block.text.encode())
            check = JSON_SHOWN.get((block.page, numbers["json"]))
            numbers["json"] += 1
            if block.follows_block and check is None:
                is_like(shown, read_json_object(printed[-1].encode()), block.place)
            else:
                assert check is not None, f"{block.place}: neither an answer nor a known form"
                check(shown)
    return printed


async def test_every_block_of_the_guides_runs_as_it_is_printed(tmp_path: Path) -> None:
    for program in ("bash", "curl", "make"):
        if shutil.which(program) is None:
            missing(program)
    reader = Reader(tmp_path)
    reader.move_in()
    try:
        [start, transcript] = [block for block in blocks(ROOT / "README.md") if block.language in ("sh", "text")]
        log = await reader.serve(start, reader.ports["8080"])
        came = {shape(line) for line in log.read_text(encoding="utf-8").splitlines()}
        shown = [line for line in reader.moved(transcript.text).splitlines() if "…" not in line]
        assert [line for line in shown if shape(line) not in came] == []

        printed: dict[str, list[str]] = {}
        for page in pages():
            if name_of(page) in ("README.md", *TRANSLATIONS):
                continue
            if name_of(page) == "docs/insurers.md":
                await hand_in_a_claim_for_the_insurer(reader)
            printed[name_of(page)] = await play(reader, page)

        assert "HTTP/1.1 202" in printed["docs/hospitals.md"][0]
        assert "decided claim_" in printed["docs/insurers.md"][-1]
        assert "complete up to this checkpoint" in printed["docs/life-of-a-claim.md"][0]
        assert "needs you" not in printed["docs/operating/kafka.md"][-1]
        assert "http.internal" not in log.read_text(encoding="utf-8")
    finally:
        reader.leave()
