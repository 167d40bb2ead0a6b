"""Where a sandbox's roles answer and what they run on: one process behind one address, or services with Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIXES: Mapping[str, str] = {
    "sz": "/sz",
    "core": "/core",
    "hk": "/hk",
    "insurer": "/desk",
    "settlement": "/settlement",
    "audit": "/audit",
    "log": "/log",
    "witness-sz": "/witness/sz",
    "witness-hk": "/witness/hk",
    "bank": "/bank",
}

SERVED_BY: Mapping[str, str] = {"settlement": "core", "log": "audit"}
"""Faces that another role's process has."""


@dataclass(frozen=True)
class Layout:
    """`hosts` maps a role to its own `scheme://host:port`; roles it lacks are at `base_url`."""

    base_url: str
    hosts: Mapping[str, str] = field(default_factory=dict)
    kafka: str = ""
    """Bootstrap servers; without them the bus is embedded, for one process."""
    kafka_ca_file: str = ""
    """A CA's PEM file: every role gets a SCRAM user and a random password, and speaks TLS."""
    database: str = ""
    """A database URL with `{role}`, and `{password}`, in it; without it every role has an SQLite file."""
    inner: Mapping[str, str] = field(default_factory=dict)
    """How roles reach each other where that is not how people reach them."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Each role's password at its database."""

    def host_of(self, face: str) -> str:
        return self.hosts.get(SERVED_BY.get(face, face), self.base_url)

    def url_of(self, face: str) -> str:
        return self.host_of(face) + PREFIXES[face]

    def inner_url_of(self, face: str) -> str:
        """Give a face's address for other roles."""
        return self.inner.get(SERVED_BY.get(face, face), self.host_of(face)) + PREFIXES[face]

    def profile_roles(self) -> dict[str, str]:
        """Give what profiles say of the faces: paths below one address, or each its own."""
        return {face: self.url_of(face) for face in PREFIXES} if self.hosts else dict(PREFIXES)

    def database_of(self, role: str) -> str:
        named = self.database.replace("{role}", role.replace("-", "_"))
        return named.replace("{password}", self.passwords.get(role, ""))
