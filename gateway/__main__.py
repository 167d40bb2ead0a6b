"""The command `gateway`: run a role, make a sandbox, show the walk, verify the log.

Thin: one function a verb, each imports what it needs; operators' verbs are in `gateway/operator_commands.py`
and `gateway/bank_commands.py`.
`gateway audit …` goes to the verifier before anything heavy is imported, since an auditor's machine may have nothing
but Python and `cryptography`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gateway import VERSION

if TYPE_CHECKING:
    import click

    from gateway.sandbox.layout import Layout

PROBE_S_MAX = 4.0
RESUME_REASONS = ("restored-from-backup", "moved-database", "test")
CLIENT_ID = r"[a-z0-9][a-z0-9-]{0,63}"
SERVED = ("all", "sz", "core", "hk", "insurer", "audit", "witness")


ABOUT = """\
Claims from Shenzhen hospitals to Hong Kong insurers, answers and money back, and a log to verify.

\b
gateway sandbox init --data DIR      make a trial: keys, trust, registry, profiles, sample bills
gateway run all --data DIR           serve all six roles on one port
gateway run sz --data DIR            serve one role
gateway sandbox remove --data DIR    delete a trial that nobody serves
gateway demo --data DIR              walk one claim through a sandbox, by public HTTP only
gateway doctor --profile FILE        ask every role what is wrong
gateway resume ROLE --data DIR …     go on after an older backup was restored
gateway audit verify …               verify the signed log off line (see its --help)
"""

ABOUT_RUN = """\
Serve one role, or `all` of them in one process, until SIGTERM.

\b
gateway run all --data DIR
gateway run all --data DIR --port 9000      and point the sandbox's profiles there
gateway run sz --data DIR --port 8102
gateway run witness --data DIR --instance witness-sz
gateway run --role-folder /etc/gateway/sz
"""


def main() -> int:
    """Run the command; exit codes: 0 fine, 1 failed, 2 usage, 3 verification failed, 4 inconclusive."""
    if sys.argv[1:2] == ["audit"]:
        return _verify(sys.argv[2:])
    return int(_cli()(standalone_mode=True) or 0)


def _verify(words: Sequence[str]) -> int:
    """Hand over to the verifier; `verify` may be left out."""
    from audit.verify import main as verify

    given = list(words)
    return verify(given[1:] if given[:1] == ["verify"] else given)


def _cli() -> Any:
    import click

    from gateway.bank_commands import add_bank_commands
    from gateway.operator_commands import add_operator_commands

    @click.group(help=ABOUT, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(VERSION, "-V", "--version", message="gateway %(version)s")
    def gateway() -> None: ...

    @gateway.command("audit", add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def audit(words: tuple[str, ...]) -> None:
        """Verify the signed log: log, claim, entry, proof (`gateway audit verify --help`)."""
        sys.exit(_verify(words))

    _add_run(gateway)
    _add_resume(gateway)
    _add_demo(gateway)
    _add_sandbox(gateway)
    add_operator_commands(gateway)
    add_bank_commands(gateway)
    return gateway


def _add_run(gateway: "click.Group") -> None:
    import click

    @gateway.command("run", help=ABOUT_RUN)
    @click.argument("role", required=False, type=click.Choice(SERVED))
    @click.option("--data", type=click.Path(path_type=Path), help="Data folder, as `gateway sandbox` makes it.")
    @click.option("--instance", default="", help="Which of several of the role, e.g. witness-sz.")
    @click.option("--role-folder", type=click.Path(path_type=Path), help="Folder of the one role to serve.")
    @click.option(
        "--port", type=click.IntRange(0, 65_535), help="Where to listen; else the port of the role's own `base_url`."
    )
    @click.option("--host", default="127.0.0.1", show_default=True)
    @click.option("--lock-descriptor", type=int, hidden=True, help="The folder's lock, inherited from the demo.")
    def run(
        role: str | None,
        data: Path | None,
        role_folder: Path | None,
        *,
        instance: str,
        host: str,
        port: int | None,
        lock_descriptor: int | None,
    ) -> None:
        whole = role in (None, "all") and role_folder is None
        if (data is None) == (role_folder is None):
            raise click.UsageError("give either --data DIR or --role-folder DIR")
        if role_folder is not None and (role == "all" or instance):
            raise click.UsageError("--role-folder is one role's: neither `all` nor --instance goes with it")
        if whole and instance:
            raise click.UsageError("--instance goes with a role")
        from gateway.serve import StartError, find_role_folder, serve

        try:
            if data is not None:
                folder = data if whole else find_role_folder(data, str(role), instance)
                serve(folder, role or "all", host, port, lock_descriptor)
            elif role_folder is not None:
                serve(role_folder, role, host, port)
        except StartError as error:
            raise click.ClickException(str(error)) from None

    @gateway.command("migrate")
    @click.option("--role-folder", type=click.Path(path_type=Path), required=True, help="Folder of the role.")
    def migrate(role_folder: Path) -> None:
        """Bring one role's database to this version's schema and exit; `run` does the same before it starts."""
        from gateway.serve import StartError
        from gateway.serve import migrate as migrate_role

        try:
            names = migrate_role(role_folder)
        except StartError as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"migrated: {', '.join(names)}", err=True)


def _add_resume(gateway: "click.Group") -> None:
    import re

    import click

    from gateway.operator_commands import AS_JSON, OPERATED, TICKET

    @gateway.command("resume")
    @click.argument("role", required=False, type=click.Choice(OPERATED))
    @click.option("--data", type=click.Path(path_type=Path), help="Data folder, as `gateway sandbox` makes it.")
    @click.option("--instance", default="", help="Which of several of the role.")
    @click.option("--role-folder", type=click.Path(path_type=Path), help="Folder of the role.")
    @click.option("--operator", required=True, metavar="CLIENT_ID", help="Who decides it; stands in the log.")
    @click.option("--confirmed-by", required=True, metavar="CLIENT_ID", help="A second person; stands in the log.")
    @click.option("--reason", required=True, type=click.Choice(RESUME_REASONS))
    @TICKET
    @AS_JSON
    def resume(
        role: str | None, data: Path | None, role_folder: Path | None, *, instance: str, as_json: bool, **why: str
    ) -> None:
        """Go on after a role's database was set back to an older backup; the role must not run.

        The role keeps its keys and numbers anew in its next source epoch. That it did, after which entry, who decided
        and why becomes an entry of the log.
        """
        from gateway.protocol.canonical import pretty
        from gateway.protocol.tickets import is_ticket
        from gateway.runtime.delivery.resume import Decision
        from gateway.serve import StartError, find_role_folder
        from gateway.serve import resume as resume_role

        if (data is None or role is None) == (role_folder is None):
            raise click.UsageError("give either ROLE with --data DIR, or --role-folder DIR")
        operator, second = why["operator"], why["confirmed_by"]
        if operator == second or not (re.fullmatch(CLIENT_ID, operator) and re.fullmatch(CLIENT_ID, second)):
            raise click.UsageError("--operator and --confirmed-by are two persons' client ids")
        if not is_ticket(why["ticket"]):
            raise click.UsageError("--ticket is at most 40 letters, digits and . _ / -, and no number of a person")
        try:
            folder = role_folder or find_role_folder(data or Path(), str(role), instance)
            resumed = resume_role(folder, Decision(operator, second, why["reason"], why["ticket"]))
        except StartError as error:
            raise click.ClickException(str(error)) from None
        told = {"epoch": resumed.epoch, "last_sq": resumed.last.sq, "last_eid": resumed.last.eid}
        if as_json:
            click.echo(pretty({**told, "records": resumed.records, "messages": resumed.messages}))
        else:
            click.echo(
                f"epoch {resumed.epoch} begins after {resumed.last.place} of the log; to be sent again:"
                f" {resumed.records} record(s), {resumed.messages} message(s). Start the role as usual.",
                err=True,
            )


def _add_demo(gateway: "click.Group") -> None:
    import click

    @gateway.command("demo")
    @click.option("--data", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
    @click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        help="Port to serve on; else the usual one, or a free one if that is taken.",
    )
    @click.option("--served", is_flag=True, help="Walk through the services of this trial, which already run.")
    def demo(data: Path, port: int | None, *, served: bool) -> None:
        """Make a sandbox anew, serve it, and walk a claim from the hospital's bill to the proven log.

        A sandbox that DIR holds is deleted first; one that a process serves is not, and anything else never.
        """
        from gateway.sandbox.demo import run_demo, run_served_demo

        if served:
            sys.exit(run_served_demo(data))
        with _sentences():
            code = run_demo(data, port)
        sys.exit(code)

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
    @click.option(
        "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="Where it will be served."
    )
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
        _write_sandbox(data, layout, lambda: write_services(data, layout, SystemClock()))

    @sandbox.command("remove")
    @click.option("--data", type=click.Path(path_type=Path), required=True)
    def sandbox_remove(data: Path) -> None:
        """Delete a sandbox with all that its roles keep in it, unless a process serves it."""
        from gateway.folder_lock import remove_sandbox

        with _sentences():
            remove_sandbox(data)

    @sandbox.command("bank")
    @click.option("--data", type=click.Path(path_type=Path), required=True)
    @click.option("--port", type=click.IntRange(0, 65_535), required=True)
    @click.option("--host", default="127.0.0.1", show_default=True)
    def sandbox_bank(data: Path, port: int, host: str) -> None:
        """Serve the simulated bank of a sandbox by itself, under /bank."""
        from gateway.serve import StartError, serve_bank

        try:
            serve_bank(data / "bank", host, port)
        except StartError as error:
            raise click.ClickException(str(error)) from None


def _write_sandbox(data: Path, layout: "Layout", write_more: Callable[[], None] = lambda: None) -> None:
    import click

    from gateway.folder_lock import lock_folder
    from gateway.protocol.clock import SystemClock
    from gateway.sandbox.folders import init

    with _sentences():
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = lock_folder(data)
        try:
            init(data, layout=layout, clock=SystemClock())
            write_more()
        except FileExistsError:
            raise click.ClickException(f"{data} already holds a sandbox or other files; nothing was written") from None
        finally:
            lock.release()
    click.echo(f"sandbox written to {data}: profiles in {data}/profiles, bills in {data}/bills", err=True)


@contextmanager
def _sentences() -> Iterator[None]:
    """End the command with one sentence and exit code 1 where a folder or an address cannot be had."""
    import click

    from gateway.folder_lock import FolderInUseError, NotASandboxError

    try:
        yield
    except (FolderInUseError, NotASandboxError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'this machine'}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
