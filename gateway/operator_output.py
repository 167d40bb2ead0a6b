"""How operators' commands wait for a role's answer and print it: tables and JSON on stdout, sentences on stderr."""

import asyncio
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.protocol.canonical import pretty

if TYPE_CHECKING:
    from gateway.operate import Outcome

T = TypeVar("T")


def tell_outcome(outcome: "Outcome", role: str, *, as_json: bool) -> None:
    """Print what came of a wish: JSON on stdout, or sentences on stderr."""
    if as_json:
        click.echo(pretty(outcome.as_json()))
        return
    if outcome.count or not (outcome.requests or outcome.stay):
        click.echo(f"{role}: done for {outcome.count} message(s)", err=True)
    for request_id in outcome.requests:
        click.echo(f"{role}: this takes another person: gateway bus confirm {request_id} --role {role}", err=True)
    for row in outcome.stay:
        click.echo(f"{role}: {row['id']} does not verify and stays: {row['code']}", err=True)


def answered(asked: Coroutine[Any, Any, T]) -> T:
    """Wait for a role's answer; whatever goes wrong ends the command with one sentence and exit code 1."""
    from gateway.client.profile import ProfileFileError
    from gateway.operate import OperatorError
    from gateway.protocol.errors import GatewayError

    try:
        return asyncio.run(asked)
    except (OperatorError, ProfileFileError) as error:
        raise click.ClickException(str(error)) from None
    except GatewayError as error:
        places = "".join(f"; {fault.code} {fault.pointer}".rstrip() for fault in error.faults)
        raise click.ClickException(f"{error.sentence} ({error.code}{places})") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'this machine'}: {error.strerror}") from None


def print_table(found: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows for people; where stdout is no terminal, without lines and as wide as they are."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD if terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # an id that is cut off is of no use
    for row in found:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console(width=None if terminal else 10_000, markup=False, highlight=False, emoji=False).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_cell(inner)}" for name, inner in value.items())
    return "" if value is None else str(value)
