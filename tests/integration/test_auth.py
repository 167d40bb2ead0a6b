"""Tokens: who gets one, what it opens, and how access ends; on both databases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends
from starlette.responses import Response

from gateway.protocol.canonical import b64url, compact, parse_b64url, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.protocol.registry import open_release
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.storage.tables import METADATA
from gateway.runtime.web.auth import ASSERTION_TYPE, Caller, Issuer, require, token_routes
from gateway.runtime.web.http import create_app, reply
from tests.conftest import MakeDatabase
from tests.parties import world
from tests.wrong_assertions import CLIENT, NOW, URL, WRONG_CLAIMS

PARTY = "ins-harbour"


@dataclass
class Role:
    """The role `hk` with one protected path, as a caller meets it."""

    http: httpx2.AsyncClient
    clock: VirtualClock
    trust: TrustHolder
    issuer: Issuer

    async def ask(self, assertion: str, **changes: str) -> httpx2.Response:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return await self.http.post("/oauth/token", data=form | changes)

    async def token(self, scope: str = "") -> str:
        answer = await self.ask(self.assertion(), scope=scope)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def call(self, token: str | None) -> httpx2.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return await self.http.get("/v1/inbox", headers=headers)

    def claims(self, **changes: Any) -> dict[str, Any]:
        claims = {
            "iss": CLIENT,
            "sub": CLIENT,
            "aud": f"{URL}/oauth/token",
            "exp": int(self.clock.now().timestamp()) + 240,
            "jti": mint("jti"),
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def assertion(self, key: PrivateKey | None = None, **changes: Any) -> str:
        return sign(compact(self.claims(**changes)), key or client_key(), Typ.ASSERTION)


def client_key() -> PrivateKey:
    return world().keys[world().directory.client(CLIENT)[1].kid]


@pytest.fixture
async def role(make_database: MakeDatabase) -> AsyncIterator[Role]:
    clock = VirtualClock()
    trust = TrustHolder(world().trust)
    trust.install(world().signed, world().directory)
    key = PrivateKey.generate("hk/access/1", "Ed25519")
    issuer = Issuer("hk", URL, key, make_database(METADATA), trust, clock)
    app = create_app("hk", clock=clock)
    app.state.issuer = issuer
    app.include_router(token_routes(issuer))

    @app.get("/v1/inbox")
    async def get_inbox(caller: Annotated[Caller, Depends(require("inbox:read"))]) -> Response:
        return reply(200, {"party": caller.party, "client": caller.client_id, "scopes": sorted(caller.scopes)})

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as http:
        yield Role(http, clock, trust, issuer)


def refused(answer: httpx2.Response, status: int, code: str, error: str) -> None:
    found = read_json_object(answer.content)
    assert (answer.status_code, found["code"], found["error"]) == (status, code, error)


async def test_a_client_gets_a_token_and_calls_as_its_party(role: Role) -> None:
    answer = await role.ask(role.assertion(), scope="inbox:read")

    granted = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (granted["token_type"], granted["expires_in"], granted["scope"]) == ("Bearer", 300, "inbox:read")
    called = await role.call(granted["access_token"])
    assert called.json() == {"party": PARTY, "client": CLIENT, "scopes": ["inbox:read"]}


async def test_without_a_scope_asked_for_all_of_the_clients_are_given(role: Role) -> None:
    called = await role.call(await role.token())

    assert called.json()["scopes"] == ["inbox:read", "messages:write"]


async def test_the_roles_own_url_and_a_list_serve_as_audience(role: Role) -> None:
    for audience in (URL, ["https://elsewhere.example", f"{URL}/oauth/token"]):
        assert (await role.ask(role.assertion(aud=audience))).status_code == 200


async def test_the_address_that_other_roles_use_serves_as_audience_and_no_third_one_does(role: Role) -> None:
    inner = "http://hk:8103/hk"
    assert (await role.ask(role.assertion(aud=inner))).status_code == 401

    role.issuer.inner_url = inner

    assert (await role.ask(role.assertion(aud=f"{inner}/oauth/token"))).status_code == 200
    assert (await role.ask(role.assertion(aud="http://hk:8104/hk"))).status_code == 401


async def test_a_library_that_says_eddsa_or_leaves_kid_and_typ_out_is_understood(role: Role) -> None:
    secret = Ed25519PrivateKey.from_private_bytes(parse_b64url(str(client_key().jwk.as_dict(private=True)["d"])))
    for header in ({"alg": "EdDSA"}, {"typ": "jwt", "alg": "Ed25519"}, {"alg": "EdDSA", "kid": client_key().kid}):
        signed = f"{b64url(compact(header))}.{b64url(compact(role.claims()))}"

        answer = await role.ask(f"{signed}.{b64url(secret.sign(signed.encode()))}")

        assert answer.status_code == 200


async def test_an_assertion_counts_once(role: Role) -> None:
    assertion = role.assertion()
    assert (await role.ask(assertion)).status_code == 200

    refused(await role.ask(assertion), 401, "auth.assertion-replayed", "invalid_client")


async def test_a_replayed_jti_is_refused_until_the_assertion_has_expired_and_then_forgotten(role: Role) -> None:
    await role.ask(role.assertion(jti="jti-0001"))
    role.clock.advance(timedelta(seconds=200))
    refused(await role.ask(role.assertion(jti="jti-0001")), 401, "auth.assertion-replayed", "invalid_client")

    role.clock.advance(timedelta(minutes=10))

    assert (await role.ask(role.assertion(jti="jti-0001"))).status_code == 200


def wrong_claims(answer: httpx2.Response) -> list[tuple[str, str]]:
    refused(answer, 401, "auth.assertion", "invalid_client")
    assert answer.headers["www-authenticate"] == "Bearer"
    return [(fault["code"].removeprefix("assertion."), fault["pointer"]) for fault in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("changes", "faults"),
    WRONG_CLAIMS,
)
async def test_a_client_whose_signature_verifies_is_told_every_claim_that_is_wrong(
    role: Role, changes: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    assert wrong_claims(await role.ask(role.assertion(**changes))) == faults


@pytest.mark.parametrize("changes", [{"sub": "nobody"}, {"sub": None}, {"sub": "a\x00b"}, {"exp": 1}, {"jti": "\x00"}])
async def test_whoever_cannot_sign_for_the_client_is_not_told_what_is_wrong(
    role: Role, changes: dict[str, Any]
) -> None:
    stranger = PrivateKey.generate(client_key().kid, "Ed25519")

    answer = await role.ask(role.assertion(stranger, **changes))

    refused(answer, 401, "auth.assertion", "invalid_client")
    assert "errors" not in answer.json()


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW + 200.25},
        {"exp": NOW - 59.5},
        {"nbf": NOW, "iat": NOW + 0.125},
        {"nbf": NOW + 59.5, "iat": NOW + 59.5},
        {"iat": 0},
        {"aud": [URL]},
    ],
)
async def test_numeric_dates_may_have_a_fraction_and_clocks_may_differ_by_a_minute(
    role: Role, changes: dict[str, Any]
) -> None:
    answer = await role.ask(role.assertion(**changes))

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("exp", "status"), [("%.9e" % (NOW + 120), 200), ("1e999999999", 401), ("1E400", 401)])
async def test_a_numeric_date_with_an_exponent_is_read_by_its_value(role: Role, exp: str, status: int) -> None:
    payload = compact(role.claims(exp="here")).replace(b'"here"', exp.encode())

    answer = await role.ask(sign(payload, client_key(), Typ.ASSERTION))

    assert answer.status_code == status, answer.text
    assert status == 200 or wrong_claims(answer) == [("time-malformed", "/exp")]


async def test_a_signature_counts_for_the_client_whose_key_made_it_and_for_no_other(role: Role) -> None:
    """Whoever names another client in `sub`, and himself beside it, is told so and gets no token of either."""
    for name in ("iss", "sub"):
        changes: dict[str, Any] = {name: "ins-lantau-system"}
        answer = await role.ask(role.assertion(**changes), client_id=CLIENT)

        assert wrong_claims(answer) == [("other-client", f"/{name}")]


async def test_a_form_client_id_must_be_the_assertions_client(role: Role) -> None:
    answer = await role.ask(role.assertion(), client_id="ins-lantau-system")
    assert wrong_claims(answer) == [("other-client", "/client_id")]

    assert (await role.ask(role.assertion(), client_id=CLIENT)).status_code == 200


async def test_the_text_of_a_refused_claim_is_not_echoed(role: Role) -> None:
    canary = "QQ-canary-1900"

    answer = await role.ask(role.assertion(jti=f"{canary}\x00", iss=canary, aud=canary), client_id=canary)

    assert answer.status_code == 401
    assert canary not in answer.text


async def test_an_assertion_for_longer_than_five_minutes_is_refused(role: Role) -> None:
    now = int(role.clock.now().timestamp())

    assert (await role.ask(role.assertion(exp=now + 300))).status_code == 200
    assert wrong_claims(await role.ask(role.assertion(exp=now + 900))) == [("lives-too-long", "/exp")]


async def test_another_key_does_not_speak_for_the_client(role: Role) -> None:
    own = PrivateKey.generate(client_key().kid, "Ed25519")
    other_partys = world().keys[world().directory.client("ins-lantau-system")[1].kid]

    for key in (own, other_partys, world().keys[f"{PARTY}/sign/1"]):
        refused(await role.ask(role.assertion(key)), 401, "auth.assertion", "invalid_client")


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "....", "é.é.é", "e30.e30.e30", "x" * 5000])
async def test_text_that_is_no_assertion_is_refused(role: Role, token: str) -> None:
    refused(await role.ask(token), 401, "auth.assertion", "invalid_client")


async def test_an_unsigned_assertion_is_refused(role: Role) -> None:
    for header in ({"alg": "none"}, {"alg": "HS256"}, {"alg": ["Ed25519"]}, {"alg": "Ed25519", "crit": ["exp"]}):
        token = f"{b64url(compact(header))}.{b64url(compact(role.claims()))}."

        refused(await role.ask(token), 401, "auth.assertion", "invalid_client")


async def test_a_client_of_another_role_gets_no_token_here(role: Role) -> None:
    his = "hosp-nanshan-his"
    key = world().keys[world().directory.client(his)[1].kid]

    answer = await role.ask(role.assertion(key, iss=his, sub=his))

    refused(answer, 400, "auth.scope-refused", "invalid_scope")


async def test_a_scope_that_the_registry_does_not_give_is_refused(role: Role) -> None:
    answer = await role.ask(role.assertion(), scope="inbox:read operate")

    refused(answer, 400, "auth.scope-refused", "invalid_scope")


async def test_another_grant_or_a_broken_form_is_refused(role: Role) -> None:
    answer = await role.ask(role.assertion(), grant_type="password")
    refused(answer, 400, "auth.grant", "unsupported_grant_type")

    headers = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"grant_type", b"a=1&a=2", b"\xff=1", b"&".join(b"a%d=1" % n for n in range(20))):
        answer = await role.http.post("/oauth/token", content=body, headers=headers)
        refused(answer, 400, "auth.form", "invalid_request")


async def test_a_call_without_token_or_with_an_unfit_one_is_refused(role: Role) -> None:
    good = await role.token()
    key = PrivateKey.generate("hk/access/1", "Ed25519")
    forged = sign(compact({"aud": URL, "sub": CLIENT}), key, Typ.ACCESS)

    for token in (None, "", "x", forged, good[:-4] + "AAAA", role.assertion()):
        answer = await role.call(token)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_of_another_role_opens_nothing_here(role: Role) -> None:
    elsewhere = Issuer("hk", "http://other/hk", role.issuer.key, role.issuer.database, role.trust, role.clock)
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": role.assertion(aud="http://other/hk"),
    }
    token = (await elsewhere.issue(form))["access_token"]

    assert (await role.call(token)).status_code == 401


async def test_a_token_without_the_scope_is_forbidden(role: Role) -> None:
    answer = await role.call(await role.token("messages:write"))

    assert answer.status_code == 403
    assert read_json_object(answer.content)["code"] == "auth.scope"


async def test_a_token_ends_after_five_minutes(role: Role) -> None:
    token = await role.token()
    assert (await role.call(token)).status_code == 200

    role.clock.advance(timedelta(seconds=301))

    answer = await role.call(token)
    assert (answer.status_code, read_json_object(answer.content)["code"]) == (401, "auth.expired")


async def test_a_party_that_the_newest_release_does_not_know_has_no_access(role: Role) -> None:
    token = await role.token()
    others = [party for party in world().directory.parties.values() if party.code != PARTY]
    signed = world().sign_release(others, number=2, routes=())

    role.trust.install(signed, open_release(signed, world().trust))

    assert (await role.call(token)).status_code == 401
    refused(await role.ask(role.assertion()), 401, "auth.assertion", "invalid_client")


async def test_a_scope_that_was_withdrawn_ends_the_tokens_that_carry_it(role: Role) -> None:
    token, still = await role.token(), await role.token("inbox:read")
    party, _ = world().directory.client(CLIENT)
    clients = tuple(
        one.model_copy(update={"scopes": ("inbox:read",)}) if one.client_id == CLIENT else one for one in party.clients
    )
    changed = party.model_copy(update={"clients": clients})
    parties = [changed if one.code == PARTY else one for one in world().directory.parties.values()]
    signed = world().sign_release(parties, number=2)

    role.trust.install(signed, open_release(signed, world().trust))

    assert (await role.call(token)).status_code == 401
    assert (await role.call(still)).status_code == 200


async def test_a_compromised_key_gets_no_more_tokens(role: Role) -> None:
    directory = world().with_key(client_key().kid, compromised_at=role.clock.now() - timedelta(hours=1))

    role.trust._directory = directory

    refused(await role.ask(role.assertion()), 401, "auth.assertion", "invalid_client")
