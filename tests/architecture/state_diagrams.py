"""The state machines for people, drawn from the tables that enforce them; a page of `reference_pages`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from gateway.claims import payment
from gateway.protocol import claim_life
from settlement import batch, obligation

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "states.md"

HEAD = """# States

Generated from the tables called `ALLOWED` by `make pages`; do not edit. An arrow names the event and who may trigger
it; what no arrow shows is refused, with what would be allowed. `●` leads to where a machine begins, and a state from
which nothing leads on is where it ends.
"""


@dataclass(frozen=True)
class Machine:
    """One state machine: its table, `allowed[state][event]`, and who moves it where the table does not say."""

    title: str
    module: str
    purpose: str
    states: type[StrEnum]
    allowed: Mapping[Any, Mapping[Any, Any]]
    by: str = ""


MACHINES = (
    Machine(
        "Claim",
        "gateway/protocol/claim_life.py",
        "Where a claim stands, as core enforces it. Which of the decided states a decision leads to follows from its"
        " entries.",
        claim_life.State,
        claim_life.ALLOWED,
    ),
    Machine(
        "Payment of a claim",
        "gateway/claims/payment.py",
        "What core has heard of the claim's money. Settlement's messages move it, on the bank's evidence alone.",
        payment.PaymentState,
        payment.ALLOWED,
        by="settlement",
    ),
    Machine(
        "Obligation",
        "settlement/obligation.py",
        "What a payer owes a hospital for one final decision.",
        obligation.State,
        obligation.ALLOWED,
    ),
    Machine(
        "Batch",
        "settlement/batch.py",
        "Obligations that are paid together, as two treasurers approve them.",
        batch.State,
        batch.ALLOWED,
    ),
)


@dataclass(frozen=True)
class Move:
    """One arrow: from a state, by an event, to each state that it may lead to."""

    source: str
    event: str
    targets: tuple[str, ...]
    by: str
    guard: str


def moves(machine: Machine) -> Iterator[Move]:
    """Read a table whose rules are a state, or an object with `to` (a state or a set of states), `by` and `guard`."""
    for source in machine.states:
        for event, rule in machine.allowed.get(source, {}).items():
            to = getattr(rule, "to", rule)
            targets = tuple(str(state) for state in machine.states if state == to or (_is_set(to) and state in to))
            by = ", ".join(sorted(map(str, getattr(rule, "by", ())))) or machine.by
            yield Move(str(source), str(event), targets, by, getattr(rule, "guard", None) or "")


def _is_set(to: object) -> bool:
    return isinstance(to, (frozenset, set, tuple))


def starts(machine: Machine) -> list[str]:
    """Return where the machine begins: its first state, and those to which no move leads."""
    reached = {target for move in moves(machine) for target in move.targets}
    first = str(next(iter(machine.states)))
    return [str(state) for state in machine.states if str(state) == first or str(state) not in reached]


def ends(machine: Machine) -> list[str]:
    """Return the states from which no move leads to another."""
    leaving = {move.source for move in moves(machine) if set(move.targets) - {move.source}}
    return [str(state) for state in machine.states if str(state) not in leaving]


def page() -> str:
    return HEAD + "".join(f"\n{part}" for machine in MACHINES for part in _section(machine))


def _section(machine: Machine) -> Iterator[str]:
    yield f"## {machine.title}\n\n{machine.purpose} (`{machine.module}`)\n"
    yield "```mermaid\nstateDiagram-v2\n" + "".join(f"    {line}\n" for line in _diagram(machine)) + "```\n"
    yield "| from | event | by | to | only if |\n|---|---|---|---|---|\n" + "".join(
        f"| {move.source} | `{move.event}` | {move.by} | {', '.join(move.targets)} | {move.guard} |\n"
        for move in moves(machine)
    )


def _diagram(machine: Machine) -> Iterator[str]:
    yield from (f"[*] --> {state}" for state in starts(machine))
    yield from _arrows(moves(machine))
    yield from (f"{state} --> [*]" for state in ends(machine))


def _arrows(rows: Iterable[Move]) -> Iterator[str]:
    """Join the events that lead from one state to the same other one into one arrow."""
    labels: dict[tuple[str, str], list[str]] = {}
    for move in rows:
        for target in move.targets:
            labels.setdefault((move.source, target), []).append(f"{move.event} ({move.by})")
    yield from (f"{source} --> {target}: {', '.join(events)}" for (source, target), events in labels.items())
