"""Intake over HTTP on a real database: what is taken, what is refused, and that a bill becomes one claim only."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adapters.sz import tables
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.exchange import Exchange, unpack
from gateway.protocol.fhir.claim import Claim
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.opening import open_sealed
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.protocol.verification import verify_exchange, verify_stamp
from gateway.runtime.delivery.relay import signed_exchange
from gateway.runtime.signals import failpoints
from gateway.runtime.storage import tables as runtime_tables
from gateway.runtime.storage.database import open_database
from tests.conftest import MakeDatabase
from tests.hospital_bills import changed, numbered, sample, sample_object, with_lines
from tests.parties import INSURER, NOW, key_of, world
from tests.sz_edge import METADATAS, Edge, an_edge, load_bill_box

ROUNDS = 200
TWINS = 8
CANARY = "QQ-canary-测试金丝雀-1900"


@pytest.fixture
async def edge(make_database: MakeDatabase) -> Edge:
    return an_edge(make_database(*METADATAS), VirtualClock())


@pytest.fixture
async def sqlite_edge(tmp_path: Path) -> AsyncIterator[Edge]:
    database = open_database(f"sqlite:///{tmp_path / 'sz.db'}")
    for metadata in METADATAS:
        database.run_sync(metadata.create_all)
    yield an_edge(database, VirtualClock())
    await database.close()


def body(answer: httpx2.Response) -> dict[str, Any]:
    return read_json_object(answer.content)


async def test_a_good_bill_is_durable_under_a_signed_receipt(edge: Edge) -> None:
    async with edge.http() as client:
        answer = await edge.submit(client, sample(), "key-1")

    found = body(answer)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/sz/v1/claims/{found['claim_id']}"
    stamp = verify_stamp(found["receipt"], world().directory)
    assert (stamp.role, stamp.type, stamp.key, stamp.seq) == ("sz", "submitted", found["case_id"], 1)
    assert (found["state"], found["claim_version"], found["allowed_actions"]) == ("received", 1, [])
    assert "/settlement_list/setlinfo/medcasno" in found["normalised"]
    assert await edge.count(tables.claims) == 1


async def test_what_leaves_verifies_opens_for_the_insurer_and_says_what_was_handed_in(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        await sqlite_edge.submit(client, sample(), "key-1")

    [row] = await sqlite_edge.all(runtime_tables.outbox)
    exchange = signed_exchange(row, key_of("sz/stamp/1"))
    verified = verify_exchange(
        Exchange.decode(exchange.encode()),
        world().directory,
        topic=HOSPITAL_REQUESTS,
        key=row.key,
        writer="sz",
        now=NOW,
    )
    manifest = verified.manifest
    assert isinstance(manifest, SubmittedManifest)
    content = unpack(open_sealed(exchange.dossier or "", key_of(f"{INSURER}/seal/1")))
    claim = read_bundle(content, refuse_unknown=True).one(Claim)
    assert [item.sequence for item in claim.item] == list(range(1, len(manifest.line_amounts_minor) + 1))
    assert manifest.total_minor == manifest.asked_minor == 5_387_884


async def test_nothing_of_a_person_stands_in_clear_in_the_database(sqlite_edge: Edge, tmp_path: Path) -> None:
    async with sqlite_edge.http() as client:
        claim_id = body(await sqlite_edge.submit(client, sample(), "key-1"))["claim_id"]

    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert claim_id.encode() in stored
    for secret in (
        "测试甲",
        "H00000001",
        "QQ0000009",
        "SYN-2026-0001",
        "I49.500",
        "双腔",
        "0000000101",
        "SYN-POL-0001",
    ):
        assert secret.encode() not in stored
    kept = await sqlite_edge.database.read(lambda tx: load_bill_box(tx, sqlite_edge, claim_id))
    assert unpack(kept) == sample()


async def test_the_same_request_gives_the_first_receipt_byte_for_byte(edge: Edge) -> None:
    async with edge.http() as client:
        first = await edge.submit(client, sample(), "key-1")

        again = await edge.submit(client, sample(), '"key-1"')

    assert again.status_code == first.status_code == 202
    assert body(again) == body(first)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


async def test_the_same_bill_under_another_key_gives_the_first_receipt_even_if_written_otherwise(edge: Edge) -> None:
    async with edge.http() as client:
        first = await edge.submit(client, sample(), "key-1")

        again = await edge.submit(client, compact(sample_object()), "key-2")
        third = await edge.submit(client, compact(sample_object()), "key-2")

    assert body(again)["receipt"] == body(first)["receipt"]
    assert body(third) == body(again) == body(first)
    assert again.headers["idempotent-replayed"] == third.headers["idempotent-replayed"] == "true"
    assert await edge.count(tables.claims) == await edge.count(runtime_tables.outbox) == 1


async def test_another_bill_under_a_claim_number_in_use_is_a_conflict(edge: Edge) -> None:
    other = compact(changed("/coverage/policy_number", "SYN-POL-9999"))
    async with edge.http() as client:
        await edge.submit(client, sample(), "key-1")

        answer = await edge.submit(client, other, "key-2")

    assert (answer.status_code, body(answer)["code"]) == (409, "claim.number-taken")
    [claim] = await edge.all(tables.claims)
    assert body(answer)["allowed_actions"] == []
    assert (body(answer)["claim_id"], body(answer)["href"]) == (claim.claim_id, f"/sz/v1/claims/{claim.claim_id}")


async def test_the_same_key_with_another_body_is_refused(edge: Edge) -> None:
    async with edge.http() as client:
        await edge.submit(client, sample(), "key-1")

        answer = await edge.submit(client, numbered(2), "key-1")

    assert (answer.status_code, body(answer)["code"]) == (422, "idempotency.key-reused")


async def test_validation_keeps_nothing_and_tells_what_would_not_cross(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        answer = await client.post("/v1/validate", content=sample())
        wrong = await client.post("/v1/validate", content=sample("wrong"))

    assert (answer.status_code, body(answer)["valid"]) == (200, True)
    assert "/settlement_list/setlinfo/curr_addr" in body(answer)["left_out"]
    assert wrong.status_code == 422
    assert await sqlite_edge.count(tables.claims) == await sqlite_edge.count(runtime_tables.idempotency) == 0


async def test_a_wrong_bill_is_told_everything_at_once(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        answer = await sqlite_edge.submit(client, sample("wrong"), "key-1")

    problem = body(answer)
    assert (answer.status_code, problem["code"]) == (422, "bill.invalid")
    assert answer.headers["content-type"] == "application/problem+json"
    told = {fault["code"] for fault in problem["errors"]}
    assert told >= {
        "field.unknown",
        "field.not-a-number",
        "identifier.hkid",
        "identifier.nhsa_institution",
        "bill.total-mismatch",
        "bill.two-currencies",
        "stay.ends-before-start",
        "coverage.party-unknown",
        "receipt.red-flushed",
        "refund.original-unknown",
        "billing.payee-against-mode",
        "consent.withdrawn",
        "consent.flag-missing",
    }
    assert all(fault["fix"] and fault["detail"] for fault in problem["errors"])
    assert await sqlite_edge.count(runtime_tables.idempotency) == 0


def _bad(pointer: str, value: Any) -> bytes:
    return compact(changed(pointer, value))


BAD = {
    "broken JSON": (sample()[:-40], 400, "json.malformed"),
    "no JSON": (CANARY.encode(), 400, "json.malformed"),
    "not UTF-8": (sample().decode().encode("gb18030"), 400, "json.not-utf8"),
    "a list": (b"[]", 400, "json.not-an-object"),
    "a duplicate key": (b'{"billing":{},"billing":{}}', 400, "json.duplicate-key"),
    "NaN": (b'{"billing":{"total":NaN}}', 400, "json.not-a-number"),
    "an exponent": (b'{"billing":{"total":1e2}}', 422, "field.not-a-number"),
    "too deep": (b'{"a":' * 70 + b"1" + b"}" * 70, 400, "json.too-deep"),
    "an empty object": (b"{}", 422, "field.missing"),
    "an unknown field": (_bad("/billing/canary", CANARY), 422, "field.unknown"),
    "an unknown field named after a person": (_bad(f"/{CANARY}", 1), 422, "field.unknown"),
    "a wrong check digit": (_bad("/coverage/hkid", "QQ000000(1)"), 422, "identifier.hkid"),
    "an HKID that is none": (_bad("/coverage/hkid", CANARY), 422, "identifier.hkid"),
    "a wrong total": (_bad("/billing/total", "1.00"), 422, "bill.total-mismatch"),
    "an end before the start": (
        _bad("/settlement_list/setlinfo/dscg_time", "2026-02-01 08:00:00"),
        422,
        "stay.ends-before-start",
    ),
    "two currencies": (_bad("/receipts/0/currency", "HKD"), 422, "bill.two-currencies"),
    "a currency that is none": (_bad("/billing/currency", "XYZ"), 422, "money.currency-unknown"),
    "an unknown insurer": (_bad("/coverage/carrier", CANARY), 422, "coverage.party-unknown"),
    "a route that is not filed": (_bad("/coverage/payer", "ins-lantau"), 422, "route.none"),
    "a lone surrogate": (sample().replace("测试甲".encode(), b"\\ud800", 1), 400, "json.lone-surrogate"),
    "a control character": (sample().replace("测试甲".encode(), b"\\u0000", 1), 422, "field.unreadable-character"),
    "an amount as an object": (_bad("/billing/asked", {"amount": CANARY}), 422, "field.not-a-number"),
    "an amount out of range": (_bad("/fee_lines/0/det_item_fee_sumamt", "9" * 14), 422, "field.out-of-range"),
    "amounts of many digits": (_bad("/fee_lines/0/cnt", "1" * 17), 422, "field.not-a-number"),
    "lines that are none": (_bad("/fee_lines", CANARY), 422, "field.not-a-list"),
    "a settlement list that is none": (_bad("/settlement_list", [CANARY]), 422, "field.not-an-object"),
    "a mode that is none": (_bad("/billing/billing_mode", CANARY), 422, "field.not-a-choice"),
    "a purpose that is none": (_bad("/consent/purposes", [[CANARY]]), 422, "field.not-a-choice"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_never_a_500_and_never_echoed(sqlite_edge: Edge, name: str) -> None:
    raw, status, code = BAD[name]
    async with sqlite_edge.http() as client:
        answer = await sqlite_edge.submit(client, raw, "key-1")

    problem = body(answer)
    codes = {problem["code"], *(fault["code"] for fault in problem.get("errors", ()))}
    assert (answer.status_code, code in codes) == (status, True), sorted(codes)
    assert "canary" not in answer.text
    assert await sqlite_edge.count(tables.claims) == 0


async def test_an_oversize_body_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'sz.db'}")
    edge = an_edge(database, VirtualClock(), bill_bytes_max=10_000)
    async with edge.http() as client:
        answer = await edge.submit(client, sample(), "key-1")
    await database.close()

    assert (answer.status_code, body(answer)["code"]) == (413, "http.body-too-large")


@pytest.mark.parametrize(("place", "stored"), [("api.before_commit", 0), ("api.after_commit", 1)])
async def test_whoever_hears_nothing_asks_again_and_gets_the_one_receipt(
    sqlite_edge: Edge, place: str, stored: int
) -> None:
    async with sqlite_edge.http() as client:
        failpoints.arm(f"{place}=raise")
        try:
            broken = await sqlite_edge.submit(client, sample(), "key-1")
        finally:
            failpoints.arm(None)
        kept = await sqlite_edge.count(tables.claims)

        again = await sqlite_edge.submit(client, sample(), "key-1")

    assert (broken.status_code, body(broken)["code"], kept) == (500, "internal", stored)
    assert again.status_code == 202
    assert ("idempotent-replayed" in again.headers) == bool(stored)
    assert await sqlite_edge.count(tables.claims) == await sqlite_edge.count(runtime_tables.outbox) == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "idempotency.key-missing"),
        ({"idempotency-key": "k" * 300}, 400, "idempotency.key-malformed"),
        ({"idempotency-key": "key-1", "content-type": "text/plain"}, 415, "http.content-type"),
        ({"idempotency-key": "key-1", "authorization": "Bearer nobody"}, 401, "auth.token"),
    ],
)
async def test_a_request_without_its_headers_is_refused(
    sqlite_edge: Edge, headers: dict[str, str], status: int, code: str
) -> None:
    async with sqlite_edge.http() as client:
        answer = await client.post("/v1/claims", content=sample(), headers=headers)

    assert (answer.status_code, body(answer)["code"]) == (status, code)


async def test_a_party_that_is_no_hospital_here_is_forbidden(sqlite_edge: Edge) -> None:
    edge = an_edge(sqlite_edge.database, VirtualClock(), formats={})
    async with edge.http() as client:
        answer = await edge.submit(client, sample(), "key-1")

    assert (answer.status_code, body(answer)["code"]) == (403, "hospital.not-served-here")


async def test_nothing_is_sealed_to_a_key_that_is_not_pinned(sqlite_edge: Edge) -> None:
    edge = an_edge(sqlite_edge.database, VirtualClock(), pins={INSURER: frozenset({"another"})})
    async with edge.http() as client:
        answer = await edge.submit(client, sample(), "key-1")

    assert (answer.status_code, body(answer)["code"]) == (503, "pin.unknown-key")
    assert await edge.count(tables.claims) == 0


async def test_a_full_outbox_refuses_new_bills_and_still_answers_known_ones(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        first = await sqlite_edge.submit(client, sample(), "key-1")
        sqlite_edge.deps.outbox.admission.rows = 1_000_000

        known = await sqlite_edge.submit(client, sample(), "key-1")
        new = await sqlite_edge.submit(client, numbered(2), "key-2")

    assert body(known) == body(first)
    assert (new.status_code, body(new)["code"], new.headers["retry-after"]) == (503, "admission.outbox-full", "30")


async def test_eight_at_once_become_one_claim_and_eight_equal_receipts_two_hundred_times(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        for number in range(ROUNDS):
            raw = numbered(number)
            answers = await asyncio.gather(*(sqlite_edge.submit(client, raw, f"round-{number}") for _ in range(TWINS)))
            assert {answer.status_code for answer in answers} == {202}
            assert len({answer.content for answer in answers}) == 1

    assert await sqlite_edge.count(tables.claims) == ROUNDS
    assert await sqlite_edge.count(runtime_tables.outbox) == ROUNDS
    assert await sqlite_edge.count(runtime_tables.audit_rows) == ROUNDS


async def test_eight_at_once_under_eight_keys_become_one_claim_too(edge: Edge) -> None:
    async with edge.http() as client:
        for number in range(5):
            raw = numbered(number)
            answers = await asyncio.gather(*(edge.submit(client, raw, f"key-{number}-{twin}") for twin in range(TWINS)))
            assert {answer.status_code for answer in answers} == {202}
            assert len({body(answer)["receipt"] for answer in answers}) == 1

    assert await edge.count(tables.claims) == 5


@pytest.mark.parametrize(("lines", "status"), [(1000, 202), (5000, 202), (5001, 422)])
async def test_a_long_bill_is_taken_whole_up_to_the_most_lines_a_claim_may_have(
    sqlite_edge: Edge, lines: int, status: int
) -> None:
    async with sqlite_edge.http() as client:
        answer = await sqlite_edge.submit(client, with_lines(lines), "key-1")

    assert answer.status_code == status, answer.text[:200]
