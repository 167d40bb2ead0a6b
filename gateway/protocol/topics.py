"""The topic table: one row a topic. The broker's topics, its ACLs and the docs are generated from it.

`key` names what orders a stream, `writer` and `readers` are components, `crosses` says whether the rows may leave
their jurisdiction, `per_instance` whether a party that hosts its own role will get a topic of its own (an ACL is
per topic, not per record; nothing makes such topics yet). Which messages a topic carries, their specs say
(`messages.types_on`). Topics are never repartitioned; a new major is a new topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    key: str
    writer: str
    readers: tuple[str, ...]
    crosses: bool
    per_instance: bool
    partitions: int
    retention_days: int
    compacted: bool = False
    signed_bytes: str | None = None
    """What its values are where they are no messages but signed bytes of their own."""


HOSPITAL_REQUESTS = "hospital.requests.v1"
INSURER_DELIVERIES = "insurer.deliveries.v1"
INSURER_RESPONSES = "insurer.responses.v1"
HOSPITAL_NOTICES = "hospital.notices.v1"
SETTLEMENT_REQUESTS = "settlement.requests.v1"
SETTLEMENT_OUTCOMES = "settlement.outcomes.v1"
REGISTRY_RELEASES = "registry.releases.v1"
AUDIT_RECORDS = "audit.records.v1"

VALUE_BYTES_MAX = 1 << 20
"""What a topic takes in one record (Kafka's `max.message.bytes`); an exchange object is at most a quarter of it."""

MONEY_TOPICS = (SETTLEMENT_REQUESTS, SETTLEMENT_OUTCOMES)
"""The topics whose messages move money: no one person may pass one again or pass it over."""

ROLE_OF: Mapping[str, str] = {
    "adapters.sz": "sz",
    "gateway.claims": "core",
    "gateway.participants": "core",
    "gateway.catalogue": "core",
    "settlement": "core",
    "adapters.hk.edge": "hk",
    "adapters.hk.desk": "insurer",
    "audit": "audit",
}
"""Which role runs a component as the topic table's writer."""

_EVERY_ROLE = ("gateway.participants",)

_ROWS = (
    Topic(
        HOSPITAL_REQUESTS,
        key="case id",
        writer="adapters.sz",
        readers=("gateway.claims",),
        crosses=True,
        per_instance=True,
        partitions=6,
        retention_days=30,
    ),
    Topic(
        INSURER_DELIVERIES,
        key="case id",
        writer="gateway.claims",
        readers=("adapters.hk.edge",),
        crosses=True,
        per_instance=False,
        partitions=6,
        retention_days=30,
    ),
    Topic(
        INSURER_RESPONSES,
        key="case id",
        writer="adapters.hk.edge",
        readers=("gateway.claims",),
        crosses=True,
        per_instance=False,
        partitions=6,
        retention_days=30,
    ),
    Topic(
        HOSPITAL_NOTICES,
        key="case id",
        writer="gateway.claims",
        readers=("adapters.sz",),
        crosses=True,
        per_instance=True,
        partitions=6,
        retention_days=30,
    ),
    Topic(
        SETTLEMENT_REQUESTS,
        key="claim id",
        writer="gateway.claims",
        readers=("settlement",),
        crosses=False,
        per_instance=False,
        partitions=3,
        retention_days=90,
    ),
    Topic(
        SETTLEMENT_OUTCOMES,
        key="claim id",
        writer="settlement",
        readers=("gateway.claims",),
        crosses=False,
        per_instance=False,
        partitions=3,
        retention_days=90,
    ),
    Topic(
        REGISTRY_RELEASES,
        key="kind",
        writer="gateway.participants",
        readers=_EVERY_ROLE,
        crosses=True,
        per_instance=False,
        partitions=1,
        retention_days=0,
        compacted=True,
        signed_bytes="release",
    ),
    Topic(
        AUDIT_RECORDS,
        key="source",
        writer="gateway.runtime",
        readers=("audit",),
        crosses=True,
        per_instance=True,
        partitions=3,
        retention_days=90,
        signed_bytes="record",
    ),
)

TOPICS: Mapping[str, Topic] = {row.name: row for row in _ROWS}
