"""What the Shenzhen edge keeps of claims: where each stands, its receipt, and its content under the case's key."""

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
    UniqueConstraint,
)

from gateway.runtime.storage.tables import BIG

METADATA = MetaData()

claims = Table(
    "sz_claims",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("claim_id", Text, nullable=False, unique=True),
    Column("case_id", Text, nullable=False),
    Column("hospital", Text, nullable=False),
    Column("claim_token", Text, nullable=False),
    Column("claim_version", Integer, nullable=False),
    Column("msg_id", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("asked_minor", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("payment_state", Text, nullable=False),
    Column("core_revision", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("allowed_actions", Text, nullable=False),
    Column("differences", Text, nullable=False),
    Column("stamp", LargeBinary, nullable=False),
    Column("kid", Text, nullable=False),
    Column("summary", LargeBinary, nullable=False),
    Column("bill", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    Column("at", Text, nullable=False),
    Column("dispute", Text),
    Column("disputed_places", Text),
    UniqueConstraint("hospital", "claim_token", "claim_version", name="sz_claims_number"),
    CheckConstraint("revision >= 1", name="sz_claims_revision"),
    Index("sz_claims_list", "hospital", "id"),
)
"""`summary` (claim number, line serials), `bill` (as handed in) and `answer` are sealed under the case's secret.

`stamp` and `kid` give the receipt again; (hospital, claim number, claim version) is taken for ever. `revision` counts
every change of the row and is its ETag; `core_revision` is core's. `dispute` (JSON) stands while a claim is disputed,
`disputed_places` (JSON) are those that the insurer's newest dispute names.
"""

events = Table(
    "sz_events",
    METADATA,
    Column("id", BIG, primary_key=True, autoincrement=True),
    Column("claim_id", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Index("sz_events_claim", "claim_id", "id"),
)
"""The timeline: one row a thing that happened, with clear fields only."""
