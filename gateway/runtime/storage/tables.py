"""Tables that every role's database has once: streams, outbox, audit rows, openings, inbox, parked, quarantine,
idempotency, token ids, feeds, jobs. Component tables carry their component's prefix; these carry none.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA = MetaData()

BIG = BigInteger().with_variant(Integer, "sqlite")
"""SQLite only counts INTEGER PRIMARY KEY up by itself."""

FIRST_EPOCH = 1
_OF_FIRST_EPOCH = str(FIRST_EPOCH)
"""What a row is of that does not say otherwise: numbers begin anew only where a role was set back to a backup."""

source_epochs = Table(
    "source_epochs",
    METADATA,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("last_epoch", Integer, nullable=False),
    Column("last_sq", BigInteger, nullable=False),
    Column("last_eid", Text, nullable=False),
    Column("at", Text, nullable=False),
)
"""Each time this role began to number anew, with the last entry that the log had of it then. Empty: the first epoch.
Owner: resume, while the role does not run."""

streams = Table(
    "streams",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False, server_default=_OF_FIRST_EPOCH),
    Column("seq", BigInteger, nullable=False),
)
"""Sending side: the last `seq` taken in (this role, topic, key, epoch). Owner: outbox.add."""

outbox = Table(
    "outbox",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("msg_id", Text, nullable=False),
    Column("manifest", Text),
    Column("dossier", Text),
    Column("receipt", Text),
    Column("stamp", LargeBinary, nullable=False),
    Column("kid", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("trace", Text),
    Column("created_at", Text, nullable=False),
    Column("published_at", Text),
    Column("epoch", Integer, nullable=False, server_default=_OF_FIRST_EPOCH),
    UniqueConstraint("topic", "key", "epoch", "seq", name="outbox_stream"),
    Index(
        "outbox_unpublished",
        "id",
        postgresql_where=text("published_at IS NULL"),
        sqlite_where=text("published_at IS NULL"),
    ),
    Index("outbox_msg", "msg_id"),
)
"""`stamp` holds the exact bytes to be signed with key `kid` after the commit; `trace` is the W3C traceparent of what
caused it. Owner: outbox.add, then the relay."""

audit_rows = Table(
    "audit_rows",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("eid", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("case_id", Text),
    Column("at", Text, nullable=False),
    Column("cause", Text),
    Column("clear", Text, nullable=False),
    Column("trace", Text),
    Column("sq", BigInteger),
    Column("pv", Text),
    Column("published_at", Text),
    Column("epoch", Integer, nullable=False, server_default=_OF_FIRST_EPOCH),
    UniqueConstraint("epoch", "sq", name="audit_rows_number"),
    Index("audit_rows_case", "case_id", "sq"),
    Index(
        "audit_rows_unpublished",
        "id",
        postgresql_where=text("published_at IS NULL"),
        sqlite_where=text("published_at IS NULL"),
    ),
)
"""One row a record. The audit relay alone gives `epoch` and `sq` (per source) and `pv` (per source, epoch and case)."""

case_secrets = Table(
    "case_secrets",
    METADATA,
    Column("case_id", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)
"""One random secret a case, wrapped under the role's storage key; destroying it erases the case's openings."""

openings = Table(
    "openings",
    METADATA,
    Column("eid", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("box", LargeBinary, nullable=False),
    Index("openings_case", "case_id"),
)
"""The facts behind a record's commitments, sealed under the case's secret."""

inbox = Table(
    "inbox",
    METADATA,
    Column("consumer", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False, server_default=_OF_FIRST_EPOCH),
    Column("last_seq", BigInteger, nullable=False),
)
"""Receiving side: one row a stream, sender's epoch and consumer. Owner: the worker."""

parked = Table(
    "parked",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("role", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("why", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("since", Text, nullable=False),
    Column("next_at", Text),
    Column("sha256", Text, nullable=False),
    Column("epoch", Integer, nullable=False, server_default=_OF_FIRST_EPOCH),
    UniqueConstraint("consumer", "topic", "partition", "offset", "sha256", name="parked_once"),
    Index("parked_due", "next_at"),
)
"""A key's messages that wait: `why` is gap, retry, held or halt; without `next_at` an operator decides.

The hash is part of what a row is about: a cluster that was lost and made again counts its offsets anew.
"""

quarantine = Table(
    "quarantine",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("dropped_at", Text),
    Column("dropped_by", Text),
    Column("reason", Text),
    Column("ticket", Text),
    UniqueConstraint("consumer", "topic", "partition", "offset", "sha256", name="quarantine_once"),
)
"""Bytes set aside, as received: their stamp does not verify, or an operator dropped them from the line.

Dropped from here too, a row keeps place, hash, reason and ticket, and its `value` is empty.
"""

operator_requests = Table(
    "operator_requests",
    METADATA,
    Column("request_id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_person", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("confirmed_by", Text),
    Column("confirmed_at", Text),
)
"""What one operator wants done about messages that move money; it happens when a second person confirms it."""

idempotency = Table(
    "idempotency",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_sha256", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("location", Text),
    Column("stamp", LargeBinary),
    Column("kid", Text),
    Column("at", Text, nullable=False),
)
"""The answer of a change, stored with its effect; the receipt is signed again from `stamp`, to the same bytes."""

token_ids = Table(
    "token_ids",
    METADATA,
    Column("jti", Text, primary_key=True),
    Column("client_id", Text, primary_key=True),
    Column("expires", Text, nullable=False),
)
"""Client assertions seen, until they expire (RFC 7523 section 3)."""

feed = Table(
    "feed",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("position", BigInteger),
    Column("item", Text, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("tenant", "position", name="feed_position"),
    Index(
        "feed_unnumbered",
        "id",
        postgresql_where=text("position IS NULL"),
        sqlite_where=text("position IS NULL"),
    ),
)
"""One sequencer a role gives `position` to committed rows, so that a cursor never skips."""

feed_cursors = Table(
    "feed_cursors",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("acknowledged", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("until", Text, nullable=False),
)
"""Who runs a timer when several processes share one database."""

role_owner = Table(
    "role_owner",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    CheckConstraint("number = 1", name="role_owner_one"),
)
"""One row: the instance code of the role whose database this is. Owner: settings.claim_database."""
