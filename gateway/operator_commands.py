"""Operators' verbs of the command `gateway`: the broker's topics, messages that wait, the doctor.

Data go to stdout, as tables or with `--json` for programs; messages go to stderr.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.operator_output import answered as _answered
from gateway.operator_output import print_table as _print_table
from gateway.operator_output import tell_outcome as _tell
from gateway.protocol.canonical import pretty
from gateway.protocol.claim_life import CLOSE_REASONS

OPERATED = ("sz", "core", "hk", "insurer", "audit")
"""Roles with an operators' API; a witness has none."""

REASONS = ("agreed-with-sender", "sent-again-otherwise", "cannot-be-read", "forged", "test")
VERIFICATION_FAILED = 3
LISTED = 200

PROFILE = click.option("--profile", type=click.Path(path_type=Path), required=True, help="An operator's profile.")
ROLE = click.option("--role", required=True, type=click.Choice(OPERATED))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
LIMIT = click.option("--limit", type=click.IntRange(min=1), default=LISTED, show_default=True, help="Rows at most.")
IDS = click.argument("ids", nargs=-1, type=click.IntRange(min=1), required=True)
REASON = click.option("--reason", required=True, type=click.Choice(REASONS))
TICKET = click.option("--ticket", required=True, help="Where the reason is told in full, e.g. OPS-17.")

RECOUP_REASONS = ("paid-back", "set-off", "written-off", "ruled", "test")
ACTION_OF = {"close": "close-claim", "close-recoup": "close-recoup"}
CLOSES_CLAIM = """\
End a claim for good, once another person has confirmed it; both parties are told.

\b
The reason says what becomes of its receipts:
""" + "\n".join(f"  {reason}: {receipts}" for reason, receipts in CLOSE_REASONS.items())
CLOSES_RECOUP = """\
End a recoup, once another person has confirmed it: no more money moves on the claim through the gateway."""

COLUMNS: Mapping[str, Sequence[str]] = {
    "consumers": ("consumer", "topics", "lag", "stopped"),
    "waiting": ("stage", "count", "since"),
    "parked": ("id", "why", "code", "topic", "key", "seq", "attempts", "since", "next_at"),
    "quarantine": ("id", "code", "topic", "partition", "offset", "bytes", "attempts", "at"),
    "requests": ("request_id", "action", "asked_by", "asked_at", "form"),
}

C = TypeVar("C", bound=Callable[..., Any])


ABOUT_BUS = """\
Messages that wait in a role: see them, without content, have them tried again, or drop them.

\b
gateway bus lag --role core --profile op.json
gateway bus parked list --role core --profile op.json
gateway bus parked retry 17 18 --role core --profile op.json
gateway bus quarantine show 3 --role core --profile op.json
gateway bus confirm opr_… --role core --profile second-person.json
"""


def add_operator_commands(gateway: click.Group) -> None:
    _add_topics(gateway)
    _add_bus(gateway)
    _add_outbox(gateway)
    _add_claim(gateway)
    _add_doctor(gateway)


def _at_role(command: C) -> C:
    """Give a command the options of all that speak with one role."""
    return PROFILE(ROLE(AS_JSON(command)))


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
    @AS_JSON
    def topics_apply(
        replicas: int, folder: Path | None, password_file: Path | None, *, as_json: bool, **broker: str
    ) -> None:
        """Make topics, their settings, SCRAM users and ACLs equal to the table; twice changes nothing."""
        try:
            from gateway.runtime.bus.kafka_admin import ON_KAFKA, BrokerAdmin, BrokerError, apply
        except ModuleNotFoundError:
            raise click.ClickException("this needs the extra `operations` (confluent-kafka)") from None
        from gateway.runtime.custody.keys import KeyFileError, read_secret_text

        try:
            password = read_secret_text(password_file) if password_file else ""
            found = {role: folder / role / "keys" / "kafka.password" for role in ON_KAFKA} if folder else {}
            words = {role: read_secret_text(path) for role, path in found.items()}
            admin = BrokerAdmin.connect(**broker, password=password)
            created, taken = apply(admin, replicas=replicas, passwords=words)
        except (KeyFileError, BrokerError) as error:
            raise click.ClickException(str(error)) from None
        if as_json:
            click.echo(pretty({"created": list(created), "users": sorted(words), "acls_taken_away": taken}))
        else:
            click.echo(f"topics created: {len(created)}; users: {len(words)}; ACLs taken away: {taken}", err=True)


def _add_bus(gateway: click.Group) -> None:
    @gateway.group("bus", help=ABOUT_BUS)
    def bus() -> None: ...

    @bus.command("lag")
    @_at_role
    def lag(profile: Path, role: str, *, as_json: bool) -> None:
        """Show what each consumer has before it, whether it stopped, and what waits at each stage since when."""
        from gateway.operate import ask

        found = _answered(ask(profile, role, "lag"))
        if as_json:
            click.echo(pretty(found))
        else:
            _print_table(found["consumers"], COLUMNS["consumers"])
            _print_table(found["waiting"], COLUMNS["waiting"])

    @bus.command("requests")
    @LIMIT
    @_at_role
    def requests(profile: Path, role: str, limit: int, *, as_json: bool) -> None:
        """List what waits for a second person."""
        _list(profile, role, "requests", limit, as_json=as_json)

    @bus.command("confirm")
    @click.argument("request_id")
    @_at_role
    def confirm(request_id: str, profile: Path, role: str, *, as_json: bool) -> None:
        """Confirm, as the second person, what another wants done about messages that move money."""
        from gateway.operate import act

        _tell(_answered(act(profile, role, f"requests/{request_id}/confirm", {})), role, as_json=as_json)

    _add_parked(bus)
    _add_quarantine(bus)


def _add_parked(bus: click.Group) -> None:
    @bus.group("parked")
    def parked() -> None:
        """Messages that wait: for an earlier one, for a dependency, or for an operator."""

    _add_looks(parked, "parked")

    @parked.command("retry")
    @click.argument("ids", nargs=-1, type=click.IntRange(min=1))
    @click.option("--all", "every", is_flag=True, help="Everything that is parked now.")
    @_at_role
    def retry(ids: tuple[int, ...], profile: Path, role: str, *, every: bool, as_json: bool) -> None:
        """Try parked messages again, by id; a consumer that stopped after halts goes on."""
        from gateway.operate import act, retry_all

        if bool(ids) == every:
            raise click.UsageError("give ids or --all")
        asked = retry_all(profile, role) if every else act(profile, role, "parked/retry", {}, ids)
        _tell(_answered(asked), role, as_json=as_json)

    @parked.command("drop")
    @IDS
    @REASON
    @TICKET
    @_at_role
    def drop(ids: tuple[int, ...], profile: Path, role: str, *, as_json: bool, **why: str) -> None:
        """Pass over parked messages for good: their author is answered, their bytes go to the quarantine."""
        from gateway.operate import act

        _tell(_answered(act(profile, role, "parked/drop", why, ids)), role, as_json=as_json)


def _add_quarantine(bus: click.Group) -> None:
    @bus.group("quarantine")
    def quarantine() -> None:
        """Bytes that were set aside: their stamp did not verify, or an operator dropped them."""

    _add_looks(quarantine, "quarantine")

    @quarantine.command("retry")
    @IDS
    @_at_role
    def retry(ids: tuple[int, ...], profile: Path, role: str, *, as_json: bool) -> None:
        """Verify bytes again as if just fetched; what verifies goes its way, else exit code 3."""
        from gateway.operate import act

        outcome = _answered(act(profile, role, "quarantine/retry", {}, ids))
        _tell(outcome, role, as_json=as_json)
        if outcome.stay:
            sys.exit(VERIFICATION_FAILED)

    @quarantine.command("drop")
    @IDS
    @REASON
    @TICKET
    @_at_role
    def drop(ids: tuple[int, ...], profile: Path, role: str, *, as_json: bool, **why: str) -> None:
        """Forget bytes for good; place, size, hash, reason and ticket stay."""
        from gateway.operate import act

        _tell(_answered(act(profile, role, "quarantine/drop", why, ids)), role, as_json=as_json)


def _add_looks(group: click.Group, what: str) -> None:
    """Add `list` and `show`, which both kinds of waiting messages have."""

    @group.command("list")
    @LIMIT
    @_at_role
    def listed(profile: Path, role: str, limit: int, *, as_json: bool) -> None:
        """List them, without content."""
        _list(profile, role, what, limit, as_json=as_json)

    @group.command("show")
    @click.argument("number", metavar="ID", type=click.IntRange(min=1))
    @_at_role
    def show(number: int, profile: Path, role: str, *, as_json: bool) -> None:
        """Tell everything about one of them, without content."""
        from gateway.operate import ask

        found = _answered(ask(profile, role, f"{what}/{number}"))
        if as_json:
            click.echo(pretty(found))
        else:
            _print_table([{"what": name, "value": value} for name, value in found.items()], ("what", "value"))


def _add_outbox(gateway: click.Group) -> None:
    @gateway.group("outbox")
    def outbox() -> None:
        """Messages that a role has sent."""

    @outbox.command("republish")
    @click.option("--topic", required=True, help="One that the role writes.")
    @click.option("--since", required=True, help="RFC 3339, e.g. 2026-01-01T00:00:00Z.")
    @_at_role
    def republish(topic: str, since: str, profile: Path, role: str, *, as_json: bool) -> None:
        """Send a topic's messages again, for a cluster that lost them; receivers drop what they have."""
        from gateway.operate import act

        outcome = _answered(act(profile, role, "outbox/republish", {"topic": topic, "since": since}))
        _tell(outcome, role, as_json=as_json)


def _add_claim(gateway: click.Group) -> None:
    @gateway.group("claim")
    def claim() -> None:
        """What two operators may end together: a claim that somebody's silence holds, a recoup that nobody ends."""

    def asks(name: str, reasons: Sequence[str], text: str) -> None:
        @claim.command(name, help=text)
        @click.argument("claim_id")
        @click.option("--reason", required=True, type=click.Choice(reasons))
        @TICKET
        @PROFILE
        @click.option("--role", type=click.Choice(("core",)), default="core", show_default=True)
        @AS_JSON
        def close(claim_id: str, profile: Path, role: str, *, as_json: bool, **why: str) -> None:
            from gateway.operate import act

            form = {"action": ACTION_OF[name], "form": {"claim_id": claim_id, **why}}
            _tell(_answered(act(profile, role, "requests", form)), role, as_json=as_json)

    asks("close", tuple(CLOSE_REASONS), CLOSES_CLAIM)
    asks("close-recoup", RECOUP_REASONS, CLOSES_RECOUP)


def _add_doctor(gateway: click.Group) -> None:
    @gateway.command()
    @PROFILE
    @click.option("--role", "chosen", multiple=True, type=click.Choice(OPERATED), help="Only this one; else all.")
    @AS_JSON
    def doctor(profile: Path, chosen: tuple[str, ...], *, as_json: bool) -> None:
        """Ask each role what is wrong and which page says what to do; exit code 1 if anything is."""
        from gateway.operate import examine

        reports = _answered(examine(profile, chosen or OPERATED))
        lines = [pretty([report.as_json() for report in reports])] if as_json else []
        for line in lines or [line for report in reports for line in report.lines()]:
            click.echo(line)
        if any(report.ill for report in reports):
            sys.exit(1)


def _list(profile: Path, role: str, what: str, limit: int, *, as_json: bool) -> None:
    from gateway.operate import ask_list

    found, more = _answered(ask_list(profile, role, what, limit))
    if as_json:
        click.echo(pretty(found))
    elif found:
        _print_table(found, COLUMNS[what])
    else:
        click.echo(f"{role}: nothing", err=True)
    if more:
        click.echo(f"only the first {limit}; there are more (--limit)", err=True)
