"""The comparison of the insurer in JavaScript names what `gateway.client` names, for the fields that it looks at."""

import os
import subprocess
from pathlib import Path
from typing import Any

from gateway.client import compare
from gateway.protocol.canonical import compact, read_json
from gateway.protocol.claim_terms import BillingMode, Payee
from gateway.protocol.exchange import unpack
from gateway.protocol.fhir.wire import read_bundle, to_json
from gateway.protocol.messages.submitted import SubmittedManifest
from tests.claims_in_transit import a_bundle, a_claim, with_content
from tests.node import node_path

PROGRAM = Path(__file__).parents[2] / "examples" / "insurer-node" / "compare.js"
RUN = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const { compare } = await import(pathToFileURL(process.argv[1]));
const claims = JSON.parse(readFileSync(0));
console.log(JSON.stringify(claims.map(({ manifest, bundle }) => compare(manifest, bundle))));
"""
MANIFEST = a_claim()
SIGNED_OTHERWISE: dict[str, dict[str, Any]] = {
    "/claim_id": {"claim_id": "claim_another"},
    "/case_id": {"case_id": "case_another"},
    "/billing_mode": {"billing_mode": BillingMode.PAY_AND_CLAIM},
    "/payee": {"payee": Payee.INSURED},
    "/currency": {"currency": "HKD"},
    "/unpaid_minor": {"unpaid_minor": MANIFEST.unpaid_minor + 1},
    "/asked_minor": {"asked_minor": MANIFEST.asked_minor - 1},
    "/line_amounts_minor/0": {"line_amounts_minor": (1, *MANIFEST.line_amounts_minor[1:])},
    "/line_amounts_minor": {"line_amounts_minor": MANIFEST.line_amounts_minor[:-1]},
}


def compared_by_node(*claims: tuple[SubmittedManifest, bytes]) -> list[list[str]]:
    """Compare each manifest with the bytes of its content, as they are: amounts are decimals in them."""
    parts = [
        b'{"manifest":' + compact(manifest.model_dump(mode="json")) + b',"bundle":' + content + b"}"
        for manifest, content in claims
    ]
    environment = {**os.environ, "PATH": node_path()}  # noqa: TID251 the child gets ours
    command = ["node", "--input-type=module", "--eval", RUN, str(PROGRAM)]
    done = subprocess.run(
        command, input=b"[" + b",".join(parts) + b"]", env=environment, capture_output=True, check=True
    )
    answer: list[list[str]] = read_json(done.stdout)
    return answer


def test_bills_as_the_edge_seals_them_have_no_differences_in_node_either() -> None:
    names = ("inpatient-direct", "inpatient-basic-fund", "outpatient-pay-and-claim")

    differences = compared_by_node(*((a_claim(name), to_json(a_bundle(name))) for name in names))

    assert differences == [[], [], []]


def test_what_is_signed_otherwise_than_sealed_is_named_in_node_as_in_python() -> None:
    bundle = a_bundle()
    signed = {pointer: MANIFEST.model_copy(update=change) for pointer, change in SIGNED_OTHERWISE.items()}

    compared = compared_by_node(*((manifest, to_json(bundle)) for manifest in signed.values()))

    for (pointer, manifest), differences in zip(signed.items(), compared, strict=True):
        assert pointer in differences
        assert set(differences) <= set(compare(bundle, manifest))


def test_a_sealed_line_of_another_amount_is_named_in_node() -> None:
    def raise_the_first_line(content: dict[str, Any]) -> None:
        content["entry"][0]["resource"]["item"][0]["net"]["value"] += 1

    manifest, packed = with_content(MANIFEST, raise_the_first_line)
    content = unpack(packed)

    [differences] = compared_by_node((manifest, content))

    assert differences == ["/line_amounts_minor/0"]
    assert set(differences) <= set(compare(read_bundle(content), manifest))


def test_content_without_a_claim_is_a_difference_in_node() -> None:
    empty = compact({"resourceType": "Bundle", "type": "collection", "entry": []})

    assert compared_by_node((MANIFEST, empty)) == [["/content"]]
