"""Drafted by gateway.runtime.storage.schema; read before it was committed."""

import sqlalchemy as sa
from alembic import op

revision = "m0001_first"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "claims_claim",
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("claim_version", sa.Integer(), nullable=False),
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("hospital", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("billing_mode", sa.Text(), nullable=False),
        sa.Column("payee", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("line_amounts_minor", sa.Text(), nullable=False),
        sa.Column("asked_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("payment_state", sa.Text(), nullable=False),
        sa.Column("decision_version", sa.Integer(), nullable=False),
        sa.Column("obligated_minor", sa.BigInteger(), nullable=False),
        sa.Column("obligation_id", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "payment_state IN ('none', 'asked', 'instructed', 'funds_sent', 'funds_received', 'reconciled', 'voided', 'recoup_needed', 'settled_outside')",
            name="claims_payment_state_known",
        ),
        sa.CheckConstraint(
            "state IN ('received', 'in_review', 'returned', 'disputed', 'partly_decided', 'approved', 'approved_in_part', 'denied')",
            name="claims_state_known",
        ),
        sa.CheckConstraint("obligated_minor <= asked_minor", name="claims_never_over_asked"),
        sa.PrimaryKeyConstraint("claim_id"),
    )
    with op.batch_alter_table("claims_claim", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_claims_claim_case_id"), ["case_id"], unique=False)

    op.create_table(
        "claims_live_receipt",
        sa.Column("hospital", sa.Text(), nullable=False),
        sa.Column("receipt_token", sa.Text(), nullable=False),
        sa.Column("payer_rank", sa.Integer(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hospital", "receipt_token", "payer_rank"),
    )
    with op.batch_alter_table("claims_live_receipt", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_claims_live_receipt_claim_id"), ["claim_id"], unique=False)

    op.create_table(
        "claims_message",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sender", "msg_id"),
    )
    op.create_table(
        "claims_number",
        sa.Column("hospital", sa.Text(), nullable=False),
        sa.Column("claim_token", sa.Text(), nullable=False),
        sa.Column("claim_version", sa.Integer(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hospital", "claim_token", "claim_version"),
    )
