"""The treasurers' and auditors' API: batches and what they pay, approvals, obligations, the books."""

from collections import Counter
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import parse_rfc3339
from gateway.protocol.errors import MalformedInputError, NotFoundError
from gateway.protocol.money import Money
from gateway.runtime.signals import failpoints
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.declared import declared, strings
from gateway.runtime.web.http import read_body, reply
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once, render, require_key
from gateway.runtime.web.parameters import PathId
from settlement import break_store, store
from settlement.actions import WRITER, Deps, approvals
from settlement.batch import Batch
from settlement.obligation import Actor

Reader = Annotated[Caller, Depends(require("batches:read"))]
Approver = Annotated[Caller, Depends(require("batches:approve"))]
APPROVAL_BYTES_MAX = 8 * 1024
BREAKS_MAX = 1000
APPROVAL = declared(
    strings(approval="Compact JWS (RFC 7515) over batch_id, batch_sha256, decision, person and at"),
    {"approval": "eyJhbGciOiJFZDI1NTE5Iiwi…"},
    idempotent=True,
)


def settlement_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["settlement"])

    @routes.get("/batches")
    async def get_batches(caller: Reader) -> Response:
        """List the caller's batches, newest first; an auditor sees all."""
        payer = None if _sees_all(deps, caller) else caller.party
        found = await deps.database.read(partial(store.list_batches_of, payer=payer))
        return reply(200, {"batches": [_batch_body(batch) for batch in found]})

    @routes.get("/batches/{batch_id}")
    async def get_batch(caller: Reader, batch_id: PathId) -> Response:
        """Return a batch with the body that is approved; its RFC 8785 bytes hash to `batch_sha256`."""
        found = await deps.database.read(partial(store.load_batch, batch_id=batch_id, lock=False))
        if found.payer != caller.party and not _sees_all(deps, caller):
            raise NotFoundError("batch.unknown")
        return reply(200, _batch_body(found))

    @routes.post("/batches/{batch_id}/approvals", openapi_extra=APPROVAL)
    async def post_approval(caller: Approver, batch_id: PathId, request: Request) -> Response:
        """Approve a batch: `{"approval": JWS}`, signed by the caller's own key over the batch hash."""
        scope = Scope(caller.client_id, "money", require_key(request), deps.clock)
        raw = await read_body(request, APPROVAL_BYTES_MAX)
        stored = await answered_before(deps.database, scope, raw)
        if stored is None:
            stored = await _approve(deps, caller, batch_id, scope, raw)
        return render(stored, deps.keyring)

    @routes.get("/obligations/{obligation_id}")
    async def get_obligation(caller: Reader, obligation_id: PathId) -> Response:
        """Return what one decision obliged and where it stands."""
        found = await deps.database.read(partial(store.load_obligation, obligation_id=obligation_id, lock=False))
        if found.payer != caller.party and not _sees_all(deps, caller):
            raise NotFoundError("obligation.unknown")
        body = {
            "obligation_id": found.obligation_id,
            "claim_id": found.claim_id,
            "decision_version": found.decision_version,
            "payer": found.payer,
            "payee": found.payee,
            "amount": str(found.amount),
            "currency": found.amount.currency,
            "state": found.state,
            "batch_id": found.batch_id,
            "reason_code": found.reason_code,
            "reference": found.end_to_end_id,
        }
        return reply(200, body)

    @routes.get("/ledger/trial-balance")
    async def get_trial_balance(caller: Reader) -> Response:
        """Return every account's balance and their sum per currency, which is zero (SET-1); for auditors."""
        if not _sees_all(deps, caller):
            raise NotFoundError("ledger.not-yours")
        found = await deps.database.read(store.list_balances)
        sums: Counter[str] = Counter()
        for account, amount_minor in found:
            sums[account.currency] += amount_minor
        accounts = [
            {
                "account": account.code,
                "balance": str(Money(amount, account.currency)),
                "currency": account.currency,
            }
            for account, amount in sorted(found)
        ]
        return reply(200, {"accounts": accounts, "sums_minor": dict(sums)})

    @routes.get("/breaks")
    async def get_breaks(caller: Reader) -> Response:
        """List bank rows that no payment explains in full, resolved or not, the 1,000 oldest; for auditors."""
        if not _sees_all(deps, caller):
            raise NotFoundError("ledger.not-yours")
        found = await deps.database.read(partial(break_store.list_breaks, after=(), limit=BREAKS_MAX, resolved=True))
        now = deps.clock.now()
        return reply(200, {"breaks": [_break_body(row, now) for row in found]})

    return routes


async def _approve(deps: Deps, caller: Caller, batch_id: str, scope: Scope, raw: bytes) -> Stored:
    found = read_json_object(raw)
    statement = found.get("approval")
    if set(found) != {"approval"} or not isinstance(statement, str):
        raise MalformedInputError("approval.malformed")

    async def effect(tx: Transaction) -> Answer:
        batch = await approvals.approve_batch(
            tx, deps, batch_id, party=caller.party, person=caller.person, statement=statement
        )
        failpoints.reach("api.before_commit")
        return Answer(200, {"batch_id": batch_id, "state": str(batch.state), "approvals": len(batch.approvals)})

    async def work(tx: Transaction) -> Stored:
        return await once(tx, scope, raw, effect)

    stored = await deps.database.write(work, key=WRITER)
    failpoints.reach("api.after_commit")
    return stored


def _sees_all(deps: Deps, caller: Caller) -> bool:
    return deps.trust.directory.party(caller.party).kind in ("auditor", "operator")


def _break_body(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    ended = now if row["resolved_at"] is None else parse_rfc3339(row["resolved_at"])
    names = ("break_id", "kind", "reason", "owner", "batch_id", "resolved_at", "resolution", "ticket")
    shown = {name: row[name] for name in names} | {"entry_key": row["subject"], "at": row["since"]}
    return shown | {"age_s": int((ended - parse_rfc3339(row["since"])).total_seconds())}


def _batch_body(batch: Batch) -> dict[str, Any]:
    return {
        "batch_id": batch.batch_id,
        "batch_sha256": batch.batch_hash,
        "state": batch.state,
        "payer": batch.payer,
        "payee": batch.payee,
        "amount": str(batch.amount),
        "currency": batch.amount.currency,
        "value_date": batch.value_date.isoformat(),
        "claims": len(batch.members),
        "reference": batch.end_to_end_id,
        "reason_code": batch.reason_code,
        "approvals": [found.treasurer for found in batch.approvals],
        "allowed_actions": list(batch.allowed_actions(Actor.TREASURER)),
        "body": batch.body(),
    }
