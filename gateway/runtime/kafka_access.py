"""How a role reaches its brokers: addresses, login, certificates."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


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
