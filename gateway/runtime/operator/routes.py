"""`/v1/operations` of every role: lag, parked and quarantined messages, and what an operator may do about them."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from gateway.protocol.canonical import read_json_object
from gateway.protocol.exchange import Message, parse_message
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.operator import store
from gateway.runtime.operator.actions import Ask, Confirm, Discard, Drop, Operations, Republish, Retry, VerifyAgain
from gateway.runtime.operator.alarms import findings
from gateway.runtime.operator.backlog import Gauges, read_lag, read_waiting
from gateway.runtime.operator.store import Page
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.declared import declared
from gateway.runtime.web.http import read_body, reply
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once, render, require_key
from gateway.runtime.web.paging import Cursors
from gateway.runtime.web.parameters import PathId

Operator = Annotated[Caller, Depends(require("operate"))]
FORM_BYTES_MAX = 16 * 1024

After = str | None
Limit = Annotated[int, Query(ge=1, le=200)]
Number = Annotated[int, Path(ge=1, lt=1 << 63)]

F = TypeVar("F", bound=Message)


class PageOf(Protocol):
    async def __call__(self, tx: Transaction, after: Sequence[str | int], limit: int) -> Page:
        """Read the page that begins after the sort values `after`, from the start if there are none."""


def operator_routes(operations: Operations, gauges: Gauges, keyring: Keyring) -> APIRouter:
    routes = APIRouter(prefix="/v1/operations", tags=["operators"])
    cursors = Cursors(keyring.storage)

    @routes.get("/lag")
    async def get_lag(_: Operator) -> Response:
        """Return what each consumer has before it, whether it stopped, and what waits since when."""
        consumers = []
        for worker in gauges.readings:
            lag = await read_lag(worker)
            total = None if lag is None else sum(lag.values())
            shown = {"consumer": worker.group, "topics": worker.topics, "lag": total, "stopped": worker.stopped}
            consumers.append(shown)
        waiting = await operations.database.read(read_waiting)
        stages = [{"stage": one.stage, "count": one.count, "since": one.since} for one in waiting]
        return reply(200, {"consumers": consumers, "waiting": stages})

    @routes.get("/doctor")
    async def get_doctor(_: Operator) -> Response:
        """Measure now, and return what is not ready and which alarms would ring, each with its page."""
        waiting = await operations.database.read(read_waiting)
        await gauges.set(waiting, operations.clock.now())
        await gauges.set_readiness()
        checks = {name: reason or "ok" for name, reason in (await gauges.readiness.answers()).items()}
        found = [
            {
                "alarm": one.alarm.name,
                "says": one.alarm.says,
                "where": one.where,
                "value": round(one.value),
                "limit": one.alarm.limit,
                "page": one.alarm.page,
            }
            for one in findings(gauges.role)
        ]
        return reply(200, {"role": gauges.role, "checks": checks, "findings": found})

    @routes.get("/parked")
    async def get_parked(_: Operator, request: Request, after: After = None, limit: Limit = 50) -> Response:
        """List messages that wait, oldest first, page by page, without content."""
        return await _listed(request, "parked", store.list_parked, after, limit)

    @routes.get("/parked/{number}")
    async def get_parked_message(_: Operator, number: Number) -> Response:
        """Tell everything about one message that waits, without content."""
        return reply(200, await operations.database.read(partial(store.show_parked, number=number)))

    @routes.get("/quarantine")
    async def get_quarantine(_: Operator, request: Request, after: After = None, limit: Limit = 50) -> Response:
        """List bytes that were set aside and not dropped, newest first, page by page, without content."""
        return await _listed(request, "quarantine", store.list_quarantine, after, limit)

    @routes.get("/quarantine/{number}")
    async def get_quarantined_bytes(_: Operator, number: Number) -> Response:
        """Tell everything about bytes that were set aside, dropped or not, without content."""
        return reply(200, await operations.database.read(partial(store.show_quarantined, number=number)))

    @routes.get("/requests")
    async def get_requests(_: Operator, request: Request, after: After = None, limit: Limit = 50) -> Response:
        """List what waits for a second person, oldest first, page by page; after 24 hours it is over."""
        return await _listed(request, "requests", operations.list_requests, after, limit)

    @routes.post("/parked/retry", openapi_extra=declared(Retry, {"ids": [1, 2]}, idempotent=True))
    async def post_retry(caller: Operator, request: Request) -> Response:
        """Try parked messages again: `{"ids": [1, 2]}`. A consumer that stopped after halts goes on."""
        return await _change(request, caller, Retry, operations.act)

    @routes.post(
        "/parked/drop", openapi_extra=declared(Drop, {"ids": [1], "reason": "test", "ticket": "OPS-1"}, idempotent=True)
    )
    async def post_drop(caller: Operator, request: Request) -> Response:
        """Pass over parked messages for good: `{"ids": [1], "reason": "test", "ticket": "OPS-1"}`; bytes are kept."""
        return await _change(request, caller, Drop, operations.act)

    @routes.post("/quarantine/retry", openapi_extra=declared(VerifyAgain, {"ids": [1]}, idempotent=True))
    async def post_quarantine_retry(caller: Operator, request: Request) -> Response:
        """Verify set-aside bytes as if just fetched: `{"ids": [1]}`; what verifies goes its way, `stay` is the rest."""
        return await _change(request, caller, VerifyAgain, operations.act)

    @routes.post(
        "/quarantine/drop",
        openapi_extra=declared(Discard, {"ids": [1], "reason": "forged", "ticket": "OPS-1"}, idempotent=True),
    )
    async def post_quarantine_drop(caller: Operator, request: Request) -> Response:
        """Forget set-aside bytes: `{"ids": [1], "reason": "forged", "ticket": "OPS-1"}`; place and hash stay."""
        return await _change(request, caller, Discard, operations.act)

    @routes.post(
        "/outbox/republish",
        openapi_extra=declared(
            Republish, {"topic": "audit.records.v1", "since": "2026-01-01T00:00:00Z"}, idempotent=True
        ),
    )
    async def post_republish(caller: Operator, request: Request) -> Response:
        """Send published messages again: `{"topic": "…", "since": "2026-01-01T00:00:00Z"}`; receivers drop doubles."""
        return await _change(request, caller, Republish, operations.act)

    @routes.post(
        "/requests",
        openapi_extra=declared(
            Ask,
            {"action": "close-claim", "form": {"claim_id": "claim_…", "reason": "insurer-silent", "ticket": "OPS-1"}},
            idempotent=True,
        ),
    )
    async def post_request(caller: Operator, request: Request) -> Response:
        """Ask for what takes two persons: `{"action": "resolve-break", "form": {…}}`; another confirms it."""
        return await _change(request, caller, Ask, operations.ask)

    @routes.post("/requests/{request_id}/confirm", openapi_extra=declared(Confirm, {}, idempotent=True))
    async def post_confirm(caller: Operator, request: Request, request_id: PathId) -> Response:
        """Confirm as the second person what another asked for about money: `{}`; then it happens."""

        async def act(tx: Transaction, _: Confirm, caller: Caller) -> Answer:
            return await operations.confirm(tx, request_id, caller)

        writer = await operations.database.read(partial(operations.writer_of_request, request_id=request_id))
        return await _change(request, caller, Confirm, act, about=request_id, writer=writer)

    async def _listed(request: Request, name: str, page_of: PageOf, after: str | None, limit: int) -> Response:
        scope = f"operations/{name}"
        position = () if after is None else cursors.read(scope, after)
        page = await operations.database.read(partial(page_of, after=position, limit=limit))
        body: dict[str, Any] = {name: page.rows}
        if page.last is None:
            return reply(200, body)
        body["next"] = cursors.write(scope, page.last)
        link = f'<{request.url.path}?after={body["next"]}&limit={limit}>; rel="next"'
        return reply(200, body, {"Link": link})

    async def _change(
        request: Request,
        caller: Caller,
        form: type[F],
        act: Callable[[Transaction, F, Caller], Awaitable[Answer]],
        *,
        about: str = "",
        writer: str = "",
    ) -> Response:
        operation = f"operate {form.__name__} {about}".rstrip()
        scope = Scope(caller.client_id, operation, require_key(request), operations.clock)
        raw = await read_body(request, FORM_BYTES_MAX)
        stored = await answered_before(operations.database, scope, raw)
        if stored is None:
            wanted = parse_message(form, read_json_object(raw))

            async def effect(tx: Transaction) -> Answer:
                return await act(tx, wanted, caller)

            async def work(tx: Transaction) -> Stored:
                return await once(tx, scope, raw, effect)

            stored = await operations.database.write(work, key=writer)
        return render(stored, keyring)

    return routes
