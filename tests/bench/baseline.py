"""The bare peer of the intake: FastAPI, a pydantic model of the same body, one durable insert. Nothing else.

It is what a careful engineer writes in an hour; the intake's rate is reported as a share of its rate in the same run.
Run as `python -m tests.bench.baseline PORT sqlite:///path | postgresql://…`.
"""

import asyncio
import queue
import sqlite3
import sys
import threading
from typing import Any

import asyncpg  # noqa: TID251 the bare peer is what intake is compared with
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict


class Line(BaseModel):
    model_config = ConfigDict(extra="allow")

    feedetl_sn: str
    medins_list_name: str
    med_chrgitm_type: str
    cnt: str | float
    pric: str | float
    det_item_fee_sumamt: str | float


class Bill(BaseModel):
    settlement_list: dict[str, Any]
    fee_lines: list[Line]
    receipts: list[dict[str, Any]]
    billing: dict[str, Any]
    coverage: dict[str, Any]
    consent: dict[str, Any]


class SqliteInserts:
    """One writer thread, one insert and one synced commit a request."""

    def __init__(self, path: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(path,), daemon=True).start()

    async def insert(self, raw: bytes) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put((raw, done))
        await done

    def _run(self, path: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS bill (id INTEGER PRIMARY KEY, raw BLOB)")
        while True:
            raw, done = self._jobs.get()
            connection.execute("INSERT INTO bill (raw) VALUES (?)", (raw,))
            done.get_loop().call_soon_threadsafe(done.set_result, None)


class PostgresInserts:
    def __init__(self, url: str) -> None:
        self._url = url
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool | None = None

    async def insert(self, raw: bytes) -> None:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(self._url, min_size=4, max_size=8)
                await self._pool.execute("CREATE TABLE IF NOT EXISTS bill (id bigserial PRIMARY KEY, raw bytea)")
        await self._pool.execute("INSERT INTO bill (raw) VALUES ($1)", raw)


def create_baseline(url: str) -> FastAPI:
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False})
    inserts: SqliteInserts | PostgresInserts
    inserts = SqliteInserts(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else PostgresInserts(url)

    @app.post("/v1/claims", status_code=202)
    async def post_claim(bill: Bill) -> dict[str, int]:
        await inserts.insert(bill.model_dump_json().encode())
        return {"lines": len(bill.fee_lines)}

    return app


if __name__ == "__main__":
    uvicorn.run(create_baseline(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
