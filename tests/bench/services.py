"""The house as services on PostgreSQL and Kafka: seven processes, the broker and the database share this machine.

`commit_delay` of PostgreSQL stands for a slower disk: it adds its time to every flush of the log.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.client import Profile, Session
from gateway.client.transport import Answer
from gateway.folder_lock import remove_tree
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.topics import HOSPITAL_REQUESTS
from tests.bench.load import Connection, Measured, drive
from tests.bench.rows import Row
from tests.bench.shares import Watch
from tests.bench.walks import CLIENTS, PATIENCE_S, posts, token_of
from tests.postgres import PostgresServer, binaries
from tests.role_processes import RoleProcesses, role_processes

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SLOWER_FLUSH = ("commit_delay=3000", "commit_siblings=0")
"""3 ms more per flush, and never waiting for company."""


@dataclass
class Arrivals:
    """When each claim was seen in the insurer's inbox, by claim id; owned by its one follower."""

    seen: dict[str, float] = field(default_factory=dict)

    async def follow(self, data: Path, url: str) -> None:
        connection, after = Connection(url), ""
        headers = await token_of(data, "ins-lantau-system", "hk")
        while True:
            _, body = await connection.request("GET", f"/hk/v1/inbox?limit=200&wait=10{after}", headers)
            page = read_json_object(body, bytes_max=1 << 26)
            now = time.perf_counter()
            for item in page["items"]:
                self.seen.setdefault(item["claim_id"], now)
            after = f"&after={page['next']}"

    async def until(self, wanted: int) -> float:
        deadline = time.perf_counter() + PATIENCE_S
        while len(self.seen) < wanted and time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        return max(self.seen.values(), default=float("inf"))


async def measure_services(folder: Path, seconds: float) -> list[Row]:
    """Measure at this machine's flush and again with 3 ms more; none where a service is missing."""
    programs = binaries()
    if programs is None or shutil.which("java") is None:
        return []
    rows = []
    for name, options in (("", ()), (", +3 ms a flush", SLOWER_FLUSH)):
        async with _house(folder / f"services{len(options)}", programs, options) as (house, data):
            rows += await _measure(house, data, seconds, name)
    return rows


@contextlib.asynccontextmanager
async def _house(folder: Path, programs: Path, options: Sequence[str]) -> AsyncIterator[tuple[RoleProcesses, Path]]:
    remove_tree(folder)
    folder.mkdir(parents=True)
    server = PostgresServer.start(programs, options)
    try:
        async with role_processes(folder / "data", {}, server) as (house, _):
            yield house, folder / "data"
    finally:
        server.stop()


async def _measure(house: RoleProcesses, data: Path, seconds: float, name: str) -> list[Row]:
    arrivals = Arrivals()
    following = asyncio.create_task(arrivals.follow(data, house.url("hk")))
    token = await token_of(data, "hosp-nanshan-his", "sz")
    await drive(house.url("sz"), "/sz/v1/claims", clients=2, seconds=3, make=posts(token, 5_000_000), wanted=202)
    before, warm = _processor_s(house), len(arrivals.seen)
    started = time.perf_counter()
    loaded = await drive(
        house.url("sz"), "/sz/v1/claims", clients=CLIENTS, seconds=seconds, make=posts(token, 0), wanted=202
    )
    total = len(loaded.seconds)
    last = await arrivals.until(warm + total)
    spent = {role: used - before[role] for role, used in _processor_s(house).items()}
    rows = [
        _row(f"durable sealed intake{name}", loaded.rate, "claims/s", _shares(loaded)),
        _row(f"POST to inbox, under that load{name}", total / (last - started), "claims/s", f"{total} claims"),
        _row(f"processor time of a claim{name}", 1000 * sum(spent.values()) / total, "ms", _by_role(spent, total)),
    ]
    token = await token_of(data, "hosp-nanshan-his", "sz")
    opened = await _open_loop(house.url("sz"), arrivals, token, total / (last - started) / 2, seconds)
    rows.append(_row(f"POST to inbox, open loop at half load{name}", opened.rate, "claims/s", _shares(opened)))
    rows.append(await _measure_relay(data, name))
    if not name:
        rows += await _watched(house, data, seconds)
    following.cancel()
    return rows


async def _watched(house: RoleProcesses, data: Path, seconds: float) -> list[Row]:
    """Load the house once more while profilers watch it: they slow it down, so its rate does not count."""
    token = await token_of(data, "hosp-nanshan-his", "sz")
    watch = Watch(house.running, data, seconds)
    await drive(
        house.url("sz"), "/sz/v1/claims", clients=CLIENTS, seconds=seconds, make=posts(token, 9_000_000), wanted=202
    )
    return await watch.rows()


async def _measure_relay(data: Path, name: str) -> Row:
    """Have `sz` send every claim again and time until its outbox is empty; core reads and drops them meanwhile."""
    session = Session(Profile.load(data / "profiles" / "op-gateway-1.json"), "sz")
    wish = compact({"topic": HOSPITAL_REQUESTS, "since": "2026-01-01T00:00:00Z"})
    started = time.perf_counter()
    again = (await session.post("/v1/operations/outbox/republish", wish, key=f"bench{name}")).json()["count"]
    while _at(await session.get("/v1/operations/lag"), "outbox"):
        await asyncio.sleep(0.02)
    elapsed = time.perf_counter() - started
    await session.aclose()
    return _row(f"relay{name}", again / elapsed, "rows/s", f"{again} sealed claims sent again, signed anew, and marked")


def _at(answer: Answer, stage: str) -> int:
    return next(int(one["count"]) for one in answer.json()["waiting"] if one["stage"] == stage)


async def _open_loop(url: str, arrivals: Arrivals, token: dict[str, str], rate: float, seconds: float) -> Measured:
    """Post at a fixed rate, whatever becomes of the former; time each claim from when it was due to its arrival."""
    measured, due_at = Measured(), {}
    connections = [Connection(url) for _ in range(CLIENTS * 4)]
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for connection in connections:
        free.put_nowait(connection)

    async def post(number: int, due: float) -> None:
        connection = await free.get()
        headers, body = posts(token, 7_000_000)(number)
        status, answer = await connection.request("POST", "/sz/v1/claims", headers, body)
        free.put_nowait(connection)
        if status == 202:
            due_at[read_json_object(answer)["claim_id"]] = due
        else:
            measured.failures[status] = measured.failures.get(status, 0) + 1

    started = time.perf_counter()
    posting = []
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        posting.append(asyncio.create_task(post(number, due)))
    await asyncio.gather(*posting)
    deadline = time.perf_counter() + PATIENCE_S
    while not due_at.keys() <= arrivals.seen.keys() and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    measured.seconds = [arrivals.seen[claim_id] - due for claim_id, due in due_at.items() if claim_id in arrivals.seen]
    measured.elapsed_s = max(arrivals.seen.values()) - started
    return measured


def _processor_s(house: RoleProcesses) -> dict[str, float]:
    """Read each process' user and system time from the kernel (`proc(5)`, fields 14 and 15)."""
    used = {}
    for role, process in house.running.items():
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        used[role] = (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
    return used


def _by_role(spent: dict[str, float], claims: int) -> str:
    return ", ".join(f"{role} {1000 * used / claims:.1f}" for role, used in spent.items() if 1000 * used / claims > 0.1)


def _shares(measured: Measured) -> str:
    failures = f", failures {measured.failures}" if measured.failures else ""
    return f"{measured.latencies()}{failures}"


def _row(name: str, value: float, unit: str, note: str) -> Row:
    return Row(name, value, unit, "postgresql", "kafka", note)
