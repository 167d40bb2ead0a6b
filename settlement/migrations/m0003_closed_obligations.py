"""An obligation may end as `closed`. The names are written out: a migration stays what it was."""

from alembic import op

revision = "m0003_closed_obligations"
down_revision = "m0002_bank_breaks"

TABLE, NAME = "settlement_obligation", "settlement_obligation_state_known"
KNOWN = (
    "state IN ('open', 'held', 'batched', 'instructed', 'sent', 'received', 'reconciled', 'voided', 'closed',"
    " 'refund_requested')"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # the copy that SQLite needs is made without the old check, which is not reflected
        with op.batch_alter_table(TABLE, recreate="always") as batch_op:
            batch_op.create_check_constraint(NAME, KNOWN)
        return
    op.drop_constraint(NAME, TABLE, type_="check")
    op.create_check_constraint(NAME, TABLE, KNOWN)
