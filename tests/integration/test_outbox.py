"""The outbox as a store: dense streams under concurrent writers, one commit for message, record and facts."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES
from gateway.runtime.bus.port import Fetched
from gateway.runtime.custody import case_secrets
from gateway.runtime.delivery.inbox import park
from gateway.runtime.delivery.outbox import Outbox, Post, load_admission
from gateway.runtime.operator.backlog import read_waiting
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA, audit_rows, outbox, streams
from gateway.runtime.storage.tables import case_secrets as case_secret_rows
from tests.conftest import MakeDatabase
from tests.outboxes import VAULT, a_post, an_outbox


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database(METADATA)


async def add(database: Database, sending: Outbox, post: Post, writer: str) -> None:
    async def work(tx: Transaction) -> None:
        await sending.add(tx, post)

    await database.write(work, key=writer)


async def everything(database: Database, table: Any) -> list[Any]:
    async def query(tx: Transaction) -> list[Any]:
        return list(await rows(tx, select(table)))

    return await database.read(query)


async def test_a_stream_is_dense_under_eight_concurrent_writers(database: Database) -> None:
    sending = an_outbox()
    keys = ["case_1", "case_2", "case_3"]

    async def writer(name: int) -> None:
        for number in range(25):
            await add(database, sending, a_post(keys[number % 3], name * 100 + number), str(name))

    await asyncio.gather(*(writer(name) for name in range(8)))

    sent = await everything(database, outbox)
    for key in keys:
        seqs = [row.seq for row in sorted(sent, key=lambda row: row.id) if row.key == key]
        assert sorted(seqs) == list(range(1, len(seqs) + 1))
        assert seqs == sorted(seqs)
    assert len(sent) == 200
    assert {row.key: row.seq for row in await everything(database, streams)} == {
        key: sum(1 for row in sent if row.key == key) for key in keys
    }


async def test_streams_of_topics_and_keys_are_counted_apart(database: Database) -> None:
    sending = an_outbox()

    async def work(tx: Transaction) -> None:
        await sending.add(tx, a_post("case_1"), a_post("case_1"), a_post("case_2"))
        await sending.add(tx, a_post("case_1", topic=HOSPITAL_NOTICES))

    await database.write(work)

    assert [(row.topic, row.key, row.seq) for row in await everything(database, outbox)] == [
        (INSURER_DELIVERIES, "case_1", 1),
        (INSURER_DELIVERIES, "case_1", 2),
        (INSURER_DELIVERIES, "case_2", 1),
        (HOSPITAL_NOTICES, "case_1", 1),
    ]


async def test_a_work_that_fails_takes_no_number_and_leaves_no_trace(database: Database) -> None:
    sending = an_outbox()
    await add(database, sending, a_post("case_1", 1), "")

    async def fail(tx: Transaction) -> None:
        await sending.add(tx, a_post("case_1", 2))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(fail)
    await add(database, sending, a_post("case_1", 3), "")

    assert [(row.msg_id, row.seq) for row in await everything(database, outbox)] == [("msg_1", 1), ("msg_3", 2)]
    assert len(await everything(database, audit_rows)) == 2
    assert sending.admission.rows == 2


async def test_message_record_and_facts_are_written_together(database: Database) -> None:
    sending = an_outbox()
    post = a_post("case_1", 7)
    await add(database, sending, post, "")

    (sent,) = await everything(database, outbox)
    (audited,) = await everything(database, audit_rows)
    stamp = read_json_object(bytes(sent.stamp))

    async def facts(tx: Transaction) -> dict[str, Any]:
        return await case_secrets.load(tx, VAULT, {"case_1"}, [post.record.eid])

    assert stamp["eid"] == audited.eid == post.record.eid
    assert (stamp["role"], stamp["seq"], stamp["key"]) == ("core", 1, "case_1")
    assert (audited.sq, audited.published_at, sent.published_at) == (None, None, None)
    assert (await database.read(facts))[post.record.eid][1] == {"asked_minor": 7, "currency": "CNY"}


async def test_a_case_has_one_secret_however_many_records(database: Database) -> None:
    sending = an_outbox()

    for number in range(5):
        await add(database, sending, a_post("case_1", number), str(number))

    assert len(await everything(database, case_secret_rows)) == 1


async def test_past_the_limit_of_rows_or_bytes_nothing_is_admitted(database: Database) -> None:
    few, small = an_outbox(rows_max=2), an_outbox(bytes_max=600)

    for number in range(3):
        few.admission.check()
        await add(database, few, a_post("case_1", number), "")
        await add(database, small, a_post("case_2", number), "")

    for sending in (few, small):
        with pytest.raises(UnavailableError) as caught:
            sending.admission.check()
        assert (caught.value.code, caught.value.retry_after_s) == ("admission.outbox-full", 30)


async def test_a_restart_counts_what_was_left_unpublished(database: Database) -> None:
    sending = an_outbox()
    for number in range(3):
        await add(database, sending, a_post("case_1", number), "")

    async def publish(tx: Transaction) -> None:
        await tx.execute(update(outbox).where(outbox.c.msg_id == "msg_0").values(published_at="2026"))

    await database.write(publish)
    counted = await load_admission(database, rows_max=10, bytes_max=10)

    async def size(tx: Transaction) -> int:
        statement = select(func.sum(outbox.c.bytes)).where(outbox.c.published_at.is_(None))
        return int((await tx.execute(statement)).scalar_one())

    assert (counted.rows, counted.bytes) == (2, await database.read(size))


async def test_what_waits_is_counted_by_stage_with_its_age(database: Database) -> None:
    clock = VirtualClock()
    for number in range(3):
        await add(database, an_outbox(), a_post("case_1", number), "")
    clock.advance(timedelta(seconds=90))

    waiting = {one.stage: one for one in await database.read(read_waiting)}

    assert (waiting["outbox"].count, waiting["outbox"].oldest_s(clock.now())) == (3, 90)
    assert (waiting["audit"].count, waiting["audit"].oldest_s(clock.now())) == (3, 90)
    assert (waiting["feed"].count, waiting["feed"].oldest_s(clock.now())) == (0, 0)


async def test_a_key_whose_messages_wait_counts_once_by_why(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        for offset, (why, key) in enumerate([("halt", "a"), ("gap", "a"), ("gap", "a"), ("gap", "b")]):
            fetched = Fetched("hospital.requests.v1", 0, offset, key, b"{}")
            await park(tx, "core.claims", fetched, None, why=why, code="x", now=VirtualClock().now())

    await database.write(work)

    waiting = {one.stage: one.count for one in await database.read(read_waiting)}
    assert {"parked-halt": 1, "parked-gap": 2, "parked-held": 0, "parked-retry": 0}.items() <= waiting.items()


async def test_a_stamp_lives_thirty_days(database: Database) -> None:
    await add(database, an_outbox(), a_post("case_1"), "")

    (sent,) = await everything(database, outbox)
    stamp = read_json_object(bytes(sent.stamp))

    assert stamp["received_at"] == "2026-03-02T01:00:00Z"
    assert stamp["expires"] == (VirtualClock().now() + timedelta(days=30)).isoformat().replace("+00:00", "Z")
