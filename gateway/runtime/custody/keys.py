"""Keys and trust of one role: its own private keys from files, and the registry release it believes at present."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.protocol.errors import UnavailableError
from gateway.protocol.jose import PrivateKey
from gateway.protocol.registry import Directory, SignedRelease, Trust, open_release

STORAGE_KEY_BYTES = 32
NO_RELEASE_YET = "registry.none-yet"
"""The code of what cannot be done before the first release: part of every start, so nobody logs it as a failure.
That it lasts is for readiness to say."""


class KeyFileError(Exception):
    """A key file is missing, readable by others, or a default: the role refuses to start."""


@dataclass(frozen=True)
class Keyring:
    """Private keys by key id, the storage key that wraps case secrets, and each hosted hospital's token key.

    Never logged, never sent.
    """

    keys: Mapping[str, PrivateKey]
    storage: bytes
    tokens: Mapping[str, bytes] = field(default_factory=dict)
    """Hospital code → HMAC key of its claim-number and receipt tokens; it moves with the hospital."""

    @classmethod
    def load(cls, folder: Path) -> "Keyring":
        """Read `*.jwk`, `*.token` and `storage.key` from a folder; every file must be mode 600."""
        keys = [PrivateKey.parse(_read_secret(path)) for path in sorted(folder.glob("*.jwk"))]
        storage = _read_secret(folder / "storage.key")
        if len(storage) != STORAGE_KEY_BYTES or len(set(storage)) < 8:
            raise KeyFileError(f"{folder.name}/storage.key is no random key of {STORAGE_KEY_BYTES} bytes")
        tokens = {path.stem: _read_secret(path) for path in sorted(folder.glob("*.token"))}
        return cls({key.kid: key for key in keys}, storage, tokens)

    def named(self, prefix: str) -> PrivateKey:
        """Return the newest key whose id starts with `prefix`, e.g. `core/stamp/`."""
        found = sorted(kid for kid in self.keys if kid.startswith(prefix))
        if not found:
            raise KeyFileError(f"no key {prefix}* in this role's folder")
        return self.keys[found[-1]]


def _read_secret(path: Path) -> bytes:
    if not path.is_file():
        raise KeyFileError(f"{path.name} is missing")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"{path.name} is readable by others: chmod 600")
    return path.read_bytes()


def read_secret_text(path: Path) -> str:
    """Read a password file of mode 600; the line end is not part of it."""
    return _read_secret(path).decode().rstrip("\n")


@dataclass
class TrustHolder:
    """The registry release in force. `install` is called by the participants component only, after verifying."""

    trust: Trust
    _directory: Directory | None = None
    _signed: SignedRelease | None = field(default=None, repr=False)

    @property
    def directory(self) -> Directory:
        """The release in force; `UnavailableError` until the first one has arrived."""
        if self._directory is None:
            raise UnavailableError("registry.none-yet", retry_after_s=1)
        return self._directory

    @property
    def signed(self) -> SignedRelease:
        if self._signed is None:
            raise UnavailableError("registry.none-yet", retry_after_s=1)
        return self._signed

    @property
    def number(self) -> int:
        return self._directory.number if self._directory else 0

    def verify(self, signed: SignedRelease) -> Directory:
        return open_release(signed, self.trust)

    def install(self, signed: SignedRelease, directory: Directory) -> None:
        """Put a newer release in force; an older one changes nothing."""
        if directory.number > self.number:
            self._directory, self._signed = directory, signed
