"""Hostile text in every place where text comes in over HTTP, on both databases: never a 500, never an echo.

The places are enumerated from each role's own OpenAPI document (paths, queries, headers, bodies) and from the models of
what parties sign, so that a new route or field is tried without being listed here.
"""

import copy
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from gateway.client.profile import Profile
from gateway.protocol.canonical import b64url
from gateway.protocol.clock import SystemClock, rfc3339
from gateway.protocol.exchange import read_payload
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, sign
from gateway.runtime.web.reference import document
from gateway.sandbox.layout import Layout
from tests.postgres import postgres
from tests.role_processes import ROLES
from tests.walk import BASE_URL, House, house
from tests.walk_parties import Insurer, a_bill, hand_in

CANARY = "QQcanary1900"
HOSTILE = (
    f"{CANARY}\x00",
    f"\x00{CANARY}",
    f"{CANARY}\x01\x1b[31m",
    f"{CANARY}\x7f\x85",
    f"{CANARY}\ud800",
    f"{CANARY}\ufffe\uffff\U0010ffff",
    f"{CANARY}\u202e\u2028",
    f"{CANARY}'; DROP TABLE claims; --",
    f"{CANARY} %00%s{{}}",
    CANARY + "x" * 5000,
    "",
)
RAW_IN_PATHS = (f"{CANARY}%FF%FE", f"{CANARY}%C0%80", f"{CANARY}%ED%A0%80", f"{CANARY}%", f"{CANARY}%2F..%2F..%00")
HEADERS = ("idempotency-key", "if-match", "prefer", "x-request-id", "accept-language", "traceparent", "authorization")
REFUSALS = (400, 401, 404, 405, 415, 422, 428)
MOMENTS = ("9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "2026", "2026-03-02")
DATABASES = ("sqlite", "postgresql")
_RUNS = count()


def layout(kind: str) -> Layout:
    """Give every role a database of this test's own."""
    if kind == "sqlite":
        return Layout(BASE_URL)
    run = f"hostile_{os.getpid()}_{next(_RUNS)}"
    for role in ROLES:
        postgres().execute(f'CREATE DATABASE "{run}_{role.replace("-", "_")}"')
    return Layout(BASE_URL, database=postgres().url(run + "_{role}"))


@dataclass
class Attack:
    """Sends requests as whoever may, and keeps what should not have been answered."""

    gateway: House
    http: httpx2.AsyncClient
    sent: int = 0
    wrong: list[str] = field(default_factory=list)
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: "Iterator[int]" = field(default_factory=count)

    def apps(self) -> Iterator[tuple[str, FastAPI]]:
        for route in self.gateway.gateway.app.routes:
            if isinstance(route, Mount) and isinstance(route.app, FastAPI) and route.path != "/bank":
                yield route.path, route.app

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield method, path with prefix, and description of every documented operation."""
        for prefix, app in self.apps():
            for path, methods in document(app, prefix)["paths"].items():
                for method, operation in methods.items():
                    yield method.upper(), prefix + path, operation

    async def authorization(self, path: str, operation: Mapping[str, Any]) -> dict[str, str]:
        """Log in as a client with the scope that the operation asks for, at the role that serves it."""
        scopes = [scope for one in operation.get("security", ()) for names in one.values() for scope in names]
        if not scopes:
            return {}
        prefix = next(found for found, _ in self.apps() if path.startswith(f"{found}/"))
        if (prefix, scopes[0]) not in self.tokens:
            self.tokens[prefix, scopes[0]] = await self._log_in(prefix, scopes[0])
        return {"authorization": f"Bearer {self.tokens[prefix, scopes[0]]}"}

    async def login_for(self, path: str, scope: str) -> dict[str, str]:
        """Return the headers of a JSON request by a client with this scope."""
        authorization = await self.authorization(path, {"security": [{"oauth2": [scope]}]})
        return authorization | {"content-type": "application/json"}

    async def _log_in(self, prefix: str, scope: str) -> str:
        paths = (self.gateway.data / "profiles").glob("*.json")
        for profile_path in sorted(paths, key=lambda path: ("lantau" not in path.name, path.name)):
            if profile_path.name == "log-trust.json":
                continue
            profile = Profile.load(profile_path)
            if scope in profile.scopes:
                answer = await self.http.post(f"{prefix}/oauth/token", data=token_form(profile, prefix, scope=scope))
                if answer.status_code == 200:
                    return str(answer.json()["access_token"])
        raise AssertionError(f"nobody may {scope} at {prefix}")

    async def send(self, method: str, path: str, **words: Any) -> httpx2.Response | None:
        """Send one request; note an answer of 500 or more, and one that repeats what was sent."""
        try:
            request = self.http.build_request(method, path, **words)
        except (ValueError, UnicodeError, httpx2.InvalidURL):
            return None  # no client can write this
        answer = await self.http.send(request)
        self.sent += 1
        if answer.status_code >= 500 or CANARY in answer.text or CANARY in str(answer.headers):
            self.wrong.append(f"{method} {path[:80]!r} {answer.status_code} {answer.text[:80]!r}")
        return answer

    def key(self) -> dict[str, str]:
        return {"idempotency-key": f"hostile-{next(self.keys)}"}


def token_form(profile: Profile, prefix: str, *, scope: str, **claims: Any) -> dict[str, str]:
    now = int(SystemClock().now().timestamp())
    said = {"iss": profile.client_id, "sub": profile.client_id, "aud": f"{BASE_URL}{prefix}/oauth/token"}
    payload = escaped({**said, "exp": now + 120, "jti": mint("jti"), **claims})
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": sign(payload, profile.token_key, Typ.ASSERTION),
        "scope": scope,
    }


def escaped(value: Any) -> bytes:
    """Write JSON as a hostile sender would: a lone surrogate becomes an escape."""
    return json.dumps(value).encode()  # noqa: TID251 our own writer refuses what is to be sent here


def leaves(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of every text in a JSON value."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from leaves(member, (*place, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from leaves(member, (*place, index))


def replaced(value: Any, place: Sequence[str | int], text: str) -> Any:
    found = copy.deepcopy(value)
    holder = found
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = text
    return found


def renamed(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, f"{CANARY}\x00": 1}


@pytest.fixture(params=DATABASES)
async def attack(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Attack]:
    async with house(tmp_path / "data", layout=layout(request.param)) as gateway, gateway.http() as http:
        yield Attack(gateway, http)


async def test_hostile_text_in_a_path_or_query_is_refused(attack: Attack) -> None:
    for method, template, operation in attack.operations():
        headers = await attack.authorization(template, operation)
        queries = [found["name"] for found in operation.get("parameters", ()) if found["in"] == "query"]
        for text in (*(quote(text.encode("utf-8", "surrogatepass")) for text in HOSTILE), *RAW_IN_PATHS):
            if "{" in template:
                path = "/".join(text if part.startswith("{") else part for part in template.split("/"))
                answer = await attack.send(method, path, headers=headers | attack.key())
                assert answer is None or answer.status_code in REFUSALS, (path, answer)
            for name in (*queries, text):
                await attack.send(method, f"{without_braces(template)}?{name}={text}", headers=headers)

    assert attack.wrong == []
    assert attack.sent > 1000


async def test_hostile_text_in_a_header_or_body_is_refused(attack: Attack) -> None:
    for method, template, operation in attack.operations():
        authorization, path = await attack.authorization(template, operation), without_braces(template)
        for text in HOSTILE:
            for name in HEADERS:
                header = (name.encode(), text.encode("utf-8", "surrogatepass"))
                await attack.send(method, path, headers=[*_raw(authorization), header])
            for media_type, body in hostile_bodies(operation, text):
                headers = authorization | attack.key() | {"content-type": media_type, "if-match": '"1"'}
                await attack.send(method, path, content=body, headers=headers)

    assert attack.wrong == []
    assert attack.sent > 1000


def hostile_bodies(operation: Mapping[str, Any], text: str) -> Iterator[tuple[str, bytes]]:
    """Yield bodies: the operation's example with each text of it replaced, with a name added, and no JSON at all."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        example = content.get("example", {"text": ""})
        for place in leaves(example):
            yield media_type, escaped(replaced(example, place, text))
        yield media_type, escaped(renamed(example))
        yield media_type, text.encode("utf-8", "surrogatepass")


def without_braces(template: str) -> str:
    return template.replace("{", "").replace("}", "")


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def test_hostile_text_in_a_token_request_is_refused(attack: Attack) -> None:
    profile = Profile.load(attack.gateway.data / "profiles" / "hosp-nanshan-his.json")
    good = token_form(profile, "/sz", scope="claims:read")

    for text in HOSTILE:
        for claim in ("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "person"):
            form = token_form(profile, "/sz", scope="claims:read", **{claim: text})
            answer = await attack.send("POST", "/sz/oauth/token", data=form)
            assert answer is not None
            assert answer.status_code == 401 or claim in ("client_id", "person"), (claim, text)
        for name in (*good, "client_id"):
            encoded = "&".join(
                f"{key}={quote(value.encode('utf-8', 'surrogatepass'))}" for key, value in (good | {name: text}).items()
            )
            form_header = {"content-type": "application/x-www-form-urlencoded"}
            answer = await attack.send("POST", "/sz/oauth/token", content=encoded.encode(), headers=form_header)
            assert answer is not None
            # a parameter without a value counts as left out (RFC 6749 section 3.2)
            assert answer.status_code in (400, 401) or not text, (name, text)
        for name in ("kid", "typ", "alg", "crit"):
            _, payload, signature = good["client_assertion"].split(".")
            header = b64url(escaped({"alg": "Ed25519", "kid": profile.token_key.kid, name: text}))
            form = good | {"client_assertion": f"{header}.{payload}.{signature}"}
            answer = await attack.send("POST", "/sz/oauth/token", data=form)
            assert answer is not None
            assert answer.status_code == 401, (name, text)

    assert attack.wrong == []


async def test_hostile_text_in_any_field_of_a_bill_is_refused(attack: Attack) -> None:
    headers = await attack.login_for("/sz/v1/claims", "claims:submit")
    bill = a_bill(1, "ins-lantau")

    for text in (f"{CANARY}\x00", f"{CANARY}\ud800", f"{CANARY}\uffff\U0010ffff"):
        for place in leaves(bill):
            body = escaped(replaced(bill, place, text))
            await attack.send("POST", "/sz/v1/claims", content=body, headers=headers | attack.key())

    assert attack.wrong == []


async def test_hostile_text_in_any_signed_field_of_an_answer_or_approval_is_refused(attack: Attack) -> None:
    claimed, insurer = await hand_in(attack.gateway), Insurer(attack.gateway)
    opened = await insurer.review(claimed)
    authored = await insurer.authored(opened)
    manifest = read_payload(authored.posted.manifest)
    signing = attack.gateway.profile("ins-lantau-system").signing()
    headers = await attack.login_for("/hk/v1/messages", "messages:write")

    for text in HOSTILE:
        for changed in [replaced(manifest, place, text) for place in leaves(manifest)] + [renamed(manifest)]:
            signed = sign(escaped(changed), signing, Typ.MANIFEST)
            body = escaped({"manifest": signed, "dossier": authored.posted.dossier})
            answer = await attack.send("POST", "/hk/v1/messages", content=body, headers=headers | attack.key())
            assert answer is not None
            assert 400 <= answer.status_code < 500, (changed, answer.text)

    await insurer.decide(opened)
    batch = await attack.gateway.until_draft("ins-lantau")
    profile = attack.gateway.profile("ins-lantau-treasurer-1")
    approval = {
        "batch_id": batch.batch_id,
        "batch_sha256": batch.sha256,
        "decision": "approve",
        "person": str(profile.person),
        "at": rfc3339(SystemClock().now()),
    }
    texts = {
        **dict.fromkeys(("9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "2026")),
        **dict.fromkeys(HOSTILE),
    }
    headers = await attack.login_for("/settlement/v1/batches", "batches:approve")
    path = f"/settlement/v1/batches/{batch.batch_id}/approvals"
    later = rfc3339(SystemClock().now() + timedelta(minutes=10))
    for changed in [
        {**approval, "at": later},
        *(replaced(approval, place, text) for text in texts for place in leaves(approval)),
    ]:
        body = escaped({"approval": sign(escaped(changed), profile.signing(), Typ.APPROVAL)})
        answer = await attack.send("POST", path, content=body, headers=headers | attack.key())
        assert answer is not None
        assert 400 <= answer.status_code < 500, (changed, answer.text)

    assert attack.wrong == []
