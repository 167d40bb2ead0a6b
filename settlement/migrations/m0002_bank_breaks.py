"""Breaks as rows of their own, kept pages, and what stops a cursor; breaks of older versions are taken over."""

import sqlalchemy as sa
from alembic import op

from gateway.protocol.canonical import read_json_object
from gateway.protocol.money import Money
from settlement.breaks import OPERATOR, break_id

revision = "m0002_bank_breaks"
down_revision = "m0001_first"


def upgrade() -> None:
    op.create_table(
        "settlement_bank_page",
        sa.Column("page_sha256", sa.Text(), nullable=False),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("deflated", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("page_sha256"),
    )
    breaks = op.create_table(
        "settlement_break",
        sa.Column("break_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("page_sha256", sa.Text(), nullable=True),
        sa.Column("posting", sa.Text(), nullable=True),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("resolved_at", sa.Text(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=True),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("break_id"),
        sa.UniqueConstraint("subject"),
    )
    op.create_index("settlement_break_open", "settlement_break", ["resolved_at", "since"], unique=False)
    op.create_index("settlement_break_batch", "settlement_break", ["batch_id"], unique=False)
    with op.batch_alter_table("settlement_bank_entry", schema=None) as batch_op:
        batch_op.add_column(sa.Column("fingerprint", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("origin", sa.Text(), nullable=True))
        batch_op.create_index("settlement_bank_entry_fingerprint", ["fingerprint"], unique=False)
    with op.batch_alter_table("settlement_cursor", schema=None) as batch_op:
        batch_op.add_column(sa.Column("stuck_since", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("stuck_code", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("page_sha256", sa.Text(), nullable=True))
    # an older key is the fingerprint, 64 hexadecimal digits, and the occurrence
    op.execute("UPDATE settlement_bank_entry SET fingerprint = substr(entry_key, 1, 64)")
    _take_over(breaks)


def _take_over(breaks: sa.Table) -> None:
    """Make each stored break a row that waits for a person; what it left in suspense is read from the journal."""
    bind = op.get_bind()
    stored = sa.table(
        "settlement_bank_entry",
        *(sa.column(name) for name in ("entry_key", "outcome", "kind", "batch_id", "document", "at")),
    )
    legs = sa.table(
        "settlement_leg", *(sa.column(name) for name in ("entry_id", "kind", "party", "currency", "amount_minor"))
    )
    for row in bind.execute(sa.select(stored).where(stored.c.outcome == "break")).all():
        document, posting = read_json_object(row.document.encode()), f"break:{row.entry_key}"
        leg = bind.execute(sa.select(legs).where(legs.c.entry_id == posting, legs.c.kind == "suspense")).first()
        amount = Money.parse(document["amount"], document["currency"])
        whole = amount.amount_minor if document["side"] == "credit" else -amount.amount_minor
        found = {
            "break_id": break_id(row.entry_key),
            "subject": row.entry_key,
            "kind": row.kind,
            "owner": OPERATOR if leg is None else leg.party,
            "batch_id": row.batch_id,
            "account": document["account"],
            "amount_minor": whole if leg is None else leg.amount_minor,
            "currency": document["currency"],
            "document": row.document,
            "posting": None if leg is None else posting,
            "since": row.at,
        }
        bind.execute(sa.insert(breaks), found)
