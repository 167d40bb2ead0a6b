"""Tables of the participants component, prefix `participants_`: releases in every role, bank accounts in core only."""

from sqlalchemy import Column, Integer, MetaData, Table, Text

METADATA = MetaData()

releases = Table(
    "participants_release",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("raw", Text, nullable=False),
    Column("installed_at", Text, nullable=False),
    Column("published_at", Text),
)

accounts = Table(
    "participants_account",
    METADATA,
    Column("party", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("account", Text, nullable=False),
)
"""`account` is JSON: registered Latin name, account number, bank identifiers, town, country. Never leaves core."""
