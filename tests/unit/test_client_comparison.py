from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.opened import compare
from gateway.protocol.claim_terms import Eligibility
from gateway.protocol.differences import BY_INSURER, is_difference
from gateway.protocol.exchange import unpack
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.messages.submitted import Paid, Programme
from tests.claims_in_transit import a_bundle, a_claim, with_content

MANIFEST = a_claim()
LINES = len(MANIFEST.line_amounts_minor)

Change = Callable[[dict[str, Any]], None]
"""Changes the dossier's JSON object in place."""


def differences_after(change: Change) -> tuple[str, ...]:
    manifest, packed = with_content(MANIFEST, change)
    return compare(read_bundle(unpack(packed)), manifest)


def the_claim(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["entry"][0]["resource"]
    return found


def resource(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == kind)


def extension(owner: dict[str, Any], url: str) -> dict[str, Any]:
    return next(one for one in owner["extension"] if one["url"] == url)


def billing(bundle: dict[str, Any], name: str) -> dict[str, Any]:
    return extension(extension(the_claim(bundle), systems.BILLING), name)


def paid(bundle: dict[str, Any], name: str) -> dict[str, Any]:
    return extension(extension(the_claim(bundle), systems.PAID), name)


@pytest.mark.parametrize("name", ["inpatient-direct", "inpatient-basic-fund", "outpatient-pay-and-claim"])
def test_what_the_hospitals_edge_makes_of_a_bill_has_no_differences(name: str) -> None:
    assert compare(a_bundle(name), a_claim(name)) == ()


SIGNED_OTHERWISE: dict[str, dict[str, Any]] = {
    "/claim_id": {"claim_id": "claim_another"},
    "/case_id": {"case_id": "case_another"},
    "/claim_version": {"claim_version": 2},
    "/payer_rank": {"payer_rank": 2},
    "/billing_mode": {"billing_mode": "pay_and_claim"},
    "/payee": {"payee": "insured"},
    "/carrier": {"carrier": "ins-lantau"},
    "/payer": {"payer": "ins-lantau"},
    "/administrator": {"administrator": "tpa-somebody"},
    "/policy_kind": {"policy_kind": "group_medical"},
    "/currency": {"currency": "HKD"},
    "/receipt_tokens": {"receipt_tokens": ("one", "two")},
    "/asked_minor": {"asked_minor": MANIFEST.asked_minor - 1},
    "/unpaid_minor": {"unpaid_minor": MANIFEST.unpaid_minor + 1},
    "/paid": {"paid": MANIFEST.paid[:1]},
    "/paid/1": {"paid": (MANIFEST.paid[0], Paid(kind="huiminbao", amount_minor=0, order=2))},
    "/line_amounts_minor": {"line_amounts_minor": MANIFEST.line_amounts_minor[:-1]},
    "/recipients": {"recipients": ("ins-lantau",)},
    "/consent_commitment": {"consent_commitment": "f" * 64},
    "/programme/count": {"programme": MANIFEST.programme.model_copy(update={"count": 0})},
    "/programme/worst": {
        "programme": Programme(count=1, worst=Eligibility.ELIGIBLE, release_sha256=MANIFEST.programme.release_sha256)
    },
}


@pytest.mark.parametrize("pointer", SIGNED_OTHERWISE)
def test_a_manifest_that_says_something_else_is_named_by_its_field(pointer: str) -> None:
    changed = MANIFEST.model_copy(update=SIGNED_OTHERWISE[pointer])

    assert pointer in compare(a_bundle(), changed)


@given(index=st.integers(0, LINES - 1), step=st.integers(-1_000_000, 1_000_000).filter(bool))
def test_any_line_that_is_signed_with_another_amount_is_named(index: int, step: int) -> None:
    amounts = list(MANIFEST.line_amounts_minor)
    amounts[index] += step

    found = compare(a_bundle(), MANIFEST.model_copy(update={"line_amounts_minor": tuple(amounts)}))

    assert f"/line_amounts_minor/{index}" in found
    assert "/line_amounts_minor" in found


@given(index=st.integers(0, LINES - 1), step=st.integers(-1_000_000, 1_000_000).filter(bool))
def test_any_line_whose_content_says_another_amount_is_named(index: int, step: int) -> None:
    def change(bundle: dict[str, Any]) -> None:
        net = the_claim(bundle)["item"][index]["net"]
        net["value"] += Decimal(step) / 100

    assert differences_after(change) == (f"/line_amounts_minor/{index}",)


@given(place=st.permutations(range(LINES)).filter(lambda order: list(order) != sorted(order)))
def test_lines_in_another_order_are_named(place: list[int]) -> None:
    def change(bundle: dict[str, Any]) -> None:
        items = the_claim(bundle)["item"]
        the_claim(bundle)["item"] = [items[index] for index in place]

    assert differences_after(change)


def _drop_line(bundle: dict[str, Any]) -> None:
    the_claim(bundle)["item"].pop()


def _add_line(bundle: dict[str, Any]) -> None:
    items = the_claim(bundle)["item"]
    items.append({**items[-1], "sequence": LINES + 1})


def _line_without_amount(bundle: dict[str, Any]) -> None:
    del the_claim(bundle)["item"][0]["net"]


def _part_of_a_fen(bundle: dict[str, Any]) -> None:
    the_claim(bundle)["item"][0]["net"]["value"] = Decimal("300.001")


def _line_in_hong_kong_dollars(bundle: dict[str, Any]) -> None:
    the_claim(bundle)["item"][0]["net"]["currency"] = "HKD"


def _refund_that_does_not_add_up(bundle: dict[str, Any]) -> None:
    netted = next(item for item in the_claim(bundle)["item"] if "detail" in item)
    netted["detail"][0]["net"]["value"] += Decimal("0.01")


def _no_programme(bundle: dict[str, Any]) -> None:
    for item in the_claim(bundle)["item"]:
        item["extension"] = [one for one in item["extension"] if not one["url"].endswith(":programme")]


def _set(value: Any, *path: Any) -> Change:
    def change(bundle: dict[str, Any]) -> None:
        owner: Any = the_claim(bundle)
        for step in path[:-1]:
            owner = owner[step]
        owner[path[-1]] = value

    return change


def _payor(display: str) -> Change:
    def change(bundle: dict[str, Any]) -> None:
        payors = resource(bundle, "Coverage")["payor"]
        next(one for one in payors if one["display"] == display)["identifier"]["value"] = "ins-lantau"

    return change


CONTENT_OTHERWISE: dict[str, tuple[str, Change]] = {
    "a line less": ("/line_amounts_minor", _drop_line),
    "a line more": ("/line_amounts_minor", _add_line),
    "a line without amount": ("/line_amounts_minor/0", _line_without_amount),
    "a part of a fen": ("/line_amounts_minor/0", _part_of_a_fen),
    "a line in another currency": ("/currency", _line_in_hong_kong_dollars),
    "a refund that does not add up": ("/line_amounts_minor/9", _refund_that_does_not_add_up),
    "no programme line": ("/programme/count", _no_programme),
    "another total": ("/line_amounts_minor", _set(Decimal("1.00"), "total", "value")),
    "a total in another currency": ("/currency", _set("HKD", "total", "currency")),
    "another use": ("/use", _set("predetermination", "use")),
    "a cancelled claim": ("/use", _set("cancelled", "status")),
    "no receipt": ("/receipt_tokens", lambda bundle: the_claim(bundle).pop("supportingInfo")),
    "no identifiers": ("/claim_id", lambda bundle: the_claim(bundle).pop("identifier")),
    "nobody to pay": ("/payee", lambda bundle: the_claim(bundle).pop("payee")),
    "somebody else to pay": ("/payee", _set("subscriber", "payee", "type", "coding", 0, "code")),
    "another billing mode": (
        "/billing_mode",
        lambda bundle: billing(bundle, "billing_mode").update(valueCode="pay_and_claim"),
    ),
    "another payee": ("/payee", lambda bundle: billing(bundle, "payee").update(valueCode="insured")),
    "more asked": (
        "/asked_minor",
        lambda bundle: billing(bundle, "asked")["valueMoney"].update(value=Decimal("99999.00")),
    ),
    "asked in another currency": (
        "/asked_minor",
        lambda bundle: billing(bundle, "asked")["valueMoney"].update(currency="HKD"),
    ),
    "another payment": ("/paid/0", lambda bundle: paid(bundle, "kind").update(valueCode="cash")),
    "a payment of another amount": (
        "/paid/0",
        lambda bundle: paid(bundle, "amount")["valueMoney"].update(value=Decimal("5.00")),
    ),
    "a payment in another order": ("/paid/0", lambda bundle: paid(bundle, "order").update(valueInteger=7)),
    "another carrier": ("/carrier", _payor("carrier")),
    "another payer": ("/payer", _payor("payer")),
    "another rank": ("/payer_rank", lambda bundle: resource(bundle, "Coverage").update(order=2)),
    "another policy kind": (
        "/policy_kind",
        lambda bundle: resource(bundle, "Coverage")["type"]["coding"][0].update(code="vhis_standard"),
    ),
    "a consent that was altered": (
        "/consent_commitment",
        lambda bundle: extension(resource(bundle, "Consent"), systems.CONSENT_TEXT).update(valueString="{}"),
    ),
    "a salt that is none": (
        "/consent_commitment",
        lambda bundle: extension(resource(bundle, "Consent"), systems.CONSENT_SALT).update(valueString="%"),
    ),
    "a consent for somebody else": (
        "/recipients",
        lambda bundle: resource(bundle, "Consent")["provision"].pop("actor"),
    ),
    "a coverage that is not in force": (
        "/policy_kind",
        lambda bundle: resource(bundle, "Coverage").update(status="cancelled"),
    ),
    "a consent that is not active": (
        "/consent_commitment",
        lambda bundle: resource(bundle, "Consent").update(status="inactive"),
    ),
    "a consent to something else": (
        "/consent_commitment",
        lambda bundle: resource(bundle, "Consent").update(scope={"text": "treatment"}),
    ),
    "a consent that denies": (
        "/recipients",
        lambda bundle: resource(bundle, "Consent")["provision"].update(type="deny"),
    ),
    "two claims": (
        "/content",
        lambda bundle: bundle["entry"].append({**bundle["entry"][0], "fullUrl": "urn:szhk:another"}),
    ),
    "no coverage": (
        "/content",
        lambda bundle: bundle["entry"].remove(
            next(one for one in bundle["entry"] if one["resource"]["resourceType"] == "Coverage")
        ),
    ),
}


@pytest.mark.parametrize("case", CONTENT_OTHERWISE)
def test_content_that_says_something_else_than_was_signed_is_named(case: str) -> None:
    pointer, change = CONTENT_OTHERWISE[case]

    assert pointer in differences_after(change)


@pytest.mark.parametrize("case", CONTENT_OTHERWISE)
def test_every_difference_that_is_found_may_stand_in_a_dispute(case: str) -> None:
    _, change = CONTENT_OTHERWISE[case]

    assert all(is_difference(difference, BY_INSURER) for difference in differences_after(change))
