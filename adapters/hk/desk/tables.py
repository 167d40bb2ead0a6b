"""Tables of the insurer's desk, prefix `desk_`. Content is sealed under the case's secret; the rest is clear."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

METADATA = MetaData()

cursors = Table(
    "desk_cursor",
    METADATA,
    Column("party", Text, primary_key=True),
    Column("cursor", Text, nullable=False),
)
"""How far the inbox has been read; written in the transaction that holds what was read."""

releases = Table(
    "desk_release",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("raw", Text, nullable=False),
    Column("at", Text, nullable=False),
)
"""Registry releases held, so that a restart never believes an older one."""

claims = Table(
    "desk_claim",
    METADATA,
    Column("claim_id", Text, primary_key=True),
    Column("claim_version", Integer, primary_key=True),
    Column("case_id", Text, nullable=False, index=True),
    Column("msg_id", Text, nullable=False, unique=True),
    Column("hospital", Text, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("asked_minor", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("content", LargeBinary),
    Column("differences", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("allowed_actions", Text, nullable=False),
    Column("decision_version", Integer, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("dispute", Text),
    Column("disputed_places", Text),
    Index("desk_claim_opened", "opened_at", "claim_id", "claim_version"),
)
"""Claims opened here. `manifest` is the hospital's signed token, `content` the box of the FHIR Bundle, if it opened;
state, revision, allowed actions and `dispute` (JSON) are core's, as last told; `disputed_places` are those that the
hospital's newest dispute names; decision_version counts accepted decisions."""

_OPEN = text("status IN ('queued', 'sent')")

answers = Table(
    "desk_answer",
    METADATA,
    Column("request_id", Text, primary_key=True),
    Column("msg_id", Text, nullable=False, unique=True),
    Column("claim_id", Text, nullable=False),
    Column("claim_version", Integer, nullable=False),
    Column("case_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("decision_version", Integer),
    Column("posted", LargeBinary, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("receipt", Text),
    Column("code", Text),
    Column("faults", Text),
    Column("state", Text),
    Column("allowed_actions", Text),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text, nullable=False),
    Column("authored_at", Text, nullable=False),
    CheckConstraint("status IN ('queued', 'sent', 'accepted', 'rejected')", name="desk_answer_status_known"),
    Index("desk_answer_one_open", "claim_id", "claim_version", unique=True, postgresql_where=_OPEN, sqlite_where=_OPEN),
    Index("desk_answer_due", "status", "next_at"),
)
"""Answers as signed: `posted` holds the bytes that are sent until the edge has taken them, under `msg_id`, which a
signature made anew changes; `request_id` stays. A claim's version has one open
answer at most."""

set_aside = Table(
    "desk_set_aside",
    METADATA,
    Column("msg_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("exchange", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
)
"""Inbox items that were not believed or not understood, as received; an operator decides, the inbox goes on."""
