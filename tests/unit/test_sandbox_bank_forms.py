"""However a bank fills its messages, by any form of the simulated one, settlement reads the same from them."""

from itertools import product
from pathlib import Path

import pytest

from gateway.protocol.errors import InvalidInputError
from gateway.sandbox.bank_messages import NOTIFICATION_FORMS, STATUS_FORMS
from settlement.bank_entry import Side
from settlement.iso20022.pain001 import write_pain001
from settlement.matching import Matched, match
from tests.iso20022_schemas import any_schema, shared_schema, verdicts
from tests.sandbox_bank_driver import Bank, a_bank_profile, entries_of
from tests.settlement_builders import an_instructed_batch

FORMS = list(product(STATUS_FORMS, NOTIFICATION_FORMS))
REFUSAL = {"kind": "reject", "reason": "AC04"}


def a_bank(folder: Path, status_form: str, notification_form: str, *faults: object) -> Bank:
    forms = {"status_form": status_form, "notification_form": notification_form}
    return Bank(folder, a_bank_profile(faults=list(faults), **forms))


@pytest.mark.parametrize(("status_form", "notification_form"), FORMS)
async def test_a_payment_is_accepted_and_its_two_entries_match(
    tmp_path: Path, status_form: str, notification_form: str
) -> None:
    bank, batch = a_bank(tmp_path, status_form, notification_form), an_instructed_batch()
    payment = batch.instruction()

    accepted = await bank.pay(payment)
    entries = entries_of(await bank.client.get("/v1/notifications"))

    assert accepted == ("ACCP", ())
    assert await bank.status(payment) == ("ACCC", ())
    outcomes = [match(entry, [batch]) for entry in entries]
    assert all(isinstance(outcome, Matched) for outcome in outcomes)
    assert [entry.side for entry in entries] == [Side.DEBIT, Side.CREDIT]


@pytest.mark.parametrize("status_form", STATUS_FORMS)
async def test_a_refusal_is_a_refusal_with_its_reason(tmp_path: Path, status_form: str) -> None:
    bank, payment = a_bank(tmp_path, status_form, "full", REFUSAL), an_instructed_batch().instruction()

    assert await bank.pay(payment) == ("RJCT", ("AC04",))
    assert await bank.status(payment) == ("RJCT", ("AC04",))


@pytest.mark.parametrize(("status_form", "notification_form"), FORMS)
async def test_every_form_is_valid_by_the_official_schemas(
    tmp_path: Path, status_form: str, notification_form: str
) -> None:
    bank, payment = a_bank(tmp_path, status_form, notification_form), an_instructed_batch().instruction()

    accepted = await bank.client.post("/v1/payments", content=write_pain001(payment, None))
    notified = await bank.client.get("/v1/notifications")

    assert verdicts(notified.content, any_schema("camt.054.001.08")) == (True, True)
    assert verdicts(accepted.content, shared_schema("pain.002.001.10")) == (True, True)


@pytest.mark.parametrize("wrong", [{"status_form": "other"}, {"notification_form": "other"}], ids=str)
def test_a_form_that_the_bank_does_not_know_is_no_profile(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match=r"bank\.profile"):
        Bank(tmp_path, a_bank_profile(**wrong))
