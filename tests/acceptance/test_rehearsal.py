"""compose.yaml played without containers: each of our services as it is written there, on a real Kafka and PostgreSQL.

What this cannot show: how the images of Kafka, PostgreSQL and Prometheus start, and how the Dockerfile builds.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.sandbox.services import IN_CONTAINER, PORTS
from tests.compose import Rehearsed, ours, read_compose
from tests.kafka.broker import Broker, free_ports, kafka_jars
from tests.postgres import PostgresServer, binaries
from tests.services import missing
from tests.walk import until

ONCE = ("setup", "topics")
READY_S_MAX = 90.0


@dataclass
class Rehearsal:
    """What compose.yaml describes, under way. `project` is the folder that stands for the checkout."""

    project: Path
    variables: Mapping[str, str]
    running: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    services: dict[str, Rehearsed] = field(default_factory=dict)

    @property
    def trial(self) -> Path:
        return self.project / "trial"

    def take(self, name: str) -> Rehearsed:
        service = ours(read_compose(self.variables))[name]
        self.services[name] = Rehearsed(name, service, self.project, self.project / "containers" / name)
        return self.services[name]

    def set_up(self) -> None:
        """Run the service `setup` in the project's folder, which it alone mounts whole."""
        setup = self.take("setup")
        self.trial.mkdir(mode=0o700)
        (setup.root / "gateway").parent.mkdir(parents=True)
        (setup.root / "gateway").symlink_to(self.trial)
        setup.targets.append("/gateway")
        setup.run(30)

    def start(self) -> None:
        names = [name for name in ours(read_compose()) if name not in ONCE]
        for name in names:
            self.take(name).mount()
        for name in names:
            self.running[name] = self.services[name].start(self.project / f"{name}.log")

    async def until_healthy(self) -> None:
        for name in self.running:
            service = self.services[name]

            async def healthy(service: Rehearsed = service) -> bool:
                return await asyncio.to_thread(service.healthy)

            await until(healthy, f"health of {name}", within_s=READY_S_MAX)

    async def stop(self) -> dict[str, int]:
        """End every role as `docker compose stop` does; returns exit codes."""
        codes = {}
        for name, process in list(self.running.items()):
            grace_s = float(self.services[name].service["stop_grace_period"].removesuffix("s"))
            process.send_signal(signal.SIGTERM)
            codes[name] = await asyncio.to_thread(process.wait, grace_s)
            del self.running[name]
        return codes

    def end(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


def _kafka(trial: Path, port: int) -> Broker:
    """Start a broker with what `setup` wrote for the one in the container, at places of this machine."""
    _, controller, internal = free_ports(3)
    text = (trial / "kafka" / "server.properties").read_text()
    broker = Broker(trial.parent / "kafka", secured=True, ports=[port, controller, internal])
    broker.folder.mkdir()
    places = {
        "data": str(broker.folder / "data"),
        "keystore": str(trial / "kafka" / "broker.pem"),
        "truststore": str(trial / "kafka" / "ca.pem"),
        "bind": "127.0.0.1",
        "internal": str(internal),
        "controller": str(controller),
    }
    for name, place in places.items():
        assert str(IN_CONTAINER[name]) in text
        text = text.replace(str(IN_CONTAINER[name]), place)
    broker.properties = text
    scram = (trial / "kafka" / "admin.scram").read_text().strip()
    broker.admin_password = scram.removeprefix("SCRAM-SHA-512=[name=admin,password=").removesuffix("]")
    broker.start()
    return broker


@contextlib.asynccontextmanager
async def rehearsal(folder: Path) -> AsyncIterator[Rehearsal]:
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")
    kafka_jars()
    if taken := [port for port in PORTS.values() if _is_taken(port)]:
        missing(f"free ports {taken}")
    [kafka_port] = free_ports(1)
    server = PostgresServer.start(programs)
    variables = {
        "KAFKA_AT": f"localhost:{kafka_port}",
        "POSTGRES_AT": f"127.0.0.1:{server.port}",
        "GATEWAY_INSIDE": "loopback",
        "GATEWAY_BIND": "127.0.0.1",
    }
    played, broker = Rehearsal(folder, variables), None
    try:
        played.set_up()
        for statement in (played.trial / "postgres" / "init.sql").read_text().splitlines():
            server.execute(statement)
        server.ask_passwords()
        broker = await asyncio.to_thread(_kafka, played.trial, kafka_port)
        topics = played.take("topics")
        topics.mount()
        topics.run(60)
        played.start()
        yield played
    finally:
        played.end()
        server.stop()
        if broker is not None:
            broker.remove()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_what_compose_describes_carries_a_claim_to_the_proven_log(tmp_path: Path) -> None:
    async with rehearsal(tmp_path) as played:
        await played.until_healthy()

        walk = [sys.executable, "-m", "gateway", "demo", "--served", "--data", str(played.trial)]
        walked = await asyncio.to_thread(subprocess.run, walk, capture_output=True, timeout=240, check=False)
        doctor = [sys.executable, "-m", "gateway", "doctor", "--profile", f"{played.trial}/profiles/op-gateway-1.json"]
        examined = await asyncio.to_thread(subprocess.run, doctor, capture_output=True, timeout=60, check=False)

        assert walked.returncode == 0, walked.stdout.decode()[-2000:]
        assert examined.returncode == 0, examined.stdout.decode()
        ended = await played.stop()
        assert {name: code for name, code in ended.items() if name != "bank"} == dict.fromkeys(
            PORTS.keys() - {"bank"}, 0
        )
