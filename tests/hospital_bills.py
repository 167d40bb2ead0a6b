"""Bills as hospitals hand them in: the sandbox's samples, and one change at a time to a good one."""

from collections.abc import Mapping
from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

from adapters.sz.bill import HospitalBill
from adapters.sz.checks import check, read_rules
from adapters.sz.findings import Circumstances, Findings, Site
from adapters.sz.formats import FORMATS
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.rules import shipped_rules
from tests.parties import HOSPITAL, NOW, world

SAMPLES = ("inpatient-direct", "outpatient-pay-and-claim", "inpatient-basic-fund")
FORMAT = "national_json"
INSTITUTION = "H44030599999"
REMOVED = object()


def sample(name: str = "inpatient-direct") -> bytes:
    return files("gateway.sandbox").joinpath("bills", f"{name}.json").read_bytes()


def sample_object(name: str = "inpatient-direct") -> dict[str, Any]:
    return read_json_object(sample(name))


def changed(pointer: str, value: Any, found: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a bill (default: the inpatient sample) with one place set, added or `REMOVED`."""
    bill = deepcopy(dict(sample_object() if found is None else found))
    *way, last = pointer.removeprefix("/").split("/")
    place: Any = bill
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is REMOVED:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return bill


def numbered(number: int, name: str = "inpatient-direct") -> bytes:
    """Return a sample under a claim number and a receipt of its own."""
    bill = sample_object(name)
    receipt = f"{number:010d}"
    bill["billing"]["claim_number"] = f"SYN-TEST-{number:06d}"
    bill["receipts"][0]["billNumber"] = receipt
    bill["settlement_list"]["setlinfo"]["bill_no"] = receipt
    return compact(bill)


def with_lines(count: int) -> bytes:
    """Return the inpatient sample stretched to `count` fee lines that add up."""
    bill = sample_object()
    lines = bill["fee_lines"]
    lines += [lines[10] | {"feedetl_sn": f"SYN-9{number:04d}"} for number in range(count - len(lines))]
    total = str(sum(Decimal(line["det_item_fee_sumamt"]) for line in lines))
    bill["billing"] |= {"total": total, "unpaid": total, "asked": total}
    bill["receipts"][0] |= {"amount": total, "otherPayment": total}
    bill["settlement_list"]["setlinfo"] |= {"psn_ownpay": total, "psn_cashpay": total}
    del bill["settlement_list"]["iteminfo"]
    return compact(bill)


def around(
    now: datetime = NOW, hospital: str = HOSPITAL, codes: frozenset[str] = frozenset({INSTITUTION})
) -> Circumstances:
    rules = read_rules(shipped_rules(), date(2026, 3, 2))
    return Circumstances(hospital, Site(FORMAT, codes), world().directory, rules, now)


def findings_of(raw: bytes, circumstances: Circumstances | None = None) -> Findings:
    """Read, net and check a bill, as the edge does."""
    form = FORMATS[FORMAT]
    reading = form.read(raw)
    return check(reading, reading.bill.net_refunds(), form.places, circumstances or around())


def faults_of(found: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(fault.code, fault.pointer) for fault in findings_of(compact(dict(found))).faults}


def bill_of(found: Mapping[str, Any] | None = None) -> HospitalBill:
    return FORMATS[FORMAT].read(sample() if found is None else compact(dict(found))).bill
