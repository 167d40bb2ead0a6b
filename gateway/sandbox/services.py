"""A trial as services: what `compose.yaml` mounts beside the roles' folders.

kafka/server.properties   one broker: TLS 1.3 and SCRAM for clients, mutual TLS on its own side, ACLs
kafka/ca.pem, broker.pem  its certificates; kafka/admin.password and admin.scram, its admin user
postgres/init.sql         one user and one database a role; postgres/superuser.password

Passwords are random. What another program's user must read in its container has mode 644 inside a folder of mode 700.
"""

import secrets
from pathlib import Path
from typing import Literal

from gateway.protocol.clock import Clock
from gateway.sandbox.certificates import issue_broker
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import ROLES, write, write_secret

PORTS = {
    "core": 8101,
    "sz": 8102,
    "hk": 8103,
    "insurer": 8104,
    "audit": 8105,
    "witness-sz": 8106,
    "witness-hk": 8107,
    "bank": 8108,
}
"""Where each service listens; people reach it on the machine's loopback under the same number."""

KAFKA_CA = "../../kafka/ca.pem"
"""As a role's folder sees it."""

ONE_NODE = """process.roles=broker,controller
node.id=1
log.dirs={data}
controller.listener.names=CONTROLLER
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
offsets.retention.minutes=43200
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""
"""One node, for a trial. In service: three controllers and three brokers, and none of the factors of 1."""

SERVER_PROPERTIES = f"""{ONE_NODE}controller.quorum.bootstrap.servers=localhost:{{controller}}
listeners=CLIENT://{{bind}}:{{port}},INTERNAL://127.0.0.1:{{internal}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=CLIENT://{{host}}:{{port}},INTERNAL://localhost:{{internal}},CONTROLLER://localhost:{{controller}}
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=CLIENT:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL
ssl.enabled.protocols=TLSv1.3
ssl.keystore.type=PEM
ssl.keystore.location={{keystore}}
ssl.truststore.type=PEM
ssl.truststore.location={{truststore}}
ssl.client.auth=required
listener.name.client.ssl.client.auth=none
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:CN=localhost;User:admin
"""
"""TLS and SCRAM for clients, mutual TLS on the broker's own side, and nothing that no ACL allows."""


IN_CONTAINER = {
    "data": "/var/lib/kafka/data",
    "keystore": "/run/secrets/kafka_broker",
    "truststore": "/run/secrets/kafka_ca",
    "bind": "0.0.0.0",  # noqa: S104 inside its container; nothing publishes the port
    "internal": 9094,
    "controller": 9095,
}


def services_layout(inside: Literal["names", "loopback"], kafka: str, database: str) -> Layout:
    """Lay a trial out as services. `inside` says how roles reach each other: by service name, or on one machine.

    `database` is a URL with `{role}` and `{password}` in it.
    """
    outer = {role: f"http://127.0.0.1:{port}" for role, port in PORTS.items()}
    inner = {role: f"http://{role}:{port}" for role, port in PORTS.items()}
    return Layout(
        outer["bank"],
        outer,
        kafka,
        KAFKA_CA,
        database,
        inner=inner if inside == "names" else {},
        passwords={role: secrets.token_hex(24) for role in ROLES},
    )


def write_services(folder: Path, layout: Layout, clock: Clock) -> None:
    """Write what the broker and the database server of a trial start with."""
    host, _, port = layout.kafka.partition(":")
    ca, broker = issue_broker(host, clock)
    _write_readable(folder / "kafka" / "ca.pem", ca.decode())
    _write_readable(folder / "kafka" / "broker.pem", broker.decode())
    properties = SERVER_PROPERTIES.format(host=host, port=port, **IN_CONTAINER)
    _write_readable(folder / "kafka" / "server.properties", properties)
    password = secrets.token_hex(24)
    write_secret(folder / "kafka" / "admin.password", password.encode())
    _write_readable(folder / "kafka" / "admin.scram", f"SCRAM-SHA-512=[name=admin,password={password}]")
    _write_readable(folder / "postgres" / "superuser.password", secrets.token_hex(24))
    _write_readable(folder / "postgres" / "init.sql", "\n".join(_owners(layout)))


def _write_readable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(path, text.rstrip())
    path.chmod(0o644)


def _owners(layout: Layout) -> list[str]:
    """Give every role a user and a database that no other role may even connect to."""
    lines = []
    for role, password in layout.passwords.items():
        name = role.replace("-", "_")
        lines += [
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}';",
            f"CREATE DATABASE {name} OWNER {name};",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
        ]
    return lines
