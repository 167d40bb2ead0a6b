"""Queries of the participants component."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql

from gateway.participants.tables import accounts, releases
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import NotFoundError
from gateway.runtime.storage.database import Transaction, one, rows


async def save_release(tx: Transaction, number: int, raw: str, at: str) -> None:
    statement = postgresql.insert(releases).on_conflict_do_nothing()
    await tx.execute(statement, {"number": number, "raw": raw, "installed_at": at})


async def load_newest(tx: Transaction) -> str | None:
    found = await one(tx, select(releases.c.raw).order_by(releases.c.number.desc()).limit(1))
    return None if found is None else str(found.raw)


async def list_unpublished(tx: Transaction) -> Sequence[Row[Any]]:
    return await rows(tx, select(releases).where(releases.c.published_at.is_(None)).order_by(releases.c.number))


async def mark_published(tx: Transaction, number: int, at: str) -> None:
    await tx.execute(update(releases).where(releases.c.number == number).values(published_at=at))


async def unmark_published(tx: Transaction, since: str) -> int:
    """Have releases of a moment or later published again, the newest in any case; replicas take that one alone."""
    newest = select(func.max(releases.c.number)).scalar_subquery()
    here = and_(
        releases.c.published_at.is_not(None), or_(releases.c.number == newest, releases.c.installed_at >= since)
    )
    return (await tx.execute(update(releases).where(here).values(published_at=None))).rowcount


async def save_account(tx: Transaction, party: str, currency: str, account: dict[str, Any]) -> None:
    statement = postgresql.insert(accounts)
    changed = statement.on_conflict_do_update(
        index_elements=["party", "currency"], set_={"account": statement.excluded.account}
    )
    await tx.execute(changed, {"party": party, "currency": currency, "account": compact(account).decode()})


async def list_account_owners(tx: Transaction) -> dict[str, str]:
    """Return account number → party of every registered account."""
    found = await rows(tx, select(accounts.c.party, accounts.c.account))
    return {str(read_json_object(row.account.encode())["account"]): row.party for row in found}


async def load_account(tx: Transaction, party: str, currency: str) -> dict[str, Any]:
    here = (accounts.c.party == party, accounts.c.currency == currency)
    found = await one(tx, select(accounts.c.account).where(*here))
    if found is None:
        raise NotFoundError("account.unknown")
    return read_json_object(found.account.encode())
