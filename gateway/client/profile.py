"""A party's profile: who it is, where the gateway is, its private keys, and whom it trusts.

One JSON file of mode 600: `{"party", "client_id", "person"?, "base_url", "roles": {"sz": "/sz", …}, "scopes",
"token_key", "sign_key"?, "seal_key"?, "trust", "synthetic"}`; keys are private JWKs (RFC 8037).
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import MalformedInputError
from gateway.protocol.exchange import Message, faults_of
from gateway.protocol.jose import PrivateKey
from gateway.protocol.registry import Trust


class ProfileFileError(Exception):
    """The profile file is missing, or others may read it."""


class _ProfileFile(Message):
    """The file's form; unknown members are refused."""

    party: str = Field(min_length=1)
    client_id: str = Field(min_length=1)
    person: str | None = None
    base_url: str = Field(pattern=r"^https?://[^\s?#]+$")
    roles: dict[str, str]
    scopes: tuple[str, ...] = Field(strict=False)
    token_key: dict[str, Any]
    sign_key: dict[str, Any] | None = None
    seal_key: dict[str, Any] | None = None
    trust: Trust
    synthetic: bool


@dataclass(frozen=True)
class Profile:
    """`roles` maps a role to its path below `base_url`, or to an address of its own. Keys never show in `repr`."""

    party: str
    client_id: str
    base_url: str
    roles: Mapping[str, str]
    scopes: tuple[str, ...]
    trust: Trust
    token_key: PrivateKey = field(repr=False)
    sign_key: PrivateKey | None = field(default=None, repr=False)
    seal_key: PrivateKey | None = field(default=None, repr=False)
    person: str | None = None
    synthetic: bool = False

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read a profile file; `ProfileFileError` if it is missing or readable by others."""
        if not path.is_file():
            raise ProfileFileError(f"{path.name} is missing")
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ProfileFileError(f"{path.name} is readable by others: chmod 600")
        return cls.parse(path.read_bytes())

    @classmethod
    def parse(cls, raw: bytes) -> "Profile":
        """Read a profile; `MalformedInputError` names every member that is wrong, never its value."""
        try:
            form = _ProfileFile.model_validate(read_json_object(raw))
        except ValidationError as error:
            raise MalformedInputError("profile.malformed", faults=faults_of(error)) from None
        return cls(
            party=form.party,
            client_id=form.client_id,
            base_url=form.base_url.rstrip("/"),
            roles=form.roles,
            scopes=form.scopes,
            trust=form.trust,
            token_key=PrivateKey.parse(compact(form.token_key)),
            sign_key=_key(form.sign_key),
            seal_key=_key(form.seal_key),
            person=form.person,
            synthetic=form.synthetic,
        )

    def url_of(self, role: str) -> str:
        """Return where `role` answers, without a slash at the end; a role that `roles` lacks has its name as prefix."""
        prefix = self.roles.get(role, role).strip("/")
        if prefix.startswith(("http://", "https://")):
            return prefix
        return f"{self.base_url}/{prefix}" if prefix else self.base_url

    def signing(self) -> PrivateKey:
        """Return the key of manifests or approvals; `MalformedInputError` if this profile has none."""
        return _present(self.sign_key)

    def sealing(self) -> PrivateKey:
        """Return the key that opens dossiers; `MalformedInputError` if this profile has none."""
        return _present(self.seal_key)


def _key(found: dict[str, Any] | None) -> PrivateKey | None:
    return None if found is None else PrivateKey.parse(compact(found))


def _present(key: PrivateKey | None) -> PrivateKey:
    if key is None:
        raise MalformedInputError("profile.key-missing")
    return key
