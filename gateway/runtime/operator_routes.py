"""`/v1/operations` of every role: lag, parked and quarantined messages, and what an operator may do about them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import UnavailableError
from gateway.protocol.exchange import Message, parse_message
from gateway.runtime.auth import Caller, require
from gateway.runtime.database import Transaction
from gateway.runtime.http import read_body, reply
from gateway.runtime.idempotency import Answer, Scope, Stored, answered_before, once, render, require_key
from gateway.runtime.keys import Keyring
from gateway.runtime.operations import Operations, Republish, Retry
from gateway.runtime.worker import Worker

Operator = Annotated[Caller, Depends(require("operate"))]
FORM_BYTES_MAX = 16 * 1024

F = TypeVar("F", bound=Message)


def operator_routes(operations: Operations, keyring: Keyring, workers: Sequence[Worker]) -> APIRouter:
    routes = APIRouter(prefix="/v1/operations", tags=["operators"])

    @routes.get("/lag")
    async def get_lag(_: Operator) -> Response:
        """Return what each consumer has before it, whether it stopped, and since when the oldest message waits."""
        consumers = [
            {
                "consumer": worker.group,
                "topics": [subscription.topic for subscription in worker.component.subscriptions],
                "lag": await _lag(worker),
                "stopped": worker.stopped,
            }
            for worker in workers
        ]
        waiting = await operations.database.read(operations.oldest_waiting)
        return reply(200, {"consumers": consumers, "oldest": dict(waiting)})

    @routes.get("/parked")
    async def get_parked(_: Operator) -> Response:
        """List messages that wait, oldest first, at most 200, without content."""
        return reply(200, {"parked": await operations.database.read(operations.list_parked)})

    @routes.get("/quarantine")
    async def get_quarantine(_: Operator) -> Response:
        """List bytes whose author is unknown, newest first, at most 200, without content."""
        return reply(200, {"quarantine": await operations.database.read(operations.list_quarantine)})

    @routes.post("/parked/retry")
    async def post_retry(caller: Operator, request: Request) -> Response:
        """Try parked messages again: `{"ids": [1, 2]}`. A consumer that stopped after halts goes on."""
        answer = await _change(request, caller, Retry, operations.retry)
        for worker in workers:
            worker.resume()
        return answer

    @routes.post("/outbox/republish")
    async def post_republish(caller: Operator, request: Request) -> Response:
        """Send published messages again: `{"topic": "…", "since": "2026-01-01T00:00:00Z"}`; receivers drop doubles."""
        return await _change(request, caller, Republish, operations.republish)

    async def _change(
        request: Request, caller: Caller, form: type[F], act: Callable[[Transaction, F, str], Awaitable[int]]
    ) -> Response:
        scope = Scope(caller.client_id, f"operate {form.__name__}", require_key(request), operations.clock)
        raw = await read_body(request, FORM_BYTES_MAX)
        stored = await answered_before(operations.database, scope, raw)
        if stored is None:
            wanted = parse_message(form, read_json_object(raw))

            async def effect(tx: Transaction) -> Answer:
                return Answer(200, {"count": await act(tx, wanted, caller.client_id)})

            async def work(tx: Transaction) -> Stored:
                return await once(tx, scope, raw, effect)

            stored = await operations.database.write(work)
        return render(stored, keyring)

    return routes


async def _lag(worker: Worker) -> int | None:
    """Count, or None while the bus does not answer."""
    try:
        return None if worker.consumer is None else await worker.consumer.lag()
    except UnavailableError:
        return None
