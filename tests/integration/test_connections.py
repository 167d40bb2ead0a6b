"""What a connection may do to a served application: raw sockets against the server that `gateway run` uses.

The limits in seconds are shortened where a test waits for one; sizes are those of service.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.runtime.web import protocol
from gateway.runtime.web.http import create_app, read_body, reply
from gateway.runtime.web.protocol import BoundedProtocol, server_config
from tests.served import served
from tests.walk import until

HEAD = b"GET /v1/now HTTP/1.1\r\nHost: gateway\r\n"
POST = b"POST /v1/bill HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
SLOW_S = 0.4
PATIENCE_S = 5.0


def routes() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/now")
    async def get_now(request: Request) -> Response:
        return reply(200, {"fields": len(request.headers), "canary": request.headers.get("x-canary")})

    @router.get("/poll")
    async def get_poll() -> Response:
        await asyncio.sleep(4 * SLOW_S)
        return reply(200, {"polled": True})

    @router.get("/much")
    async def get_much() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(1000):
                await asyncio.sleep(0)
                yield b"x" * 65536

        return StreamingResponse(parts())

    @router.post("/bill")
    async def post_bill(request: Request) -> Response:
        body = await read_body(request, 1 << 20)
        return reply(202, {"bytes": len(body), "canary": request.headers.get("x-canary")})

    return router


@dataclass
class Line:
    """A connection to the server, read and written as bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        """Send what the peer still takes: it may have closed already."""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                self.writer.write(part)
                await asyncio.wait_for(self.writer.drain(), PATIENCE_S)

    async def answers(self) -> bytes:
        """Read until the server closes."""
        found = b""
        with contextlib.suppress(ConnectionError):
            while part := await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE_S):
                found += part
        return found

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Read one answer: its status and JSON."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await asyncio.wait_for(self.reader.readexactly(length), PATIENCE_S)
        return int(head.split()[1]), read_json_object(body)


@dataclass
class Server:
    port: int

    async def connect(self, buffer_bytes: int = 0) -> Line:
        if not buffer_bytes:
            return Line(*await asyncio.open_connection("127.0.0.1", self.port))
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        small.connect(("127.0.0.1", self.port))
        return Line(*await asyncio.open_connection(sock=small, limit=1024))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    app = create_app("hk", clock=VirtualClock())
    app.include_router(routes())
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    running = uvicorn.Server(server_config(app, "127.0.0.1", port, timeout_graceful_shutdown=1, timeout_keep_alive=1))
    task = asyncio.create_task(running.serve([listening]))

    async def started() -> bool:
        return running.started

    await until(started, "the server")
    yield Server(port)
    running.should_exit = True
    await task


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_S_MAX", "BODY_PAUSE_S_MAX", "READER_PAUSE_S_MAX", "LINGER_S"):
        monkeypatch.setattr(protocol, name, SLOW_S)
    monkeypatch.setattr(protocol, "BODY_S_MAX", 3 * SLOW_S)


def problem_of(raw: bytes) -> tuple[int, str]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, raw[:200]
    return int(head.split()[1]), str(read_json_object(body)["code"])


async def test_an_ordinary_client_keeps_its_connection(server: Server) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        for size in (10, 1 << 20, 200_000):
            answer = await client.post("/v1/bill", content=b"x" * size, headers={"content-type": "application/json"})
            assert answer.json()["bytes"] == size
        assert (await client.get("/v1/now", headers={"x-canary": "y" * 20_000})).status_code == 200
        assert (await client.head("/v1/now")).content == b""


async def test_one_header_of_sixty_megabytes_is_refused_when_it_passes_the_limit(server: Server) -> None:
    line = await server.connect()
    reading = asyncio.create_task(line.answers())

    await line.send(HEAD + b"X-Long: ", *[b"x" * 65536] * 960)

    assert problem_of(await reading) == (431, "http.head-too-large")


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (HEAD + b"X-Long: " + b"x" * 40_000 + b"\r\n\r\n", 431, "http.head-too-large"),
        (HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n", 431, "http.head-too-large"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: gateway\r\n\r\n", 414, "http.target-too-long"),
        (b"GET /" + b"x" * 60_000, 414, "http.target-too-long"),
        (HEAD + b"no colon\r\n\r\n", 400, "http.malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "http.malformed"),
        (HEAD + b"X-Nul: a\x00b\r\n\r\n", 400, "http.malformed"),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "http.malformed"),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, "http.malformed"),
        (b"CONNECT gateway:443 HTTP/1.1\r\nHost: gateway\r\n\r\n", 400, "http.malformed"),
        (b"GET /v1/now HTTP/1.1\r\n\r\n", 400, "http.host"),
        (HEAD + b"Host: elsewhere\r\n\r\n", 400, "http.host"),
    ],
)
async def test_a_head_that_is_too_large_or_malformed_gets_a_problem(
    server: Server, head: bytes, status: int, code: str
) -> None:
    line = await server.connect()

    await line.send(head)
    found, problem = await line.answer()

    assert (found, problem["code"]) == (status, code)


async def test_the_refusal_of_a_large_head_names_the_limits_and_echoes_nothing(server: Server) -> None:
    line = await server.connect()

    await line.send(HEAD + b"X-Canary: QQcanary1900" + b"x" * 70_000)
    _, problem = await line.answer()

    assert "32768" in problem["fix"]
    assert "QQcanary" not in str(problem)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b"\r\n"),
        (b"", b"G"),
        (HEAD, b"X-A: b\r\n"),
        (HEAD + b"X-A: ", b"x"),
        (POST + b"Content-Length: 1000\r\n\r\n", b"x"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
async def test_a_request_that_drips_is_ended_in_time(server: Server, begin: bytes, drip: bytes) -> None:
    line = await server.connect()
    began = time.monotonic()
    reading = asyncio.create_task(line.answers())

    await line.send(begin)
    while not reading.done() and time.monotonic() < began + PATIENCE_S:
        await line.send(drip)
        await asyncio.sleep(SLOW_S / 8)

    assert (await reading).startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
    assert time.monotonic() - began < 6 * SLOW_S


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begin", [b"", HEAD, POST + b"Content-Length: 10\r\n\r\nabc"])
async def test_a_connection_that_falls_silent_is_closed(server: Server, begin: bytes) -> None:
    line = await server.connect()
    began = time.monotonic()

    await line.send(begin)
    raw = await line.answers()

    assert raw == b"" if not begin else problem_of(raw) == (408, "http.too-slow")
    assert time.monotonic() - began < 3 * SLOW_S


@pytest.mark.usefixtures("impatient")
async def test_an_answer_may_take_longer_than_any_request(server: Server) -> None:
    line = await server.connect()

    await line.send(b"GET /v1/poll HTTP/1.1\r\nHost: gateway\r\n\r\n")

    assert await line.answer() == (200, {"polled": True})


@pytest.mark.usefixtures("impatient")
async def test_a_peer_that_reads_nothing_is_cut_off(server: Server) -> None:
    line = await server.connect(buffer_bytes=4096)
    await line.send(b"GET /v1/much HTTP/1.1\r\nHost: gateway\r\n\r\n")
    await asyncio.sleep(3 * SLOW_S)

    began = time.monotonic()
    raw = await line.answers()

    assert raw.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < PATIENCE_S


async def test_an_idle_connection_is_closed_after_its_answer(server: Server) -> None:
    line = await server.connect()
    await line.send(HEAD + b"\r\n")
    await line.answer()

    assert await line.answers() == b""


async def test_chunk_extensions_cannot_outweigh_the_body(server: Server) -> None:
    line = await server.connect()
    reading = asyncio.create_task(line.answers())

    await line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1;" + b"x" * 60_000 + b"\r\na\r\n"] * 20)

    assert problem_of(await reading) == (400, "http.malformed")


async def test_a_trailer_does_not_become_a_header(server: Server) -> None:
    line = await server.connect()

    await line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Canary: late\r\n\r\n")

    assert await line.answer() == (202, {"bytes": 2, "canary": None})


async def test_pipelined_requests_are_answered_in_order_and_their_number_is_bounded(server: Server) -> None:
    line = await server.connect()
    await line.send((HEAD + b"\r\n") * 10)
    assert [(await line.answer())[0] for _ in range(10)] == [200] * 10

    flood = await server.connect()
    await flood.send((HEAD + b"\r\n") * 1000)
    raw = await flood.answers()
    assert raw.count(b"HTTP/1.1 200") <= protocol.PIPELINE_MAX + 1


@pytest.mark.parametrize("behind", [(HEAD + b"\r\n") * 40, (HEAD + b"\r\n") * 3 + b"no request\r\n\r\n"])
async def test_a_refusal_behind_pipelined_requests_is_no_internal_error(
    server: Server, behind: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    line = await server.connect()

    await line.send(HEAD + b"\r\n" + behind)
    await line.answers()

    await asyncio.sleep(0.1)
    captured = capfd.readouterr()
    assert "http.internal" not in captured.out + captured.err


async def test_a_pipelined_head_behind_a_large_body_is_not_taken_for_a_large_head(server: Server) -> None:
    line = await server.connect()
    body = b"x" * 60_000

    await line.send(POST + b"Content-Length: 60000\r\n\r\n" + body + HEAD)
    await asyncio.sleep(0.05)
    await line.send(b"X-Canary: here\r\n\r\n")

    assert (await line.answer())[1]["bytes"] == len(body)
    assert (await line.answer())[1]["canary"] == "here"


async def test_an_offer_of_another_protocol_is_answered_in_this_one(server: Server) -> None:
    """Java's HTTP client offers h2c on its first request; browsers' WebSockets are not served."""
    for offer in (
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    ):
        line = await server.connect()
        await line.send(HEAD + offer + b"\r\n")
        assert (await line.answer())[0] == 200

    line = await server.connect()
    await line.send(POST + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}")
    assert (await line.answer())[1]["bytes"] == 2


async def test_a_large_body_that_was_refused_is_read_on_so_that_its_sender_sees_why(server: Server) -> None:
    line = await server.connect()
    reading = asyncio.create_task(line.answer())

    await line.send(POST + b"Content-Length: 20000000\r\n\r\n", *[b"x" * 100_000] * 200)

    status, problem = await reading
    assert (status, problem["code"], problem["errors"][0]["bytes_max"]) == (413, "http.body-too-large", 1 << 20)
    await line.send(HEAD + b"\r\n")
    assert (await line.answer())[0] == 200


async def test_more_connections_than_the_limit_are_turned_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "connections_max", 3)
    kept = [await server.connect() for _ in range(3)]
    for line in kept:
        await line.send(HEAD + b"\r\n")
        await line.answer()

    turned_away = await server.connect()
    raw = await turned_away.answers()
    kept[0].writer.close()
    await asyncio.sleep(0.1)
    again = await server.connect()
    await again.send(HEAD + b"\r\n")

    assert problem_of(raw) == (503, "http.too-many-connections")
    assert b"retry-after: 5" in raw
    assert (await again.answer())[0] == 200


async def test_the_gateway_as_it_is_run_has_these_limits(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as (gateway, _):
        assert await gateway.start()
        large, doubled, plain = [await Server(gateway.port).connect() for _ in range(3)]
        await large.send(b"GET /hk/healthz HTTP/1.1\r\nHost: gateway\r\nX-Long: " + b"x" * 70_000)
        await doubled.send(b"GET /hk/healthz HTTP/1.1\r\nHost: gateway\r\nHost: gateway\r\n\r\n")
        await plain.send(b"HEAD /hk/healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")

        assert problem_of(await large.answers()) == (431, "http.head-too-large")
        assert (await doubled.answer())[0] == 400
        head = await plain.answers()

    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")
