"""HTTP as every role speaks it: problem+json (RFC 9457), request ids, counted bodies, ETags, `Prefer: wait`.

An answer never carries a value that somebody sent: a failing model is told by code and JSON Pointer, an unexpected
exception by `internal` alone, and its class and place go to the log. FastAPI's telemetry, which exports exception
text, and its documentation pages, which load scripts from elsewhere, are off.
"""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.protocol.canonical import compact
from gateway.protocol.clock import Clock
from gateway.protocol.errors import (
    Fault,
    GatewayError,
    InvalidInputError,
    MalformedInputError,
    NotFoundError,
    PreconditionRequiredError,
    RefuseError,
    TooLargeError,
    UnsupportedMediaError,
)
from gateway.protocol.facts import bounds_of
from gateway.protocol.identifiers import mint
from gateway.runtime.custody.keys import NO_RELEASE_YET
from gateway.runtime.signals import tracing
from gateway.runtime.signals.observability import HTTP_REQUESTS, HTTP_SECONDS
from gateway.runtime.web.parameters import refuse_unknown_query_when_open

JSON = "application/json"
PROBLEM = "application/problem+json"
WAIT_S_MAX = 30
LANGUAGES = ("en", "zh-hant", "zh-hk", "zh-mo", "zh-tw", "zh")
"""What `Accept-Language` may ask for; a longer tag is matched by its beginning (RFC 4647 section 3.4)."""

log = structlog.get_logger("http")

_ROOT = f"{Path(__file__).parents[3]}/"
_OURS = tuple(f"{_ROOT}{room}/" for room in ("gateway", "adapters", "settlement", "audit"))
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_TELEMETRY_OFF: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::[0-9]{0,5})?")
"""RFC 9110 section 7.2: uri-host and port, within a length."""

_PATH = re.compile(r"[!-~]*")

_ONCE = frozenset((b"authorization", b"content-type", b"idempotency-key", b"if-match"))
"""Fields that decide who asks for what, and count once (RFC 9110 section 5.3): of two, a proxy may read the other."""


class MethodNotAllowedError(RefuseError):
    status = 405


def create_app(title: str, *, clock: Clock) -> FastAPI:
    """Build a role's application: errors, request ids, no redirects, no documentation from elsewhere."""
    app = FastAPI(
        title=title,
        telemetry=_TELEMETRY_OFF,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(refuse_unknown_query_when_open)],
        exception_handlers={
            GatewayError: _on_gateway_error,
            RequestValidationError: _on_validation_error,
            HTTPException: _on_http_exception,
        },
    )
    app.state.clock = clock
    app.add_middleware(_Edge)
    return app


def reply(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Answer JSON, serialised once; `Cache-Control: no-store` unless the headers say otherwise."""
    return Response(compact(body), status, {"cache-control": "no-store", **(headers or {})}, JSON)


def problem(
    request: Request,
    error: GatewayError,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """Answer an error as problem+json in the caller's language; `extra` members stand beside those of RFC 9457."""
    language = language_of(request)
    all_headers = {"cache-control": "no-store", **language_headers(language)}
    all_headers |= dict(headers or {})
    if error.retry_after_s is not None:
        all_headers["retry-after"] = str(error.retry_after_s)
    if error.status == 401:
        all_headers.setdefault("www-authenticate", "Bearer")
    body = compact({**error.problem(request_id_of(request), language), **(extra or {})})
    return Response(body, error.status, all_headers, PROBLEM)


def language_headers(language: str) -> dict[str, str]:
    """Say in which language sentences are (RFC 9110 section 8.5), and that the caller's choice decided it."""
    return {"content-language": language, "vary": "Accept-Language"}


def request_id_of(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


def language_of(request: Request) -> str:
    """Choose the best of English, 简体 and 繁體 that the caller accepts (RFC 9110 section 12.5.4)."""
    wanted = []
    for place, part in enumerate(",".join(request.headers.getlist("accept-language")).lower().split(",")[:16]):
        tag, _, parameters = part.strip().partition(";")
        found = next((known for known in LANGUAGES if tag == known or tag.startswith(f"{known}-")), None)
        quality = _quality(parameters)
        if found and quality > 0:
            wanted.append((-quality, place, found))
    best = min(wanted)[2] if wanted else "en"
    return {"en": "en", "zh": "zh-Hans"}.get(best, "zh-Hant")


def _quality(parameters: str) -> float:
    match = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", parameters)
    return float(match[1]) if match else (0.0 if parameters.strip() else 1.0)


async def read_body(request: Request, bytes_max: int, *, media_type: str | tuple[str, ...] | None = JSON) -> bytes:
    """Read the raw body, counted while it comes; several media types may be taken, and None takes any.

    Another media type or a Content-Encoding is refused with 415, which names what is taken; more than `bytes_max` with
    413, which names that.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    taken = (media_type,) if isinstance(media_type, str) else media_type
    if taken is not None and given not in taken:
        raise UnsupportedMediaError("http.content-type", facts={"accepted": list(taken)})
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaError("http.content-encoding", facts={"accepted": ["identity"]})
    too_large = TooLargeError("http.body-too-large", facts={"bytes_max": bytes_max})
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bytes_max:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise too_large
        parts.append(part)
    return b"".join(parts)


# Conditional requests and waiting


def etag(revision: int) -> str:
    """Write a row's revision as a strong entity tag (RFC 9110 section 8.8.3)."""
    return f'"{revision}"'


def if_match(request: Request) -> int | None:
    """Read the revision that a change is based on; None where the caller sent no `If-Match`."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    match = re.fullmatch(r'"([0-9]{1,18})"', given.strip())
    if match is None:
        raise MalformedInputError("http.if-match-malformed")
    return int(match[1])


def required_if_match(request: Request) -> int:
    """Read `If-Match`; without it 428 (RFC 6585 section 3)."""
    revision = if_match(request)
    if revision is None:
        raise PreconditionRequiredError("http.if-match-missing")
    return revision


def prefer_wait(request: Request) -> int:
    """Read `Prefer: wait=N` (RFC 7240 section 4.3), capped at 30 seconds; anything else is no preference."""
    for part in ",".join(request.headers.getlist("prefer")).lower().split(","):
        match = re.fullmatch(r'wait\s*=\s*"?([0-9]{1,6})"?', part.partition(";")[0].strip())
        if match:
            return min(int(match[1]), WAIT_S_MAX)
    return 0


# Errors


async def _on_gateway_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        raise error
    if error.status >= 500 and error.code != NO_RELEASE_YET:
        log.warning("http.failed", code=error.code, status=error.status, route=_route(request.scope))
    return problem(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    details = error.errors()
    if any(detail["loc"][:1] == ("path",) for detail in details):
        return problem(request, NotFoundError("http.not-found"))
    faults = [
        Fault(f"field.{detail['type'].replace('_', '-')}", _pointer(detail["loc"]), bounds_of(detail))
        for detail in details
    ]
    return problem(request, InvalidInputError("request.invalid", faults=faults))


def _pointer(place: Sequence[str | int]) -> str:
    """Point into the body; what is wrong elsewhere is named after its place: `/query/limit`."""
    inside = place[1:] if place[:1] == ("body",) else place
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in inside)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    known = _ROUTER_ERRORS.get(error.status_code)
    if known is None:
        known = GatewayError("internal") if error.status_code >= 500 else MalformedInputError("http.refused")
    headers = {"allow": ", ".join(_methods_of(request))} if error.status_code == 405 else error.headers
    return problem(request, known, headers)


def _methods_of(request: Request) -> list[str]:
    """List every method of the path (RFC 9110 section 10.2.1); HEAD goes wherever GET does."""
    routes = request.scope["app"].router.routes
    offered = [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return sorted({*offered, "HEAD"} if "GET" in offered else offered)


_ROUTER_ERRORS: Mapping[int, GatewayError] = {
    404: NotFoundError("http.not-found"),
    405: MethodNotAllowedError("http.method-not-allowed"),
    413: TooLargeError("http.body-too-large"),
}


def where(error: BaseException) -> str:
    """Name the innermost line of ours in a traceback, for the log; never a value."""
    found = ""
    for frame, line in walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        if path.startswith(_OURS):
            found = f"{path.removeprefix(_ROOT)}:{line}"
    return found


def _route(scope: Scope) -> str:
    """Name the route by its template: a path that nobody serves could be anything."""
    template = getattr(scope.get("route"), "path", None)
    return "unknown" if template is None else scope.get("root_path", "") + template


class AbortedAnswerError(Exception):
    """An answer broke off half-way: the server closes the connection. Carries nothing of what broke."""


class _Edge:
    """The outermost layer: request id, safe headers, counts, and the last resort for unexpected exceptions.

    Applications are mounted in one another: the outer one gives the request its id, the inner one counts it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if "request_id" not in state:
            given = Headers(scope=scope).get("x-request-id", "")
            state["request_id"] = given if _REQUEST_ID.fullmatch(given) else mint("req")
        statuses: list[int] = []

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = state["request_id"]
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        state.setdefault("method", scope["method"])
        if scope["method"] == "HEAD":
            # HEAD is GET without the body (RFC 9110 section 9.3.2); routes need not know of it
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        began = time.perf_counter()
        trace = tracing.current() or Headers(scope=scope).get(tracing.TRACEPARENT)
        with structlog.contextvars.bound_contextvars(request_id=state["request_id"]), tracing.following(trace):
            await self._guarded(scope, receive, mark, statuses)
        if not state.get("counted"):
            state["counted"] = True
            _count(scope, statuses[0] if statuses else 0, time.perf_counter() - began)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send, statuses: list[int]) -> None:
        refusal = _refusal_of(scope)
        try:
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await problem(Request(scope), refusal)(scope, receive, send)
        except ClientDisconnect:
            log.info("http.client-left", route=_route(scope))
        except Exception as error:  # noqa: BLE001 the last resort; its text may carry values
            at = where(error)
            log.error("http.internal", error=type(error).__name__, where=at, route=_route(scope))
            if statuses:
                raise AbortedAnswerError from None
            await problem(Request(scope), GatewayError("internal"))(scope, receive, send)


def _refusal_of(scope: Scope) -> GatewayError | None:
    """Refuse what no application should see: a request for no host or for two, a path that holds what no id can."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1 or (not hosts and scope["http_version"] not in ("1.0", "0.9")):
        return MalformedInputError("http.host")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        return MalformedInputError("http.host")
    names = [name for name, _ in scope["headers"] if name in _ONCE]
    if len(names) != len(set(names)):
        return MalformedInputError("http.field-repeated")
    if _PATH.fullmatch(scope["path"]) is None:
        return NotFoundError("http.not-found")
    return None


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


def _count(scope: Scope, status: int, seconds: float) -> None:
    sent = scope["state"]["method"]
    method = sent if sent in _METHODS else "other"
    HTTP_REQUESTS.labels(_route(scope), method, str(status)).inc()
    HTTP_SECONDS.labels(_route(scope)).observe(seconds)
