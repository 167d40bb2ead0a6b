"""HTTP as every role answers it: problems, request ids, bodies, conditional requests."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.runtime.web.http import (
    AbortedAnswerError,
    create_app,
)
from tests.http_routes import CANARY, routes


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """A role's app mounted under another, as `run all` does it."""
    outer, inner = (create_app(title, clock=VirtualClock()) for title in ("all", "hk"))
    inner.include_router(routes())
    outer.mount("/hk", inner)
    transport = httpx2.ASGITransport(outer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def problem(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    found = read_json_object(answer.content)
    assert found["status"] == answer.status_code
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


async def test_a_parameter_that_does_not_fit_is_named_with_its_bound_and_never_echoed(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/hk/v1/claims/3?limit=77")

    found = problem(answer)
    assert answer.status_code == 422
    assert found["code"] == "request.invalid"
    [fault] = found["errors"]
    assert (fault["code"], fault["pointer"], fault["maximum"]) == ("field.less-than-equal", "/query/limit", 9)
    assert fault["fix"].endswith("At most 9.")
    assert "77" not in answer.text.replace(found["request_id"], "")


async def test_unknown_and_repeated_query_parameters_are_all_named_at_once(http: httpx2.AsyncClient) -> None:
    answer = await http.get(f"/hk/v1/claims/3?limt=4&limit=12&limit=7&{CANARY}={CANARY}&%00=1")

    found = problem(answer)
    assert answer.status_code == 422
    assert [(fault["code"], fault["pointer"]) for fault in found["errors"]] == [
        ("query.unknown", "/query/limt"),
        ("query.unknown", "/query"),
        ("query.unknown", "/query"),
        ("query.repeated", "/query/limit"),
    ]
    assert found["errors"][0]["allowed"] == ["limit"]
    assert CANARY not in answer.text


async def test_an_unknown_query_parameter_hides_no_other_fault_of_the_query(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/hk/v1/claims/3?limt=4&limit=12")

    assert [(fault["code"], fault["pointer"]) for fault in problem(answer)["errors"]] == [
        ("query.unknown", "/query/limt"),
        ("field.less-than-equal", "/query/limit"),
    ]


@pytest.mark.parametrize("sent", ["seven", "%00", "a%20b", "%E7%97%85", "%FF", "x" * 10_000])
async def test_a_path_that_could_name_nothing_is_unknown(http: httpx2.AsyncClient, sent: str) -> None:
    answer = await http.get(f"/hk/v1/claims/{sent}")

    assert answer.status_code == 404
    assert problem(answer)["code"] == "http.not-found"


@pytest.mark.parametrize("path", ["/hk/v1/claims/3", "/hk/v1/wait", "/hk/v1/decide", "/nowhere"])
async def test_head_answers_as_get_does_without_the_body(http: httpx2.AsyncClient, path: str) -> None:
    headers = {"X-Request-Id": "trace-0123456789"}

    got, head = await http.get(path, headers=headers), await http.head(path, headers=headers)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers == got.headers
    assert int(head.headers["content-length"]) == len(got.content) > 0


async def test_head_where_there_is_no_get_is_not_offered(http: httpx2.AsyncClient) -> None:
    answer = await http.head("/hk/v1/claims")

    assert (answer.status_code, answer.headers["allow"]) == (405, "PATCH, POST")


@pytest.mark.parametrize(
    ("hosts", "version"),
    [
        ([], "1.1"),
        (["gateway", "gateway"], "1.1"),
        (["gateway", "elsewhere"], "1.0"),
        ([""], "1.1"),
        (["gate way"], "1.1"),
        (["gateway/x"], "1.1"),
        (["user@gateway"], "1.1"),
        (["gateway:80:80"], "1.1"),
        (["gateway:port"], "1.1"),
        (["g\x00"], "1.1"),
        (["病历.example"], "1.1"),
        (["[::1"], "1.1"),
        (["x" * 300], "1.1"),
    ],
)
async def test_a_request_names_exactly_one_host(hosts: list[str], version: str) -> None:
    assert await status_for_hosts(hosts, version) == 400


@pytest.mark.parametrize(
    ("hosts", "version"),
    [
        (["gateway"], "1.1"),
        (["127.0.0.1:8080"], "1.1"),
        (["[::1]:8080"], "1.1"),
        (["gateway.example:"], "1.0"),
        ([], "1.0"),
    ],
)
async def test_a_host_of_every_form_is_taken(hosts: list[str], version: str) -> None:
    assert await status_for_hosts(hosts, version) == 200


async def status_for_hosts(hosts: list[str], version: str) -> int:
    """Ask an application as a server would that passes every Host header on."""
    app = create_app("hk", clock=VirtualClock())
    app.include_router(routes())
    scope = {
        "type": "http",
        "http_version": version,
        "method": "GET",
        "path": "/v1/wait",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", host.encode()) for host in hosts],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


async def test_a_bug_is_a_500_without_a_word_of_it_in_answer_or_log(
    http: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.testing.capture_logs() as logged:
        answer = await http.get("/hk/v1/bug")

    assert answer.status_code == 500
    assert problem(answer)["code"] == "internal"
    assert [(line["event"], line["error"], line["route"]) for line in logged] == [
        ("http.internal", "ValueError", "/hk/v1/bug")
    ]
    assert CANARY not in answer.text + repr(logged) + capsys.readouterr().err


async def test_an_answer_that_breaks_off_is_aborted_without_a_word_of_why(http: httpx2.AsyncClient) -> None:
    with pytest.raises(AbortedAnswerError) as caught:
        await http.get("/hk/v1/half")

    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_a_forbidden_state_tells_what_is_allowed(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/hk/v1/decide")

    assert answer.status_code == 409
    assert problem(answer)["allowed_actions"] == ["acknowledge"]


async def test_a_full_outbox_says_when_to_come_back(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/hk/v1/busy")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert problem(answer)["code"] == "admission.outbox-full"


@pytest.mark.parametrize("path", ["/nowhere", "/hk/nowhere", "/hk/v1/claims/3/", "/docs", "/hk/openapi.json"])
async def test_an_unknown_path_is_a_problem_and_no_redirect(http: httpx2.AsyncClient, path: str) -> None:
    assert problem(await http.get(path))["code"] == "http.not-found"


async def test_a_method_that_is_not_offered_is_a_problem_that_names_the_others(http: httpx2.AsyncClient) -> None:
    answer = await http.delete("/hk/v1/decide")

    assert problem(answer)["code"] == "http.method-not-allowed"
    assert answer.headers["allow"] == "GET, HEAD"

    assert (await http.get("/hk/v1/claims")).headers["allow"] == "PATCH, POST"


async def test_a_callers_request_id_is_kept_and_an_unfit_one_replaced(http: httpx2.AsyncClient) -> None:
    kept = await http.get("/hk/v1/claims/1", headers={"X-Request-Id": "trace-0123456789"})
    replaced = await http.get("/hk/v1/claims/1", headers={"X-Request-Id": "<script>alert(1)</script>"})

    assert kept.headers["x-request-id"] == kept.json()["id"] == "trace-0123456789"
    assert replaced.headers["x-request-id"] == replaced.json()["id"]
    assert replaced.json()["id"].startswith("req_")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("fr, de", "en"),
        ("zh-CN,zh;q=0.9", "zh-Hans"),
        ("zh-Hant-HK", "zh-Hant"),
        ("en;q=0.4, zh-HK;q=0.8", "zh-Hant"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh;q=nonsense, en", "en"),
    ],
)
async def test_title_and_fix_are_told_in_the_callers_language(
    http: httpx2.AsyncClient, accepted: str, language: str
) -> None:
    answer = await http.get("/hk/v1/bug", headers={"Accept-Language": accepted})

    assert answer.headers["content-language"] == language
    fixes = {"en": "Try again", "zh-Hans": "请用同一个", "zh-Hant": "請用同一個"}
    titles = {"en": "The gateway failed", "zh-Hans": "网关内部", "zh-Hant": "閘道內部"}
    assert problem(answer)["fix"].startswith(fixes[language])
    assert problem(answer)["title"].startswith(titles[language])
    assert answer.headers["vary"] == "Accept-Language"


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key", "If-Match"])
async def test_a_field_that_decides_who_asks_for_what_stands_once(http: httpx2.AsyncClient, name: str) -> None:
    answer = await http.get("/hk/v1/bug", headers=[(name, "a"), (name.lower(), "a")])

    assert (answer.status_code, problem(answer)["code"]) == (400, "http.field-repeated")


async def test_several_accept_language_fields_are_one_list(http: httpx2.AsyncClient) -> None:
    """A proxy may split or add fields; their order is that of one list (RFC 9110 section 5.3)."""
    fields = [("Accept-Language", "fr;q=0.9"), ("Accept-Language", "zh-HK;q=0.8, en;q=0.1")]

    assert (await http.get("/hk/v1/bug", headers=fields)).headers["content-language"] == "zh-Hant"


async def post(http: httpx2.AsyncClient, body: Any, **headers: str) -> httpx2.Response:
    return await http.post("/hk/v1/claims", content=body, headers={"content-type": "application/json", **headers})


async def test_a_body_is_read_up_to_its_limit(http: httpx2.AsyncClient) -> None:
    assert (await post(http, b"x" * 1000)).json() == {"bytes": 1000}

    answer = await post(http, b"x" * 1001)
    assert answer.status_code == 413
    [fault] = problem(answer)["errors"]
    assert (fault["code"], fault["bytes_max"]) == ("http.body-too-large", 1000)


async def test_a_body_that_hides_its_length_is_counted_while_it_comes(http: httpx2.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    answer = await post(http, endless())

    assert answer.status_code == 413
    assert sent <= 1200


@pytest.mark.parametrize(
    ("headers", "code", "accepted"),
    [
        ({"content-type": "text/plain"}, "http.content-type", "application/json"),
        ({"content-type": ""}, "http.content-type", "application/json"),
        ({"content-encoding": "gzip"}, "http.content-encoding", "identity"),
    ],
)
async def test_another_media_type_or_coding_is_refused_and_what_is_taken_is_named(
    http: httpx2.AsyncClient, headers: dict[str, str], code: str, accepted: str
) -> None:
    answer = await post(http, b"{}", **headers)

    [fault] = problem(answer)["errors"]
    assert (answer.status_code, fault["code"], fault["accepted"]) == (415, code, [accepted])
    assert fault["fix"].endswith(f"Accepted: {accepted}.")


async def test_a_media_type_may_carry_a_charset(http: httpx2.AsyncClient) -> None:
    assert (await post(http, b"{}", **{"content-type": "Application/JSON; charset=utf-8"})).status_code == 202


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        (None, 428, "http.if-match-missing"),
        ("3", 400, "http.if-match-malformed"),
        ('W/"3"', 400, "http.if-match-malformed"),
        ("*", 400, "http.if-match-malformed"),
    ],
)
async def test_a_change_without_a_strong_revision_is_refused(
    http: httpx2.AsyncClient, value: str | None, status: int, code: str
) -> None:
    answer = await http.patch("/hk/v1/claims", headers={} if value is None else {"If-Match": value})

    assert (answer.status_code, problem(answer)["code"]) == (status, code)


async def test_a_change_says_which_revision_it_is_based_on(http: httpx2.AsyncClient) -> None:
    shown = (await http.get("/hk/v1/claims/1")).headers["etag"]

    answer = await http.patch("/hk/v1/claims", headers={"If-Match": shown})

    assert answer.json() == {"based_on": 3, "same": 3}


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("wait=7", 7),
        ("respond-async, wait=7", 7),
        ('wait="7"; foo=1', 7),
        ("wait=9999", 30),
        ("wait=soon", 0),
        ("wait=-1", 0),
        ("", 0),
    ],
)
async def test_a_preference_to_wait_is_capped_and_nonsense_ignored(
    http: httpx2.AsyncClient, value: str, wait: int
) -> None:
    assert (await http.get("/hk/v1/wait", headers={"Prefer": value})).json() == {"wait": wait}


async def test_answers_are_not_stored_nor_sniffed(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/hk/v1/claims/1")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
