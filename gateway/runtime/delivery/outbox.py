"""The outbox: messages and audit records leave in the same commit as the state change that caused them.

`add` takes the stream's next `seq` under the stream row's lock and stores the exact bytes of the stamp; signing and
sending come after the commit (the relay). If we die before the commit, nothing happened; after it, the relay finds
the rows at the next start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zlib import crc32

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from gateway.protocol.canonical import compact
from gateway.protocol.clock import Clock, rfc3339
from gateway.protocol.errors import UnavailableError
from gateway.protocol.exchange import Message, Stamp, text_hash
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PrivateKey
from gateway.protocol.records import Record
from gateway.runtime.custody import case_secrets
from gateway.runtime.custody.case_secrets import CaseSecret, Vault
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.signals import tracing
from gateway.runtime.storage.database import Database, Transaction, one
from gateway.runtime.storage.tables import FIRST_EPOCH, audit_rows, outbox, streams

SHARDS = 16
_ADD_POST = insert(outbox)
_ADD_RECORD = insert(audit_rows)
_OPEN_STREAM = insert(streams)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who stamps: the role's code, custody and stamp key, and what it needs to fill a stamp."""

    role: str
    custody: str
    stamp_key: PrivateKey
    vault: Vault
    trust: TrustHolder
    clock: Clock
    lifetime: timedelta = timedelta(days=30)
    epoch: int = FIRST_EPOCH
    """In which epoch the role numbers its streams and records; above the first after a restore from a backup."""


@dataclass(frozen=True, slots=True)
class Post:
    """One message to send. Either `manifest` (a party's, passed on with its receipt) or `message` (our own)."""

    topic: str
    key: str
    type: str
    record: Record
    msg_id: str = ""
    manifest: str | None = None
    dossier: str | None = None
    receipt: str | None = None
    message: Message | None = None
    opens_stream: bool = False
    """The key was minted in this very work, so that nobody can have sent under it before."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """The stamp's bytes and key id as stored: signing them again gives the same receipt."""

    payload: bytes
    kid: str


@dataclass
class Admission:
    """Rows and bytes not yet published; past a limit an edge answers 503. Counted on the event loop."""

    rows_max: int
    bytes_max: int
    rows: int = 0
    bytes: int = 0
    behind: str | None = None
    """Why the role may take, send and do nothing more: the log knows more of it than its database. Owner: the watch."""

    def count(self, rows: int, size: int) -> None:
        self.rows += rows
        self.bytes += size

    def fill_percent(self) -> int:
        """Say how full the outbox is: 100 where intake stops."""
        return max(100 * self.rows // self.rows_max, 100 * self.bytes // self.bytes_max)

    def check(self) -> None:
        if self.rows > self.rows_max or self.bytes > self.bytes_max:
            raise UnavailableError("admission.outbox-full", retry_after_s=30)


@dataclass
class Outbox:
    """`wake` and `wake_audit` are set by the relays; calling them only shortens their wait."""

    sender: Sender
    admission: Admission
    wake: Callable[[], None] = field(default=lambda: None)
    wake_audit: Callable[[], None] = field(default=lambda: None)

    async def add(
        self, tx: Transaction, *announcements: Post | Record, secret: CaseSecret | None = None
    ) -> list[Stamped]:
        """Add posts (with their records) and further records, in order; return the stamps of the posts.

        `secret` is the case's, where the caller has it at hand.
        """
        at = self.sender.clock.now()
        posts = [one for one in announcements if isinstance(one, Post)]
        seqs = await _next_seqs(tx, posts, self.sender.epoch)
        stamped = [await self._add_post(tx, post, seq, at) for post, seq in zip(posts, seqs, strict=True)]
        seen: dict[str, Record] = {}
        for announcement in announcements:
            made = announcement.record if isinstance(announcement, Post) else announcement
            seen[made.eid] = made
        await self._add_records(tx, list(seen.values()), secret)
        if posts:
            tx.after_commit(self.wake)
        tx.after_commit(self.wake_audit)
        return stamped

    async def _add_post(self, tx: Transaction, post: Post, seq: int, at: datetime) -> Stamped:
        sender = self.sender
        stamp = Stamp(
            eid=post.record.eid,
            role=sender.role,
            custody=sender.custody,
            topic=post.topic,
            key=post.key,
            seq=seq,
            type=post.type,
            received_at=at,
            expires=at + sender.lifetime,
            registry_release=sender.trust.number,
            manifest_sha256=text_hash(post.manifest),
            dossier_sha256=text_hash(post.dossier),
            message=None if post.message is None else post.message.model_dump(mode="json", exclude_none=True),
            epoch=None if sender.epoch == FIRST_EPOCH else sender.epoch,
        )
        payload = compact(stamp.model_dump(mode="json", exclude_none=True))
        size = len(payload) + sum(len(part) for part in (post.manifest, post.dossier, post.receipt) if part)
        row = {
            "topic": post.topic,
            "key": post.key,
            "shard": crc32(post.key.encode()) % SHARDS,
            "seq": seq,
            "type": post.type,
            "msg_id": post.msg_id or mint("msg"),
            "manifest": post.manifest,
            "dossier": post.dossier,
            "receipt": post.receipt,
            "stamp": payload,
            "kid": sender.stamp_key.kid,
            "bytes": size,
            "trace": tracing.current(),
            "created_at": rfc3339(at),
            "epoch": sender.epoch,
        }
        await tx.later(_ADD_POST, row)
        tx.after_commit(partial(self.admission.count, 1, size))
        return Stamped(payload, sender.stamp_key.kid)

    async def _add_records(self, tx: Transaction, records: Sequence[Record], known: CaseSecret | None) -> None:
        values = [
            {
                "eid": record.eid,
                "type": record.type.name,
                "case_id": record.case_id,
                "at": rfc3339(record.at),
                "cause": record.cause,
                "clear": compact(dict(record.clear)).decode(),
                "trace": tracing.current(),
            }
            for record in records
        ]
        if values:
            await tx.later(_ADD_RECORD, *values)
        for case_id in {record.case_id for record in records if record.facts and record.case_id}:
            at_hand = known is not None and known.case_id == case_id
            secret = known if known is not None and at_hand else await self.sender.vault.of_case(tx, case_id)
            facts = {record.eid: record.facts for record in records if record.case_id == case_id and record.facts}
            await case_secrets.add(tx, secret, facts)


def _take_seq(dialect: type[sqlite.Insert] | type[postgresql.Insert]) -> ReturningInsert[Any]:
    stream, counted = ["topic", "key", "epoch"], {"seq": streams.c.seq + 1}
    return dialect(streams).on_conflict_do_update(index_elements=stream, set_=counted).returning(streams.c.seq)


_TAKE_SEQ = _take_seq(postgresql.Insert)
"""Both dialects write this upsert alike; the row's lock is held until the commit, so order is commit order."""


async def _next_seqs(tx: Transaction, posts: Sequence[Post], epoch: int) -> list[int]:
    """Take the next number of each post's stream; streams are locked in one order, whoever takes them."""
    first = {"seq": 1}
    streams_of = [{"topic": post.topic, "key": post.key, "epoch": epoch} for post in posts]
    seqs = [1] * len(posts)
    places = [place for place, post in enumerate(posts) if not post.opens_stream]
    places.sort(key=lambda place: (posts[place].topic, posts[place].key))
    if places:
        taken = await tx.execute(_TAKE_SEQ, [streams_of[place] | first for place in places])
        for place, (seq,) in zip(places, taken.all(), strict=True):
            seqs[place] = int(seq)
    if opened := [stream | first for stream, post in zip(streams_of, posts, strict=True) if post.opens_stream]:
        await tx.later(_OPEN_STREAM, *opened)
    return seqs


async def load_admission(database: Database, *, rows_max: int, bytes_max: int) -> Admission:
    """Count what a former process left unpublished."""
    rows = func.count().label("waiting_rows")
    size = func.coalesce(func.sum(outbox.c.bytes), 0).label("waiting_bytes")
    waiting = select(rows, size).where(outbox.c.published_at.is_(None))
    found = await database.read(partial(one, statement=waiting))
    if found is None:
        return Admission(rows_max, bytes_max)
    return Admission(rows_max, bytes_max, int(found.waiting_rows), int(found.waiting_bytes))
