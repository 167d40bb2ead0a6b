"""The one table of a witness, prefix `witness_`."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

witnessed = Table(
    "witness_head",
    METADATA,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
)
"""The newest head cosigned per log; compared and stored before anything is answered (LOG-10)."""
