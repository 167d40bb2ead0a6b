"""Operators' verbs about money: `gateway bank`. What changes anything is asked by one person, confirmed by another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gateway.operator_output import answered, print_table, tell_outcome
from gateway.protocol.canonical import pretty

LISTED = 200
COLUMNS: Mapping[str, Sequence[str]] = {
    "breaks": ("break_id", "kind", "reason", "owner", "amount", "currency", "since", "age_s", "resolution", "ticket"),
    "obligations": ("obligation_id", "state", "payer", "payee", "amount", "currency", "reason_code", "allowed_actions"),
    "batches": ("batch_id", "state", "payer", "payee", "amount", "currency", "value_date", "decisions"),
}
RESOLUTIONS = (
    *("bank-fee", "bank-corrected", "repeated-by-bank", "paid-outside", "returned", "booked-by-hand", "test"),
)
CLOSINGS = ("paid-outside", "refunded-outside", "waived", "cannot-be-paid", "test")
DECISIONS = ("not-executed", "returned", "executed")
WAITING = ("held", "refund_requested", "open", "batched")

PROFILE = click.option("--profile", type=click.Path(path_type=Path), required=True, help="An operator's profile.")
ROLE = click.option("--role", type=click.Choice(["core"]), default="core", show_default=True)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
TICKET = click.option("--ticket", required=True, help="Where the reason is told in full, e.g. OPS-17.")

ABOUT = """\
What bank statements show and no payment explains, and money that nobody else moves on.

\b
gateway bank breaks list --profile op.json
gateway bank breaks show brk_… --page page.xml --profile op.json
gateway bank breaks resolve brk_… --reason bank-fee --ticket OPS-17 --profile op.json
gateway bank confirm opr_… --profile second-person.json
"""


def add_bank_commands(gateway: click.Group) -> None:
    @gateway.group("bank", help=ABOUT)
    def bank() -> None: ...

    @bank.command("confirm")
    @click.argument("request_id")
    @PROFILE
    @ROLE
    @AS_JSON
    def confirm(request_id: str, profile: Path, role: str, *, as_json: bool) -> None:
        """Confirm, as the second person, what another asked for."""
        from gateway.operate import act

        tell_outcome(answered(act(profile, role, f"requests/{request_id}/confirm", {})), role, as_json=as_json)

    _add_breaks(bank)
    _add_obligations(bank)
    _add_batches(bank)


def _add_breaks(bank: click.Group) -> None:
    @bank.group("breaks")
    def breaks() -> None:
        """Rows of a bank that wait for a person, with their owner and age."""

    @breaks.command("list")
    @click.option("--all", "resolved", is_flag=True, help="Resolved ones as well.")
    @click.option("--limit", type=click.IntRange(min=1), default=LISTED, show_default=True, help="Rows at most.")
    @PROFILE
    @ROLE
    @AS_JSON
    def listed(profile: Path, role: str, limit: int, *, resolved: bool, as_json: bool) -> None:
        """List breaks, oldest first."""
        from gateway.operate import ask_list

        query = {"all": "true"} if resolved else {}
        found, more = answered(ask_list(profile, role, "breaks", limit, **query))
        _print("breaks", found, role, as_json=as_json)
        if more:
            click.echo(f"only the first {limit}; there are more (--limit)", err=True)

    @breaks.command("show")
    @click.argument("break_id")
    @click.option("--page", type=click.Path(path_type=Path), help="Write the bank's page that holds it to this file.")
    @PROFILE
    @ROLE
    @AS_JSON
    def show(break_id: str, profile: Path, role: str, page: Path | None, *, as_json: bool) -> None:
        """Tell everything about one break: what the bank wrote, and how it was resolved."""
        from gateway.operate import ask, ask_bytes

        found = answered(ask(profile, role, f"breaks/{break_id}"))
        if page is not None:
            page.write_bytes(answered(ask_bytes(profile, role, f"breaks/{break_id}/page")))
        if as_json:
            click.echo(pretty(found))
        else:
            print_table([{"what": name, "value": value} for name, value in found.items()], ("what", "value"))

    @breaks.command("resolve")
    @click.argument("break_id")
    @click.option("--reason", required=True, type=click.Choice(RESOLUTIONS))
    @TICKET
    @PROFILE
    @ROLE
    @AS_JSON
    def resolve(break_id: str, profile: Path, role: str, *, as_json: bool, **why: str) -> None:
        """Say what a break was; it is resolved once another person confirms it, and stays in the list with --all."""
        _ask(profile, role, "resolve-break", {"break_id": break_id, **why}, as_json=as_json)


def _add_obligations(bank: click.Group) -> None:
    @bank.group("obligations")
    def obligations() -> None:
        """What insurers owe hospitals and no bank has been told yet."""

    @obligations.command("list")
    @click.option("--state", type=click.Choice(WAITING), default="held", show_default=True)
    @PROFILE
    @ROLE
    @AS_JSON
    def listed(profile: Path, role: str, state: str, *, as_json: bool) -> None:
        """List obligations of one state, with what operators may do."""
        from gateway.operate import ask

        found = answered(ask(profile, role, f"obligations?state={state}"))
        _print("obligations", found["obligations"], role, as_json=as_json)

    @obligations.command("close")
    @click.argument("obligation_id")
    @click.option("--reason", required=True, type=click.Choice(CLOSINGS))
    @TICKET
    @PROFILE
    @ROLE
    @AS_JSON
    def close(obligation_id: str, profile: Path, role: str, *, as_json: bool, **why: str) -> None:
        """End an obligation before money moves; the claim's payment counts as voided."""
        _ask(profile, role, "close-obligation", {"obligation_id": obligation_id, **why}, as_json=as_json)

    @obligations.command("release")
    @click.argument("obligation_id")
    @TICKET
    @PROFILE
    @ROLE
    @AS_JSON
    def release(obligation_id: str, profile: Path, role: str, ticket: str, *, as_json: bool) -> None:
        """Let a held obligation go into the next batch, after what held it was mended."""
        form = {"obligation_id": obligation_id, "ticket": ticket}
        _ask(profile, role, "release-obligation", form, as_json=as_json)


def _add_batches(bank: click.Group) -> None:
    @bank.group("batches")
    def batches() -> None:
        """Payments at the bank whose end its notifications do not show."""

    @batches.command("list")
    @PROFILE
    @ROLE
    @AS_JSON
    def listed(profile: Path, role: str, *, as_json: bool) -> None:
        """List batches that wait for the bank, with the reasons by which operators may decide them."""
        from gateway.operate import ask

        _print("batches", answered(ask(profile, role, "batches"))["batches"], role, as_json=as_json)

    @batches.command("decide")
    @click.argument("batch_id")
    @click.option("--reason", required=True, type=click.Choice(DECISIONS), help="What the bank has written.")
    @TICKET
    @PROFILE
    @ROLE
    @AS_JSON
    def decide(batch_id: str, profile: Path, role: str, *, as_json: bool, **why: str) -> None:
        """Put the bank's written word in place of the notification that does not come."""
        _ask(profile, role, "decide-batch", {"batch_id": batch_id, **why}, as_json=as_json)


def _ask(profile: Path, role: str, action: str, form: Mapping[str, str], *, as_json: bool) -> None:
    from gateway.operate import act

    asked = act(profile, role, "requests", {"action": action, "form": dict(form)})
    tell_outcome(answered(asked), role, as_json=as_json)


def _print(what: str, found: Sequence[Mapping[str, Any]], role: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(pretty(list(found)))
    elif found:
        print_table(found, COLUMNS[what])
    else:
        click.echo(f"{role}: nothing", err=True)
