"""What operators read of settlement: breaks with the bank's page, obligations and batches that wait for somebody.

What they do about them is asked for and confirmed by two persons: `POST /v1/operations/requests` of core.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from gateway.protocol.clock import parse_rfc3339
from gateway.protocol.errors import NotFoundError
from gateway.protocol.money import MINOR_DIGITS, Money
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.http import reply
from gateway.runtime.web.paging import Cursors
from settlement import break_store, store
from settlement.actions import Deps
from settlement.actions.closing import DECISIONS
from settlement.batch import State as BatchState
from settlement.obligation import Actor, State

Operator = Annotated[Caller, Depends(require("operate"))]
After = str | None
Limit = Annotated[int, Query(ge=1, le=200)]
Resolved = Annotated[bool, Query(alias="all")]
WAITING_OBLIGATIONS = (State.HELD, State.REFUND_REQUESTED, State.OPEN, State.BATCHED)
WAITING_BATCHES = (
    *(BatchState.INSTRUCTED, BatchState.UNKNOWN, BatchState.ACCEPTED),
    *(BatchState.DEBITED, BatchState.CREDITED),
)
LISTED_MAX = 200
BreakId = Annotated[str, Path(pattern=r"^brk_[0-9a-f]{32}$")]


def operator_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1/operations", tags=["operators"])
    cursors = Cursors(deps.keyring.storage)

    @routes.get("/breaks")
    async def get_breaks(
        _: Operator, request: Request, after: After = None, limit: Limit = 50, *, resolved: Resolved = False
    ) -> Response:
        """List breaks, oldest first, page by page: kind, reason, owner, amount, age. `all` adds the resolved ones."""
        scope = f"operations/breaks/{resolved}"
        position: Sequence[str | int] = () if after is None else cursors.read(scope, after)
        wanted = partial(break_store.list_breaks, after=position, limit=limit + 1, resolved=resolved)
        found = await deps.database.read(wanted)
        body: dict[str, Any] = {"breaks": [_break_row(deps, row) for row in found[:limit]]}
        if len(found) <= limit:
            return reply(200, body)
        body["next"] = cursors.write(scope, (found[limit - 1]["since"], found[limit - 1]["break_id"]))
        every = "&all=true" if resolved else ""
        link = f'<{request.url.path}?after={body["next"]}&limit={limit}{every}>; rel="next"'
        return reply(200, body, {"Link": link})

    @routes.get("/breaks/{break_id}")
    async def get_break(_: Operator, break_id: BreakId) -> Response:
        """Tell everything about one break: what the bank wrote, and how it was resolved."""
        found = await deps.database.read(partial(break_store.show_break, break_id=break_id))
        return reply(200, _break_row(deps, found) | {"document": found["document"]})

    @routes.get("/breaks/{break_id}/page")
    async def get_page(_: Operator, break_id: BreakId) -> Response:
        """Return the bank's page that holds the break, as it was sent, at most its first MiB."""

        async def load(tx: Transaction) -> bytes:
            found = await break_store.show_break(tx, break_id)
            return await break_store.load_page(tx, found["page_sha256"])

        raw = await deps.database.read(load)
        headers = {"cache-control": "no-store", "content-disposition": "attachment"}
        return Response(raw, 200, headers | {"x-content-type-options": "nosniff"}, "application/octet-stream")

    @routes.get("/obligations")
    async def get_obligations(_: Operator, state: State = State.HELD) -> Response:
        """List obligations of one state that wait for somebody, at most 200, with what operators may do."""
        if state not in WAITING_OBLIGATIONS:
            raise NotFoundError("obligation.unknown")
        found = await deps.database.read(partial(store.list_obligations, state=state, limit=LISTED_MAX, lock=False))
        rows = [
            {
                "obligation_id": one.obligation_id,
                "state": one.state,
                "payer": one.payer,
                "payee": one.payee,
                "amount": str(one.amount),
                "currency": one.amount.currency,
                "reason_code": one.reason_code,
                "allowed_actions": list(one.allowed_actions(Actor.OPERATOR)),
            }
            for one in found
        ]
        return reply(200, {"obligations": rows})

    @routes.get("/batches")
    async def get_batches(_: Operator) -> Response:
        """List batches that wait for the bank, oldest first, at most 200; `decisions` are reasons of `decide-batch`."""
        found = await deps.database.read(partial(store.list_batches, states=WAITING_BATCHES, limit=LISTED_MAX))
        rows = [
            {
                "batch_id": one.batch_id,
                "state": one.state,
                "payer": one.payer,
                "payee": one.payee,
                "amount": str(one.amount),
                "currency": one.amount.currency,
                "value_date": one.value_date.isoformat(),
                "reference": one.end_to_end_id,
                "allowed_actions": list(one.allowed_actions(Actor.OPERATOR)),
                "decisions": [why for why, event in DECISIONS.items() if one.can(event, Actor.OPERATOR)],
            }
            for one in found
        ]
        return reply(200, {"batches": rows})

    return routes


def _break_row(deps: Deps, row: dict[str, Any]) -> dict[str, Any]:
    """Show one break; `age_s` counts until it was resolved. `amount` is signed as the account's balance moves."""
    ended = deps.clock.now() if row["resolved_at"] is None else parse_rfc3339(row["resolved_at"])
    known = row["amount_minor"] is not None and row["currency"] in MINOR_DIGITS
    names = ("break_id", "kind", "reason", "owner", "batch_id", "account", "currency", "since")
    shown = {name: row[name] for name in names}
    shown |= {"amount": str(Money(row["amount_minor"], row["currency"])) if known else None}
    shown |= {"age_s": int((ended - parse_rfc3339(row["since"])).total_seconds())}
    later = ("resolved_at", "resolution", "ticket", "asked_by", "confirmed_by", "page_sha256")
    return shown | {name: row[name] for name in later}
