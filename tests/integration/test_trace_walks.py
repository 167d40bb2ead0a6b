"""One trace from a party's request through every message and record that it causes, over every role."""

from pathlib import Path

import httpx2
from fastapi import APIRouter, FastAPI
from sqlalchemy import select
from starlette.responses import Response

from gateway.protocol.clock import VirtualClock
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.runtime.signals import tracing
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA, audit_rows, outbox
from gateway.runtime.web.http import create_app, reply
from tests.conftest import MakeDatabase
from tests.outboxes import a_post, an_outbox
from tests.walk import House, house, until
from tests.walk_parties import hand_in

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = GIVEN.split("-")[1]


def an_app() -> FastAPI:
    router = APIRouter()

    @router.get("/trace")
    async def get_trace() -> Response:
        return reply(200, {"trace": tracing.current()})

    inner = create_app("inner", clock=VirtualClock())
    inner.include_router(router)
    outer = create_app("outer", clock=VirtualClock())
    outer.mount("/inner", inner)
    return outer


async def test_a_request_goes_on_with_its_callers_trace_through_apps_mounted_in_one_another() -> None:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(an_app()), base_url="http://hub") as http:
        given = (await http.get("/inner/trace", headers={"traceparent": GIVEN})).json()["trace"]
        forged = (await http.get("/inner/trace", headers={"traceparent": "QQ-canary-1900"})).json()["trace"]

    assert given.split("-")[1] == TRACE_ID
    assert tracing.next_step(forged).split("-")[1] == forged.split("-")[1]


async def test_a_message_and_its_record_keep_the_trace_of_what_caused_them(make_database: MakeDatabase) -> None:
    database: Database = make_database(METADATA)
    sending = an_outbox()

    async def work(tx: Transaction) -> None:
        await sending.add(tx, a_post("case_1", 1, INSURER_DELIVERIES))

    async def traces(tx: Transaction) -> list[str | None]:
        return [row.trace for table in (outbox, audit_rows) for row in await rows(tx, select(table))]

    with tracing.following(GIVEN):
        asked = tracing.current()
        await database.write(work)

    assert await database.read(traces) == [asked, asked]


async def test_one_trace_leads_from_the_hospitals_bill_to_the_insurers_inbox(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)

        async def ids() -> dict[str, set[str]] | None:
            by_role = {role: await trace_ids(found, role, claimed.case_id) for role in ("sz", "core", "hk")}
            return by_role if all(by_role.values()) else None

        by_role = await until(ids, "a record of the claim in every role")

    assert len(by_role["sz"]) == 1
    assert by_role["sz"] == by_role["core"] == by_role["hk"]


async def trace_ids(found: House, role: str, case_id: str) -> set[str]:
    written = await found.read(role, select(audit_rows.c.trace).where(audit_rows.c.case_id == case_id))
    return {row.trace.split("-")[1] for row in written}
