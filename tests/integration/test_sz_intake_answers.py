"""What intake answers to a bill it does not take, or takes with remarks: spellings, bounds, places, numbers in use."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from adapters.sz import tables
from adapters.sz.component import MissingInstitutionsError
from adapters.sz.minimise import token
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.hints import hint_for
from gateway.runtime.storage.database import Transaction, open_database
from tests.conftest import MakeDatabase
from tests.hospital_bills import changed, sample
from tests.parties import HOSPITAL
from tests.sz_edge import METADATAS, Edge, an_edge

WIDE = str.maketrans({chr(number): chr(number + 0xFEE0) for number in range(0x21, 0x7F)})


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


async def test_another_hospitals_number_is_no_conflict_and_no_claim_of_its_is_named(edge: Edge) -> None:
    async with edge.http() as client:
        await edge.submit(client, sample(), "key-1")
        await edge.database.write(partial(_give_away, to="hosp-other"))

        answer = await edge.submit(client, sample(), "key-2")

    assert answer.status_code == 202
    assert await edge.count(tables.claims) == 2


async def _give_away(tx: Transaction, to: str) -> None:
    await tx.execute(update(tables.claims).values(hospital=to))


async def test_the_same_bill_in_another_spelling_gives_the_first_receipt(edge: Edge) -> None:
    other = changed("/billing/claim_number", "SYN-2026-0001".translate(WIDE))
    other = changed("/coverage/hkid", "qq0000009".translate(WIDE), changed("/billing/total", "53878.840", other))
    async with edge.http() as client:
        first = await edge.submit(client, sample(), "key-1")

        again = await edge.submit(client, compact(other), "key-2")

    assert (again.status_code, body(again)["receipt"]) == (202, body(first)["receipt"])
    assert await edge.count(tables.claims) == 1


async def test_a_number_that_an_earlier_state_stored_in_its_own_spelling_is_still_taken(edge: Edge) -> None:
    wide = compact(changed("/billing/claim_number", "SYN\uff081\uff09"))
    earlier = token(edge.deps.keyring.tokens[HOSPITAL], "claim", "SYN\uff081\uff09")
    async with edge.http() as client:
        first = await edge.submit(client, wide, "key-1")
        await edge.database.write(partial(_store_token, value=earlier))

        same = await edge.submit(client, wide, "key-2")
        other = await edge.submit(client, compact(changed("/consent/channel", "x", read_json_object(wide))), "key-3")

    assert (same.status_code, body(same)["receipt"]) == (202, body(first)["receipt"])
    assert (other.status_code, body(other)["claim_id"]) == (409, body(first)["claim_id"])
    assert await edge.count(tables.claims) == 1


async def _store_token(tx: Transaction, value: str) -> None:
    await tx.execute(update(tables.claims).values(claim_token=value))


async def test_warnings_have_the_form_of_faults_in_the_language_of_the_caller(sqlite_edge: Edge) -> None:
    chinese = {"accept-language": "zh-HK", "idempotency-key": "key-1"}
    async with sqlite_edge.http() as client:
        taken = await client.post("/v1/claims", content=sample(), headers=chinese)
        checked = await client.post("/v1/validate", content=sample(), headers=chinese)
        wrong = await client.post("/v1/validate", content=sample("wrong"), headers=chinese)

    assert body(taken)["warnings"] == body(checked)["warnings"]
    for remark in (*body(taken)["warnings"], *body(wrong)["errors"]):
        assert {"code", "pointer", "detail", "fix"} <= remark.keys()
        assert remark["fix"] == hint_for(remark["code"]).fix("zh-Hant")


async def test_an_answer_says_in_which_language_its_warnings_are_also_when_it_is_replayed(edge: Edge) -> None:
    async with edge.http() as client:
        headers = {"accept-language": "zh-HK", "idempotency-key": "key-1"}
        taken = await client.post("/v1/claims", content=sample(), headers=headers)
        replayed = await client.post("/v1/claims", content=sample(), headers=headers | {"accept-language": "en"})
        checked = await client.post("/v1/validate", content=sample(), headers={"accept-language": "fr, zh-CN;q=0.5"})

    assert replayed.headers["idempotent-replayed"] == "true"
    assert replayed.content == taken.content
    languages = [answer.headers["content-language"] for answer in (taken, replayed, checked)]
    assert languages == ["zh-Hant", "zh-Hant", "zh-Hans"]
    assert {answer.headers["vary"] for answer in (taken, replayed, checked)} == {"Accept-Language"}
    assert body(checked)["warnings"][0]["fix"] == hint_for(body(checked)["warnings"][0]["code"]).fix("zh-Hans")


async def test_an_answer_without_sentences_names_no_language(edge: Edge) -> None:
    async with edge.http() as client:
        checked = await client.post("/v1/validate", content=sample("inpatient-basic-fund"))

    assert "warnings" not in body(checked)
    assert "content-language" not in checked.headers


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [(b'{\n  "billing": {},\n  "billing": {}\n}', 3, 3), (b'{\n  "billing": oops}', 2, 14)],
)
async def test_broken_json_is_told_by_line_and_column(sqlite_edge: Edge, raw: bytes, line: int, column: int) -> None:
    async with sqlite_edge.http() as client:
        problem = body(await sqlite_edge.submit(client, raw, "key-1"))

    [fault] = problem["errors"]
    assert fault["code"] == problem["code"]
    assert (fault["line"], fault["column"], fault["pointer"]) == (line, column, "")


async def test_bounds_are_named_and_values_are_not(sqlite_edge: Edge) -> None:
    bill = changed("/billing/payer_rank", 77777, changed("/billing/claim_number", "7" * 65))
    async with sqlite_edge.http() as client:
        answer = await sqlite_edge.submit(client, compact(bill), "key-1")

    faults = {fault["pointer"]: fault for fault in body(answer)["errors"]}
    assert faults["/billing/claim_number"]["maxLength"] == 64
    assert (faults["/billing/payer_rank"]["minimum"], faults["/billing/payer_rank"]["maximum"]) == (1, 9)
    assert "7777" not in answer.text


async def test_a_bill_of_another_institution_is_refused(sqlite_edge: Edge) -> None:
    other = changed("/settlement_list/setlinfo/fixmedins_code", "H44030302178")
    async with sqlite_edge.http() as client:
        answer = await sqlite_edge.submit(client, compact(other), "key-1")

    assert [(fault["code"], fault["pointer"]) for fault in body(answer)["errors"]] == [
        ("bill.other-hospital", "/settlement_list/setlinfo/fixmedins_code")
    ]
    assert await sqlite_edge.count(tables.claims) == 0


def test_an_edge_that_knows_no_institutions_of_a_hospital_does_not_start(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'sz.db'}")
    for institutions in ({}, {HOSPITAL: frozenset[str]()}):
        with pytest.raises(MissingInstitutionsError, match=HOSPITAL):
            an_edge(database, VirtualClock(), institutions=institutions)
