"""On a secured broker a role can do exactly what the topic table says: every role tries every topic."""

import asyncio
from functools import cache, partial
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_REQUESTS, TOPICS
from gateway.runtime.broker import ON_KAFKA, BrokerAdmin, Grant, apply, binding, plan
from gateway.runtime.bus import BusRecord
from gateway.runtime.kafka import KafkaAccess, KafkaBus
from gateway.runtime.supervised import KafkaLimits
from tests.kafka.clusters import secured_broker

STRANGER = "stranger"
WAIT_S_MAX = 15
SILENCE_S = 4
"""A reader that the broker refuses hears nothing, or an error, depending on what else it may do."""
PASSWORDS = {role: f"{role}-synthetic-password" for role in (*ON_KAFKA, STRANGER)}


@cache
def _applied() -> BrokerAdmin:
    broker = secured_broker()
    admin = BrokerAdmin.connect(
        broker.servers, user="admin", password=broker.admin_password, ca_file=broker.ca_file, prefix="acl."
    )
    apply(admin, passwords=PASSWORDS)
    return admin


def _access(user: str, password: str = "") -> KafkaAccess:
    _applied()
    broker = secured_broker()
    words = password or PASSWORDS[user]
    return KafkaAccess(broker.servers, "acl.", user, lambda: words, broker.ca_file)


def _login(user: str) -> dict[str, Any]:
    broker = secured_broker()
    _applied()
    return {
        "bootstrap.servers": broker.servers,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": PASSWORDS[user],
        "ssl.ca.location": broker.ca_file,
    }


def _granted(role: str, operation: str) -> set[str]:
    wanted = (role, operation, "topic")
    return {grant.name for grant in plan() if (grant.role, grant.operation, grant.resource) == wanted}


@pytest.mark.parametrize("role", [*ON_KAFKA, STRANGER])
def test_a_role_writes_what_the_table_says_and_nothing_else(role: str) -> None:
    answers: dict[str, Any] = {}

    def answered(error: Any, message: Any) -> None:
        answers[message.topic().removeprefix("acl.")] = error and error.code()

    producer = Producer(_login(role))
    for topic in TOPICS:
        producer.produce(f"acl.{topic}", b"{}", b"key", on_delivery=answered)
    assert producer.flush(WAIT_S_MAX) == 0

    assert set(answers.values()) <= {None, KafkaError.TOPIC_AUTHORIZATION_FAILED}
    assert {topic for topic, error in answers.items() if error is None} == _granted(role, "WRITE")


@pytest.mark.parametrize("role", [*ON_KAFKA, STRANGER])
def test_a_role_reads_what_the_table_says_and_nothing_else(role: str) -> None:
    group = {"group.id": f"acl.{role}.try", "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer(_login(role) | group)
    consumer.assign([TopicPartition(f"acl.{topic}", 0, 0) for topic in TOPICS])
    read = set()
    while (found := consumer.poll(SILENCE_S)) is not None:
        if found.error() is None or found.error().code() == KafkaError._PARTITION_EOF:
            read.add(found.topic().removeprefix("acl."))
    consumer.close()

    assert read == _granted(role, "READ")


def test_a_role_cannot_join_a_group_of_another() -> None:
    consumer = Consumer(_login("core") | {"group.id": "acl.sz.adapters.sz"})
    consumer.subscribe([f"acl.{HOSPITAL_REQUESTS}"])

    found = consumer.poll(WAIT_S_MAX)

    assert found is not None
    assert found.error().code() == KafkaError.GROUP_AUTHORIZATION_FAILED
    consumer.close()


async def test_a_wrong_password_is_an_answer_and_not_a_wait() -> None:
    bus = KafkaBus(_access("sz", "wrong"), "test", KafkaLimits(start=5))

    with pytest.raises(UnavailableError):
        async with asyncio.timeout(10):
            await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_a", b"{}")])
    await bus.close()


def test_applying_twice_changes_nothing_and_takes_away_what_is_beyond_the_table() -> None:
    admin = _applied()
    again = partial(apply, admin, passwords=PASSWORDS)
    assert again() == ([], 0)

    beyond = binding(Grant("sz", "READ", "topic", AUDIT_RECORDS), "acl.")
    for given in admin.client.create_acls([beyond]).values():
        given.result(WAIT_S_MAX)

    assert again() == ([], 1)
