from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.protocol.errors import RefuseError
from settlement.payment import AccountHolder, Agent, PaymentInstruction, RemittanceLine
from tests.settlement_builders import a_cnaps, a_payment, cny, the_hospital, the_payer

HOLDERS: dict[str, tuple[Callable[[AccountHolder], AccountHolder], str]] = {
    "Chinese name": (lambda holder: replace(holder, name="深圳合成医院"), "payment.name-not-latin"),
    "accented name": (lambda holder: replace(holder, name="Hôpital"), "payment.name-not-latin"),
    "name of 141": (lambda holder: replace(holder, name="A" * 141), "payment.name-not-latin"),
    "blank at the end": (lambda holder: replace(holder, name="Hospital "), "payment.name-not-latin"),
    "no name": (lambda holder: replace(holder, name=""), "payment.name-not-latin"),
    "line break": (lambda holder: replace(holder, name="A\nB"), "payment.name-not-latin"),
    "no town": (lambda holder: replace(holder, town=""), "payment.address"),
    "town of 36": (lambda holder: replace(holder, town="A" * 36), "payment.address"),
    "no country": (lambda holder: replace(holder, country=""), "payment.address"),
    "country in words": (lambda holder: replace(holder, country="China"), "payment.address"),
    "account of 35": (lambda holder: replace(holder, account="1" * 35), "payment.account"),
    "account with a blank": (lambda holder: replace(holder, account="1 2"), "payment.account"),
    "bad LEI": (lambda holder: replace(holder, lei="QQ00SYNTHETICLEI0000"), "identifier.lei"),
}


@pytest.mark.parametrize(("change", "code"), list(HOLDERS.values()), ids=list(HOLDERS))
def test_an_account_holder_that_a_bank_could_not_read_is_refused(
    change: Callable[[AccountHolder], AccountHolder], code: str
) -> None:
    with pytest.raises(RefuseError) as refusal:
        change(the_hospital())

    assert refusal.value.code == code


def test_names_and_towns_at_their_limits_are_fine() -> None:
    holder = replace(the_hospital("A" * 140), town="B" * 35, account="1" * 34)

    assert (len(holder.name), len(holder.town), len(holder.account)) == (140, 35, 34)


@pytest.mark.parametrize("position", range(12))
def test_every_one_digit_error_in_a_cnaps_code_is_refused(position: int) -> None:
    right = a_cnaps()
    wrong_digits = [digit for digit in "0123456789" if digit != right[position]]

    for digit in wrong_digits:
        with pytest.raises(RefuseError):
            Agent("CNAPS", right[:position] + digit + right[position + 1 :])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Agent("CNAPS", "10258401234"),
        lambda: Agent("HKNCC", "12"),
        lambda: Agent("HKNCC", "999", "SHORT"),
        lambda: Agent("CNCIP", ""),
    ],
)
def test_a_bank_id_of_another_form_is_refused(make: Callable[[], Agent]) -> None:
    with pytest.raises(RefuseError):
        make()


PAYMENTS: dict[str, tuple[Callable[[PaymentInstruction], PaymentInstruction], str]] = {
    "reference of 36": (lambda payment: replace(payment, message_id="A" * 36), "payment.reference"),
    "reference with underscore": (lambda payment: replace(payment, end_to_end_id="obl_1"), "payment.reference"),
    "line reference in Chinese": (
        lambda payment: replace(payment, lines=(RemittanceLine("张三", payment.amount),)),
        "payment.reference",
    ),
    "uetr of another version": (
        lambda payment: replace(payment, uetr="0b5a1c1e-7f1a-1c3e-9d5b-2f6a8c0d1e2f"),
        "identifier.uetr",
    ),
    "nothing to pay": (lambda payment: replace(payment, amount=cny("0.00"), lines=()), "payment.amount"),
    "lines that do not sum": (lambda payment: replace(payment, lines=payment.lines[:1]), "payment.lines-differ"),
    "accounts in another currency": (
        lambda payment: replace(payment, debtor=replace(the_payer(), currency="HKD")),
        "payment.currency",
    ),
}


@pytest.mark.parametrize(("change", "code"), list(PAYMENTS.values()), ids=list(PAYMENTS))
def test_an_instruction_that_no_bank_could_carry_out_is_refused(
    change: Callable[[PaymentInstruction], PaymentInstruction], code: str
) -> None:
    with pytest.raises(RefuseError) as refusal:
        change(a_payment())

    assert refusal.value.code == code
