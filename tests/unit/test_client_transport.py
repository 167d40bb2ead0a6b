from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qs

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.transport import ApiProblem, Retry, Session
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import Fault, UnavailableError
from gateway.protocol.jose import Typ, verify
from tests.claims_in_transit import BASE_URL, an_insurers_profile
from tests.parties import INSURER, NOW, key_of

QUICK = Retry(attempts_max=3, first_s=0.0)
TOKEN_URL = f"{BASE_URL}/hk/oauth/token"

Handler = Callable[[httpx2.Request], httpx2.Response]


@dataclass
class Server:
    """Issues numbered tokens and answers the rest from a script, its last answer again and again."""

    script: list[httpx2.Response | Exception]
    asked: list[httpx2.Request] = field(default_factory=list)
    tokens: list[httpx2.Request] = field(default_factory=list)
    token_script: list[Exception] = field(default_factory=list)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/hk/oauth/token":
            self.tokens.append(request)
            if self.token_script:
                raise self.token_script.pop(0)
            return httpx2.Response(200, json={"access_token": f"token-{len(self.tokens)}", "expires_in": 300})
        self.asked.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def session(self, clock: VirtualClock | None = None, retry: Retry = QUICK) -> Session:
        transport = httpx2.MockTransport(self.handle)
        return Session(an_insurers_profile(), "hk", transport=transport, clock=clock or VirtualClock(NOW), retry=retry)


OK = httpx2.Response(200, json={"fine": True})


def a_problem(status: int, **members: object) -> httpx2.Response:
    body = {"code": "claim.stale", "status": status, **members}
    return httpx2.Response(status, content=compact(body), headers={"Content-Type": "application/problem+json"})


async def test_a_token_is_asked_for_with_a_signed_assertion_that_names_its_url() -> None:
    server = Server([OK])

    await server.session().get("/v1/inbox")

    form = parse_qs(server.tokens[0].content.decode(), strict_parsing=True)
    token_key = key_of(f"{INSURER}/token/ins-harbour-desk")
    claims = read_json_object(verify(form["client_assertion"][0], token_key.public, Typ.ASSERTION))
    assert claims["iss"] == claims["sub"] == "ins-harbour-desk"
    assert claims["aud"] == TOKEN_URL
    assert 0 < claims["exp"] - int(NOW.timestamp()) <= 300
    assert form["grant_type"] == ["client_credentials"]
    assert form["scope"] == ["inbox:read messages:write"]
    assert server.asked[0].headers["Authorization"] == "Bearer token-1"


async def test_a_token_is_used_until_shortly_before_it_expires() -> None:
    server, clock = Server([OK]), VirtualClock(NOW)
    session = server.session(clock)

    await session.get("/v1/inbox")
    clock.advance(timedelta(seconds=269))
    await session.get("/v1/inbox")
    clock.advance(timedelta(seconds=2))
    await session.get("/v1/inbox")

    assert [request.headers["Authorization"] for request in server.asked] == [
        "Bearer token-1",
        "Bearer token-1",
        "Bearer token-2",
    ]


async def test_a_token_that_is_no_longer_taken_is_fetched_anew_once() -> None:
    server = Server([a_problem(401), OK])

    answer = await server.session().get("/v1/inbox")

    assert answer.json() == {"fine": True}
    assert len(server.tokens) == 2


async def test_a_client_that_is_not_let_in_hears_so_after_one_new_token() -> None:
    server = Server([a_problem(401, code="auth.token")])

    with pytest.raises(ApiProblem) as refused:
        await server.session().get("/v1/inbox")

    assert (refused.value.status, refused.value.code) == (401, "auth.token")
    assert len(server.asked) == 2


async def test_each_attempt_at_a_token_has_an_assertion_of_its_own() -> None:
    server = Server([OK], token_script=[httpx2.ReadTimeout("lost")])

    await server.session().get("/v1/inbox")

    forms = [parse_qs(request.content.decode()) for request in server.tokens]
    assert forms[0]["client_assertion"] != forms[1]["client_assertion"]


@pytest.mark.parametrize(
    "first", [httpx2.ConnectError("away"), httpx2.ReadTimeout("lost"), httpx2.Response(503), httpx2.Response(429)]
)
async def test_a_write_is_repeated_with_the_same_key_and_bytes(first: httpx2.Response | Exception) -> None:
    server = Server([first, OK])

    await server.session().post("/v1/messages", b'{"a":1}', key="msg_1", if_match=4)

    assert [request.content for request in server.asked] == [b'{"a":1}', b'{"a":1}']
    assert {request.headers["Idempotency-Key"] for request in server.asked} == {"msg_1"}
    assert {request.headers["If-Match"] for request in server.asked} == {'"4"'}
    assert len({request.headers["X-Request-Id"] for request in server.asked}) == 1


async def test_a_gateway_that_stays_away_is_told_as_unavailable_after_the_last_attempt() -> None:
    server = Server([httpx2.ConnectError("away")])

    with pytest.raises(UnavailableError, match=r"client\.unreachable"):
        await server.session().get_public("/v1/registry/release")

    assert len(server.asked) == QUICK.attempts_max


async def test_a_gateway_that_stays_overloaded_is_told_by_its_own_problem() -> None:
    server = Server([a_problem(503, code="admission.outbox-full")])

    with pytest.raises(ApiProblem) as refused:
        await server.session().get("/v1/inbox")

    assert refused.value.code == "admission.outbox-full"
    assert not refused.value.is_final
    assert len(server.asked) == QUICK.attempts_max


async def test_retry_after_is_honoured_within_the_longest_pause_and_not_slept_through_beyond_it() -> None:
    soon = httpx2.Response(503, headers={"Retry-After": "0"})
    tomorrow = httpx2.Response(503, headers={"Retry-After": "86400"})
    server = Server([soon, tomorrow])

    with pytest.raises(ApiProblem):
        await server.session().get("/v1/inbox")

    assert len(server.asked) == 2


async def test_a_refusal_carries_code_places_allowed_actions_and_request_id_and_is_not_repeated() -> None:
    server = Server(
        [
            a_problem(
                409,
                errors=[{"code": "decision.line-twice", "pointer": "/entries/0/lines", "detail": "…"}, "odd"],
                allowed_actions=["return", "decide"],
                request_id="req_7",
                fix="Reload.",
            )
        ]
    )

    with pytest.raises(ApiProblem) as refused:
        await server.session().post("/v1/messages", b"{}", key="k")

    assert refused.value.errors == (Fault("decision.line-twice", "/entries/0/lines"),)
    assert refused.value.allowed_actions == ("return", "decide")
    assert (refused.value.request_id, refused.value.fix) == ("req_7", "Reload.")
    assert refused.value.is_final
    assert len(server.asked) == 1


@given(st.binary(max_size=60), st.integers(300, 599).filter(lambda status: status not in (401, 429, 503)))
async def test_any_answer_that_is_no_success_is_a_problem_with_its_status(body: bytes, status: int) -> None:
    server = Server([httpx2.Response(status, content=body)])

    with pytest.raises(ApiProblem) as refused:
        await server.session().get_public("/anything")

    assert refused.value.status == status


@given(st.integers(1, 30))
def test_pauses_grow_and_stay_bounded(attempt: int) -> None:
    retry = Retry(first_s=0.2, longest_s=20.0)

    assert 0.1 <= retry.pause_s(attempt, None) <= 20.0
    assert retry.pause_s(attempt, "7") == 7.0
    assert retry.pause_s(attempt, "Wed, 21 Oct 2026 07:28:00 GMT") <= 20.0
