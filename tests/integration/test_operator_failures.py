"""Operators' commands tell apart why a role cannot be asked: one sentence for each reason, exit code 1."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.client.transport import Retry
from gateway.operate import OperatorError, Report, ask, examine
from gateway.protocol.canonical import compact, pretty, read_json_object
from gateway.protocol.clock import SystemClock
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from tests.operators import command

TOKEN = b'{"access_token": "token", "expires_in": 300}'


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    init(tmp_path / "trial", layout=Layout("http://127.0.0.1:8080"), clock=SystemClock())
    # one attempt with a short time-out: what is tested is the sentence
    monkeypatch.setattr("gateway.operate.RETRY", Retry(attempts_max=1, first_s=0.0))
    monkeypatch.setattr("gateway.client.transport.READ_S", 0.3)
    return tmp_path / "trial"


def profile_at(data: Path, base_url: str) -> Path:
    path = data / "profiles" / "op-gateway-1.json"
    path.write_text(pretty(read_json_object(path.read_bytes()) | {"base_url": base_url}))
    return path


@contextlib.asynccontextmanager
async def answering(status: int, body: bytes, *, hang: bool = False) -> AsyncIterator[str]:
    """Serve a token, and after it the same answer to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
                await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
                if hang:
                    await asyncio.sleep(30)
                to_token = "/oauth/token" in head
                content = TOKEN if to_token and status != 401 else body
                line = f"HTTP/1.1 {200 if to_token and status != 401 else status} X\r\n"
                writer.write(f"{line}content-length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def a_problem(code: str) -> bytes:
    return compact({"code": code, "request_id": "req_12345678"})


@pytest.mark.parametrize(
    ("status", "body", "refused", "sentence"),
    [
        (
            403,
            a_problem("auth.scope"),
            True,
            "does not grant op-gateway-1 the scope `operate` for role sz",
        ),
        (401, a_problem("auth.client-unknown"), True, "The registry does not list op-gateway-1 for role sz"),
        (401, a_problem("auth.assertion"), True, "The client assertion is not valid."),
        (404, b"<html>not here</html>", True, "which is not an answer of role sz"),
        (404, a_problem("http.not-found"), True, "There is nothing at this address."),
        (500, a_problem("internal"), False, "request req_12345678"),
        (503, a_problem("database.unavailable"), False, "The database of this role does not answer."),
        (200, b"<html>welcome</html>", False, "is not a gateway of this version"),
    ],
)
async def test_an_answer_that_is_no_report_is_explained(
    data: Path, status: int, body: bytes, refused: bool, sentence: str
) -> None:
    async with answering(status, body) as base_url:
        with pytest.raises(OperatorError) as caught:
            await ask(profile_at(data, base_url), "sz", "doctor")

    assert sentence in str(caught.value)
    assert caught.value.refused is refused
    assert str(caught.value).count("\n") == 0


async def a_closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_role_that_is_not_there_is_told_from_one_that_refuses(data: Path) -> None:
    async with answering(200, b"{}") as plain, answering(200, b"{}", hang=True) as silent:
        urls = {
            "Nothing listens at the gateway's address.": await a_closed_port(),
            "The name of the gateway's host cannot be resolved.": "http://gateway.invalid",
            "No secure connection to the gateway could be made.": plain.replace("http:", "https:"),
            "The gateway did not answer in time.": silent,
        }
        for sentence, url in urls.items():
            [report] = await examine(profile_at(data, url), ["sz"])

            assert report.silent is not None
            assert report.silent.startswith(sentence)
            assert report.silent.endswith(f"({url}/sz)")
            assert report.lines()[0].startswith("sz: does not answer: ")
            assert report.ill


def test_a_refusal_is_not_called_silence() -> None:
    report = Report("sz", silent="The profile lacks the scope `operate`.", refused=True)

    assert report.lines() == ["sz: cannot be examined: The profile lacks the scope `operate`."]


def _absent(path: Path) -> None:
    path.unlink()


def _open_to_others(path: Path) -> None:
    path.chmod(0o644)


def _not_json(path: Path) -> None:
    path.write_text("profile")


def _without_key(path: Path) -> None:
    path.write_text(pretty({"party": "op-gateway"}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_absent, "is missing"),
        (_open_to_others, "chmod 600"),
        (_not_json, "json.malformed"),
        (_without_key, "profile.malformed"),
    ],
)
async def test_a_profile_that_cannot_be_used_is_one_sentence(
    data: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(data / "profiles" / "op-gateway-1.json")

    said = await command(data, "doctor", role="sz")

    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert sentence in said.err
