"""Refund lines are netted against the line they name before anything crosses; the pair is kept."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sz.bill import BillLine, HospitalBill, Netted
from gateway.protocol.errors import Fault
from gateway.protocol.money import Money
from tests.hospital_bills import bill_of

BILL = bill_of()


def a_line(serial: str, quantity: str, price: str = "10.00", **changes: object) -> BillLine:
    amount = int(Decimal(quantity) * Decimal(price) * 100)
    line = replace(
        BILL.lines[0],
        serial=serial,
        quantity=Decimal(quantity),
        unit_price=Decimal(price),
        amount=Money(amount, "CNY"),
    )
    return replace(line, **changes)  # type: ignore[arg-type]


def net(*lines: BillLine) -> Netted:
    bill: HospitalBill = replace(BILL, lines=lines)
    return bill.net_refunds()


def test_a_bill_without_refunds_stays_as_it_is() -> None:
    lines = (a_line("1", "2"), a_line("2", "1"))

    netted = net(*lines)

    assert (netted.lines, netted.pairs, netted.faults) == (lines, (), ())


def test_a_refund_reduces_quantity_and_amount_of_the_line_it_names() -> None:
    netted = net(a_line("1", "6"), a_line("2", "1"), a_line("3", "-2", refund_of="1"))

    assert [(line.serial, line.quantity) for line in netted.lines] == [("1", Decimal(4)), ("2", Decimal(1))]
    assert netted.amounts_minor == (4000, 1000)
    [pair] = netted.pairs
    assert (pair.original.quantity, [refund.serial for refund in pair.refunds]) == (Decimal(6), ["3"])


def test_a_line_refunded_whole_leaves_the_claim_and_its_pair_is_kept() -> None:
    netted = net(a_line("1", "2"), a_line("2", "-1", refund_of="1"), a_line("3", "-1", refund_of="1"), a_line("4", "1"))

    assert [line.serial for line in netted.lines] == ["4"]
    assert [pair.original.serial for pair in netted.pairs] == ["1"]
    assert len(netted.pairs[0].refunds) == 2


def test_a_line_of_no_amount_is_no_line_of_the_claim() -> None:
    assert [line.serial for line in net(a_line("1", "1", "0.00"), a_line("2", "1")).lines] == ["2"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ((a_line("1", "1"), a_line("2", "-2", refund_of="1")), Fault("refund.over-original", "/lines/0/amount")),
        ((a_line("1", "1"), a_line("2", "-1", refund_of="9")), Fault("refund.original-unknown", "/lines/1/refund_of")),
        ((a_line("1", "-1", refund_of="1"),), Fault("refund.original-unknown", "/lines/0/refund_of")),
        ((a_line("1", "1"), a_line("2", "1", refund_of="1")), Fault("refund.not-negative", "/lines/1/refund_of")),
        ((a_line("1", "1"), a_line("2", "-1")), Fault("refund.without-original", "/lines/1/amount")),
        (
            (a_line("1", "1"), a_line("2", "-1", refund_of="1", hospital_code="OTHER")),
            Fault("refund.other-item", "/lines/1/refund_of"),
        ),
        (
            (a_line("1", "1"), a_line("2", "-1", refund_of="1", amount=Money(-1000, "HKD"))),
            Fault("bill.two-currencies", "/lines/1/refund_of"),
        ),
    ],
)
def test_a_refund_that_does_not_fit_its_original_is_a_fault(lines: tuple[BillLine, ...], fault: Fault) -> None:
    assert net(*lines).faults == (fault,)


def test_a_refund_of_a_refund_is_refused() -> None:
    netted = net(a_line("1", "3"), a_line("2", "-1", refund_of="1"), a_line("3", "-1", refund_of="2"))

    assert netted.faults == (Fault("refund.original-unknown", "/lines/2/refund_of"),)


@given(st.lists(st.tuples(st.integers(1, 20), st.lists(st.integers(1, 6), max_size=4)), min_size=1, max_size=8))
def test_netting_keeps_the_sum_and_never_leaves_a_negative_line(charged: list[tuple[int, list[int]]]) -> None:
    lines = []
    for number, (quantity, refunds) in enumerate(charged):
        lines.append(a_line(str(number), str(quantity)))
        lines += [a_line(f"{number}-{place}", f"-{back}", refund_of=str(number)) for place, back in enumerate(refunds)]

    netted = net(*lines)

    over = [number for number, (quantity, refunds) in enumerate(charged) if sum(refunds) > quantity]
    assert len(netted.faults) == len(over)
    assert all(amount > 0 for amount in netted.amounts_minor)
    if not over:
        assert sum(netted.amounts_minor) == sum(line.amount.amount_minor for line in lines)
