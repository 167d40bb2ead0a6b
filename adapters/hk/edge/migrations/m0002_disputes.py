"""The hash that an acknowledgement repeats, and the dispute that stands on a claim; unknown of claims of before."""

import sqlalchemy as sa
from alembic import op

revision = "m0002_disputes"
down_revision = "m0001_first"


def upgrade() -> None:
    op.add_column("hk_claim", sa.Column("content_sha256", sa.Text(), nullable=True))
    op.add_column("hk_claim", sa.Column("dispute", sa.Text(), nullable=True))
