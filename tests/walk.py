"""The whole house under test: a sandbox, every role in one process over ASGI, and the parties that act in it.

`house(folder)` opens it for the length of a `with`. Nothing sleeps blindly: `until` asks again until its deadline.
Parties speak HTTP with their own keys; what no party may do (forge, replay) is done with the keys of the sandbox.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from sqlalchemy import Row, Select, func, select

from audit.leaf import parse_leaf
from audit.proof import split_entry
from audit.served import Folder
from audit.tiles import TileReader
from gateway import roles
from gateway.client.hospital import HospitalClient
from gateway.client.insurer import InsurerClient
from gateway.client.profile import Profile
from gateway.client.transport import ApiProblem, Retry, Session
from gateway.client.treasurer import Batch, TreasurerClient
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import Clock, SystemClock
from gateway.protocol.jose import PrivateKey
from gateway.roles import Gateway
from gateway.runtime.process import RoleProcess
from gateway.runtime.storage.database import Transaction, rows
from gateway.runtime.storage.tables import audit_rows, outbox
from gateway.sandbox.bank import create_bank
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import Sandbox, write_secret
from tests.postgres import postgres

T = TypeVar("T")
C = TypeVar("C")

BASE_URL = "http://127.0.0.1:8080"
PATIENCE_S = 15.0
ONCE = Retry(attempts_max=1)


class NotInTimeError(AssertionError):
    """What a test waited for did not come before its deadline."""


async def until(ask: Callable[[], Awaitable[T | None]], what: str, within_s: float = PATIENCE_S) -> T:
    """Ask again and again until the answer is true; `NotInTimeError` names what did not come."""
    deadline = time.monotonic() + within_s
    while True:
        found = await ask()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotInTimeError(f"{what} did not come within {within_s:.0f} s")
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Claimed:
    """A claim that the hospital's edge has taken."""

    claim_id: str
    case_id: str
    insurer: str


@dataclass
class Parties:
    """Everybody of a sandbox who speaks HTTP with it; `transport` is None where it is served by another process."""

    data: Path
    sandbox: Sandbox
    clock: Clock
    transport: httpx2.AsyncBaseTransport | None = None
    retry: Retry = ONCE
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)
    bills: int = 0

    def profile(self, client_id: str) -> Profile:
        return Profile.load(self.data / "profiles" / f"{client_id}.json")

    def _client(self, kind: Callable[..., C], client_id: str) -> C:
        """Open a client of ours once."""
        if client_id not in self.clients:
            words = {"transport": self.transport, "clock": self.clock, "retry": self.retry}
            self.clients[client_id] = kind(self.profile(client_id), **words)
        found: C = self.clients[client_id]
        return found

    @property
    def hospital(self) -> HospitalClient:
        return self._client(HospitalClient, "hosp-nanshan-his")

    def insurer_client(self, code: str) -> InsurerClient:
        return self._client(InsurerClient, f"{code}-system")

    def http(self) -> httpx2.AsyncClient:
        """A bare client for requests that no client of ours would send."""
        return httpx2.AsyncClient(transport=self.transport, base_url=self.sandbox.layout.base_url)

    def key(self, kid: str) -> PrivateKey:
        return self.sandbox.actors[kid.partition("/")[0]].keys[kid]

    def session(self, client_id: str, role: str) -> Session:
        """Return a client's conversation with a role, opened once."""
        if (client_id, role) not in self.sessions:
            found = Session(self.profile(client_id), role, transport=self.transport, clock=self.clock, retry=self.retry)
            self.sessions[client_id, role] = found
        return self.sessions[client_id, role]

    async def claim(self, claim_id: str) -> dict[str, Any]:
        """Return core's own view of a claim, as an operator sees it."""
        return (await self.session("op-gateway-1", "core").get(f"/v1/claims/{claim_id}")).json()

    async def until_claim(self, claimed: Claimed, **expected: str) -> dict[str, Any]:
        """Wait until core's view has these values, e.g. `state="in_review"`."""

        async def reached() -> dict[str, Any] | None:
            try:
                found = await self.claim(claimed.claim_id)
            except ApiProblem as problem:
                if problem.status != 404:
                    raise
                return None
            return found if expected.items() <= found.items() else None

        return await until(reached, f"claim with {expected}")

    def treasurer(self, payer: str, number: int) -> TreasurerClient:
        return self._client(TreasurerClient, f"{payer}-treasurer-{number}")

    async def until_draft(self, payer: str) -> Batch:
        """Wait for a batch of `payer` that waits for its treasurers."""

        async def drafted() -> Batch | None:
            found = await self.treasurer(payer, 1).batches()
            return next((batch for batch in found if batch.state == "draft"), None)

        return await until(drafted, f"a batch of {payer}")

    async def pay(self, payer: str) -> Batch:
        """Have both treasurers approve the next batch of `payer`; the bank hears of it by the job."""
        batch = await self.until_draft(payer)
        for number in (1, 2):
            await self.treasurer(payer, number).approve(batch)
        return batch

    async def bank(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        token = read_json_object((self.data / "bank" / "bank.json").read_bytes())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http() as client:
            return await client.request(method, f"/bank/v1/{path}", json=body, headers=headers)

    async def bank_journal(self) -> dict[str, Any]:
        """Return the bank's own books: what really moved."""
        return read_json_object((await self.bank("GET", "journal")).content)

    async def bank_fault(self, **fault: Any) -> None:
        assert (await self.bank("POST", "control/faults", fault)).status_code == 204

    async def balances(self) -> dict[str, str]:
        """Return the books by account, having checked that they sum to zero in every currency."""
        found = (await self.session("aud-one-tools", "settlement").get("/v1/ledger/trial-balance")).json()
        assert set(found["sums_minor"].values()) <= {0}
        return {account["account"]: account["balance"] for account in found["accounts"]}

    async def obligation(self, obligation_id: str) -> dict[str, Any]:
        return (await self.session("aud-one-tools", "settlement").get(f"/v1/obligations/{obligation_id}")).json()

    async def forget(self) -> None:
        """Close every connection; whoever acts next opens a new one."""
        opened = [*self.sessions.values(), *self.clients.values()]
        self.sessions, self.clients = {}, {}
        for one in opened:
            await one.aclose()


@dataclass
class House(Parties):
    """The six roles, the bank and the witnesses in this process; a test may look into each."""

    gateway: Gateway = field(kw_only=True)

    def process(self, instance: str) -> RoleProcess:
        return next(found for found in self.gateway.processes if found.settings.instance == instance)

    async def read(self, instance: str, statement: Select[Any]) -> list[Row[Any]]:
        """Look into a role's database where the wire does not show it."""

        async def query(tx: Transaction) -> list[Row[Any]]:
            return list(await rows(tx, statement))

        return await self.process(instance).database.read(query)

    async def until_logged(self) -> None:
        """Wait until every role's messages and records have left it, and the log with all of them is cosigned."""
        unsent = select(func.count()).select_from(outbox).where(outbox.c.published_at.is_(None))
        records = select(func.count()).select_from(audit_rows)
        instances = [one.settings.instance for one in self.gateway.processes if one.settings.role != "witness"]

        async def logged() -> bool:
            if any([(await self.read(name, unsent))[0][0] for name in instances]):
                return False
            written = sum([(await self.read(name, records))[0][0] for name in instances])
            [head] = (await self.session("aud-one-tools", "audit").get("/v1/logs")).json()["logs"]
            return bool(head.get("cosigned") == "yes" and int(head["size"]) == written)

        await until(logged, "the cosigned log of everything")

    @property
    def log_folder(self) -> Path:
        return next((self.data / "roles" / "audit" / "log").iterdir())

    async def log(self, **wanted: Any) -> list[dict[str, Any]]:
        """Read the entries of the published log that have these values in clear, e.g. `typ="claim.received"`."""
        await self.until_logged()
        served = Folder(self.log_folder)
        size = int(served.fetch("checkpoint").split(b"\n")[1])
        reader = TileReader(size, served.fetch)
        bodies = [dict(parse_leaf(split_entry(reader.entry(index))[0]).body) for index in range(size)]
        return [body for body in bodies if wanted.items() <= (body | dict(body.get("clr", {}))).items()]

    async def verify(self, command: str, *arguments: str) -> int:
        """Run `python -m audit.verify` over the log's folder as an auditor would; returns its exit code."""
        await self.until_logged()
        return await verify_log(self.data, command, *arguments)


async def verify_log(data: Path, command: str, *arguments: str) -> int:
    log = next((data / "roles" / "audit" / "log").iterdir())
    trust = data / "profiles" / "log-trust.json"
    words = [sys.executable, "-m", "audit.verify", command, "--log", str(log), "--trust", str(trust), *arguments]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL)
    return await process.wait()


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    clock: Clock | None = None,
    base_url: str = BASE_URL,
    layout: Layout | None = None,
    *,
    database: str = "sqlite",
) -> AsyncIterator[House]:
    """Make a sandbox in `folder`, open and run every role, and wait until each has the registry release.

    With `postgresql` as its `database` every role has an empty one of its own on a real server.
    """
    clock = clock or SystemClock()
    sandbox = init(folder, layout=layout or Layout(base_url), clock=clock)
    if database == "postgresql":
        for role in (folder / "roles").iterdir():
            write_secret(role / "secrets" / "gateway_database_url", postgres().fresh_url().encode())
    gateway = await roles.open_all(folder, clock, extra_apps={"/bank": create_bank(folder / "bank", clock)})
    async with roles.running(gateway):
        found = House(folder, sandbox, clock, httpx2.ASGITransport(gateway.app), gateway=gateway)

        async def informed() -> bool:
            return all(one.trust.number for one in gateway.processes if one.settings.role != "witness")

        await until(informed, "the first registry release on every role")
        try:
            yield found
        finally:
            await found.forget()
