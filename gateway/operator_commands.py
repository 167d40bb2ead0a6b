"""Operators' verbs of the command `gateway`: the broker's topics, messages that wait, the doctor."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

OPERATED = ("sz", "core", "hk", "insurer", "audit")
"""Roles with an operators' API; a witness has none."""


def add_operator_commands(gateway: click.Group) -> None:
    _add_topics(gateway)
    _add_operations(gateway)
    _add_doctor(gateway)


def _add_topics(gateway: click.Group) -> None:
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
        try:
            from gateway.runtime.broker import ON_KAFKA, BrokerAdmin, BrokerError, apply
        except ModuleNotFoundError:
            raise click.ClickException("this needs the extra `operations` (confluent-kafka)") from None
        from gateway.runtime.keys import KeyFileError, read_secret_text

        try:
            password = read_secret_text(password_file) if password_file else ""
            found = {role: folder / role / "keys" / "kafka.password" for role in ON_KAFKA} if folder else {}
            words = {role: read_secret_text(path) for role, path in found.items()}
            admin = BrokerAdmin.connect(**broker, password=password)
            created, taken = apply(admin, replicas=replicas, passwords=words)
        except (KeyFileError, BrokerError) as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"topics created: {len(created)}; users: {len(words)}; ACLs taken away: {taken}", err=True)


def _add_operations(gateway: click.Group) -> None:
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


def _add_doctor(gateway: click.Group) -> None:
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
