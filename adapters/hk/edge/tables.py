"""Tables of the Hong Kong edge, prefix `hk_`. Nothing here can be read by this role: dossiers stay sealed."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

claims = Table(
    "hk_claim",
    METADATA,
    Column("claim_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("party", Text, nullable=False, index=True),
    Column("hospital", Text, nullable=False),
    Column("msg_id", Text, nullable=False),
    Column("claim_version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("allowed_actions", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("content_sha256", Text),
    Column("dispute", Text),
)
"""Projection of core's claim: whose it is, what its reader may do next, and the dispute that stands, as JSON."""

messages = Table(
    "hk_message",
    METADATA,
    Column("msg_id", Text, primary_key=True),
    Column("party", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("claim_id", Text, nullable=False),
    Column("exchange", LargeBinary, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
)
"""Exchange objects as delivered, by receiving party."""

requests = Table(
    "hk_request",
    METADATA,
    Column("sender", Text, primary_key=True),
    Column("msg_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("claim_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("faults", Text),
    Column("state", Text),
    Column("revision", Integer),
    Column("allowed_actions", Text),
    Column("at", Text, nullable=False),
)
"""What a party posted and what core said of it; (sender, msg_id) is unique for ever."""
