"""The gateway as a process of its own on a sandbox folder, started, killed and started again by a test."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from gateway.client.transport import Retry
from gateway.protocol.clock import SystemClock
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import Sandbox
from tests.walk import ONCE, Parties, until

START_S_MAX = 60.0
STOP_S_MAX = 25.0
READY = ("/sz/readyz", "/core/readyz", "/hk/readyz", "/desk/readyz", "/audit/readyz")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """A sandbox in `data` and, between `start` and `stop`, the process that serves it. Its log is `server.log`."""

    data: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def make(self) -> Sandbox:
        return init(self.data, layout=Layout(f"http://127.0.0.1:{self.port}"), clock=SystemClock())

    @property
    def log(self) -> Path:
        return self.data.parent / f"{self.data.name}-server.log"

    async def start(self, failpoint: str | None = None) -> bool:
        """Start serving; True once every role is ready, False if the process died before that."""
        self._spawn(failpoint)
        return await self.start_is_ready()

    async def start_is_ready(self) -> bool:
        """Wait until every role of the process is ready, or it has died."""
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False) as client:
            await until(lambda: self._ready_or_dead(client), "the gateway", within_s=START_S_MAX)
        return self.exit_code is None

    def _spawn(self, failpoint: str | None) -> None:
        command = [sys.executable, "-m", "gateway", "run", "all", "--data", str(self.data), "--port", str(self.port)]
        environment = {**os.environ}  # noqa: TID251 the child gets ours and one setting
        if failpoint is not None:
            environment["GATEWAY_FAILPOINT"] = failpoint
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    async def _ready_or_dead(self, client: httpx2.AsyncClient) -> bool:
        if self.exit_code is not None:
            return True
        try:
            answers = [await client.get(path) for path in READY]
        except httpx2.TransportError:
            return False
        return all(answer.status_code == 200 for answer in answers)

    @property
    def exit_code(self) -> int | None:
        return None if self.process is None else self.process.poll()

    async def until_dead(self) -> int:
        """Wait until the process has ended by itself; returns its exit code."""

        async def ended() -> list[int]:
            return [] if self.exit_code is None else [self.exit_code]

        [code] = await until(ended, "the end of the process")
        return code

    async def stop(self) -> int:
        """Ask the process to end, as an operator does; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, STOP_S_MAX)

    def kill(self) -> None:
        if self.process is not None and self.exit_code is None:
            self.process.kill()
            self.process.wait()

    def databases(self) -> dict[str, Path]:
        """Name the database file of every role on the bus."""
        found = {path.stem: path for path in self.data.glob("roles/*/*.db")}
        return {name: path for name, path in found.items() if not name.startswith("witness")}


def count(path: Path, query: str) -> int:
    """Ask a database file one number; nothing else has it open for writing."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        [(number,)] = database.execute(query).fetchall()
        return int(number)


@contextlib.asynccontextmanager
async def served(data: Path, retry: Retry = ONCE) -> AsyncIterator[tuple[Served, Parties]]:
    """Make a sandbox and give it with its parties; its process is killed at the end, however the test ends."""
    found = Served(data)
    parties = Parties(data, found.make(), SystemClock(), retry=retry)
    try:
        yield found, parties
    finally:
        await parties.forget()
        found.kill()
