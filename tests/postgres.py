"""A real PostgreSQL for tests: the system's newest binaries, an own cluster in a temporary folder, gone at the end.

One server a test run, started at the first use in about a second, as an unprivileged user also when the tests run as
root. It listens on a unix socket and on 127.0.0.1; it ends only itself. Databases are cheap: `fresh_url()`.
"""

import asyncio
import atexit
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.services import missing

USER = "gateway"
START_S_MAX = 20.0

KEEPER = 'folder=$1; shift; "$@" & server=$!; read _; kill -QUIT $server; wait $server; rm -rf "$folder"'
"""A shell that ends the server once its standard input closes: also when the test run is killed."""


REVIVED = '"$@" & server=$!; read _; kill -QUIT $server; wait $server'
"""The same for a server that was started again; the first shell still owns the folder."""


def binaries() -> Path | None:
    """Find the newest PostgreSQL that Debian's layout or the PATH offers."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    other = shutil.which("initdb")
    return Path(other).resolve().parent if other else None


def _unprivileged() -> dict[str, Any]:
    """Choose as whom to run: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    chosen = names.get("postgres") or names["nobody"]
    return {"user": chosen.pw_uid, "group": chosen.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class PostgresServer:
    """One cluster. `options` are server settings such as `fsync=off`; durability is on unless told otherwise."""

    folder: Path
    programs: Path
    port: int
    process: "subprocess.Popen[bytes]"
    command: Sequence[str] = ()
    revived: "subprocess.Popen[bytes] | None" = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def start(cls, programs: Path, options: Sequence[str] = ()) -> "PostgresServer":
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        runner = _unprivileged()
        if runner:
            os.chown(folder, runner["user"], runner["group"])
        cluster = folder / "data"
        initdb = f"{programs}/initdb -D {cluster} -U {USER} -A trust -E UTF8 --locale=C --no-sync --no-instructions"
        subprocess.run(initdb.split(), check=True, stdout=subprocess.DEVNULL, cwd=folder, **runner)
        port = _free_port()
        settings = [f"unix_socket_directories={folder}", "listen_addresses=127.0.0.1", f"port={port}", *options]
        command = [str(programs / "postgres"), "-D", str(cluster), *(part for one in settings for part in ("-c", one))]
        keeper = ["/bin/sh", "-c", KEEPER, "sh", str(folder), *command]
        with (folder / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                keeper, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", start_new_session=True, **runner
            )
        server = cls(folder, programs, port, process, command)
        server.wait_until_ready()
        return server

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline and (self.revived or self.process).poll() is None:
            pid_file = self.folder / "data" / "postmaster.pid"
            if pid_file.is_file() and pid_file.read_text().rstrip().endswith("ready"):
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start; see {self.folder}/log")

    def fresh_url(self) -> str:
        """Create an empty database; return its URL for `open_database`."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement outside any transaction; may be called inside a running loop."""

        async def run() -> None:
            engine = create_async_engine(self.url(database), poolclass=NullPool, isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                await connection.exec_driver_sql(statement)
            await engine.dispose()

        with ThreadPoolExecutor(1) as lone:
            lone.submit(asyncio.run, run()).result()

    def crash(self) -> None:
        """End the server without a checkpoint and without a word to its clients; its files stay."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        while (self.folder / "data" / "postmaster.pid").exists():
            time.sleep(0.02)

    def revive(self) -> None:
        """Start it again on the same files, which it recovers first."""
        keeper = ["/bin/sh", "-c", REVIVED, "sh", *self.command]
        runner = _unprivileged()
        with (self.folder / "log").open("ab") as log:
            self.revived = subprocess.Popen(
                keeper, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", start_new_session=True, **runner
            )
        self.wait_until_ready()

    def freeze(self) -> None:
        """Stop the server and every session of it where they are: connections stand, and nobody answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """Name the server, which starts sessions, before its sessions."""
        pid = (self.folder / "data" / "postmaster.pid").read_text().split()[0]
        return [int(pid), *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def ask_passwords(self) -> None:
        """From now on, whoever connects over TCP needs a password; this fixture's own user has none and stays out."""
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)

    def stop(self) -> None:
        """End this server and remove its folder."""
        if self.revived is not None:
            self.revived.communicate(timeout=START_S_MAX)
        try:
            self.process.communicate(timeout=START_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()  # the keeper only; a server that is this slow ends by its own SIGQUIT
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def postgres() -> PostgresServer:
    """Return the run's server, started at the first call; skips or fails where there are no binaries."""
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")
    server = PostgresServer.start(programs)
    atexit.register(server.stop)
    return server
