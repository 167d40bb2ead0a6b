"""Source epochs: streams, numbers and parked messages say in which epoch of their sender they count.

SQLite cannot change a key in place, so there the tables are written anew, row by row, in the same transaction.
"""

import sqlalchemy as sa
from alembic import op

revision = "m0003_source_epochs"
down_revision = "m0002_operator_requests"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "source_epochs",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_epoch", sa.Integer(), nullable=False),
        sa.Column("last_sq", sa.BigInteger(), nullable=False),
        sa.Column("last_eid", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("epoch"),
    )
    for name in ("streams", "outbox", "audit_rows", "inbox", "parked"):
        op.add_column(name, sa.Column("epoch", sa.Integer(), server_default="1", nullable=False))
    if op.get_context().dialect.name == "postgresql":
        _change_keys()
    else:
        for table in (_streams(), _outbox(), _audit_rows(), _inbox()):
            with op.batch_alter_table(table.name, recreate="always", copy_from=table):
                pass


def _change_keys() -> None:
    for name, columns in (
        ("streams", ["topic", "key", "epoch"]),
        ("inbox", ["consumer", "role", "topic", "key", "epoch"]),
    ):
        op.drop_constraint(f"{name}_pkey", name)
        op.create_primary_key(f"{name}_pkey", name, columns)
    op.drop_constraint("outbox_stream", "outbox")
    op.create_unique_constraint("outbox_stream", "outbox", ["topic", "key", "epoch", "seq"])
    op.drop_constraint("audit_rows_sq_key", "audit_rows")
    op.create_unique_constraint("audit_rows_number", "audit_rows", ["epoch", "sq"])


def _epoch() -> sa.Column[int]:
    return sa.Column("epoch", sa.Integer(), server_default="1", nullable=False)


def _streams() -> sa.Table:
    return sa.Table(
        "streams",
        sa.MetaData(),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        _epoch(),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "key", "epoch"),
    )


def _inbox() -> sa.Table:
    return sa.Table(
        "inbox",
        sa.MetaData(),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        _epoch(),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "role", "topic", "key", "epoch"),
    )


def _unpublished(name: str, table: sa.Table) -> None:
    where = sa.text("published_at IS NULL")
    sa.Index(f"{name}_unpublished", table.c.id, postgresql_where=where, sqlite_where=where)


def _audit_rows() -> sa.Table:
    table = sa.Table(
        "audit_rows",
        sa.MetaData(),
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("eid", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("clear", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.Column("sq", sa.BigInteger(), nullable=True),
        sa.Column("pv", sa.Text(), nullable=True),
        sa.Column("published_at", sa.Text(), nullable=True),
        _epoch(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("eid"),
        sa.UniqueConstraint("epoch", "sq", name="audit_rows_number"),
    )
    sa.Index("audit_rows_case", table.c.case_id, table.c.sq)
    _unpublished("audit_rows", table)
    return table


def _outbox() -> sa.Table:
    table = sa.Table(
        "outbox",
        sa.MetaData(),
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("msg_id", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("dossier", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("stamp", sa.LargeBinary(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("published_at", sa.Text(), nullable=True),
        _epoch(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("topic", "key", "epoch", "seq", name="outbox_stream"),
    )
    sa.Index("outbox_msg", table.c.msg_id)
    _unpublished("outbox", table)
    return table
