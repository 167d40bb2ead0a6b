"""Takes one batch of verified entries into the index, source by source, in the work that makes them durable.

What a source cannot have written next is set aside and stops that source only. Entries behind a skipped number go in
by themselves once what was missing has come.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from audit import store
from audit.leaf import Leaf, parse_leaf
from audit.proof import split_entry
from audit.source_line import SourceLine, StopReason
from gateway.protocol.clock import rfc3339
from gateway.runtime.storage.database import Transaction

WAITING_MAX = 2048
"""Entries behind a skipped number that are looked at together."""


@dataclass(frozen=True, slots=True)
class SourceStop:
    """A source whose entries no longer go in, and the first entry that could not."""

    src: str
    reason: StopReason
    ep: int
    sq: int
    at: str

    def __str__(self) -> str:
        number = f"number {self.sq}" + (f" of epoch {self.ep}" if self.ep > 1 else "")
        return f"{self.src} {self.reason} at {number}"


@dataclass
class Intake:
    """One batch. `stopped` are the sources that stopped in it."""

    tx: Transaction
    log: str
    now: datetime
    stopped: list[SourceStop] = field(default_factory=list)
    _lines: dict[str, SourceLine] = field(default_factory=dict)
    _known: dict[str, bytes] = field(default_factory=dict)
    _fresh: list[tuple[Leaf, bytes]] = field(default_factory=list)

    async def take(self, entries: Sequence[tuple[Leaf, bytes]]) -> None:
        """Index what may stand in the log, drop what it has, set aside what it cannot have."""
        self._known |= await store.list_known(self.tx, [leaf.eid for leaf, _ in entries])
        for leaf, raw in entries:
            await self._take(leaf, raw)
        for src, line in self._lines.items():
            if line.stopped is StopReason.SKIPPED:
                await self._take_up_waiting(src, line)
        if self._fresh:
            await store.add_entries(self.tx, self.log, await store.next_index(self.tx, self.log), self._fresh)

    async def _take(self, leaf: Leaf, raw: bytes) -> None:
        known = self._known.get(leaf.eid)
        if known == raw:
            return
        line = await self._line(leaf.src)
        reason = StopReason.FORKED if known is not None else line.refuse(leaf)
        if reason is not None:
            await self._set_aside(line, leaf, raw, reason)
            return
        was_stopped = line.stopped
        line.take(leaf)
        self._known[leaf.eid] = raw
        self._fresh.append((leaf, raw))
        if was_stopped is not None and line.stopped is None:
            await store.remove_stop(self.tx, leaf.src)

    async def _line(self, src: str) -> SourceLine:
        if src not in self._lines:
            stop = await store.load_stop(self.tx, src)
            last = await store.load_last(self.tx, src)
            self._lines[src] = SourceLine(last, None if stop is None else StopReason(stop.reason))
        return self._lines[src]

    async def _set_aside(self, line: SourceLine, leaf: Leaf, raw: bytes, reason: StopReason) -> None:
        at = rfc3339(self.now)
        await store.add_set_aside(self.tx, leaf, raw, reason, at)
        if line.stop(reason):
            stop = SourceStop(leaf.src, reason, leaf.ep, leaf.sq, at)
            await store.save_stop(self.tx, leaf.src, reason, epoch=leaf.ep, sq=leaf.sq, at=at)
            self.stopped.append(stop)

    async def _take_up_waiting(self, src: str, line: SourceLine) -> None:
        """Take in what waited behind numbers that have now come; end the stop where nothing waits any more."""
        while line.last is not None:
            waiting = await store.list_waiting(self.tx, src, line.last.epoch, WAITING_MAX)
            if not waiting:
                line.stopped = None
                await store.remove_stop(self.tx, src)
                return
            leaves = [(parse_leaf(split_entry(raw)[0]), raw) for raw in waiting]
            self._known |= await store.list_known(self.tx, [leaf.eid for leaf, _ in leaves])
            for leaf, raw in leaves:
                if line.refuse(leaf) is StopReason.SKIPPED:
                    return
                await store.remove_set_aside(self.tx, src, raw)
                await self._take(leaf, raw)
                if line.stopped is StopReason.FORKED:
                    return
