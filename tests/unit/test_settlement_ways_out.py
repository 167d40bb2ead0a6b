"""No state of money is without an exit: whoever keeps silent, there is a way to an end."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

import pytest

from settlement import batch, obligation
from settlement.obligation import Actor, Rule

StateT = TypeVar("StateT", bound=StrEnum)

Table = Mapping[Any, Mapping[Any, Rule[Any]]]

TABLES: Mapping[str, tuple[Table, frozenset[Any], frozenset[Any]]] = {
    "obligation": (
        obligation.ALLOWED,
        frozenset({obligation.State.OPEN, obligation.State.REFUND_REQUESTED}),
        obligation.ENDED,
    ),
    "batch": (batch.ALLOWED, frozenset({batch.State.DRAFT}), batch.ENDED),
}


def reachable(table: Table, start: frozenset[StrEnum], silent: Actor | None = None) -> frozenset[StrEnum]:
    """Follow every event that somebody else than `silent` may trigger."""
    reached, open_ends = set(start), list(start)
    while open_ends:
        for rule in table[open_ends.pop()].values():
            if rule.by - {silent} and rule.to not in reached:
                reached.add(rule.to)
                open_ends.append(rule.to)
    return frozenset(reached)


@pytest.mark.parametrize("name", list(TABLES))
def test_every_state_can_be_reached(name: str) -> None:
    table, start, _ = TABLES[name]

    assert reachable(table, start) == frozenset(table)


@pytest.mark.parametrize("silent", [None, *Actor], ids=str)
@pytest.mark.parametrize("name", list(TABLES))
def test_from_every_state_there_is_a_way_to_an_end_whoever_keeps_silent(name: str, silent: Actor | None) -> None:
    table, start, ended = TABLES[name]

    without_exit = {
        state for state in reachable(table, start) if not reachable(table, frozenset({state}), silent) & ended
    }

    assert without_exit == set()


@pytest.mark.parametrize("name", list(TABLES))
def test_an_end_stays_an_end(name: str) -> None:
    table, _, ended = TABLES[name]

    assert {rule.to for state in ended for rule in table[state].values()} <= ended


def test_what_operators_may_do_to_a_batch_and_to_its_members_goes_together() -> None:
    pairs = {
        batch.Event.REJECT: obligation.Event.REJECT,
        batch.Event.RETURN: obligation.Event.RETURN,
        batch.Event.SETTLE: obligation.Event.SETTLE,
    }
    members = {
        batch.State.INSTRUCTED: obligation.State.INSTRUCTED,
        batch.State.UNKNOWN: obligation.State.INSTRUCTED,
        batch.State.ACCEPTED: obligation.State.INSTRUCTED,
        batch.State.DEBITED: obligation.State.SENT,
        batch.State.CREDITED: obligation.State.RECEIVED,
    }

    for state, of_members in members.items():
        for event, its in pairs.items():
            rule = batch.ALLOWED[state].get(event)
            if rule is not None and Actor.OPERATOR in rule.by:
                assert Actor.OPERATOR in obligation.ALLOWED[of_members][its].by, (state, event)
