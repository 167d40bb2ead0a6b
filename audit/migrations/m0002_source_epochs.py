"""Source epochs: a source numbers anew after a restore; what cannot stand in the log is set aside, by source.

SQLite cannot change a constraint in place, so there the entries are written anew, row by row, in the same transaction.
"""

import sqlalchemy as sa
from alembic import op

revision = "m0002_source_epochs"
down_revision = "m0001_first"


def upgrade() -> None:
    op.create_table(
        "audit_set_aside",
        sa.Column("src", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("ep", sa.Integer(), nullable=False),
        sa.Column("sq", sa.BigInteger(), nullable=False),
        sa.Column("eid", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("src", "sha256"),
    )
    op.create_index("audit_set_aside_number", "audit_set_aside", ["src", "ep", "sq"])
    op.create_table(
        "audit_source_stop",
        sa.Column("src", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ep", sa.Integer(), nullable=False),
        sa.Column("sq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("src"),
    )
    with op.batch_alter_table("audit_entry") as batch:
        batch.add_column(sa.Column("ep", sa.Integer(), server_default="1", nullable=False))
        batch.drop_constraint("audit_entry_source_number", type_="unique")
        batch.create_unique_constraint("audit_entry_source_number", ["src", "ep", "sq"])
