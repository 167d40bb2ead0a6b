"""HTTP to one role: tokens by `private_key_jwt` (RFC 7523), the same key on every retry, typed problems (RFC 9457).

A write carries an `Idempotency-Key` and is sent again with the same bytes and key when the answer is 429, 503 or
unknown (no answer in time, connection broken): the gateway answers a repetition with the first answer.
"""

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlencode, urlsplit

import httpx2

from gateway.client.profile import Profile
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import Clock, SystemClock
from gateway.protocol.errors import Fault, MalformedInputError, RefuseError, UnavailableError
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, sign

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = timedelta(minutes=4)
"""RFC 7523 leaves it open; the gateway takes at most five minutes."""

TOKEN_SPARE = timedelta(seconds=30)
ANSWER_BYTES_MAX = 16 * 1024 * 1024
AGAIN = (429, 503)
CONNECT_S = 10.0
READ_S = 30.0
"""How long an answer may take, beside what the server was asked to wait."""


class ApiProblem(Exception):  # noqa: N818 RFC 9457 calls it a problem
    """The gateway's answer was no: its status, stable code, faults by place, and what would be allowed."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        errors: tuple[Fault, ...] = (),
        allowed_actions: tuple[str, ...] = (),
        request_id: str | None = None,
        fix: str = "",
    ) -> None:
        self.status = status
        self.code = code
        self.errors = errors
        self.allowed_actions = allowed_actions
        self.request_id = request_id
        self.fix = fix
        super().__init__(f"{status} {code}" + "".join(f"; {one.code} {one.pointer}".rstrip() for one in errors))

    @property
    def is_final(self) -> bool:
        """Tell whether the same request would be refused again: a 4xx that neither time nor a new token mends."""
        return 400 <= self.status < 500 and self.status not in (401, 408, 425, 429)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how far apart: `first_s` doubles with jitter up to `longest_s`; `Retry-After` goes before it."""

    attempts_max: int = 5
    first_s: float = 0.2
    longest_s: float = 20.0

    def pause_s(self, attempt: int, retry_after: str | None) -> float:
        """Return the seconds to wait after failed attempt number `attempt`, counted from 1."""
        if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
            return float(retry_after)
        doubled_s: float = self.first_s * 2 ** (attempt - 1)
        return min(self.longest_s, doubled_s) * random.uniform(0.5, 1.0)  # noqa: S311 jitter


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer as received."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """Read the body as one JSON object with the guarded reader."""
        return read_json_object(self.body, bytes_max=ANSWER_BYTES_MAX)

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    until: datetime


class Session:
    """One party's conversation with one role. Use as an async context manager, or call `aclose`.

    `transport` may be `httpx2.ASGITransport(app)` to speak with a role in the same process.
    """

    def __init__(
        self,
        profile: Profile,
        role: str,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.profile = profile
        self.url = profile.url_of(role)
        self._clock = clock or SystemClock()
        self._retry = retry or Retry()
        self._token: _Token | None = None
        self._token_lock = asyncio.Lock()
        loopback = urlsplit(self.url).hostname in ("127.0.0.1", "::1", "localhost")
        self._http = httpx2.AsyncClient(transport=transport, timeout=30.0, trust_env=not loopback)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, *, query: Mapping[str, str] | None = None, wait_s: int = 0) -> Answer:
        """Read `path` below the role; `wait_s` is how long the server itself may hold the answer back."""
        return await self._authorised("GET", path, {}, query=query, wait_s=wait_s)

    async def get_public(self, path: str) -> Answer:
        """Read what the role shows to everybody, without a token."""
        return _checked(await self._send("GET", path, {}))

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        key: str | None = None,
        if_match: int | None = None,
        media_type: str = "application/json",
    ) -> Answer:
        """Write bytes as they are; `key` makes it safe to repeat, `if_match` names the revision it is based on."""
        headers = {"Content-Type": media_type}
        if key is not None:
            headers["Idempotency-Key"] = key
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        return await self._authorised("POST", path, headers, body=lambda: body)

    async def _authorised(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: Callable[[], bytes] = bytes,
        query: Mapping[str, str] | None = None,
        wait_s: int = 0,
    ) -> Answer:
        """Send with a token; a token the role no longer takes is fetched anew, once."""
        token = await self._access()
        for last in (False, True):
            signed = {**headers, "Authorization": f"Bearer {token.text}"}
            response = await self._send(method, path, signed, body=body, query=query, wait_s=wait_s)
            if response.status_code != 401 or last:
                break
            token = await self._access(instead_of=token)
        return _checked(response)

    async def _access(self, instead_of: _Token | None = None) -> _Token:
        async with self._token_lock:
            held = self._token
            if held is None or held is instead_of or held.until <= self._clock.now():
                held = self._token = await self._fetch_token()
            return held

    async def _fetch_token(self) -> _Token:
        now = self._clock.now()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        found = _checked(await self._send("POST", "/oauth/token", headers, body=self._token_request)).json()
        text, lifetime_s = found.get("access_token"), found.get("expires_in")
        if not isinstance(text, str) or not isinstance(lifetime_s, int):
            raise MalformedInputError("client.answer-malformed")
        return _Token(text, now + timedelta(seconds=lifetime_s) - TOKEN_SPARE)

    def _token_request(self) -> bytes:
        """Sign an assertion: `iss` = `sub` = client id, `aud` = token URL; each attempt has a `jti` of its own."""
        now = self._clock.now()
        claims = {
            "iss": self.profile.client_id,
            "sub": self.profile.client_id,
            "aud": f"{self.url}/oauth/token",
            "jti": mint("jti"),
            "iat": int(now.timestamp()),
            "exp": int((now + ASSERTION_LIFETIME).timestamp()),
        }
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": sign(compact(claims), self.profile.token_key, Typ.ASSERTION),
            "scope": " ".join(self.profile.scopes),
        }
        return urlencode(form).encode()

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: Callable[[], bytes] = bytes,
        query: Mapping[str, str] | None = None,
        wait_s: int = 0,
    ) -> httpx2.Response:
        """Send one request, again as `Retry` allows; `UnavailableError` when no answer came at all."""
        sent = {**headers, "X-Request-Id": mint("req")}
        timeout = httpx2.Timeout(CONNECT_S, read=READ_S + wait_s)
        attempt = 1
        while True:
            retry_after = None
            last = attempt >= self._retry.attempts_max
            try:
                response = await self._http.request(
                    method, self.url + path, content=body(), headers=sent, params=query, timeout=timeout
                )
            except httpx2.TransportError as error:
                if last:
                    raise _unreachable(error) from None
            else:
                retry_after = response.headers.get("Retry-After")
                asked_s = self._retry.pause_s(attempt, retry_after)
                if last or response.status_code not in AGAIN or asked_s > self._retry.longest_s:
                    return response
            await asyncio.sleep(self._retry.pause_s(attempt, retry_after))
            attempt += 1


class PartyClient:
    """One party's sessions, one with each role it speaks to. Use as an async context manager, or call `aclose`.

    `transport` may be `httpx2.ASGITransport(app)` to speak with roles in the same process.
    """

    roles: ClassVar[tuple[str, ...]]
    """The roles it speaks to, by their names in the profile."""

    def __init__(
        self,
        profile: Profile,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        retry: Retry | None = None,
    ) -> None:
        self._profile = profile
        self._clock = clock or SystemClock()
        self._sessions = {
            role: Session(profile, role, transport=transport, clock=clock, retry=retry) for role in self.roles
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        for session in self._sessions.values():
            await session.aclose()

    def _at(self, role: str) -> Session:
        return self._sessions[role]


def _unreachable(error: httpx2.TransportError) -> UnavailableError:
    """Tell apart why no answer came; the library says it only in what it was raised from."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return UnavailableError("client.tls-failed")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return UnavailableError("client.host-unknown")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return UnavailableError("client.connection-refused")
    if isinstance(error, httpx2.TimeoutException):
        return UnavailableError("client.timed-out")
    return UnavailableError("client.unreachable")


def _checked(response: httpx2.Response) -> Answer:
    """Turn a response into an `Answer`, or raise its problem."""
    if 200 <= response.status_code < 300:
        return Answer(response.status_code, response.headers, response.content)
    raise _problem(response)


def _problem(response: httpx2.Response) -> ApiProblem:
    """Read problem+json; a body that is none (a proxy's page) leaves the status alone to speak."""
    try:
        found = read_json_object(response.content)
    except RefuseError:
        found = {}
    request_id = found.get("request_id") or response.headers.get("X-Request-Id")
    return ApiProblem(
        status=response.status_code,
        code=str(found.get("code") or f"http.{response.status_code}"),
        errors=tuple(
            Fault(str(one.get("code", "")), str(one.get("pointer", "")))
            for one in _listed(found, "errors")
            if isinstance(one, dict)
        ),
        allowed_actions=tuple(str(action) for action in _listed(found, "allowed_actions")),
        request_id=None if request_id is None else str(request_id),
        fix=str(found.get("fix", "")),
    )


def _listed(found: Mapping[str, Any], name: str) -> list[Any]:
    value = found.get(name)
    return value if isinstance(value, list) else []
