"""One effect a key: twins, replays, another body, failures; on both databases."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select
from starlette.requests import Request

from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import InvalidInputError, MalformedInputError
from gateway.protocol.jose import PrivateKey, Typ, verify
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.delivery.outbox import Stamped
from gateway.runtime.storage.database import Database, Transaction
from gateway.runtime.storage.tables import METADATA
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once, render, require_key
from tests.conftest import MakeDatabase

EFFECTS = MetaData()
effects = Table(
    "effects", EFFECTS, Column("id", Integer, primary_key=True, autoincrement=True), Column("key", Text, nullable=False)
)
BODY = b'{"claim_number":"C-1"}'
KEY = PrivateKey.generate("sz/stamp/1", "Ed25519")
KEYRING = Keyring({KEY.kid: KEY}, bytes(32))


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(METADATA, EFFECTS)


def a_scope(key: str = "key-1", tenant: str = "hosp-nanshan", operation: str = "POST /v1/claims") -> Scope:
    return Scope(tenant, operation, key, VirtualClock())


def effect(key: str, number: int = 0) -> Any:
    async def run(tx: Transaction) -> Answer:
        await tx.execute(insert(effects), [{"key": key}])
        body = {"claim_id": f"claim_{number}", "名": "值"}
        return Answer(202, body, "/sz/v1/claims/claim_0", Stamped(b'{"seq":%d}' % number, KEY.kid))

    return run


async def post(database: Database, scope: Scope, body: bytes = BODY, number: int = 0, writer: str = "") -> Stored:
    async def work(tx: Transaction) -> Stored:
        return await once(tx, scope, body, effect(scope.key, number))

    return await database.write(work, key=writer)


async def count(database: Database, key: str) -> int:
    async def query(tx: Transaction) -> int:
        statement = select(func.count()).select_from(effects).where(effects.c.key == key)
        return int((await tx.execute(statement)).scalar_one())

    return await database.read(query)


async def test_eight_twins_have_one_effect_and_eight_equal_answers(database: Database) -> None:
    for number in range(50):
        scope = a_scope(f"key-{number}")

        stored = await asyncio.gather(
            *(post(database, scope, number=number * 10 + twin, writer=str(twin)) for twin in range(8))
        )

        answers = [render(one, KEYRING) for one in stored]
        assert await count(database, scope.key) == 1
        assert len({(one.status_code, bytes(one.body), one.headers["location"]) for one in answers}) == 1
        assert sorted(one.headers.get("idempotent-replayed", "") for one in answers) == ["", *["true"] * 7]


async def test_a_replay_is_the_first_answer_byte_for_byte_with_a_receipt_that_verifies(database: Database) -> None:
    first = render(await post(database, a_scope(), number=5), KEYRING)

    known = await answered_before(database, a_scope(), BODY)
    again = render(await post(database, a_scope(), number=6), KEYRING)

    assert known is not None
    assert bytes(first.body) == bytes(render(known, KEYRING).body) == bytes(again.body)
    assert first.status_code == again.status_code == 202
    receipt = bytes(first.body).split(b'"receipt":"')[1].split(b'"')[0].decode()
    assert verify(receipt, KEY.public, Typ.STAMP) == b'{"seq":5}'


async def test_the_same_key_with_another_body_is_refused_and_has_no_effect(database: Database) -> None:
    await post(database, a_scope())

    with pytest.raises(InvalidInputError) as in_work:
        await post(database, a_scope(), b'{"claim_number":"C-2"}')
    with pytest.raises(InvalidInputError) as before:
        await answered_before(database, a_scope(), b'{"claim_number":"C-2"}')

    assert in_work.value.code == before.value.code == "idempotency.key-reused"
    assert await count(database, "key-1") == 1


async def test_a_key_counts_for_its_tenant_and_operation_alone(database: Database) -> None:
    await post(database, a_scope())
    await post(database, a_scope(tenant="hosp-other"))
    await post(database, a_scope(operation="POST /v1/cancel"))

    assert await count(database, "key-1") == 3


async def test_an_effect_that_fails_leaves_the_key_free(database: Database) -> None:
    async def refuse(tx: Transaction) -> Answer:
        await effect("key-1")(tx)
        raise InvalidInputError("claim.total")

    async def work(tx: Transaction) -> Stored:
        return await once(tx, a_scope(), BODY, refuse)

    with pytest.raises(InvalidInputError):
        await database.write(work)

    assert await answered_before(database, a_scope(), BODY) is None
    assert not (await post(database, a_scope())).replayed
    assert await count(database, "key-1") == 1


async def test_an_unknown_key_was_not_answered_before(database: Database) -> None:
    assert await answered_before(database, a_scope(), BODY) is None


async def test_an_answer_without_stamp_has_no_receipt(database: Database) -> None:
    async def plain(_: Transaction) -> Answer:
        return Answer(200, {"ok": True})

    async def work(tx: Transaction) -> Stored:
        return await once(tx, a_scope(), BODY, plain)

    answer = render(await database.write(work), KEYRING)

    assert (answer.status_code, bytes(answer.body)) == (200, b'{"ok":true}')
    assert "location" not in answer.headers


def request(value: str | None) -> Request:
    headers = [] if value is None else [(b"idempotency-key", value.encode("latin-1"))]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("given", "key"), [("abc", "abc"), ('"abc"', "abc"), ("  abc ", "abc"), ("x" * 200, "x" * 200), ('a"b', 'a"b')]
)
def test_a_key_may_be_bare_or_quoted(given: str, key: str) -> None:
    assert require_key(request(given)) == key


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, "idempotency.key-missing"),
        ("", "idempotency.key-missing"),
        ('""', "idempotency.key-missing"),
        ("x" * 201, "idempotency.key-malformed"),
        ("naïve", "idempotency.key-malformed"),
        ("a\tb", "idempotency.key-malformed"),
    ],
)
def test_a_missing_or_unfit_key_is_refused(given: str | None, code: str) -> None:
    with pytest.raises(MalformedInputError) as caught:
        require_key(request(given))

    assert caught.value.code == code
