"""Builders of an outbox of core's and of what is posted with it, without the role around it."""

from gateway.protocol.clock import Clock, VirtualClock
from gateway.protocol.records import record
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.runtime.custody.case_secrets import Vault
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.delivery.outbox import Admission, Outbox, Post, Sender
from tests.parties import key_of, world

VAULT = Vault(bytes(range(32)))


def an_outbox(*, rows_max: int = 1000, bytes_max: int = 1 << 30, clock: Clock | None = None) -> Outbox:
    trust = TrustHolder(world().trust)
    trust.install(world().signed, world().directory)
    sender = Sender("core", "hosted", key_of("core/stamp/1"), VAULT, trust, clock or VirtualClock())
    return Outbox(sender, Admission(rows_max, bytes_max))


def a_post(key: str, number: int = 0, topic: str = INSURER_DELIVERIES) -> Post:
    clear = {"claim_id": f"claim_{number}", "msg_id": f"msg_{number}"}
    facts = {"asked_minor": number, "currency": "CNY"}
    made = record("claim.received", at=VirtualClock().now(), case_id=key, clear=clear, facts=facts)
    return Post(topic, key, "submitted", made, msg_id=f"msg_{number}", manifest=f"manifest {number}")
