"""Tables of settlement, prefix `settlement_`. The journal is append-only; money keys are unique for ever."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, MetaData, Table, Text

from settlement import batch, obligation

METADATA = MetaData()


def _one_of(column: str, names: list[str], table: str) -> CheckConstraint:
    listed = ", ".join(f"'{name}'" for name in names)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{table}_{column}_known")


obligations = Table(
    "settlement_obligation",
    METADATA,
    Column("obligation_id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("claim_id", Text, nullable=False),
    Column("decision_version", Integer, nullable=False),
    Column("payer", Text, nullable=False),
    Column("payee", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("batch_id", Text),
    Column("attempt", Integer, nullable=False),
    Column("reason_code", Text),
    Column("end_to_end_id", Text),
    Column("decision", Text, nullable=False),
    Column("at", Text, nullable=False),
    _one_of("state", [str(state) for state in obligation.State], "settlement_obligation"),
    Index("settlement_obligation_state", "state"),
    Index("settlement_obligation_claim", "claim_id"),
)
"""`decision` is the insurer's signed manifest: why this is owed."""

batches = Table(
    "settlement_batch",
    METADATA,
    Column("batch_id", Text, primary_key=True),
    Column("payer", Text, nullable=False),
    Column("payee", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("uetr", Text, nullable=False, unique=True),
    Column("end_to_end_id", Text, nullable=False, unique=True),
    Column("remittance_id", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", Text, nullable=False),
    _one_of("state", [str(state) for state in batch.State], "settlement_batch"),
    Index("settlement_batch_state", "state"),
)

entries = Table(
    "settlement_entry",
    METADATA,
    Column("entry_id", Text, primary_key=True),
    Column("cause", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("booked_at", Text, nullable=False),
    Column("value_date", Text, nullable=False),
    Column("reverses", Text),
)

legs = Table(
    "settlement_leg",
    METADATA,
    Column("entry_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("party", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("counterparty", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor <> 0", name="settlement_leg_not_zero"),
)

bank_entries = Table(
    "settlement_bank_entry",
    METADATA,
    Column("entry_key", Text, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("kind", Text),
    Column("batch_id", Text),
    Column("document", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("fingerprint", Text),
    Column("origin", Text),
    Index("settlement_bank_entry_fingerprint", "fingerprint"),
)
"""Every movement the bank told of, once, with what became of it: matched, or a break of a kind.

`origin` is the notification that showed it first; NULL in rows of version 0.1.0's first schema until it is shown again.
"""

breaks = Table(
    "settlement_break",
    METADATA,
    Column("break_id", Text, primary_key=True),
    Column("subject", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text),
    Column("owner", Text, nullable=False),
    Column("batch_id", Text),
    Column("account", Text),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
    Column("document", Text, nullable=False),
    Column("page_sha256", Text),
    Column("posting", Text),
    Column("since", Text, nullable=False),
    Column("resolved_at", Text),
    Column("resolution", Text),
    Column("ticket", Text),
    Column("asked_by", Text),
    Column("confirmed_by", Text),
    Index("settlement_break_open", "resolved_at", "since"),
    Index("settlement_break_batch", "batch_id"),
)
"""What a person has to look at, once per `subject` (an entry's or row's key). `posting` is its suspense entry, if any.

`amount_minor` is what is unexplained, signed as the account's balance moves; NULL where the row could not be read.
"""

bank_pages = Table(
    "settlement_bank_page",
    METADATA,
    Column("page_sha256", Text, primary_key=True),
    Column("bank", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("deflated", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
)
"""Pages of the bank that hold breaks or could not be read, zlib; never requests or headers, hence no secret."""

cursors = Table(
    "settlement_cursor",
    METADATA,
    Column("bank", Text, primary_key=True),
    Column("cursor", Text, nullable=False),
    Column("stuck_since", Text),
    Column("stuck_code", Text),
    Column("page_sha256", Text),
)
"""How far a bank's notifications were read. `stuck_*` say since when and why it goes no further, and on which page."""
