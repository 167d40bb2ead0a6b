"""A role as a source of the signed log, and whether the log knows more of it than its own database does.

It does after an older backup was restored. The role would then use numbers again that the log and its readers have
seen: its entries could not go in and its messages would be dropped as duplicates. So it refuses to start; where the
audit role could not be asked at the start, it goes on asking and takes, sends and does nothing more once it knows.
The answer is believed only with an entry that this role has signed itself: nobody else can stop it.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row, select

from gateway.protocol.canonical import read_json_object
from gateway.protocol.commitments import read_entry
from gateway.protocol.errors import GatewayError, MalformedInputError, UnavailableError
from gateway.protocol.jose import PublicKey
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.runtime.delivery.outbox import Admission
from gateway.runtime.lifecycle import Stopping
from gateway.runtime.signals.observability import SOURCE_STOPPED, SOURCE_UNANSWERED
from gateway.runtime.storage.database import Database, Transaction, one
from gateway.runtime.storage.tables import FIRST_EPOCH, audit_rows, source_epochs

ASK_S = 15.0
ASK_AGAIN_S = 5.0
"""While no answer has come yet."""
ANSWER_S_MAX = 5.0
UNANSWERED_TOLD_S = 20.0
"""Roles start in any order, and the log knows no role before the first registry release: neither is worth a line."""
UNKNOWN_STATUS = 404

AskLog = Callable[[str], Awaitable[Incoming]]
"""Asks the audit role for a path below its prefix, e.g. `v1/sources/sz`."""

log = structlog.get_logger("source")


def asking(send: Callable[[Outgoing], Awaitable[Incoming]], url: str) -> AskLog:
    """Make a role's way to ask the audit role at `url`."""

    async def ask(path: str) -> Incoming:
        return await send(Outgoing("GET", f"{url}/{path}", timeout_s=ANSWER_S_MAX))

    return ask


class SourceBehindError(Exception):
    """The log knows more of this role than its database does: it does not start. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """The entry of this role that the log has last, or at a number; read from bytes that this role has signed."""

    epoch: int
    sq: int
    eid: str
    type: str
    at: str

    @property
    def place(self) -> str:
        return f"number {self.sq}" + (f" of epoch {self.epoch}" if self.epoch > FIRST_EPOCH else "")


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What the log says of a role: its last entry (None: it has none), and why its entries no longer go in."""

    last: LoggedEntry | None
    stopped: str | None


async def load_epoch(tx: Transaction) -> int:
    """Return the epoch in which this role numbers its streams and records."""
    row = await _newest_epoch(tx)
    return FIRST_EPOCH if row is None else int(row.epoch)


async def _newest_epoch(tx: Transaction) -> Row[Any] | None:
    return await one(tx, select(source_epochs).order_by(source_epochs.c.epoch.desc()).limit(1))


async def is_behind(tx: Transaction, last: LoggedEntry | None) -> bool:
    """Say whether the log's last entry of this role is one that its database does not have, or has otherwise.

    A role that has just begun an epoch is not behind while the log's last entry is still the one it is linked to.
    """
    if last is None:
        return False
    newest = await _newest_epoch(tx)
    epoch = FIRST_EPOCH if newest is None else int(newest.epoch)
    if newest is not None and last.epoch < epoch:
        return (newest.last_epoch, newest.last_sq, newest.last_eid) != (last.epoch, last.sq, last.eid)
    if last.epoch > epoch:
        return True
    here = select(audit_rows).where(audit_rows.c.epoch == last.epoch, audit_rows.c.sq == last.sq)
    row = await one(tx, here)
    return row is None or (row.eid, row.type, row.at) != (last.eid, last.type, last.at)


@dataclass
class SourceWatch:
    """One role's watch. `admission` is told once the role is behind; edges, relays, consumers and timers look there."""

    source: str
    keys: tuple[PublicKey, ...]
    """The role's own audit keys, past ones included."""
    database: Database
    admission: Admission
    ask: AskLog | None
    stopping: Stopping = field(default_factory=Stopping)
    stopped: str | None = None
    """Why the log takes nothing more of this role, as the audit role says; only shown, never acted on."""
    _answered_at: float = field(default_factory=time.monotonic)
    _unanswered_told: bool = False

    def __post_init__(self) -> None:
        SOURCE_UNANSWERED.labels(self.source).set_function(lambda: time.monotonic() - self._answered_at)
        self._measure()

    async def check(self) -> bool:
        """Ask once, and remember whether the role is behind; False where no answer came that can be believed."""
        try:
            answer = await self.ask_last()
            behind = await self.database.read(partial(is_behind, last=answer.last))
        except (GatewayError, TimeoutError) as error:
            self._tell_unanswered(error)
            return False
        self._answered_at = time.monotonic()
        if self._unanswered_told:
            self._unanswered_told = False
            log.info("source.answered", source=self.source)
        self.stopped = answer.stopped
        if behind and answer.last is not None and self.admission.behind is None:
            self.admission.behind = (
                f"the log has {self.source}'s {answer.last.place}, which its database does not have: it was set back to"
                f" an older backup; see docs/operating/restore.md (gateway resume)"
            )
            log.error("source.behind-log", source=self.source, seq=answer.last.sq)
        self._measure()
        return True

    async def check_at_start(self) -> None:
        """Refuse to start a role that is behind; one that gets no answer starts, and goes on asking."""
        if self.ask is None:
            log.warning("source.no-audit-url", source=self.source)
            return
        await self.check()
        if self.admission.behind is not None:
            raise SourceBehindError(f"role {self.source} does not start: {self.admission.behind}")

    async def run(self) -> None:
        """Go on asking until the role ends."""
        while not self.stopping and self.ask is not None:
            answered = await self.check()
            await self.stopping.rest(ASK_S if answered else ASK_AGAIN_S)

    async def why_unready(self) -> str | None:
        """Say for readiness why the log takes nothing of this role, or None."""
        return self.admission.behind or (f"the log takes nothing more: {self.stopped}" if self.stopped else None)

    async def ask_last(self) -> LogAnswer:
        """Ask for the log's last entry of this role; `GatewayError` where no answer comes that can be believed."""
        answer = await self._ask(f"v1/sources/{self.source}")
        if answer is None:
            raise UnavailableError("source.unknown")
        stopped = answer.get("stopped")
        return LogAnswer(self._read(answer), str(stopped) if stopped else None)

    async def ask_at(self, epoch: int, sq: int) -> LoggedEntry | None:
        """Ask which entry of this role stands at a number; None where the log has none there."""
        answer = await self._ask(f"v1/sources/{self.source}/entries/{epoch}/{sq}")
        return None if answer is None else self._read(answer)

    async def _ask(self, path: str) -> dict[str, Any] | None:
        if self.ask is None:
            raise UnavailableError("outgoing.cannot-connect")
        incoming = await self.ask(path)
        if incoming.status == UNKNOWN_STATUS:
            return None
        if incoming.status != 200:
            raise UnavailableError("outgoing.cannot-connect")
        return read_json_object(incoming.body)

    def _read(self, answer: dict[str, Any]) -> LoggedEntry | None:
        entry = answer.get("entry")
        if entry is None:
            return None
        if not isinstance(entry, str):
            raise MalformedInputError("json.malformed")
        body = read_entry(entry.encode(), self.source, self.keys)
        return LoggedEntry(int(body.get("ep", FIRST_EPOCH)), int(body["sq"]), body["eid"], body["typ"], body["t"])

    def _tell_unanswered(self, error: Exception) -> None:
        """Tell once that nobody answers, and not at every question; the gauge says for how long."""
        if not self._unanswered_told and time.monotonic() - self._answered_at > UNANSWERED_TOLD_S:
            self._unanswered_told = True
            log.warning("source.unanswered", source=self.source, error=type(error).__name__)

    def _measure(self) -> None:
        standing = self.admission.behind is not None or self.stopped is not None
        SOURCE_STOPPED.labels(self.source, self.source).set(standing)
