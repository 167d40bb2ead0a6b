"""Loads on running servers: the bare peer, the intake, the way to the insurer's inbox, memory after many claims."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from gateway.client import Profile, Session
from gateway.client.transport import Retry
from gateway.folder_lock import remove_tree
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import SystemClock
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from tests.bench.bills import bill_body
from tests.bench.load import Connection, Measured, drive
from tests.bench.machine import resident_mb
from tests.bench.rows import Row
from tests.postgres import PostgresServer, binaries

CLIENTS = 8
ROLES = ("sz", "core", "hk", "insurer", "audit")
PATIENCE_S = 60.0
LONE_CLAIMS = 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def _server(command: list[str], port: int, path: str) -> AsyncIterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                status, _ = await Connection(f"http://127.0.0.1:{port}").request("GET", path, {})
                if status in (200, 405):
                    break
            await asyncio.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


async def measure_database(folder: Path, database: str, seconds: float, memory_claims: int) -> list[Row]:
    """Measure the bare peer and the gateway on one database, in the same run."""
    remove_tree(folder)
    folder.mkdir(parents=True)
    if database == "sqlite":
        return await _measure(folder, database, None, seconds, memory_claims)
    programs = binaries()
    if programs is None:
        print("no PostgreSQL on this machine: its rows are left out", file=sys.stderr)
        return []
    server = PostgresServer.start(programs)
    try:
        return await _measure(folder, database, server, seconds, memory_claims)
    finally:
        server.stop()


async def _measure(
    folder: Path, database: str, postgres: PostgresServer | None, seconds: float, memory_claims: int
) -> list[Row]:
    bare = await _measure_bare(folder, postgres, seconds)
    rows = [
        Row("bare FastAPI + pydantic + durable insert", bare.rate, "bills/s", database, "-", _latency(bare)),
    ]
    port = free_port()
    data = folder / "data"
    init(data, layout=Layout(f"http://127.0.0.1:{port}"), clock=SystemClock())
    if postgres is not None:
        for role in (*ROLES, "witness-sz", "witness-hk"):
            settings = data / "roles" / role / "settings.toml"
            text = f'database_url = "{postgres.fresh_url()}"\n' + settings.read_text(encoding="utf-8")
            settings.write_text(text, encoding="utf-8")
    command = ["gateway", "run", "all", "--data", str(data), "--port", str(port)]
    async with _server(command, port, "/sz/healthz") as process:
        rows += await _measure_gateway(data, port, database, bare, seconds, process.pid, memory_claims)
    return rows


def _latency(measured: Measured) -> str:
    failures = f", failures {measured.failures}" if measured.failures else ""
    return f"{CLIENTS} clients, 30 lines, {measured.latencies()}{failures}"


async def _measure_bare(folder: Path, postgres: PostgresServer | None, seconds: float) -> Measured:
    port = free_port()
    url = f"sqlite:///{folder / 'bare.db'}"
    if postgres is not None:
        url = postgres.fresh_url().replace("postgresql+asyncpg", "postgresql")
    headers = {"Content-Type": "application/json"}
    async with _server(["tests.bench.baseline", str(port), url], port, "/v1/claims"):
        return await drive(
            f"http://127.0.0.1:{port}",
            "/v1/claims",
            clients=CLIENTS,
            seconds=seconds,
            make=lambda number: (headers, bill_body(number)),
            wanted=202,
        )


async def token_of(data: Path, client_id: str, role: str) -> dict[str, str]:
    """Fetch an access token as the party's program would; good for five minutes."""
    session = Session(Profile.load(data / "profiles" / f"{client_id}.json"), role, retry=Retry(attempts_max=20))
    try:
        token = await session._access()
        return {"Authorization": f"Bearer {token.text}", "Content-Type": "application/json"}
    finally:
        await session.aclose()


def posts(token: dict[str, str], first: int) -> Callable[[int], tuple[dict[str, str], bytes]]:
    def make(number: int) -> tuple[dict[str, str], bytes]:
        return token | {"Idempotency-Key": f"bench-{first + number}"}, bill_body(first + number)

    return make


async def _measure_gateway(
    data: Path, port: int, database: str, bare: Measured, seconds: float, pid: int, memory_claims: int
) -> list[Row]:
    url = f"http://127.0.0.1:{port}"
    token = await token_of(data, "hosp-nanshan-his", "sz")
    inbox = asyncio.create_task(_follow_inbox(data, url))
    started = time.perf_counter()
    measured = await drive(url, "/sz/v1/claims", clients=CLIENTS, seconds=seconds, make=posts(token, 0), wanted=202)
    total = len(measured.seconds)
    arrived_s = await _until_arrived(inbox, total) - started
    bus = "embedded"
    rows = [
        Row("durable sealed intake", measured.rate, "claims/s", database, bus, _latency(measured)),
        Row("intake as a share of the bare insert", measured.rate / bare.rate, "ratio", database, bus, "same run"),
        Row("POST to inbox, under that load", total / arrived_s, "claims/s", database, bus, f"{total} claims arrived"),
        await _measure_lone(data, url, token, database),
        Row("memory of `all`", resident_mb(pid), "MB", database, bus, f"after {total} claims"),
    ]
    if memory_claims > total:
        token = await token_of(data, "hosp-nanshan-his", "sz")
        left = memory_claims - total
        more = await drive(
            url,
            "/sz/v1/claims",
            clients=CLIENTS,
            seconds=240,
            make=posts(token, 1_000_000),
            wanted=202,
            requests_max=left,
        )
        total += len(more.seconds)
        rows.append(Row("memory of `all`", resident_mb(pid), "MB", database, bus, f"after {total} claims"))
    inbox.cancel()
    return rows


ARRIVED: list[float] = []
"""When each item was seen in the inbox; owned by `_follow_inbox`, one at a time."""


async def _follow_inbox(data: Path, url: str) -> None:
    """Read the insurer's inbox as its system would, by long poll."""
    ARRIVED.clear()
    connection = Connection(url)
    headers = await token_of(data, "ins-lantau-system", "hk")
    after = ""
    while True:
        _, body = await connection.request("GET", f"/hk/v1/inbox?limit=200&wait=10{after}", headers)
        page = read_json_object(body, bytes_max=1 << 24)
        ARRIVED.extend([time.perf_counter()] * len(page["items"]))
        after = f"&after={page['next']}"


async def _until_arrived(inbox: "asyncio.Task[None]", wanted: int) -> float:
    deadline = time.perf_counter() + PATIENCE_S
    while len(ARRIVED) < wanted and time.perf_counter() < deadline and not inbox.done():
        await asyncio.sleep(0.05)
    return ARRIVED[-1] if ARRIVED else float("inf")


async def _measure_lone(data: Path, url: str, token: dict[str, str], database: str) -> Row:
    """Time one claim at a time on an idle house: from the hospital's POST to its line in the inbox."""
    del data
    connection = Connection(url)
    lone = Measured()
    for number in range(LONE_CLAIMS):
        before, seen = time.perf_counter(), len(ARRIVED)
        headers, body = posts(token, 2_000_000)(number)
        await connection.request("POST", "/sz/v1/claims", headers, body)
        while len(ARRIVED) <= seen:
            await asyncio.sleep(0.001)
        lone.seconds.append(ARRIVED[-1] - before)
    note = f"{lone.latencies()}, idle house, one at a time"
    return Row("POST to visible in the inbox, p50", lone.percentile_ms(0.5), "ms", database, "embedded", note)
