"""Tables of the claims component, prefix `claims_`. States are guarded by CHECK as well as by the code's table."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, Table, Text

from gateway.claims.payment import PaymentState
from gateway.protocol.claim_life import State

METADATA = MetaData()


def _one_of(column: str, names: list[str]) -> CheckConstraint:
    listed = ", ".join(f"'{name}'" for name in names)
    return CheckConstraint(f"{column} IN ({listed})", name=f"claims_{column}_known")


claims = Table(
    "claims_claim",
    METADATA,
    Column("claim_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False, index=True),
    Column("claim_version", Integer, nullable=False),
    Column("msg_id", Text, nullable=False),
    Column("hospital", Text, nullable=False),
    Column("reader", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("billing_mode", Text, nullable=False),
    Column("payee", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("line_amounts_minor", Text, nullable=False),
    Column("asked_minor", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("payment_state", Text, nullable=False),
    Column("decision_version", Integer, nullable=False),
    Column("obligated_minor", BigInteger, nullable=False),
    Column("obligation_id", Text),
    Column("revision", Integer, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("content_sha256", Text),
    Column("answer_msg_id", Text),
    Column("money_state", Text),
    Column("void_obligation_id", Text),
    Column("disputed_by", Text),
    Column("dispute_msg_id", Text),
    Column("disputed_msg_id", Text),
    Column("disputed_from", Text),
    _one_of("state", [str(state) for state in State]),
    _one_of("payment_state", [str(state) for state in PaymentState]),
    CheckConstraint("obligated_minor <= asked_minor", name="claims_never_over_asked"),
)
"""The `dispute…` columns are set while a claim is disputed: by whom, by which message about which, the state before."""

messages = Table(
    "claims_message",
    METADATA,
    Column("sender", Text, primary_key=True),
    Column("msg_id", Text, primary_key=True),
    Column("claim_id", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("on_claim", Text),
    Index("claims_message_on_claim", "on_claim", "msg_id", unique=True),
)
"""Unique permanently: a message that a party signed counts once, and no two of a claim share an id, whoever signed.

`on_claim` is the claim's id; none on the second of two messages that shared an id before that was refused.
"""

numbers = Table(
    "claims_number",
    METADATA,
    Column("hospital", Text, primary_key=True),
    Column("claim_token", Text, primary_key=True),
    Column("claim_version", Integer, primary_key=True),
    Column("claim_id", Text, nullable=False),
)
"""Unique for ever: (hospital, claim number token, claim version)."""

live_receipts = Table(
    "claims_live_receipt",
    METADATA,
    Column("hospital", Text, primary_key=True),
    Column("receipt_token", Text, primary_key=True),
    Column("payer_rank", Integer, primary_key=True),
    Column("claim_id", Text, nullable=False, index=True),
)
"""One receipt is live on one claim per payer rank, across insurers."""
