"""The broker as the topic table wants it: topics, SCRAM users and ACLs, applied by an operator's admin user.

`plan` is pure and says who may do what; `apply` makes the broker equal to it and takes away what our users have
beyond it. Applying twice changes nothing. Needs the extra `operations` (confluent-kafka): K26, aiokafka's admin client
has neither ACLs nor SCRAM calls.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from gateway.protocol.topics import AUDIT_RECORDS, REGISTRY_RELEASES, ROLE_OF, TOPICS, VALUE_BYTES_MAX, Topic

ON_KAFKA = ("core", "sz", "hk", "insurer", "audit")
"""Roles that are Kafka users; a witness speaks HTTP only."""

WITH_REGISTRY_REPLICA = ("core", "sz", "hk", "audit")
"""The insurer's side fetches the same signed release over HTTP."""

SCRAM_ITERATIONS = 8192
ANSWER_S_MAX = 30.0
QUIET = 2
"""librdkafka tells of every attempt to connect on stderr; what comes of them is an answer of ours."""


@dataclass(frozen=True, order=True)
class Grant:
    """One thing a role may do. `name` is a topic, or the prefix of its consumer groups."""

    role: str
    operation: str
    resource: str
    name: str


class BrokerError(Exception):
    """The broker does not answer, or refuses; the text is one sentence."""


class BrokerMismatchError(BrokerError):
    """The broker holds a topic with another number of partitions: keyed topics are never repartitioned."""


def writers(topic: Topic) -> tuple[str, ...]:
    """Name the roles that may write a topic; every role has audit records."""
    return ON_KAFKA if topic.name == AUDIT_RECORDS else (ROLE_OF[topic.writer],)


def readers(topic: Topic) -> tuple[str, ...]:
    if topic.name == REGISTRY_RELEASES:
        return WITH_REGISTRY_REPLICA
    return tuple(ROLE_OF[component] for component in topic.readers)


def plan() -> list[Grant]:
    """Say what every role may do: write its topics, read its topics, use groups that begin with its name."""
    may_write = [Grant(role, "WRITE", "topic", topic.name) for topic in TOPICS.values() for role in writers(topic)]
    may_read = [Grant(role, "READ", "topic", topic.name) for topic in TOPICS.values() for role in readers(topic)]
    groups = [Grant(role, "READ", "group", f"{role}.") for role in sorted({grant.role for grant in may_read})]
    return sorted({*may_write, *may_read, *groups})


def topic_settings(topic: Topic, replicas: int) -> dict[str, str]:
    """Give a topic's settings; on the topic, since newer clusters ignore some of the broker's."""
    kept = {"retention.ms": str(topic.retention_days * 86_400_000)} if topic.retention_days else {}
    return {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
        "max.message.bytes": str(VALUE_BYTES_MAX),
        "message.timestamp.type": "CreateTime",
        "compression.type": "producer",
        **kept,
    }


@dataclass(frozen=True)
class BrokerAdmin:
    """An admin user's connection. `options` are librdkafka's: `bootstrap.servers` and how to log in."""

    client: AdminClient
    prefix: str = ""
    """Put before topics and groups, as the roles' setting `kafka_prefix`."""

    @classmethod
    def connect(
        cls, servers: str, *, user: str = "", password: str = "", ca_file: str = "", prefix: str = ""
    ) -> "BrokerAdmin":
        options: dict[str, Any] = {"bootstrap.servers": servers, "socket.timeout.ms": 10_000, "log_level": QUIET}
        if user:
            options |= {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": user,
                "sasl.password": password,
                "ssl.ca.location": ca_file,
            }
        try:
            return cls(AdminClient(options), prefix)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from None

    def apply_topics(self, replicas: int) -> list[str]:
        """Create what is missing, set every setting; return the names created."""
        present = self.client.list_topics(timeout=ANSWER_S_MAX).topics
        wanted_names = {self.prefix + name: topic for name, topic in TOPICS.items()}
        for name in present.keys() & wanted_names.keys():
            if len(present[name].partitions) != wanted_names[name].partitions:
                raise BrokerMismatchError(f"{name} has {len(present[name].partitions)} partitions")
        missing = {name: topic for name, topic in wanted_names.items() if name not in present}
        fresh = [
            NewTopic(name, one.partitions, replicas, config=topic_settings(one, replicas))
            for name, one in missing.items()
        ]
        if fresh:
            _wait(self.client.create_topics(fresh).values())
        wanted = [
            ConfigResource(
                ConfigResource.Type.TOPIC,
                name,
                incremental_configs=[
                    ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
                    for setting, value in topic_settings(topic, replicas).items()
                ],
            )
            for name, topic in wanted_names.items()
        ]
        _wait(self.client.incremental_alter_configs(wanted).values())
        return list(missing)

    def apply_users(self, passwords: Mapping[str, str]) -> None:
        """Create or change the SCRAM user of each role."""
        made = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        changes = [UserScramCredentialUpsertion(user, made, word.encode()) for user, word in passwords.items()]
        _wait(self.client.alter_user_scram_credentials(changes).values())

    def apply_grants(self) -> int:
        """Make the ACLs of our users exactly the plan; return how many were taken away."""
        wanted = {binding(grant, self.prefix) for grant in plan()}
        found: set[AclBinding] = set()
        for role in ON_KAFKA:
            found |= set(self.client.describe_acls(_of_user(role)).result(ANSWER_S_MAX))
        if wanted - found:
            _wait(self.client.create_acls(list(wanted - found)).values())
        surplus = found - wanted
        if surplus:
            _wait(self.client.delete_acls([_exactly(one) for one in surplus]).values())
        return len(surplus)


def _wait(answers: Iterable["Future[Any]"]) -> None:
    for answer in answers:
        answer.result(ANSWER_S_MAX)


def binding(grant: Grant, prefix: str) -> AclBinding:
    topic = grant.resource == "topic"
    return AclBinding(
        ResourceType.TOPIC if topic else ResourceType.GROUP,
        prefix + grant.name,
        ResourcePatternType.LITERAL if topic else ResourcePatternType.PREFIXED,
        f"User:{grant.role}",
        "*",
        AclOperation[grant.operation],
        AclPermissionType.ALLOW,
    )


def _of_user(user: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _exactly(one: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        one.restype,
        one.name,
        one.resource_pattern_type,
        one.principal,
        one.host,
        one.operation,
        one.permission_type,
    )


def apply(
    admin: BrokerAdmin, *, replicas: int = 1, passwords: Mapping[str, str] | None = None
) -> tuple[Sequence[str], int]:
    """Apply topics and, where users have passwords, users and ACLs; return topics created and ACLs taken away.

    `BrokerError` if the broker is away or refuses.
    """
    try:
        created = admin.apply_topics(replicas)
        if not passwords:
            return created, 0
        admin.apply_users(passwords)
        return created, admin.apply_grants()
    except KafkaException as error:
        raise BrokerError(f"the broker is away, or refuses the login or the change: {error.args[0].name()}") from None
    except TimeoutError:
        raise BrokerError(f"the broker did not answer within {ANSWER_S_MAX:.0f} s") from None
