"""Serving a role, or all of them: which folder, whose lock, and what keeps it from starting told in one sentence."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from audit.merkle import VerificationError
from gateway import VERSION, roles
from gateway.folder_lock import MARKER, UNFINISHED, FolderInUseError, FolderLock, lock_folder
from gateway.protocol.clock import Clock, SystemClock
from gateway.protocol.errors import GatewayError
from gateway.runtime.custody.keys import KeyFileError
from gateway.runtime.delivery.resume import Decision, Resumed, ResumeError
from gateway.runtime.delivery.resume import resume as begin_epoch
from gateway.runtime.delivery.source_watch import SourceBehindError
from gateway.runtime.settings import RoleSettings, SettingsError, load_settings
from gateway.runtime.signals.observability import Readiness, configure_logging, health_routes
from gateway.runtime.storage.schema import SchemaError
from gateway.runtime.web.protocol import server_config
from gateway.sandbox.bank import create_bank
from gateway.sandbox.folders import complete, rebase

DEFAULT_PORT = 8080
LOOPBACK = ("127.0.0.1", "::1", "localhost")

REQUESTS_END_S = 5
"""How long requests may go on after SIGTERM; the rest of 25 s is for workers, relays, groups and the database."""
CLOSED_S_MAX = 19
"""How long the rest may take, a little more than its limits (`process.py`) together."""

GC_THRESHOLDS = (50_000, 10, 10)
"""A claim makes thousands of short-lived objects and few cycles; Python's default of 700 collects at every claim."""

SWITCH_INTERVAL_S = 0.0001
"""SQLite gives up the interpreter lock at every statement; at Python's default of 5 ms the writer thread would wait
that long to get it back from a busy event loop. Measured: 47 claims/s at the default, 75 at this."""

log = structlog.get_logger("serve")


class _Server(uvicorn.Server):
    """Uvicorn in our words: its own log lines are left out, and long polls answer before it waits for open requests.

    `answer_waiting` wakes the long polls, so that they answer what they have and are not cancelled.
    """

    def __init__(self, config: uvicorn.Config, answer_waiting: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._answer_waiting = answer_waiting

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        log.info("serve.stopping", reason=signal.Signals(sig).name, pid=os.getpid())
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._answer_waiting()
        await super().shutdown(sockets)


class StartError(Exception):
    """A role cannot start; the text is one sentence for whoever started it, without any value of a setting."""


def serve(
    folder: Path, role: str | None, host: str, port: int | None = None, lock_descriptor: int | None = None
) -> None:
    """Serve until SIGTERM or ctrl-C: role `all` from a data folder, else the one role of a role folder.

    With a role's name the folder must be of that role. Without `port` it is that of the role's own `base_url`.
    `lock_descriptor` is the folder's lock where the parent process has it already. `StartError` if it cannot start.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(_serve(folder, role, host, port, lock_descriptor))


def serve_bank(folder: Path, host: str, port: int) -> None:
    """Serve the simulated bank of a sandbox by itself, under /bank, from its folder until SIGTERM or ctrl-C."""
    clock = SystemClock()
    with _told():
        lock = lock_folder(folder)
        listening = _bind(host, port)
        configure_logging("info", clock)
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.include_router(health_routes(Readiness()))
        app.mount("/bank", create_bank(folder, clock))
    url = _url_of(host, listening.getsockname()[1])
    log.info("serve.listening", url=url, role="bank", folder=str(folder), pid=os.getpid(), version=VERSION)
    for number in (signal.SIGTERM, signal.SIGINT):  # as in `_serve`: uvicorn raises them once more
        signal.signal(number, signal.SIG_IGN)
    _Server(server_config(app, host, port)).run([listening])
    log.info("serve.stopped", pid=os.getpid())
    lock.release()


def migrate(folder: Path) -> list[str]:
    """Migrate the database of a role folder's role; return the components it has."""
    with _told():
        return asyncio.run(roles.migrate_one(folder, SystemClock()))


def resume(folder: Path, decision: Decision) -> Resumed:
    """Have the role of a folder begin a new source epoch, after its database was set back to an older backup.

    The role must not run. On the embedded bus nobody else does either, and the audit role is asked in this process;
    on Kafka it is asked at the setting `audit_url`. `StartError` where there is nothing to resume.
    """
    with _told():
        return asyncio.run(_resume(folder, decision))


async def _resume(folder: Path, decision: Decision) -> Resumed:
    clock = SystemClock()
    settings = load_settings(folder)
    kind, _, place = settings.bus.partition(":")
    data = Path(place).resolve().parent
    whole = kind == "embedded"
    folders = [data, *(data / "roles" / name for name in roles.IN_ALL)] if whole else [folder]
    locks = [lock_folder(one) for one in folders]
    configure_logging("warning", clock)
    gateway = await (roles.open_all(data, clock) if whole else roles.open_one(folder, clock))
    try:
        processes = {process.settings.instance: process for process in gateway.processes}
        if whole:
            await processes["audit"].catch_up()
        process = processes[settings.instance]
        return await begin_epoch(process.source, process.outbox.sender, decision)
    finally:
        await gateway.close()
        for lock in locks:
            lock.release()


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


async def _serve(folder: Path, role: str | None, host: str, port: int | None, lock_descriptor: int | None) -> None:
    clock = SystemClock()
    with _told():
        folders = [folder / "roles" / name for name in roles.IN_ALL] if role == "all" else [folder]
        if (folder / UNFINISHED).exists():
            raise SettingsError(f"the sandbox in {folder} is not finished: write it anew with `gateway sandbox init`")
        settings = [load_settings(one) for one in folders]
        if role not in (None, "all", settings[0].role):
            raise SettingsError(f"{folder} is of role {settings[0].role}, not of {role}")
        # the lock before the address: of two that serve one folder the second is told who the first is
        locks = _lock(folder, folders, settings[0], lock_descriptor)
        listening = _bind(host, _usual_port(load_settings(folders[0])) if port is None else port)
        url = _url_of(host, listening.getsockname()[1])
        configure_logging(settings[0].log_level, clock)
        if role == "all":
            gateway = await roles.open_all(folder, clock, extra_apps=_sandbox_apps(folder, url, clock))
        else:
            gateway = await roles.open_one(folder, clock)
        await gateway.check_sources()
    server = _Server(
        server_config(gateway.app, host, listening.getsockname()[1], timeout_graceful_shutdown=REQUESTS_END_S),
        gateway.answer_waiting,
    )
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    served = ", ".join(process.settings.instance for process in gateway.processes)
    async with roles.running(gateway):
        log.info("serve.listening", url=url, role=served, folder=str(folder), pid=os.getpid(), version=VERSION)
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more when it has stopped: drain first
            signal.signal(number, signal.SIG_IGN)
        await server.serve([listening])
        signal.alarm(CLOSED_S_MAX)  # the last resort against a library that holds the process: the kernel ends it
    log.info("serve.stopped", pid=os.getpid())
    for lock in locks:
        lock.release()


def _lock(folder: Path, folders: Sequence[Path], settings: RoleSettings, inherited: int | None) -> list[FolderLock]:
    """Lock every folder that this process serves from; `inherited` is the lock of `folder` that its parent took."""
    locks = []
    if inherited is not None:
        locks.append(FolderLock(inherited))
        locks[0].name_holder()
    bank = [folder / "bank"] if (folder / MARKER).is_file() else []
    wanted = [path for path in dict.fromkeys([folder, *folders, *bank]) if path != folder or not locks]
    return [*locks, *map(lock_folder, wanted), *_lock_bus(settings, folder)]


def _usual_port(settings: RoleSettings) -> int:
    """Take the port at which others look for the role; behind a proxy there is no such port on this machine."""
    address = urlsplit(settings.base_url)
    return address.port or DEFAULT_PORT if address.hostname in LOOPBACK else DEFAULT_PORT


def _url_of(host: str, port: int) -> str:
    """Return where programs on this machine reach what listens there; every address is also the loopback's."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 compared, not listened on
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


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
    except FolderInUseError as error:
        holder = "another process" if error.process_id is None else f"another process ({error.process_id})"
        text = f"{holder} has the embedded bus in {folder}: serve `all`, or take Kafka (setting `bus`)"
        raise SettingsError(text) from None


def _sandbox_apps(folder: Path, url: str, clock: Clock) -> dict[str, Any]:
    """Mount the simulated bank where the data folder is a sandbox, point its profiles at this address, complete it."""
    if not (folder / MARKER).is_file():
        return {}
    rebase(folder, url)
    complete(folder)
    return {"/bank": create_bank(folder / "bank", clock)}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what a wrong or absent setting, file, key, schema or database raises into one sentence."""
    try:
        yield
    except (
        FolderInUseError,
        SettingsError,
        KeyFileError,
        SchemaError,
        VerificationError,
        SourceBehindError,
        ResumeError,
    ) as error:
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
