"""One role's settings: `<folder>/settings.toml`, overridden by `GATEWAY_*` variables and secret files.

The only place that reads the environment. Order, strongest first: arguments, environment, one file a setting in
`<folder>/secrets/` (`gateway_database_url`), `settings.toml`. Paths are relative to the folder. Unknown keys are
refused, so that a misspelt limit is not silently the default. A role claims its database and locks its folder
(`folder_lock.py`): it refuses to start with another's.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy import Connection, insert, inspect, select

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.exchange import faults_of
from gateway.runtime.signals.failpoints import PLACES
from gateway.runtime.storage.database import Database
from gateway.runtime.storage.tables import role_owner

T = TypeVar("T")

RoleName = Literal["sz", "core", "hk", "insurer", "audit", "witness"]


class SettingsError(Exception):
    """The role refuses to start; the text names the setting, never its value."""


class RoleSettings(BaseSettings):
    """What one process of one role needs to know. `instance` is its code in the registry, e.g. `witness-sz`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="GATEWAY_", validate_default=True)

    folder: Path
    role: RoleName
    instance: str = Field(default="", max_length=64)
    """The role's own code in the registry; the role's name when not set."""
    custody: Literal["own", "hosted"] = "hosted"
    database_url: str = Field(default="", repr=False)
    """`sqlite:///path` or `postgresql+asyncpg://…`; `<folder>/<role>.db` when not set."""
    database_writers: int = Field(default=2, ge=1, le=64)
    database_readers: int = Field(default=4, ge=1, le=64)
    """Connections to PostgreSQL: those that write, and those that only read; neither can use up the other's. Fewer
    writers share more commits, more of them hide a database that is far away."""
    database_statement_s: float = Field(default=10.0, ge=0.5, le=600)
    """After that a statement counts as lost and its connection is dropped."""
    migration_lock_s: float = Field(default=10.0, gt=0, le=600)
    """How long a migration waits for a lock on PostgreSQL before it gives up and the role does not start."""
    bus: str = Field(default="", pattern=r"^(|embedded:.+|kafka:.+)$")
    """`embedded:<path>` or `kafka:<bootstrap servers>`; `embedded:<folder>/bus.db` when not set."""
    kafka_user: str = Field(default="", max_length=64)
    """The role's SCRAM user; without one the connection is plain, which is for loopback only."""
    kafka_password_file: Path = Path("keys/kafka.password")
    kafka_ca_file: Path = Path("kafka-ca.pem")
    kafka_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,32}$")
    """Put before topics and groups, where several gateways share a cluster."""
    kafka_send_s: float = Field(default=20.0, gt=0)
    kafka_session_s: float = Field(default=30.0, gt=0)
    """The limits of heartbeat, rebalance, join and request follow from it."""
    kafka_poll_s: float = Field(default=300.0, gt=0)
    kafka_start_s: float = Field(default=0.0, ge=0)
    """Ten seconds more than the session when not set: a member that starts has to wait for the others' rebalance."""
    kafka_stop_s: float = Field(default=5.0, gt=0)
    kafka_probe_s: float = Field(default=5.0, gt=0)
    kafka_probe_every_s: float = Field(default=4.0, gt=0)
    kafka_unready_s: float = Field(default=10.0, gt=0)
    kafka_rebuild_s: float = Field(default=60.0, gt=0)
    kafka_back_off_s: float = Field(default=1.0, gt=0)
    kafka_back_off_s_max: float = Field(default=30.0, gt=0)
    keys: Path = Path("keys")
    trust_file: Path = Path("trust.json")
    registry_folder: Path = Path("registry")
    base_url: str = Field(default="http://127.0.0.1:8000", pattern=r"^https?://[^/?#]+(/[^?#]*[^/?#])?$")
    """How others reach this role, with its prefix and without a trailing slash: `https://hub.example/hk`."""
    inner_url: str = Field(default="", pattern=r"^(https?://[^/?#]+(/[^?#]*[^/?#])?)?$")
    """How other roles reach this one, where that is not `base_url`; a login may name either."""
    audit_url: str = Field(default="", pattern=r"^(https?://[^/?#]+(/[^?#]*[^/?#])?)?$")
    """How this role reaches the audit role, with its prefix: there it asks what the log has of it. In role `all` it is
    known without this."""
    outbox_rows_max: int = Field(default=100_000, ge=1)
    outbox_bytes_max: int = Field(default=1 << 30, ge=1)
    bill_bytes_max: int = Field(default=8 << 20, ge=1024)
    failpoint: str | None = Field(default=None, pattern=r"^[a-z._]+=(kill|raise|sleep(:[0-9.]+)?)(@[1-9][0-9]*)?$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    outbox_days: int = Field(default=30, ge=1)
    idempotency_days: int = Field(default=30, ge=1)
    bus_days: int = Field(default=7, ge=1)
    extra: dict[str, str] = Field(default_factory=dict)
    """What only this role's component knows: the desk's party code, the URL of `hk`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        folder = Path(init_settings()["folder"])
        sources = [init_settings, env_settings]
        if (folder / "secrets").is_dir():
            sources.append(SecretsSettingsSource(settings_cls, secrets_dir=folder / "secrets"))
        return (*sources, TomlConfigSettingsSource(settings_cls, toml_file=folder / "settings.toml"))

    @model_validator(mode="after")
    def _fill(self) -> Self:
        """Fill what depends on the folder; the model is frozen for everybody else."""
        folder = self.folder.absolute()
        bus = self.bus or "embedded:bus.db"
        kind, _, place = bus.partition(":")
        filled = {
            "folder": folder,
            "instance": self.instance or self.role,
            "database_url": self.database_url or f"sqlite:///{folder / self.role}.db",
            "bus": f"embedded:{folder / place}" if kind == "embedded" else bus,
            "keys": folder / self.keys,
            "kafka_password_file": folder / self.kafka_password_file,
            "kafka_ca_file": folder / self.kafka_ca_file,
            "trust_file": folder / self.trust_file,
            "registry_folder": folder / self.registry_folder,
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        if self.failpoint is not None and self.failpoint.partition("=")[0] not in PLACES:
            raise ValueError("failpoint names no place")
        return self

    def own(self, name: str) -> str:
        """Return what `[extra]` says under a name that this role cannot do without."""
        if name not in self.extra:
            raise SettingsError(f"{self.folder.name}/settings.toml: [extra] lacks {name}")
        return self.extra[name]

    def own_files(self, name: str) -> list[Path]:
        """Return the files that `[extra]` names, by a path or by a pattern in a path's last part, in order of names."""
        path = self.folder / self.own(name)
        if paths := sorted(path.parent.glob(path.name)):
            return paths
        raise SettingsError(f"{self.folder.name}/settings.toml: [extra] {name} names no file")

    def own_as(self, name: str, parse: Callable[[str], T], what: str) -> T:
        """Read what `[extra]` says under `name` by `parse`; `SettingsError` asks for valid `what` where it refuses."""
        try:
            return parse(self.own(name))
        except MalformedInputError:
            raise SettingsError(f"{self.folder.name}/settings.toml: [extra] {name} needs valid {what}") from None


def load_settings(folder: Path) -> RoleSettings:
    """Read a role's settings from its folder; `SettingsError` names every setting that is wrong."""
    if not folder.is_dir():
        raise SettingsError(f"there is no folder {folder}")
    if not (folder / "settings.toml").is_file():
        raise SettingsError(f"{folder.name}/settings.toml is missing")
    try:
        return RoleSettings(folder=folder)
    except ValidationError as error:
        wrong = ", ".join(f"{fault.pointer or '/'} ({fault.code})" for fault in faults_of(error, name_unknown=True))
        raise SettingsError(f"{folder.name}/settings.toml: {wrong}") from None
    except tomllib.TOMLDecodeError:
        raise SettingsError(f"{folder.name}/settings.toml is no TOML") from None


def claim_database(database: Database, owner: str) -> None:
    """Write our name into a new database, or refuse one that says it is another's.

    `owner` is the instance code. Call it after the runtime's migration and before any component's.
    """

    def claim(connection: Connection) -> str:
        if not inspect(connection).has_table(role_owner.name):
            raise SettingsError("the database has no runtime tables: migrate it first")
        found = connection.execute(select(role_owner.c.owner)).scalar_one_or_none()
        if found is None:
            connection.execute(insert(role_owner), [{"number": 1, "owner": owner}])
        return found or owner

    if database.run_sync(claim) != owner:
        raise SettingsError(f"the database of {owner} belongs to another role")
