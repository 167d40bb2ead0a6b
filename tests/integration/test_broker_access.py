"""On a secured broker a role can do exactly what the topic table says: every role tries everything else as well."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from prometheus_client import REGISTRY

from gateway.protocol.clock import SystemClock
from gateway.protocol.errors import UnavailableError
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_NOTICES, HOSPITAL_REQUESTS, INSURER_RESPONSES, TOPICS
from gateway.runtime.bus.kafka import KafkaBus
from gateway.runtime.bus.kafka_admin import ON_KAFKA, BrokerAdmin, Grant, apply, binding, plan
from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.bus.kafka_config import KafkaAccess
from gateway.runtime.bus.port import BusRecord, RefusedRecordError
from gateway.runtime.custody.keys import read_secret_text
from gateway.sandbox.certificates import issue_broker
from tests.kafka.clusters import secured_broker
from tests.walk import until

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


def _refusal(ask: Callable[[], Any]) -> str | None:
    """Name the broker's no, or None if it did as it was asked."""
    try:
        answer = ask()
        for given in answer.values() if isinstance(answer, dict) else [answer]:
            given.result(WAIT_S_MAX) if isinstance(given, Future) else given
    except KafkaException as error:
        return str(error.args[0].name())
    return None


def _joined(role: str, group: str) -> str | None:
    """Have a role join a group; return the broker's no."""
    consumer = Consumer(_login(role) | {"group.id": f"acl.{group}"})
    consumer.subscribe([f"acl.{HOSPITAL_REQUESTS}"])
    found = consumer.poll(WAIT_S_MAX)
    consumer.close()
    return None if found is None or found.error() is None else str(found.error().name())


@pytest.mark.parametrize("role", [*ON_KAFKA, STRANGER])
def test_a_role_can_neither_join_nor_look_into_nor_delete_a_group_of_another(role: str) -> None:
    others = [other for other in ON_KAFKA if other != role]
    admin = AdminClient(_login(role))

    joined = {_joined(role, f"{other}.try") for other in others}
    groups = {other: ConsumerGroupTopicPartitions(f"acl.{other}.try") for other in others}
    seen = {_refusal(partial(admin.list_consumer_group_offsets, [group])) for group in groups.values()}
    deleted = {_refusal(partial(admin.delete_consumer_groups, [f"acl.{other}.try"])) for other in ON_KAFKA}

    assert joined == seen == deleted == {"GROUP_AUTHORIZATION_FAILED"}


@pytest.mark.parametrize("role", [*ON_KAFKA, STRANGER])
def test_a_role_creates_alters_and_deletes_nothing_not_even_what_it_may_write(role: str) -> None:
    admin = AdminClient(_login(role))
    own = next(iter(_granted(role, "WRITE")), AUDIT_RECORDS)
    topic = f"acl.{own}"
    about_topic = {
        "create": lambda: admin.create_topics([NewTopic("acl.extra", 1, 1)]),
        "delete": lambda: admin.delete_topics([topic]),
        "add partitions": lambda: admin.create_partitions([NewPartitions(topic, 64)]),
        "delete records": lambda: admin.delete_records([TopicPartition(topic, 0, 1)]),
        "read settings": lambda: admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]),
        "change settings": lambda: admin.incremental_alter_configs([_kept_a_second(ConfigResource.Type.TOPIC, topic)]),
    }
    login = UserScramCredentialUpsertion(
        role, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), b"a-synthetic-password"
    )
    beyond = binding(Grant(role, "READ", "topic", AUDIT_RECORDS), "acl.")
    broker = ConfigResource(ConfigResource.Type.BROKER, "1")
    about_cluster = {
        "read the broker's settings": lambda: admin.describe_configs([broker]),
        "change the broker's": lambda: admin.incremental_alter_configs(
            [_kept_a_second(ConfigResource.Type.BROKER, "1")]
        ),
        "add an ACL": lambda: admin.create_acls([beyond]),
        "delete ACLs": lambda: admin.delete_acls([_all_of(role)]),
        "change a login": lambda: admin.alter_user_scram_credentials([login]),
    }

    refused = {name: _refusal(ask) for name, ask in about_topic.items()}
    unseen = {"delete records": "_NOENT"} if role == STRANGER else {}  # it asks first where the topic lies
    assert refused == dict.fromkeys(about_topic, "TOPIC_AUTHORIZATION_FAILED") | unseen
    refused = {name: _refusal(ask) for name, ask in about_cluster.items()}
    assert refused == dict.fromkeys(about_cluster, "CLUSTER_AUTHORIZATION_FAILED")
    assert _applied().client.describe_acls(_all_of("core")).result(WAIT_S_MAX)
    assert admin.describe_acls(_all_of("core")).result(WAIT_S_MAX) == []  # this client takes the refusal for an answer


def _kept_a_second(kind: Any, name: str) -> ConfigResource:
    setting = "retention.ms" if kind == ConfigResource.Type.TOPIC else "log.retention.ms"
    entry = ConfigEntry(setting, "1000", incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(kind, name, incremental_configs=[entry])


def _all_of(role: str) -> AclBindingFilter:
    anything = (ResourceType.ANY, None, ResourcePatternType.ANY)
    return AclBindingFilter(*anything, f"User:{role}", None, AclOperation.ANY, AclPermissionType.ANY)


@pytest.mark.parametrize("role", [*ON_KAFKA, STRANGER])
def test_a_role_has_no_transactions(role: str) -> None:
    producer = Producer(_login(role) | {"transactional.id": f"acl.{role}.try"})

    assert _refusal(lambda: producer.init_transactions(WAIT_S_MAX)) == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"


async def test_our_own_client_is_told_no_where_the_table_says_no() -> None:
    bus = KafkaBus(_access("sz"), "test", KafkaLimits(send=5, start=5))
    record = [BusRecord("case_a", b"{}")]
    own = await bus.subscribe("sz.own", [HOSPITAL_NOTICES])
    other_topic = await bus.subscribe("sz.other", [INSURER_RESPONSES])
    other_group = await bus.subscribe("core.try", [HOSPITAL_NOTICES])
    core = KafkaBus(_access("core"), "test", KafkaLimits(send=5, start=5))
    hk = KafkaBus(_access("hk"), "test", KafkaLimits(send=5, start=5))

    assert await core.publish(HOSPITAL_NOTICES, record) == await hk.publish(INSURER_RESPONSES, record) == 1
    assert await bus.publish(HOSPITAL_REQUESTS, record) == 1
    with pytest.raises(RefusedRecordError, match="TOPIC_AUTHORIZATION_FAILED"):
        await bus.publish(HOSPITAL_NOTICES, record)

    assert (await until(partial(own.fetch, 10, 1.0), "a notice"))[0].topic == HOSPITAL_NOTICES
    assert [await one.fetch(10, 2.0) for one in (other_topic, other_group)] == [[], []]
    assert sum((await own.lag()).values()) >= 1
    for refused in (other_topic, other_group):
        with pytest.raises(UnavailableError):
            await refused.lag()
    for opened in (bus, core, hk):
        await opened.close()


async def test_a_wrong_password_is_an_answer_and_not_a_wait() -> None:
    bus = KafkaBus(_access("sz", "wrong"), "test", KafkaLimits(start=5))

    with pytest.raises(UnavailableError):
        async with asyncio.timeout(10):
            await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_a", b"{}")])
    await bus.close()


async def test_a_password_and_a_ca_that_were_put_right_are_read_by_the_next_rebuild(tmp_path: Path) -> None:
    _applied()
    broker = secured_broker()
    ca_file, password = tmp_path / "ca.pem", tmp_path / "kafka.password"
    access = KafkaAccess(broker.servers, "acl.", "sz", partial(read_secret_text, password), str(ca_file))
    bus = KafkaBus(access, "test", KafkaLimits(start=5, probe_every=0.1, back_off=(0.05, 0.1)))
    try:
        with pytest.raises(UnavailableError):  # neither file is there
            await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_a", b"{}")])
        ca_file.write_bytes(issue_broker("localhost", SystemClock())[0])
        _write_secret(password, "wrong")
        unready = await bus.why_unready()

        ca_file.write_bytes(Path(broker.ca_file).read_bytes())
        _write_secret(password, PASSWORDS["sz"])

        await until(partial(_ready, bus), "the next rebuild, without anybody publishing", within_s=WAIT_S_MAX)
        assert unready == "no answer from Kafka: producer"
        assert await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_a", b"{}")]) == 1
    finally:
        await bus.close()


async def _ready(bus: KafkaBus) -> bool:
    return await bus.why_unready() is None


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


async def test_a_topic_that_a_role_may_not_write_is_refused_for_good_and_costs_no_client() -> None:
    bus = KafkaBus(_access("insurer"), "test")
    before = REGISTRY.get_sample_value("gateway_bus_rebuilds_total", {"client": "producer"})
    try:
        with pytest.raises(RefusedRecordError) as caught:
            await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_a", b"{}")])
    finally:
        await bus.close()

    refused = (caught.value.code, caught.value.durable, caught.value.whole_topic)
    assert refused == ("TOPIC_AUTHORIZATION_FAILED", 0, True)
    assert REGISTRY.get_sample_value("gateway_bus_rebuilds_total", {"client": "producer"}) == before


def test_applying_twice_changes_nothing_and_takes_away_what_is_beyond_the_table() -> None:
    admin = _applied()
    again = partial(apply, admin, passwords=PASSWORDS)
    assert again() == ([], 0)

    beyond = binding(Grant("sz", "READ", "topic", AUDIT_RECORDS), "acl.")
    for given in admin.client.create_acls([beyond]).values():
        given.result(WAIT_S_MAX)

    assert again() == ([], 1)
