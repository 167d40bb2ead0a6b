"""Who calls: tokens by client credentials with `private_key_jwt` (RFC 7523), short access tokens with scopes.

Each role issues tokens for its own API and checks them itself. A client assertion is signed with the client's key in
the registry release, names this role's token URL as audience, lives at most five minutes, and its `jti` counts once.
A client that the newest release no longer knows has no access, whatever token it still holds.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2
from sqlalchemy import delete
from sqlalchemy.dialects import postgresql
from starlette.responses import Response

from gateway.protocol.canonical import compact, parse_b64url, read_json_object, sha256
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.errors import (
    BadSignatureError,
    Fault,
    ForbiddenError,
    GatewayError,
    MalformedInputError,
    NotFoundError,
    RefuseError,
    UnauthenticatedError,
    UnknownKeyError,
)
from gateway.protocol.exchange import read_payload
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PrivateKey, PublicKey, Typ, sign, verify
from gateway.protocol.registry import Client, Party, Use
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.storage.database import Database, Transaction
from gateway.runtime.storage.tables import token_ids
from gateway.runtime.web.assertion_claims import SKEW_S, faults_of_claims
from gateway.runtime.web.http import problem, read_body, reply
from gateway.runtime.web.parameters import refuse_unknown_query

FORM = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 16 * 1024
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LIFE = timedelta(minutes=5)
CACHE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds the access token: a party's program or person, with scopes."""

    party: str
    client_id: str
    person: str | None
    scopes: frozenset[str]


@dataclass
class Issuer:
    """Issues and checks one role's access tokens. `_seen` caches verified tokens by hash; owned by the event loop."""

    role: str
    url: str
    """The role's own base URL, with its prefix; the token URL is below it."""
    key: PrivateKey
    database: Database
    trust: TrustHolder
    clock: Clock
    inner_url: str = ""
    """The same address as other roles see it; an assertion may name either."""
    _seen: "OrderedDict[bytes, tuple[Caller, datetime]]" = field(default_factory=OrderedDict)

    async def issue(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Answer a token request (RFC 6749 section 4.4, RFC 7523 section 2.2)."""
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != ASSERTION_TYPE:
            raise MalformedInputError("auth.grant")
        assertion = self._verify_assertion(form)
        party, client = assertion.party, assertion.client
        wanted = form["scope"].split() if form.get("scope") else list(client.scopes)
        if self.role not in client.roles or not set(wanted) <= set(client.scopes):
            raise MalformedInputError("auth.scope-refused")
        await self._use_once(assertion)
        now = self.clock.now()
        claims = {
            "iss": self.url,
            "aud": self.url,
            "sub": client.client_id,
            "client_id": client.client_id,
            "party": party.code,
            "person": client.person,
            "scope": " ".join(wanted),
            "iat": int(now.timestamp()),
            "exp": int((now + TOKEN_LIFE).timestamp()),
            "jti": mint("at"),
        }
        token = sign(compact(claims), self.key, Typ.ACCESS)
        seconds = int(TOKEN_LIFE.total_seconds())
        return {"access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": claims["scope"]}

    def check(self, token: str) -> Caller:
        """Verify an access token of ours; the client must still stand in the release in force as it did."""
        digest = sha256(token.encode())
        seen = self._seen.get(digest)
        if seen is None:
            seen = self._seen[digest] = self._read(token)
            if len(self._seen) > CACHE_MAX:
                self._seen.popitem(last=False)
        caller, expires = seen
        if self.clock.now() >= expires:
            self._seen.pop(digest, None)
            raise UnauthenticatedError("auth.expired")
        party, client = self._client(caller.client_id)
        if (party.code, client.person) != (caller.party, caller.person) or self.role not in client.roles:
            raise UnauthenticatedError("auth.client-unknown")
        if not caller.scopes <= set(client.scopes):
            raise UnauthenticatedError("auth.scope-withdrawn")
        return caller

    def _read(self, token: str) -> tuple[Caller, datetime]:
        try:
            claims = read_json_object(verify(token, self.key.public, Typ.ACCESS))
        except RefuseError:
            raise UnauthenticatedError("auth.token") from None
        if claims["aud"] != self.url:
            raise UnauthenticatedError("auth.token")
        caller = Caller(claims["party"], claims["sub"], claims["person"], frozenset(claims["scope"].split()))
        return caller, datetime.fromtimestamp(claims["exp"], UTC)

    def _client(self, client_id: str) -> tuple[Party, Client]:
        try:
            return self.trust.directory.client(client_id)
        except NotFoundError:
            raise UnauthenticatedError("auth.client-unknown") from None

    def _verify_assertion(self, form: Mapping[str, str]) -> "_Assertion":
        """Verify an assertion with the key of the client that `sub`, `iss` or the form's `client_id` names.

        Until the signature verifies every failure is the same 401; then the client is told every claim that is wrong.
        """
        now = self.clock.now()
        token = form.get("client_assertion", "")
        try:
            claims = read_payload(token, any_number=True)
        except RefuseError:
            raise UnauthenticatedError("auth.assertion") from None
        party, client = self._signer_of(token, (claims.get("sub"), claims.get("iss"), form.get("client_id")), now)
        faults = faults_of_claims(claims, client.client_id, self._audiences(), now)
        if form.get("client_id", client.client_id) != client.client_id:
            faults.append(Fault("assertion.other-client", "/client_id"))
        if faults:
            raise UnauthenticatedError("auth.assertion", faults=faults)
        return _Assertion(party, client, claims["jti"], datetime.fromtimestamp(float(claims["exp"]) + SKEW_S, UTC))

    def _signer_of(self, token: str, names: Sequence[object], now: datetime) -> tuple[Party, Client]:
        """Return the first client of these names whose key made the signature: one of several may be what is wrong."""
        for name in dict.fromkeys(name for name in names if isinstance(name, str)):
            try:
                party, client = self._client(name)
                holder = self.trust.directory.signer(client.kid, Use.TOKEN, now)
                _verify_signature(token, holder.public)
            except (RefuseError, UnknownKeyError):
                continue
            if holder.party.code == party.code:
                return party, client
        raise UnauthenticatedError("auth.assertion")

    def _audiences(self) -> frozenset[str]:
        urls = (self.url, self.inner_url) if self.inner_url else (self.url,)
        return frozenset(name for url in urls for name in (url, f"{url}/oauth/token"))

    async def _use_once(self, assertion: "_Assertion") -> None:
        now = rfc3339(self.clock.now())
        row = {
            "jti": assertion.jti,
            "client_id": assertion.client.client_id,
            "expires": rfc3339(assertion.forgotten_at),
        }

        async def work(tx: Transaction) -> bool:
            await tx.execute(delete(token_ids).where(token_ids.c.expires < now))
            return (await tx.execute(postgresql.insert(token_ids).on_conflict_do_nothing(), row)).rowcount == 1

        if not await self.database.write(work, key=assertion.client.client_id):
            raise UnauthenticatedError("auth.assertion-replayed")


@dataclass(frozen=True, slots=True)
class _Assertion:
    party: Party
    client: Client
    jti: str
    forgotten_at: datetime


def _verify_signature(token: str, key: PublicKey) -> None:
    """Verify an assertion; partners' libraries differ in its header, so only what matters is checked.

    `EdDSA` (RFC 8037) is accepted here, and only here, as the former name of `Ed25519` (RFC 9864).
    """
    head, _, signature = token.rpartition(".")
    header = read_json_object(parse_b64url(head.partition(".")[0]), bytes_max=1024)
    if header.get("alg") not in ("Ed25519", "EdDSA") or header.get("kid", key.kid) != key.kid or "crit" in header:
        raise BadSignatureError("jws.header")
    if str(header.get("typ", Typ.ASSERTION.value)).upper() != Typ.ASSERTION.value:
        raise BadSignatureError("jws.header")
    try:
        Ed25519PublicKey.from_public_bytes(parse_b64url(key.x)).verify(parse_b64url(signature), head.encode())
    except InvalidSignature:
        raise BadSignatureError("jws.signature") from None


_SCHEME = OAuth2(
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="oauth/token")),
    scheme_name="oauth2",
    auto_error=False,
)


def require(scope: str) -> Callable[..., Awaitable[Caller]]:
    """Make a dependency that gives the caller, who must hold `scope`. The app's state holds the role's issuer."""

    async def caller(request: Request, given: Annotated[str | None, Security(_SCHEME, scopes=[scope])]) -> Caller:
        issuer: Issuer = request.app.state.issuer
        kind, _, token = (given or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise UnauthenticatedError("auth.token-missing")
        found = issuer.check(token.strip())
        if scope not in found.scopes:
            raise ForbiddenError("auth.scope")
        refuse_unknown_query(request)
        return found

    return caller


def token_routes(issuer: Issuer) -> APIRouter:
    """`POST /oauth/token` of a role; failures are problems that also carry OAuth's `error` (RFC 6749 section 5.2)."""
    routes = APIRouter(tags=["tokens"])

    @routes.post("/oauth/token", openapi_extra={"requestBody": _REQUEST_BODY})
    async def post_token(request: Request) -> Response:
        """Give an access token for a signed client assertion (RFC 7523); five minutes, no refresh."""
        raw = await read_body(request, FORM_BYTES_MAX, media_type=FORM)
        try:
            return reply(200, await issuer.issue(_read_form(raw)))
        except (MalformedInputError, UnauthenticatedError) as error:
            return _refused(request, error)

    return routes


def _read_form(raw: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(raw.decode("ascii"), strict_parsing=True, max_num_fields=10)
    except ValueError:
        raise MalformedInputError("auth.form") from None
    form = dict(fields)
    if len(form) != len(fields):
        raise MalformedInputError("auth.form")
    return form


def _refused(request: Request, error: GatewayError) -> Response:
    kinds = {
        "auth.grant": "unsupported_grant_type",
        "auth.scope-refused": "invalid_scope",
        "auth.form": "invalid_request",
    }
    return problem(request, error, extra={"error": kinds.get(error.code, "invalid_client")})


_REQUEST_BODY = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["grant_type", "client_assertion_type", "client_assertion"],
                "properties": {
                    "grant_type": {"const": "client_credentials"},
                    "client_assertion_type": {"const": ASSERTION_TYPE},
                    "client_assertion": {"type": "string", "description": "JWT signed with the client's token key"},
                    "client_id": {"type": "string", "description": "If it is sent, the client that signed"},
                    "scope": {"type": "string", "description": "Scopes, separated by blanks; all when left out"},
                },
            },
            "example": {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": "eyJhbGciOiJFZDI1NTE5Iiwi…",
                "scope": "inbox:read",
            },
        }
    },
}
