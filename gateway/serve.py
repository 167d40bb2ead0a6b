"""Serving a role, or all of them: which folder, whose lock, and what keeps it from starting told in one sentence."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from audit.merkle import VerificationError
from gateway import roles
from gateway.protocol.clock import Clock, SystemClock
from gateway.protocol.errors import GatewayError
from gateway.runtime.keys import KeyFileError
from gateway.runtime.observability import configure_logging
from gateway.runtime.schema import SchemaError
from gateway.runtime.settings import FolderLock, RoleSettings, SettingsError, load_settings, lock_folder
from gateway.sandbox.bank import create_bank
from gateway.sandbox.folders import rebase

REQUESTS_END_S = 5
"""How long requests may go on after SIGTERM; the rest of 25 s is for workers, relays, groups and the database."""
CLOSED_S_MAX = 19
"""How long the rest may take, a little more than its limits (`process.py`) together."""

GC_THRESHOLDS = (50_000, 10, 10)
"""A claim makes thousands of short-lived objects and few cycles; Python's default of 700 collects at every claim."""

SWITCH_INTERVAL_S = 0.0001
"""SQLite gives up the interpreter lock at every statement; at Python's default of 5 ms the writer thread would wait
that long to get it back from a busy event loop. Measured: 47 claims/s at the default, 75 at this."""


class _Server(uvicorn.Server):
    """Ends long polls before it waits for open requests: they answer what they have and are not cancelled."""

    def __init__(self, config: uvicorn.Config, gateway: roles.Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.answer_waiting()
        await super().shutdown(sockets)


class StartError(Exception):
    """A role cannot start; the text is one sentence for whoever started it, without any value of a setting."""


def serve(folder: Path, role: str | None, host: str, port: int) -> None:
    """Serve until SIGTERM or ctrl-C: role `all` from a data folder, else the one role of a role folder.

    With a role's name the folder must be of that role. `StartError` if it cannot start.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(_serve(folder, role, host, port))


def migrate(folder: Path) -> list[str]:
    """Migrate the database of a role folder's role; return the components it has."""
    with _told():
        return asyncio.run(roles.migrate_one(folder, SystemClock()))


def find_role_folder(data: Path, role: str, instance: str = "") -> Path:
    """Find a role in a data folder: by the name of its instance, else its own, else the only `<role>-…`."""
    present = sorted(path.parent.name for path in data.glob("roles/*/settings.toml"))
    if not present:
        raise StartError(f"{data} holds no roles; `gateway sandbox init --data {data}` would make a trial there")
    name = instance or role
    alike = [name] if name in present else [one for one in present if one.startswith(f"{role}-") and not instance]
    if len(alike) == 1:
        return data / "roles" / alike[0]
    if alike:
        raise StartError(f"{data} has several of role {role}: add --instance {' or --instance '.join(alike)}")
    raise StartError(f"{data} has no role {name}; it has {', '.join(present)}")


async def _serve(folder: Path, role: str | None, host: str, port: int) -> None:
    clock = SystemClock()
    with _told():
        folders = [folder / "roles" / name for name in roles.IN_ALL] if role == "all" else [folder]
        settings = [load_settings(one) for one in folders]
        if role not in (None, "all", settings[0].role):
            raise SettingsError(f"{folder} is of role {settings[0].role}, not of {role}")
        listening = _bind(host, port)
        locks = [*map(lock_folder, dict.fromkeys([folder, *folders])), *_lock_bus(settings[0], folder)]
        configure_logging(settings[0].log_level, clock)
        if role == "all":
            gateway = await roles.open_all(folder, clock, extra_apps=_sandbox_apps(folder, host, port, clock))
        else:
            gateway = await roles.open_one(folder, clock)
    server = _Server(
        uvicorn.Config(
            gateway.app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=REQUESTS_END_S,
        ),
        gateway,
    )
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    async with roles.running(gateway):
        sys.stderr.write(f"serving {folder} on http://{host}:{port}\n")
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more when it has stopped: drain first
            signal.signal(number, signal.SIG_IGN)
        await server.serve([listening])
        signal.alarm(CLOSED_S_MAX)  # the last resort against a library that holds the process: the kernel ends it
    for lock in locks:
        lock.release()


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before anything else is opened; the server listens on it once the role is there."""
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return taken


def _lock_bus(settings: RoleSettings, locked: Path) -> Iterator[FolderLock]:
    """Lock the folder of the embedded bus, which belongs to one process; a witness is not on it."""
    kind, _, place = settings.bus.partition(":")
    folder = Path(place).resolve().parent
    if kind != "embedded" or settings.role == "witness" or folder == locked.resolve():
        return
    try:
        yield lock_folder(folder)
    except SettingsError:
        text = f"another process has the embedded bus in {folder}: serve `all`, or take Kafka (setting `bus`)"
        raise SettingsError(text) from None


def _sandbox_apps(folder: Path, host: str, port: int, clock: Clock) -> dict[str, Any]:
    """Mount the simulated bank where the data folder is a sandbox, and point its profiles at this port."""
    if not (folder / "sandbox.json").is_file():
        return {}
    rebase(folder, f"http://{host}:{port}")
    return {"/bank": create_bank(folder / "bank", clock)}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what a wrong or absent setting, file, key, schema or database raises into one sentence."""
    try:
        yield
    except (SettingsError, KeyFileError, SchemaError, VerificationError) as error:
        raise StartError(str(error)) from None
    except GatewayError as error:
        raise StartError(f"{error.code}: {error.sentence}") from None
    except DBAPIError as error:
        raise StartError(f"the database refuses (setting `database_url`): {_class_of(error)}") from None
    except SQLAlchemyError:
        raise StartError("the setting `database_url` is no address of a database") from None
    except OSError as error:
        if error.filename is not None:
            raise StartError(f"{error.filename}: {error.strerror}") from None
        raise StartError(f"the database does not answer (setting `database_url`): {type(error).__name__}") from None


def _class_of(error: DBAPIError) -> str:
    """Name the driver's own class; its text may hold what a statement held."""
    return type((error.orig and error.orig.__cause__) or error.orig or error).__name__
