"""The sequencer: takes signed entries in, gives them dense indexes, writes tiles, signs, collects cosignatures.

Write by write, and what if we die: (1) indexes are durable: nothing else is needed to go on. (2) tiles and bundles are
written and synced: written again, the same bytes. (3) the head is signed and swapped in the database: the same head is
signed again. (4) witnesses cosign: they are asked again. (5) the checkpoint is replaced: it is replaced again.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from audit import store
from audit.checkpoint import Checkpoint, Policy, open_checkpoint, sign_checkpoint
from audit.cosigning import Ask, collect
from audit.intake import Intake, SourceStop
from audit.leaf import Leaf, parse_leaf
from audit.log_folder import read_file, remove_leftovers, write_checkpoint, write_files
from audit.merkle import VerificationError
from audit.note import Signer, VerifierKey, parse_note
from audit.proof import open_entry
from audit.store import Head
from audit.tiles import RightEdge, TileReader
from gateway.protocol.clock import Clock, rfc3339
from gateway.runtime.bus.port import Fetched
from gateway.runtime.delivery.inbox import put_in_quarantine
from gateway.runtime.signals import failpoints
from gateway.runtime.signals.observability import DELIVERIES
from gateway.runtime.storage.database import Database, Transaction

BATCH_MAX = 2048
IDLE_S = 1.0
INTERVAL_S = 0.2
PUBLISH_AGAIN_S = 5.0
"""Witnesses that did not suffice are asked again after so long."""
REFRESH_S = 600.0
"""An idle log's head is cosigned again this often, so that it does not look stale."""

log = structlog.get_logger("sequencer")


class ForkError(Exception):
    """Two sequencers, a restored backup or other bytes on disk: this one stops and signs nothing more."""


@dataclass
class Sequencer:
    """One log: `origin` is its name and its checkpoints' first line. `wake` is set when entries were added."""

    database: Database
    clock: Clock
    origin: str
    folder: Path
    signer: Signer
    policy: Policy
    ask: Ask
    source_keys: Callable[[], Sequence[VerifierKey]]
    note_stop: Callable[[Transaction, SourceStop], Awaitable[None]]
    """Writes in the same work that a source has stopped."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    fork: str | None = None
    _moved_at: dict[str, float] = field(default_factory=dict)
    """When each stage was last where it should be; begun when it is first looked at."""

    async def take(self, fetched: Sequence[Fetched]) -> None:
        """Verify entries by their source's key and give them indexes, all in one commit; duplicates fall here.

        What one source cannot have written next stops that source and no other.
        """
        keys = self.source_keys()
        good: list[tuple[Leaf, bytes]] = []
        bad: list[tuple[Fetched, str]] = []
        for one in fetched:
            try:
                good.append((self._open(one, keys), one.value))
            except VerificationError as error:
                bad.append((one, type(error).__name__))
        for stop in await self.database.write(partial(self._index, good=good, bad=bad), key=self.origin):
            log.error("sequencer.source-stopped", source=stop.src, reason=stop.reason, seq=stop.sq)
        for one, _ in bad:
            DELIVERIES.labels("audit.log", one.topic, "quarantined").inc()
        self.wake.set()

    def _open(self, fetched: Fetched, keys: Sequence[VerifierKey]) -> Leaf:
        body, name = open_entry(fetched.value, keys)
        leaf = parse_leaf(body)
        if not name == leaf.src == fetched.key:
            raise VerificationError("the entry is not by the source it names")
        return leaf

    async def _index(
        self, tx: Transaction, good: Sequence[tuple[Leaf, bytes]], bad: Sequence[tuple[Fetched, str]]
    ) -> Sequence[SourceStop]:
        for fetched, code in bad:
            await put_in_quarantine(tx, "audit.log", fetched, code, self.clock.now())
        intake = Intake(tx, self.origin, self.clock.now())
        await intake.take(good)
        for stop in intake.stopped:
            await self.note_stop(tx, stop)
        return intake.stopped

    async def run(self) -> None:
        """Grow and publish until cancelled; a fork stops it for good, everything else is waited out."""
        publish_at, recovered = 0.0, False
        while self.fork is None:
            try:
                if not recovered:
                    await self.recover()
                    recovered = True
                grown = await self.step()
                now = time.monotonic()
                if grown or now > publish_at:
                    published = await self.publish()
                    publish_at = now + (REFRESH_S if published else PUBLISH_AGAIN_S)
            except ForkError as error:
                self.fork = str(error)
                log.error("sequencer.fork")
            except Exception as error:  # noqa: BLE001 disk, database or witnesses are away: try again
                log.warning("sequencer.waiting", error=type(error).__name__)
                await asyncio.sleep(IDLE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self.wake.wait()
            self.wake.clear()
            await asyncio.sleep(INTERVAL_S)
        await asyncio.Event().wait()  # forked: nothing more is signed until people have looked and restarted it

    async def recover(self) -> None:
        """Compare the signed head with what is published; a published head that we never signed is a fork."""
        await asyncio.to_thread(remove_leftovers, self.folder)
        head = await self.database.read(partial(store.load_head, log=self.origin))
        try:
            public = open_checkpoint(read_file(self.folder, "checkpoint"), [self.signer.vkey]).checkpoint
        except FileNotFoundError:
            return
        if head is None or public.size > head.size or (public.size == head.size and public.root != head.root):
            self.fork = "the published checkpoint is ahead of the signed head: an old database was restored"
            raise ForkError(self.fork)

    async def step(self) -> bool:
        """Write tiles for new entries, read the edge back, sign and swap the head; True if the tree grew."""
        head = await self.database.read(partial(store.load_head, log=self.origin))
        size = head.size if head else 0
        added = await self.database.read(partial(store.list_entries, log=self.origin, start=size, limit=BATCH_MAX))
        if head is not None and not added:
            return False
        edge, files = RightEdge.load(self._reader(size)).append(added)
        await asyncio.to_thread(write_files, self.folder, files)
        failpoints.reach("audit.after_tiles")
        read_back = RightEdge.load(self._reader(edge.size))
        if read_back.root() != edge.root():
            raise ForkError("the tiles read back give another root")
        note = sign_checkpoint(Checkpoint(self.origin, edge.size, edge.root()), [self.signer])
        new = Head(edge.size, edge.root(), bytes(note), None)
        at = rfc3339(self.clock.now())
        swap = partial(store.swap_head, log=self.origin, seen=head, new=new, at=at)
        if not await self.database.write(swap, key=self.origin):
            raise ForkError("another sequencer moved the head")
        failpoints.reach("audit.after_sign")
        return True

    async def publish(self) -> bool:
        """Collect cosignatures and, once the policy is met, replace the public checkpoint; False while it is not."""
        head = await self.database.read(partial(store.load_head, log=self.origin))
        if head is None:
            return False
        note = parse_note(head.note)
        checkpoint = Checkpoint(self.origin, head.size, head.root)
        parties = self.policy.witnesses.values()
        reader = self._reader(head.size)
        asked = (collect(self.ask, party, checkpoint, head.note, reader) for party in parties)
        cosigned = {key: line for found in await asyncio.gather(*asked) for key, line in found.items()}
        for key in cosigned:
            self._moved_at[f"witness {key.name}"] = time.monotonic()
        if not self.policy.is_met_by(cosigned.keys()):
            log.warning("sequencer.awaiting-witnesses", count=len(cosigned))
            return False
        published = bytes(note.plus(cosigned.values()))
        await asyncio.to_thread(write_checkpoint, self.folder, published)
        failpoints.reach("audit.after_publish")
        at = rfc3339(self.clock.now())
        done = partial(store.note_published, log=self.origin, size=head.size, published=published, at=at)
        await self.database.write(done, key=self.origin)
        for stage in ("cosigned", "checkpoint"):
            self._moved_at[stage] = time.monotonic()
        return True

    async def standing_s(self) -> dict[str, float]:
        """Return for how long each stage has waited for its next step, in seconds; 0 where nothing waits.

        `tree`: entries with an index that no signed head covers; `cosigned`: a signed head that witnesses have not
        cosigned; `checkpoint`, and each witness by name: beyond the time in which an idle head is cosigned again.
        """
        head = await self.database.read(partial(store.load_head, log=self.origin))
        count = await self.database.read(partial(store.next_index, log=self.origin))
        now = time.monotonic()
        names = [f"witness {party.key.name}" for party in self.policy.witnesses.values()]
        for stage in ("tree", "cosigned", "checkpoint", *names):
            self._moved_at.setdefault(stage, now)
        if head is not None and head.size >= count:
            self._moved_at["tree"] = now
        if head is not None and head.published is not None:
            self._moved_at["cosigned"] = now
        allowed_s = {"tree": 0.0, "cosigned": 0.0}
        return {stage: max(0.0, now - at - allowed_s.get(stage, REFRESH_S)) for stage, at in self._moved_at.items()}

    def _reader(self, size: int) -> TileReader:
        return TileReader(size, partial(read_file, self.folder))
