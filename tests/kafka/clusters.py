"""The run's shared broker, and topics of its own for each test: a prefix, as several gateways on one cluster have."""

import atexit
import itertools
import os
from functools import cache

from gateway.runtime.bus.kafka_admin import BrokerAdmin, apply
from gateway.runtime.bus.kafka_config import KafkaAccess
from tests.kafka.broker import Broker

_NUMBERS = itertools.count(1)


@cache
def shared_broker() -> Broker:
    """Return the run's plain broker, started at the first call; skips or fails where this machine lacks Java."""
    broker = Broker.create()
    atexit.register(broker.remove)
    return broker


@cache
def secured_broker() -> Broker:
    """Return the run's broker with TLS 1.3, SCRAM and ACLs."""
    broker = Broker.create(secured=True)
    atexit.register(broker.remove)
    return broker


def fresh_access(broker: Broker) -> KafkaAccess:
    """Create every topic of the table under a new prefix of a plain broker."""
    prefix = f"t{os.getpid()}-{next(_NUMBERS)}."
    apply(BrokerAdmin.connect(broker.servers, prefix=prefix))
    return KafkaAccess(broker.servers, prefix)
