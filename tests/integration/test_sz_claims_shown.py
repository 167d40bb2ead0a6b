"""How a hospital sees its claims: page by page, one by one, and what is left of an erased one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.runtime.storage import tables as runtime_tables
from gateway.runtime.storage.database import Transaction, open_database
from tests.hospital_bills import numbered, sample
from tests.sz_edge import METADATAS, Edge, an_edge


@pytest.fixture
async def sqlite_edge(tmp_path: Path) -> AsyncIterator[Edge]:
    database = open_database(f"sqlite:///{tmp_path / 'sz.db'}")
    for metadata in METADATAS:
        database.run_sync(metadata.create_all)
    yield an_edge(database, VirtualClock())
    await database.close()


def body(answer: httpx2.Response) -> dict[str, Any]:
    return read_json_object(answer.content)


async def test_claims_are_listed_page_by_page_with_cursors_nobody_can_make_up(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        for number in range(5):
            await sqlite_edge.submit(client, numbered(number), f"key-{number}")

        first = await client.get("/v1/claims?limit=3")
        second = await client.get(f"/v1/claims?limit=3&after={body(first)['next']}")
        forged = await client.get("/v1/claims?after=3")

    numbers = [one["claim_number"] for page in (first, second) for one in body(page)["items"]]
    assert numbers == [f"SYN-TEST-{number:06d}" for number in range(5)]
    assert 'rel="next"' in first.headers["link"]
    assert "link" not in second.headers
    assert (forged.status_code, body(forged)["code"]) == (400, "cursor.malformed")


async def test_an_erased_claim_is_listed_without_its_number_and_hides_no_other(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        erased = body(await sqlite_edge.submit(client, numbered(1), "key-1"))
        await sqlite_edge.submit(client, numbered(2), "key-2")
        secret = runtime_tables.case_secrets

        async def erase(tx: Transaction) -> None:
            await tx.execute(delete(secret).where(secret.c.case_id == erased["case_id"]))

        await sqlite_edge.database.write(erase)
        listed = body(await client.get("/v1/claims"))["items"]
        alone = await client.get(f"/v1/claims/{erased['claim_id']}")
        again = await sqlite_edge.submit(client, numbered(1), "key-3")

    assert [one["claim_number"] for one in listed] == [None, "SYN-TEST-000002"]
    assert (alone.status_code, body(alone)["code"]) == (404, "case.erased")
    assert (again.status_code, body(again)["code"]) == (409, "claim.number-taken")


async def test_a_claim_is_shown_with_its_etag_and_an_unknown_one_is_not_found(sqlite_edge: Edge) -> None:
    async with sqlite_edge.http() as client:
        claim_id = body(await sqlite_edge.submit(client, sample(), "key-1"))["claim_id"]

        answer = await client.get(f"/v1/claims/{claim_id}")
        timeline = await client.get(f"/v1/claims/{claim_id}/timeline")
        unknown = [await client.get(f"/v1/claims/claim_unknown{end}") for end in ("", "/timeline")]

    shown = body(answer)
    assert answer.headers["etag"] == '"1"'
    assert (shown["claim_number"], shown["state"], shown["total"]) == ("SYN-2026-0001", "received", "53878.84")
    assert shown["asked"] == "53878.84"
    assert [event["event"] for event in body(timeline)["events"]] == ["submitted"]
    assert [(one.status_code, body(one)["code"]) for one in unknown] == [(404, "claim.unknown")] * 2
