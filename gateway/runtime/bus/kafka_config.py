"""How a role reaches its brokers: addresses, login, certificates, time limits."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.runtime.bus.kafka_client import KafkaLimits
from gateway.runtime.custody.keys import read_secret_text
from gateway.runtime.settings import RoleSettings

JOIN_S = 10.0
"""What connecting and joining cost a member beside the rebalance that it has to wait for."""


@dataclass(frozen=True)
class KafkaAccess:
    """How to reach the brokers: SCRAM-SHA-512 over TLS 1.3 where a user is named, else plain, for loopback only.

    K19: no OAuth, since aiokafka cannot renew it. K25: a rotated certificate or password is read by the next rebuild.
    """

    servers: str
    prefix: str = ""
    """Put before topics and groups, where several gateways share a cluster."""
    user: str = ""
    read_password: Callable[[], str] = field(default=lambda: "", repr=False)
    ca_file: str = ""

    def options(self) -> dict[str, Any]:
        """Build the options of a client; reads password and CA anew each time."""
        if not self.user:
            return {"bootstrap_servers": self.servers}
        context = ssl.create_default_context(cafile=self.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return {
            "bootstrap_servers": self.servers,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.read_password(),
            "ssl_context": context,
        }


def kafka_access(settings: RoleSettings, servers: str) -> KafkaAccess:
    """Read a role's settings; a missing password, or one that others can read, is told now and not at a rebuild."""
    if not settings.kafka_user:
        return KafkaAccess(servers, settings.kafka_prefix)
    read = partial(read_secret_text, settings.kafka_password_file)
    read()
    return KafkaAccess(servers, settings.kafka_prefix, settings.kafka_user, read, str(settings.kafka_ca_file))


def kafka_limits(settings: RoleSettings) -> KafkaLimits:
    """Derive every time limit of Kafka's clients from a role's settings."""
    session = settings.kafka_session_s
    return KafkaLimits(
        send=settings.kafka_send_s,
        request=session * 7 / 6,
        session=session,
        heartbeat=session / 6,
        rebalance=session * 5 / 6,
        poll=settings.kafka_poll_s,
        start=settings.kafka_start_s or session + JOIN_S,
        stop=settings.kafka_stop_s,
        probe_every=settings.kafka_probe_every_s,
        probe=settings.kafka_probe_s,
        unready_after=settings.kafka_unready_s,
        rebuild_after=settings.kafka_rebuild_s,
        back_off=(settings.kafka_back_off_s, settings.kafka_back_off_s_max),
    )
