"""Idempotency of changes over HTTP: key, hash of the raw body and answer are stored with the effect.

Scope is (tenant, operation, key). A known key replays the first answer, receipt byte for byte; the same key with
another body is refused. The unique row chooses among twins: the loser reads the stored answer in the same work, so
there is no in-flight state.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql
from starlette.requests import Request
from starlette.responses import Response

from gateway.protocol.canonical import compact, read_json_object, sha256_hex
from gateway.protocol.clock import Clock, SystemClock, rfc3339
from gateway.protocol.errors import InvalidInputError, MalformedInputError
from gateway.protocol.jose import Typ, sign
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.delivery.outbox import Stamped
from gateway.runtime.storage.database import Database, Transaction, one
from gateway.runtime.storage.tables import idempotency
from gateway.runtime.web.http import language_headers, reply

KEY_LENGTH_MAX = 200

_LANGUAGE = "@language"
"""Stands in the stored answer only, beside the members of the body."""

_AT: dict[str, BindParameter[str]] = {name: bindparam(f"at_{name}") for name in ("tenant", "operation", "key")}
_HERE = tuple(idempotency.c[name] == place for name, place in _AT.items())
_LOAD = select(idempotency).where(*_HERE)
_TAKE = postgresql.insert(idempotency).values(_AT).on_conflict_do_nothing()
_ANSWER = (
    update(idempotency)
    .where(*_HERE)
    .values({name: bindparam(f"new_{name}") for name in ("status", "answer", "location", "stamp", "kid")})
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Who, what, and the caller's key; the clock dates the row."""

    tenant: str
    operation: str
    key: str
    clock: Clock = field(default_factory=SystemClock, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an effect answers; `stamped` becomes the signed `receipt` in the body.

    `language` is that of the sentences in the body; an answer that is replayed keeps the one it was given in.
    """

    status: int
    body: Mapping[str, Any]
    location: str | None = None
    stamped: Stamped | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    answer: Answer
    replayed: bool


def require_key(request: Request) -> str:
    """Return the `Idempotency-Key`, bare or quoted, at most 200 printable ASCII characters; every change needs one."""
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not key:
        raise MalformedInputError("idempotency.key-missing")
    if len(key) > KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        raise MalformedInputError("idempotency.key-malformed")
    return key


async def answered_before(database: Database, scope: Scope, raw: bytes) -> Stored | None:
    """Return the stored answer of a known key; `idempotency.key-reused` if it came with another body."""
    found = await database.fetch(_LOAD, _place(scope))
    return _stored(found[0], raw) if found else None


async def once(tx: Transaction, scope: Scope, raw: bytes, effect: Callable[[Transaction], Awaitable[Answer]]) -> Stored:
    """Run `effect` in this work unless the key is taken; then return what it answered."""
    row = {
        "body_sha256": sha256_hex(raw),
        "status": 0,
        "answer": "{}",
        "at": rfc3339(scope.clock.now()),
    }
    taken = await tx.execute(_TAKE, row | _place(scope))
    if taken.rowcount != 1:
        found = await one(tx, _LOAD, _place(scope))
        if found is None:
            raise RuntimeError("a taken idempotency key has no row")
        return _stored(found, raw)
    answer = await effect(tx)
    stored = {
        "status": answer.status,
        "answer": compact({**answer.body, **({_LANGUAGE: answer.language} if answer.language else {})}).decode(),
        "location": answer.location,
        "stamp": answer.stamped.payload if answer.stamped else None,
        "kid": answer.stamped.kid if answer.stamped else None,
    }
    await tx.later(_ANSWER, {f"new_{name}": value for name, value in stored.items()} | _place(scope))
    return Stored(answer, replayed=False)


def render(stored: Stored, keyring: Keyring) -> Response:
    """Write the answer; the receipt is signed from the stored stamp, to the same bytes every time."""
    answer = stored.answer
    body = dict(answer.body)
    if answer.stamped is not None:
        body["receipt"] = sign(answer.stamped.payload, keyring.keys[answer.stamped.kid], Typ.STAMP)
    headers = {"Location": answer.location} if answer.location else {}
    if answer.language is not None:
        headers |= language_headers(answer.language)
    if stored.replayed:
        headers["Idempotent-Replayed"] = "true"
    return reply(answer.status, body, headers)


def _place(scope: Scope) -> dict[str, str]:
    return {"at_tenant": scope.tenant, "at_operation": scope.operation, "at_key": scope.key}


def _stored(row: Row[Any], raw: bytes) -> Stored:
    if row.body_sha256 != sha256_hex(raw):
        raise InvalidInputError("idempotency.key-reused")
    stamped = Stamped(bytes(row.stamp), row.kid) if row.stamp is not None else None
    answer = row.answer.encode()
    body = read_json_object(answer, bytes_max=len(answer))
    language = body.pop(_LANGUAGE, None)
    return Stored(Answer(row.status, body, row.location, stamped, language), replayed=True)
