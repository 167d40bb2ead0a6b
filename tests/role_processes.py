"""The house as services: each role a process of its own on PostgreSQL and a secured Apache Kafka, on loopback.

Every role has its own database, keys, SCRAM user and port; a test may kill any of them, or the broker, and start it
again. What a role prints lies in `<data>/<role>.log`.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2

from gateway.protocol.canonical import compact
from gateway.protocol.clock import SystemClock
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from tests.children import start_child
from tests.kafka.broker import Broker, free_ports
from tests.one_claim import QUICK
from tests.postgres import PostgresServer, postgres
from tests.walk import Parties, until

ROLES = ("core", "sz", "hk", "insurer", "audit", "witness-sz", "witness-hk")
FACE = {"insurer": "desk", "witness-sz": "witness/sz", "witness-hk": "witness/hk"}
START_S_MAX = 120.0
DRAIN_S_MAX = 25.0
QUICK_KAFKA = {"GATEWAY_KAFKA_SEND_S": "5", "GATEWAY_KAFKA_SESSION_S": "6", "GATEWAY_KAFKA_REBUILD_S": "10"}
"""Shorter limits, so that an outage is over in seconds."""


@dataclass
class RoleProcesses:
    """`ports` has one for each role and one for the bank."""

    data: Path
    broker: Broker
    ports: Mapping[str, int]
    environment: Mapping[str, str] = field(default_factory=lambda: QUICK_KAFKA)
    """Settings of every role's process."""
    running: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    def spawn(self, name: str, *words: str) -> None:
        command = [sys.executable, "-m", "gateway", *words, "--port", str(self.ports[name])]
        environment = {**os.environ, **self.environment}  # noqa: TID251 the child gets ours and its settings
        self.running[name] = start_child(command, self.data / f"{name}.log", environment)

    def start(self, role: str) -> None:
        self.spawn(role, "run", "--role-folder", str(self.data / "roles" / role))

    def configure(self, role: str, **settings: str | int | None) -> None:
        """Set, or with None unset, what a role finds in its settings file at its next start."""
        path = self.data / "roles" / role / "settings.toml"
        kept = [line for line in path.read_text().splitlines() if line.partition(" = ")[0] not in settings]
        words = [f"{name} = {compact(value).decode()}" for name, value in settings.items() if value is not None]
        path.write_text("\n".join((*words, *kept, "")))

    def start_all(self) -> None:
        self.spawn("bank", "sandbox", "bank", "--data", str(self.data))
        for role in ROLES:
            self.start(role)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    async def stop(self, name: str) -> int:
        """Ask a role to end, as an operator does; returns its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, DRAIN_S_MAX)

    async def until_dead(self, name: str) -> int:
        """Wait until a process has ended by itself; returns its exit code."""

        async def ended() -> bool:
            return self.running[name].poll() is not None

        await until(ended, f"the end of {name}", within_s=START_S_MAX)
        return self.running.pop(name).wait()

    async def status(self, role: str, page: str = "readyz") -> int | None:
        """Return the HTTP status of a role's health page, or None where nobody answers."""
        url = f"{self.url(role)}/{FACE.get(role, role)}/{page}"
        async with httpx2.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(url)).status_code
            except httpx2.TransportError:
                return None

    async def ready(self, role: str) -> bool:
        return await self.status(role) == 200

    async def until_alive_or_dead(self, role: str) -> None:
        """Wait until a role answers, ready or not, or has ended."""

        async def alive() -> bool:
            return await self.status(role, "healthz") == 200 or self.running[role].poll() is not None

        await until(alive, f"role {role}", within_s=START_S_MAX)

    async def until_ready(self, *roles: str) -> None:
        for role in roles or ROLES:
            await until(partial(self.ready, role), f"role {role}", within_s=START_S_MAX)

    def end(self) -> None:
        for name in list(self.running):
            self.kill(name)


@contextlib.asynccontextmanager
async def role_processes(
    data: Path,
    settings: Mapping[str, str] | None = None,
    server: PostgresServer | None = None,
    own: Mapping[str, Mapping[str, str | int]] | None = None,
) -> AsyncIterator[tuple[RoleProcesses, Parties]]:
    """Make a sandbox of services and start it; every process ends with the block, however the test ends.

    `settings` are every role's, by environment; `own` are those of single roles, by their settings files.
    """
    broker = await asyncio.to_thread(Broker.create, secured=True)
    names = (*ROLES, "bank")
    house = RoleProcesses(data, broker, dict(zip(names, free_ports(len(names)), strict=True)))
    house.environment = QUICK_KAFKA if settings is None else settings
    try:
        sandbox = init(data, layout=_layout(house, server or postgres()), clock=SystemClock())
        for role, words in (own or {}).items():
            house.configure(role, **words)
        await asyncio.to_thread(apply_topics, house)
        house.start_all()
        await house.until_ready()
        parties = Parties(data, sandbox, SystemClock(), retry=QUICK)
        try:
            yield house, parties
        finally:
            await parties.forget()
    finally:
        house.end()
        broker.remove()


def _layout(house: RoleProcesses, server: PostgresServer) -> Layout:
    databases = {role.replace("-", "_"): f"{role}_{os.getpid()}_{house.ports[role]}" for role in ROLES}
    for name in databases.values():
        server.execute(f'CREATE DATABASE "{name}"')
    hosts = {name: house.url(name) for name in house.ports}
    return _OwnDatabases(
        house.url("bank"),
        hosts,
        house.broker.servers,
        house.broker.ca_file,
        "one a role",
        urls={role: server.url(name) for role, name in databases.items()},
    )


@dataclass(frozen=True)
class _OwnDatabases(Layout):
    """Databases under names of this run's own."""

    urls: Mapping[str, str] = field(default_factory=dict)

    def database_of(self, role: str) -> str:
        return self.urls[role.replace("-", "_")]


def apply_topics(house: RoleProcesses) -> None:
    """Run `gateway topics apply` as the operator does, as the broker's admin."""
    password = house.data / "admin.password"
    password.touch(mode=0o600)
    password.write_text(house.broker.admin_password)
    command = [sys.executable, "-m", "gateway", "topics", "apply", "--servers", house.broker.servers]
    command += ["--replicas", "1", "--user", "admin", "--password-file", str(password)]
    command += ["--ca-file", house.broker.ca_file, "--roles", str(house.data / "roles")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
