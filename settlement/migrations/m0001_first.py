"""Drafted by gateway.runtime.storage.schema; read before it was committed."""

import sqlalchemy as sa
from alembic import op

revision = "m0001_first"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "settlement_bank_entry",
        sa.Column("entry_key", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry_key"),
    )
    op.create_table(
        "settlement_batch",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("payee", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("uetr", sa.Text(), nullable=False),
        sa.Column("end_to_end_id", sa.Text(), nullable=False),
        sa.Column("remittance_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'approved', 'instructed', 'accepted', 'rejected', 'unknown', 'debited', 'credited', 'reconciled', 'withdrawn')",
            name="settlement_batch_state_known",
        ),
        sa.PrimaryKeyConstraint("batch_id"),
        sa.UniqueConstraint("end_to_end_id"),
        sa.UniqueConstraint("uetr"),
    )
    with op.batch_alter_table("settlement_batch", schema=None) as batch_op:
        batch_op.create_index("settlement_batch_state", ["state"], unique=False)

    op.create_table(
        "settlement_cursor",
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bank"),
    )
    op.create_table(
        "settlement_entry",
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("booked_at", sa.Text(), nullable=False),
        sa.Column("value_date", sa.Text(), nullable=False),
        sa.Column("reverses", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_table(
        "settlement_leg",
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("counterparty", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name="settlement_leg_not_zero"),
        sa.PrimaryKeyConstraint("entry_id", "number"),
    )
    op.create_table(
        "settlement_obligation",
        sa.Column("obligation_id", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("decision_version", sa.Integer(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("payee", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("end_to_end_id", sa.Text(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'held', 'batched', 'instructed', 'sent', 'received', 'reconciled', 'voided', 'refund_requested')",
            name="settlement_obligation_state_known",
        ),
        sa.PrimaryKeyConstraint("obligation_id"),
    )
    with op.batch_alter_table("settlement_obligation", schema=None) as batch_op:
        batch_op.create_index("settlement_obligation_claim", ["claim_id"], unique=False)
        batch_op.create_index("settlement_obligation_state", ["state"], unique=False)
