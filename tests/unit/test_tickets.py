"""A ticket stands in clear in the log: it names where a reason is told, and never a person."""

import pytest
from pydantic import BaseModel

from gateway.claims.actions.closing import CloseClaim, CloseRecoup
from gateway.protocol.tickets import is_ticket
from gateway.runtime.operator.actions import Discard, Drop
from settlement.actions.closing import CloseObligation, DecideBatch, ReleaseObligation, ResolveBreak

FORMS = [CloseClaim, CloseRecoup, CloseObligation, DecideBatch, Discard, Drop, ReleaseObligation, ResolveBreak]


@pytest.mark.parametrize("ticket", ["OPS-17", "1", "INC0012345", "ops/2026/17", "CHG_7.1", "OPS-20260302"])
def test_a_ticket_of_any_ticket_system_is_one(ticket: str) -> None:
    assert is_ticket(ticket)


@pytest.mark.parametrize(
    "ticket",
    ["A1234563", "a1234563", "OPS-A1234563", "A123456/3", "11010519491231002X", "13912345678", "86-13912345678"],
)
def test_the_number_of_a_person_is_no_ticket(ticket: str) -> None:
    assert not is_ticket(ticket)


@pytest.mark.parametrize("ticket", ["", "-OPS", "OPS 17", "OPS-17\n", "\uff2f\uff30\uff33", "x" * 41])
def test_a_text_of_another_form_is_no_ticket(ticket: str) -> None:
    assert not is_ticket(ticket)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_operator_takes_its_ticket_by_the_same_rule(form: type[BaseModel]) -> None:
    assert form.model_fields["ticket"].metadata == CloseClaim.model_fields["ticket"].metadata
