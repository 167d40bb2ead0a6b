"""The topic table for people: `python -m tests.architecture.topic_table` writes `docs/topics.md`."""

from pathlib import Path

from gateway.protocol.messages import types_on
from gateway.protocol.topics import ROLE_OF, TOPICS, Topic
from gateway.runtime.bus.kafka_admin import WITH_REGISTRY_REPLICA

PAGE = Path(__file__).parents[2] / "docs" / "topics.md"

HEAD = """# Topics

Generated from `gateway/protocol/topics.py` and the specs in `gateway/protocol/messages` by
`python -m tests.architecture.topic_table`; do not edit. The schema of each message is
`docs/schemas/<message>.json`; the outcomes of a payment share `outcome.json`.

*Own topic per hosted party* is what a party that runs its own role will get, since an ACL is per topic, not per record.
It is **not used yet**: `gateway topics apply` makes one topic a row and one user a role, so an `sz` in a hospital's own
custody has no place on the operator's cluster in this version.

| topic | key | written by | read by | messages | leaves its side | own topic per hosted party | partitions | kept |
|---|---|---|---|---|---|---|---|---|
"""


def table() -> str:
    return HEAD + "".join(f"| {' | '.join(_cells(topic))} |\n" for topic in TOPICS.values())


def _cells(topic: Topic) -> list[str]:
    return [
        f"`{topic.name}`",
        topic.key,
        _writer(topic.writer),
        ", ".join(map(_reader, topic.readers)),
        ", ".join(f"`{message}`" for message in types_on(topic.name) or (topic.signed_bytes,)),
        "yes" if topic.crosses else "no",
        "yes" if topic.per_instance else "no",
        str(topic.partitions),
        "newest per key" if topic.compacted else f"{topic.retention_days} days",
    ]


def _writer(name: str) -> str:
    return f"`{name}` ({ROLE_OF.get(name, 'every role')})"


def _reader(name: str) -> str:
    return f"`{name}` ({', '.join(WITH_REGISTRY_REPLICA) if name == 'gateway.participants' else ROLE_OF[name]})"


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
