"""One Apache Kafka 4.3.1 as a local process on loopback: plain, or TLS 1.3 with SCRAM and ACLs.

`kafka_jars()` says where Maven left the jars, resolving them at the first call. A broker keeps its data over `kill()`
and `start()`, so that a test can pull the plug. It ends with the test run, however that ends.
"""

import fcntl
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gateway.protocol.clock import SystemClock
from gateway.sandbox.certificates import issue_broker
from gateway.sandbox.services import ONE_NODE, SERVER_PROPERTIES
from tests.services import missing

HERE = Path(__file__).parent
JARS = HERE.parents[1] / "build" / "kafka" / "libs"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
START_S_MAX = 60.0
JAVA = ("java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"

KEEPER = 'pid=$1; shift; "$@" & broker=$!; echo $broker > "$pid"; read _; kill -KILL $broker 2>/dev/null; wait $broker'
"""A shell that ends the broker once its standard input closes: also when the test run is killed."""

PLAIN = f"""{ONE_NODE}controller.quorum.bootstrap.servers=127.0.0.1:{{controller}}
listeners=CLIENT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=CLIENT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}}
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
"""


@cache
def kafka_jars() -> Path:
    """Resolve the broker's jars by name, once a machine; skips or fails where Java or Maven is missing."""
    if shutil.which("java") is None:
        missing("Java 17 or later (for Apache Kafka)")
    JARS.parent.mkdir(parents=True, exist_ok=True)
    with (JARS.parent / "lock").open("w") as lock:  # test processes run side by side: the first one resolves
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(JARS.glob("kafka_*.jar")):
            _resolve_jars()
    return JARS


def _resolve_jars() -> None:
    if shutil.which("mvn") is None:
        missing("Maven (resolves Apache Kafka)")
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), COPY]
    subprocess.run([*command, "-DincludeScope=runtime", f"-DoutputDirectory={JARS}"], check=True, timeout=300, cwd=HERE)


def free_ports(count: int) -> list[int]:
    """Find ports of 127.0.0.1 that nobody holds at the moment."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@dataclass
class Broker:
    """One broker and its folder. `admin_password` is of the user `admin` of a secured one."""

    folder: Path
    secured: bool = False
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    admin_password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    properties: str = ""
    """What to start with, where it is not this fixture's own: a trial's `server.properties`, with local places."""
    _keeper: "subprocess.Popen[bytes] | None" = None
    _pid: int = 0

    @classmethod
    def create(cls, *, secured: bool = False) -> "Broker":
        """Make a broker in a temporary folder and start it."""
        broker = cls(Path(tempfile.mkdtemp(prefix="kafka-", dir="/tmp")), secured)
        broker.start()
        return broker

    @property
    def servers(self) -> str:
        return f"{'localhost' if self.secured else '127.0.0.1'}:{self.ports[0]}"

    @property
    def ca_file(self) -> str:
        return str(self.folder / "tls" / "ca.pem") if self.secured else ""

    def start(self) -> None:
        """Format the folder if it is new, start, and return once the broker serves clients."""
        settings = self._write_settings()
        if not (self.folder / "data" / "meta.properties").is_file():
            self._format(settings)
        log = self.folder / "kafka.log"
        log.unlink(missing_ok=True)
        command = [*JAVA, "-cp", f"{kafka_jars()}/*", "kafka.Kafka", str(settings)]
        with log.open("wb") as out:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "sh", str(self.folder / "pid"), *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                start_new_session=True,
            )
        self._wait_until_started(log)
        self._pid = int((self.folder / "pid").read_text())

    def _write_settings(self) -> Path:
        settings = self.folder / "server.properties"
        settings.write_text(self.properties or (self._secured() if self.secured else self._plain()))
        return settings

    def _plain(self) -> str:
        port, controller, _ = self.ports
        return PLAIN.format(data=self.folder / "data", port=port, controller=controller)

    def _secured(self) -> str:
        """Write what a trial's broker starts with, under this machine's places."""
        port, controller, internal = self.ports
        tls = self.folder / "tls"
        if not tls.is_dir():
            tls.mkdir(mode=0o700)
            for name, pem in zip(("ca.pem", "broker.pem"), issue_broker("localhost", SystemClock()), strict=True):
                (tls / name).touch(mode=0o600)
                (tls / name).write_bytes(pem)
        return SERVER_PROPERTIES.format(
            data=self.folder / "data",
            keystore=tls / "broker.pem",
            truststore=tls / "ca.pem",
            bind="127.0.0.1",
            host="localhost",
            port=port,
            controller=controller,
            internal=internal,
        )

    def _format(self, settings: Path) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(settings)]
        user = f"SCRAM-SHA-512=[name=admin,password={self.admin_password}]"
        scram = ["--add-scram", user] if self.secured else []
        command: Sequence[str] = [*JAVA, "-cp", f"{kafka_jars()}/*", *tool, *scram]
        subprocess.run(command, check=True, capture_output=True, timeout=START_S_MAX, cwd=self.folder)

    def _wait_until_started(self, log: Path) -> None:
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline and self._keeper is not None and self._keeper.poll() is None:
            text = log.read_text(errors="replace")
            if "Kafka Server started" in text:
                return
            if "Exiting Kafka" in text or "Fatal error" in text:
                break
            time.sleep(0.05)
        raise RuntimeError(f"Kafka did not start; see {log}")

    def signal(self, name: str) -> None:
        """Send the broker a signal: KILL, STOP and CONT are what tests want."""
        subprocess.run(["/bin/kill", f"-{name}", str(self._pid)], check=False)

    def kill(self) -> None:
        """Pull the plug: kill -9. The data stay."""
        self.signal("KILL")
        self._end_keeper()

    def wipe(self) -> None:
        """Lose the disk of a broker that is down."""
        shutil.rmtree(self.folder / "data")

    def _end_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.communicate(timeout=START_S_MAX)
            self._keeper = None

    def remove(self) -> None:
        """End the broker and remove its folder."""
        self._end_keeper()
        shutil.rmtree(self.folder, ignore_errors=True)
