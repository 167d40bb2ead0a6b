"""Drafted by gateway.runtime.storage.schema; read before it was committed."""

import sqlalchemy as sa
from alembic import op

revision = "m0001_first"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "witness_head",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("origin"),
    )
