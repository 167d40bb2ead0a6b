import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from gateway.protocol.errors import Disposition, GatewayError, UnavailableError
from gateway.protocol.outgoing import Outgoing
from gateway.runtime.web.http_client import OutcomeUnknownError, Sender

INSIDE = "http://gateway.internal"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    names = b",".join(sorted(name for name, _ in scope["headers"]))
    await send({"type": "http.response.start", "status": 418, "headers": [(b"x-names", names)]})
    await send({"type": "http.response.body", "body": scope["path"].encode() + b" " + message["body"]})


def inside(app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> Sender:
    return Sender(frozenset({INSIDE}), {INSIDE: httpx2.ASGITransport(app)}, answer_bytes_max=1000)


class Listener:
    """A bare TCP server of the test, so that a peer can misbehave in any way; leaves no task behind."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        tasks = [task for task in self.tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


def answering(raw: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)

    return serve


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_request_reaches_an_app_of_this_process_and_any_status_is_an_answer() -> None:
    incoming = await inside(echo).send(Outgoing("POST", f"{INSIDE}/bank/payments", {"X-Ref": "1"}, b"<xml/>"))

    assert incoming.status == 418
    assert incoming.body == b"/bank/payments <xml/>"
    assert "x-ref" in (incoming.header("x-names") or "")


async def test_a_request_over_a_socket_comes_back_as_received() -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-encoding: gzip\r\n\r\nplain"

    async with Listener(answering(raw)) as url:
        incoming = await Sender(frozenset({url})).send(Outgoing("GET", f"{url}/x"))

    assert (incoming.status, incoming.body) == (200, b"plain")


async def test_a_host_outside_the_allow_list_is_our_own_fault() -> None:
    for url in ("http://169.254.169.254/", "https://gateway.internal/", f"{INSIDE}:81/", f"{INSIDE}@evil/"):
        with pytest.raises(GatewayError) as caught:
            await inside(echo).send(Outgoing("GET", url))

        assert caught.value.code == "outgoing.host-not-allowed"
        assert caught.value.disposition is Disposition.HALT


async def test_a_closed_port_means_that_nothing_was_sent() -> None:
    async with Listener(silent) as url:
        pass

    with pytest.raises(UnavailableError):
        await Sender(frozenset({url})).send(Outgoing("POST", url, body=b"x"))


async def test_silence_after_sending_is_unknown() -> None:
    async with Listener(silent) as url:
        with pytest.raises(OutcomeUnknownError) as caught:
            await Sender(frozenset({url})).send(Outgoing("POST", url, body=b"x", timeout_s=0.2))

    assert caught.value.disposition is Disposition.RETRY


async def test_a_peer_that_trickles_is_cut_off_at_the_deadline() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with Listener(trickle) as url:
        with pytest.raises(OutcomeUnknownError):
            await asyncio.wait_for(Sender(frozenset({url})).send(Outgoing("GET", url, timeout_s=0.3)), 5)


async def test_a_connection_that_breaks_after_sending_is_unknown() -> None:
    async with Listener(answering(b"")) as url:
        with pytest.raises(OutcomeUnknownError):
            await Sender(frozenset({url})).send(Outgoing("POST", url, body=b"x"))


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    raw = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"

    async with Listener(answering(raw)) as url:
        incoming = await Sender(frozenset({url})).send(Outgoing("GET", url))

    assert (incoming.status, incoming.header("Location")) == (302, "http://169.254.169.254/")


async def test_an_answer_over_the_limit_is_cut_off_and_unknown() -> None:
    async def flood(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 2000})

    with pytest.raises(OutcomeUnknownError) as caught:
        await inside(flood).send(Outgoing("GET", INSIDE))

    assert caught.value.code == "outgoing.answer-too-large"


async def test_secrets_of_a_request_are_not_shown() -> None:
    assert "s3cret" not in repr(Outgoing("GET", INSIDE, {"authorization": "s3cret"}, b"s3cret"))
