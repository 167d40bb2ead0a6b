"""A hospital whose bills are CSV tables, over HTTP: the same claim as from any other format."""

import httpx2
import pytest

from adapters.sz import tables
from adapters.sz.formats import FORMATS
from adapters.sz.formats.csv_tables.reader import write_bundle
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from tests.conftest import MakeDatabase
from tests.hospital_bills import sample
from tests.parties import HOSPITAL
from tests.sz_edge import METADATAS, Edge, an_edge

FORM = FORMATS["csv_tables"]


@pytest.fixture
async def edge(make_database: MakeDatabase) -> Edge:
    return an_edge(make_database(*METADATAS), VirtualClock(), formats={HOSPITAL: FORM.name})


async def post(client: httpx2.AsyncClient, raw: bytes, key: str, path: str = "/v1/claims") -> httpx2.Response:
    headers = {"idempotency-key": key, "content-type": "application/zip"}
    return await client.post(path, content=raw, headers=headers)


async def test_a_bill_as_tables_becomes_a_claim_and_under_another_key_the_same_one(edge: Edge) -> None:
    async with edge.http() as client:
        first = await post(client, FORM.sample(), "key-1")
        again = await post(client, FORM.sample(), "key-2")
        shown = await client.get(f"/v1/claims/{read_json_object(first.content)['claim_id']}")

    assert (first.status_code, again.status_code) == (202, 202)
    assert read_json_object(again.content)["receipt"] == read_json_object(first.content)["receipt"]
    assert read_json_object(shown.content)["total"] == "10240.00"
    [row] = await edge.all(tables.claims)
    assert row.format == "csv_tables"


async def test_every_fault_of_the_tables_is_named_by_file_row_and_column(edge: Edge) -> None:
    mutations = {mutation.name: mutation for mutation in FORM.mutations()}

    async with edge.http() as client:
        answers = {name: await post(client, mutation.raw, name) for name, mutation in mutations.items()}

    for name, answer in answers.items():
        named = {(fault["code"], fault["pointer"]) for fault in read_json_object(answer.content)["errors"]}
        assert answer.status_code == 422, name
        assert mutations[name].faults <= named, name
    assert await edge.count(tables.claims) == 0


async def test_what_is_no_bundle_is_one_clear_error(edge: Edge) -> None:
    async with edge.http() as client:
        answers = [
            await post(client, raw, "key-1", "/v1/validate") for raw in (b"", b"PK", write_bundle({"x.csv": []}))
        ]

    assert {read_json_object(answer.content)["code"] for answer in answers} == {"csv.malformed"}
    assert all(400 <= answer.status_code < 500 for answer in answers)


async def test_a_bill_in_another_hospitals_format_is_refused_with_the_media_types_of_this_ones(edge: Edge) -> None:
    async with edge.http() as client:
        answer = await edge.submit(client, sample(), "key-1")

    assert answer.status_code == 415
    assert read_json_object(answer.content)["errors"][0]["accepted"] == ["application/zip"]


async def test_the_api_declares_what_its_hospitals_hand_in(edge: Edge) -> None:
    operation = edge.app.openapi()["paths"]["/v1/claims"]["post"]

    assert list(operation["requestBody"]["content"]) == ["application/zip"]
