"""The command `gateway`: run a role, make a sandbox, show the walk, verify the log.

Thin: one function a verb, each imports what it needs. `gateway audit …` goes to the verifier before anything heavy is
imported, since an auditor's machine may have nothing but Python and `cryptography`.
"""

import asyncio
import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import click

    from gateway.sandbox.layout import Layout

DEFAULT_PORT = 8080
PROBE_S_MAX = 4.0
REQUESTS_END_S = 10
"""How long requests may go on after SIGTERM; the rest of 25 s is for workers, groups and the database."""
OPERATED = ("sz", "core", "hk", "insurer", "audit")
"""Roles with an operators' API; a witness has none."""

GC_THRESHOLDS = (50_000, 10, 10)
"""A claim makes thousands of short-lived objects and few cycles; Python's default of 700 collects at every claim."""

SWITCH_INTERVAL_S = 0.0001
"""SQLite gives up the interpreter lock at every statement; at Python's default of 5 ms the writer thread would wait
that long to get it back from a busy event loop. Measured: 47 claims/s at the default, 75 at this."""


def main() -> int:
    """Run the command; exit codes: 0 fine, 1 failed, 2 usage, 3 verification failed, 4 inconclusive."""
    if sys.argv[1:2] == ["audit"]:
        from audit.verify import main as verify

        words = sys.argv[2:]
        return verify(words[1:] if words[:1] == ["verify"] else words)
    return int(_cli()(standalone_mode=True) or 0)


def _cli() -> Any:
    import click

    @click.group(context_settings={"help_option_names": ["-h", "--help"]})
    def gateway() -> None:
        r"""Claims from Shenzhen hospitals to Hong Kong insurers, answers and money back, and a log to verify.

        \b
        gateway sandbox init --data DIR      make a trial: keys, trust, registry, profiles, sample bills
        gateway run all --data DIR           serve all six roles on one port
        gateway run --role-folder DIR/roles/sz   serve one role
        gateway demo --data DIR              walk one claim through a sandbox, by public HTTP only
        gateway audit verify …               verify the signed log off line (see its --help)
        """

    @gateway.command("run")
    @click.argument("role", required=False, default="all")
    @click.option("--data", type=click.Path(path_type=Path), help="Data folder of role `all`.")
    @click.option("--role-folder", type=click.Path(path_type=Path), help="Folder of the one role to serve.")
    @click.option("--port", type=int, default=DEFAULT_PORT, show_default=True)
    @click.option("--host", default="127.0.0.1", show_default=True)
    def run(role: str, data: Path | None, role_folder: Path | None, port: int, host: str) -> None:
        """Serve ROLE (sz, core, hk, insurer, audit, witness), or `all` of them over one data folder."""
        if role == "all" and data is None and role_folder is None:
            raise click.UsageError("role `all` needs --data DIR")
        import uvloop

        from gateway.runtime.settings import SettingsError

        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            uvloop.run(_serve(role, data, role_folder, host, port))
        except (SettingsError, FileNotFoundError) as error:
            raise click.ClickException(str(error)) from None

    @gateway.command("migrate")
    @click.option("--role-folder", type=click.Path(path_type=Path), required=True, help="Folder of the role.")
    def migrate(role_folder: Path) -> None:
        """Bring one role's database to this version's schema and exit; `run` does the same before it starts."""
        from gateway import roles
        from gateway.protocol.clock import SystemClock
        from gateway.runtime.settings import SettingsError

        try:
            names = asyncio.run(roles.migrate_one(role_folder, SystemClock()))
        except (SettingsError, FileNotFoundError) as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"migrated: {', '.join(names)}", err=True)

    _add_demo(gateway)
    _add_sandbox(gateway)
    _add_topics(gateway)
    _add_operations(gateway)
    _add_doctor(gateway)
    return gateway


def _add_demo(gateway: "click.Group") -> None:
    import click

    @gateway.command("demo")
    @click.option("--data", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
    @click.option("--port", type=int, default=0, help="Port to serve on; 0 takes a free one.")
    @click.option("--served", is_flag=True, help="Walk through the services of this trial, which already run.")
    def demo(data: Path, port: int, *, served: bool) -> None:
        """Make a sandbox, serve it, and walk a claim from the hospital's bill to the proven log."""
        from gateway.sandbox.demo import run_demo, run_served_demo

        sys.exit(run_served_demo(data) if served else run_demo(data, port))

    @gateway.command("probe")
    @click.argument("url")
    def probe(url: str) -> None:
        """Ask one address of a role, e.g. its /readyz, and exit 0 if it says 200; for health checks."""
        from urllib.error import URLError
        from urllib.request import urlopen

        if not url.startswith("http://"):
            raise click.UsageError("an address begins with http://")
        try:
            with urlopen(url, timeout=PROBE_S_MAX) as answer:  # noqa: S310 http only, checked above
                click.echo(answer.read().decode())
        except (URLError, OSError) as error:
            raise click.ClickException(str(error)) from None


def _add_sandbox(gateway: "click.Group") -> None:
    import click

    @gateway.group("sandbox")
    def sandbox() -> None:
        """Trials with synthetic parties."""

    @sandbox.command("init")
    @click.option("--data", type=click.Path(path_type=Path), required=True)
    @click.option("--port", type=int, default=DEFAULT_PORT, show_default=True)
    @click.option("--host-of", "hosts", multiple=True, metavar="ROLE=URL", help="A role at an address of its own.")
    @click.option("--kafka", default="", help="Bootstrap servers; without it the bus is embedded.")
    @click.option(
        "--kafka-ca", "kafka_ca_file", default="", help="CA file of the brokers: TLS, and a SCRAM user for each role."
    )
    @click.option("--database", default="", help="Database URL with {role} in it; without it SQLite files.")
    def sandbox_init(data: Path, port: int, hosts: tuple[str, ...], **services: str) -> None:
        """Write keys, trust, registry release 1, profiles and sample bills into a new folder."""
        from gateway.sandbox.layout import PREFIXES, Layout

        addresses = dict(host.partition("=")[::2] for host in hosts)
        if not addresses.keys() <= PREFIXES.keys() or not all(addresses.values()):
            raise click.UsageError(f"--host-of takes ROLE=URL; roles are {', '.join(PREFIXES)}")
        kafka, ca_file, database = (services[name] for name in ("kafka", "kafka_ca_file", "database"))
        _write_sandbox(data, Layout(f"http://127.0.0.1:{port}", addresses, kafka, ca_file, database))

    @sandbox.command("services")
    @click.option("--data", type=click.Path(path_type=Path), required=True)
    @click.option("--kafka", required=True, metavar="HOST:PORT", help="Where roles reach the broker.")
    @click.option("--database", required=True, help="Database URL with {role} and {password} in it.")
    @click.option("--inside", type=click.Choice(["names", "loopback"]), default="names", show_default=True)
    def sandbox_services(data: Path, kafka: str, database: str, inside: Literal["names", "loopback"]) -> None:
        """Write a trial for services, as compose.yaml mounts it: also certificates, passwords and init files."""
        from gateway.protocol.clock import SystemClock
        from gateway.sandbox.services import services_layout, write_services

        layout = services_layout(inside, kafka, database)
        _write_sandbox(data, layout)
        write_services(data, layout, SystemClock())

    @sandbox.command("bank")
    @click.option("--data", type=click.Path(path_type=Path), required=True)
    @click.option("--port", type=int, required=True)
    @click.option("--host", default="127.0.0.1", show_default=True)
    def sandbox_bank(data: Path, port: int, host: str) -> None:
        """Serve the simulated bank of a sandbox by itself, under /bank."""
        import uvicorn
        from fastapi import FastAPI

        from gateway.protocol.clock import SystemClock
        from gateway.runtime.observability import Readiness, health_routes
        from gateway.sandbox.bank import create_bank

        app = FastAPI(openapi_url=None)
        app.include_router(health_routes(Readiness()))
        app.mount("/bank", create_bank(data / "bank", SystemClock()))
        uvicorn.run(app, host=host, port=port, log_config=None, access_log=False)


def _write_sandbox(data: Path, layout: "Layout") -> None:
    import click

    from gateway.protocol.clock import SystemClock
    from gateway.sandbox.folders import init

    try:
        init(data, layout=layout, clock=SystemClock())
    except FileExistsError:
        raise click.ClickException(f"{data} already holds a sandbox") from None
    click.echo(f"sandbox written to {data}: profiles in {data}/profiles, bills in {data}/bills", err=True)


def _add_topics(gateway: "click.Group") -> None:
    import click

    @gateway.group("topics")
    def topics() -> None:
        """The broker's topics, users and ACLs, from the topic table."""

    @topics.command("apply")
    @click.option("--servers", required=True, help="Bootstrap servers.")
    @click.option("--replicas", type=int, default=3, show_default=True)
    @click.option("--prefix", default="", help="As the roles' setting kafka_prefix.")
    @click.option("--user", default="", help="Admin user; without one the connection is plain.")
    @click.option("--password-file", type=click.Path(path_type=Path))
    @click.option("--ca-file", default="")
    @click.option("--roles", "folder", type=click.Path(path_type=Path), help="Folder of role folders: users to make.")
    def topics_apply(replicas: int, folder: Path | None, password_file: Path | None, **broker: str) -> None:
        """Make topics, their settings, SCRAM users and ACLs equal to the table; twice changes nothing."""
        from gateway.runtime.broker import ON_KAFKA, BrokerAdmin, BrokerMismatchError, apply
        from gateway.runtime.keys import read_secret_text

        password = read_secret_text(password_file) if password_file else ""
        admin = BrokerAdmin.connect(**broker, password=password)
        found = {role: folder / role / "keys" / "kafka.password" for role in ON_KAFKA} if folder else {}
        words = {role: read_secret_text(path) for role, path in found.items()}
        try:
            created, taken = apply(admin, replicas=replicas, passwords=words)
        except BrokerMismatchError as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"topics created: {len(created)}; users: {len(words)}; ACLs taken away: {taken}", err=True)


def _add_operations(gateway: "click.Group") -> None:
    import click

    profile = click.option("--profile", type=click.Path(path_type=Path), required=True, help="An operator's profile.")
    role = click.option("--role", required=True, type=click.Choice(OPERATED))

    @gateway.group("bus")
    def bus() -> None:
        """Messages that wait in a role: see them, without content, have them tried again, or drop them."""

    @bus.command("show")
    @click.argument("what", type=click.Choice(["lag", "parked", "quarantine", "requests"]))
    @profile
    @role
    def show(what: str, profile: Path, role: str) -> None:
        """Print each consumer's lag, or what is parked, quarantined, or waits for a second person, as JSON."""
        click.echo(_ask_or_act(profile, role, what))

    @bus.command("retry")
    @click.argument("ids", nargs=-1, type=int, required=True)
    @profile
    @role
    def retry(ids: tuple[int, ...], profile: Path, role: str) -> None:
        """Try parked messages again, by id."""
        click.echo(_ask_or_act(profile, role, "parked/retry", {"ids": list(ids)}))

    @bus.command("drop")
    @click.argument("ids", nargs=-1, type=int, required=True)
    @click.option(
        "--reason", required=True, help="agreed-with-sender, sent-again-otherwise, cannot-be-read, forged, test."
    )
    @click.option("--ticket", required=True, help="Where the reason is told in full, e.g. OPS-17.")
    @profile
    @role
    def drop(ids: tuple[int, ...], reason: str, ticket: str, profile: Path, role: str) -> None:
        """Pass over parked messages for good: their author is answered, their bytes go to the quarantine."""
        form = {"ids": list(ids), "reason": reason, "ticket": ticket}
        click.echo(_ask_or_act(profile, role, "parked/drop", form))

    @bus.command("confirm")
    @click.argument("request_id")
    @profile
    @role
    def confirm(request_id: str, profile: Path, role: str) -> None:
        """Confirm, as the second person, what another wants done about messages that move money."""
        click.echo(_ask_or_act(profile, role, f"requests/{request_id}/confirm", {}))

    @gateway.group("outbox")
    def outbox() -> None:
        """Messages that a role has sent."""

    @outbox.command("republish")
    @click.option("--topic", required=True)
    @click.option("--since", required=True, help="RFC 3339, e.g. 2026-01-01T00:00:00Z.")
    @profile
    @role
    def republish(topic: str, since: str, profile: Path, role: str) -> None:
        """Send a topic's messages again, for a cluster that lost them; receivers drop what they have."""
        click.echo(_ask_or_act(profile, role, "outbox/republish", {"topic": topic, "since": since}))


def _add_doctor(gateway: "click.Group") -> None:
    import click

    @gateway.command()
    @click.option("--profile", type=click.Path(path_type=Path), required=True, help="An operator's profile.")
    @click.option("--role", "chosen", multiple=True, type=click.Choice(OPERATED), help="Only this one; else all.")
    @click.option("--json", "as_json", is_flag=True, help="Print every role's report as JSON.")
    def doctor(profile: Path, chosen: tuple[str, ...], *, as_json: bool) -> None:
        """Ask each role what is wrong and which page says what to do; exit code 1 if anything is."""
        from gateway.operate import examine
        from gateway.protocol.canonical import pretty

        reports = asyncio.run(examine(profile, chosen or OPERATED))
        lines = [pretty([report.as_json() for report in reports])] if as_json else []
        for line in lines or [line for report in reports for line in report.lines()]:
            click.echo(line)
        if any(report.ill for report in reports):
            sys.exit(1)


def _ask_or_act(profile: Path, role: str, path: str, form: dict[str, Any] | None = None) -> str:
    """Return a role's answer as JSON; a refusal ends the command with its sentence."""
    import click

    from gateway.client import ApiProblem
    from gateway.operate import operate
    from gateway.protocol.canonical import pretty
    from gateway.protocol.errors import UnavailableError

    try:
        return pretty(asyncio.run(operate(profile, role, path, form)))
    except ApiProblem as problem:
        raise click.ClickException(f"{problem}\n{problem.fix}".rstrip()) from None
    except UnavailableError as error:
        raise click.ClickException(str(error)) from None


async def _serve(role: str, data: Path | None, role_folder: Path | None, host: str, port: int) -> None:
    """Open, listen, start the work; on SIGTERM or ctrl-C stop listening, drain, close."""
    import uvicorn

    from gateway import roles
    from gateway.protocol.clock import SystemClock
    from gateway.runtime.observability import configure_logging
    from gateway.runtime.settings import load_settings, lock_folder

    clock = SystemClock()
    folder = role_folder or (data if data is not None and role == "all" else (data or Path()) / "roles" / role)
    lock = lock_folder(folder)
    settings = load_settings(folder / "roles" / "core" if role_folder is None and role == "all" else folder)
    configure_logging(settings.log_level, clock)
    if role_folder is None and role == "all":
        gateway = await roles.open_all(folder, clock, extra_apps=_sandbox_apps(folder, host, port, clock))
    else:
        gateway = await roles.open_one(folder, clock)
    config = uvicorn.Config(
        gateway.app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=REQUESTS_END_S,
    )
    server = uvicorn.Server(config)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    async with roles.running(gateway):
        print(f"serving {folder} on http://{host}:{port}", file=sys.stderr)
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more when it has stopped: drain first
            signal.signal(number, signal.SIG_IGN)
        await server.serve()
    lock.release()


def _sandbox_apps(folder: Path, host: str, port: int, clock: Any) -> dict[str, Any]:
    """Mount the simulated bank where the data folder is a sandbox, and point its profiles at this port."""
    if not (folder / "sandbox.json").is_file():
        return {}
    from gateway.sandbox.bank import create_bank
    from gateway.sandbox.folders import rebase

    rebase(folder, f"http://{host}:{port}")
    return {"/bank": create_bank(folder / "bank", clock)}


if __name__ == "__main__":
    sys.exit(main())
