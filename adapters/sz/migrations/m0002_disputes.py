"""The dispute that stands on a claim, and what the insurer's names; unknown of claims of before."""

import sqlalchemy as sa
from alembic import op

revision = "m0002_disputes"
down_revision = "m0001_first"


def upgrade() -> None:
    op.add_column("sz_claims", sa.Column("dispute", sa.Text(), nullable=True))
    op.add_column("sz_claims", sa.Column("disputed_places", sa.Text(), nullable=True))
