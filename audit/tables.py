"""Tables of the audit component, prefix `audit_`."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

METADATA = MetaData()

entries = Table(
    "audit_entry",
    METADATA,
    Column("log", Text, primary_key=True),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("eid", Text, nullable=False, unique=True),
    Column("src", Text, nullable=False),
    Column("sq", BigInteger, nullable=False),
    Column("typ", Text, nullable=False),
    Column("cref", Text, index=True),
    Column("entry", LargeBinary, nullable=False),
    Column("ep", Integer, nullable=False, server_default="1"),
    UniqueConstraint("src", "ep", "sq", name="audit_entry_source_number"),
)
"""Dense indexes, durably assigned. From here on the bytes of every tile are determined. `ep` is the source's epoch."""

set_aside = Table(
    "audit_set_aside",
    METADATA,
    Column("src", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("ep", Integer, nullable=False),
    Column("sq", BigInteger, nullable=False),
    Column("eid", Text, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
    Index("audit_set_aside_number", "src", "ep", "sq"),
)
"""Signed entries that cannot stand where they claim to: `skipped` ones go in once the missing numbers have come,
`forked` ones stay as evidence. Owner: the sequencer's consumer."""

stops = Table(
    "audit_source_stop",
    METADATA,
    Column("src", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("ep", Integer, nullable=False),
    Column("sq", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
)
"""Sources whose entries no longer go in, with the first entry that could not. Owner: the sequencer's consumer."""

heads = Table(
    "audit_head",
    METADATA,
    Column("log", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("published", LargeBinary),
    Column("at", Text, nullable=False),
)
"""The signed head, compared and swapped: at most one root is ever signed per size (LOG-2)."""

exceptions = Table(
    "audit_exception",
    METADATA,
    Column("rule", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("eid", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("at", Text, nullable=False),
)

rule_progress = Table(
    "audit_rule_progress",
    METADATA,
    Column("log", Text, primary_key=True),
    Column("idx", BigInteger, nullable=False),
)
