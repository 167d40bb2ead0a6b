"""Drafted by gateway.runtime.storage.schema; read before it was committed."""

import sqlalchemy as sa
from alembic import op

revision = "m0001_first"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "desk_answer",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("claim_version", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("decision_version", sa.Integer(), nullable=True),
        sa.Column("posted", sa.LargeBinary(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("faults", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("allowed_actions", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Text(), nullable=False),
        sa.Column("authored_at", sa.Text(), nullable=False),
        sa.CheckConstraint("status IN ('queued', 'sent', 'accepted', 'rejected')", name="desk_answer_status_known"),
        sa.PrimaryKeyConstraint("request_id"),
        sa.UniqueConstraint("msg_id"),
    )
    with op.batch_alter_table("desk_answer", schema=None) as batch_op:
        batch_op.create_index("desk_answer_due", ["status", "next_at"], unique=False)
        batch_op.create_index(
            "desk_answer_one_open",
            ["claim_id", "claim_version"],
            unique=True,
            postgresql_where=sa.text("status IN ('queued', 'sent')"),
            sqlite_where=sa.text("status IN ('queued', 'sent')"),
        )

    op.create_table(
        "desk_claim",
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("claim_version", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("hospital", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("asked_minor", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("differences", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("allowed_actions", sa.Text(), nullable=False),
        sa.Column("decision_version", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("claim_id", "claim_version"),
        sa.UniqueConstraint("msg_id"),
    )
    with op.batch_alter_table("desk_claim", schema=None) as batch_op:
        batch_op.create_index("desk_claim_opened", ["opened_at", "claim_id", "claim_version"], unique=False)
        batch_op.create_index(batch_op.f("ix_desk_claim_case_id"), ["case_id"], unique=False)

    op.create_table(
        "desk_cursor",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("party"),
    )
    op.create_table(
        "desk_release",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "desk_set_aside",
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("exchange", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("msg_id"),
    )
