"""The insurer's API: a pull inbox that never skips, messages in and out, and what became of them."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from adapters.hk.edge import actions, store
from adapters.hk.edge.actions import Deps
from gateway.protocol.canonical import read_json_object
from gateway.protocol.errors import MalformedInputError, parse_fault
from gateway.protocol.exchange import EXCHANGE_BYTES_MAX
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.declared import declared, strings
from gateway.runtime.web.http import language_headers, language_of, read_body, reply
from gateway.runtime.web.idempotency import render, require_key
from gateway.runtime.web.parameters import PathId

PAGE_MAX = 200
WAIT_S_MAX = 30
CURSOR = strings(after="The `next` of a page of the inbox")
POSTED: dict[str, Any] = strings(manifest="Compact JWS (RFC 7515) by the author") | {
    "properties": {
        "manifest": {"type": "string", "description": "Compact JWS (RFC 7515) by the author over the clear fields"},
        "dossier": {"type": "string", "description": "JWE in JSON form (RFC 7516), where the message has content"},
    },
}
POSTED_EXAMPLE = {"manifest": "eyJhbGciOiJFZDI1NTE5Iiwi…", "dossier": '{"protected":"eyJlbmMi…"}'}

Reader = Annotated[Caller, Depends(require("inbox:read"))]
Writer = Annotated[Caller, Depends(require("messages:write"))]


def inbox_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["inbox"])

    @routes.get("/inbox")
    async def get_inbox(
        caller: Reader,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        wait: Annotated[float, Query(ge=0, le=WAIT_S_MAX)] = 0,
    ) -> Response:
        """Return what came for the caller after a cursor: at least once, in order per claim; waits up to `wait` s."""
        page = await deps.feed.page(caller.party, after, limit=limit, wait_s=wait)
        return reply(200, {"items": [_from_root(item) for item in page.items], "next": page.next})

    @routes.post("/inbox/ack", status_code=204, openapi_extra=declared(CURSOR, {"after": "AbC-…"}))
    async def post_ack(caller: Reader, request: Request) -> Response:
        """Remember that the caller has taken everything up to a cursor: `{"after": cursor}`. Repeating is harmless."""
        found = read_json_object(await read_body(request, 4096))
        cursor = found.get("after")
        if set(found) != {"after"} or not isinstance(cursor, str):
            raise MalformedInputError("feed.cursor")
        await deps.feed.acknowledge(caller.party, cursor)
        return Response(status_code=204)

    @routes.get("/messages/{msg_id}")
    async def get_message(caller: Reader, msg_id: PathId) -> Response:
        """Return an exchange object as delivered: `{manifest?, dossier?, receipt?, stamp}`, sealed to the caller."""

        async def query(tx: Transaction) -> bytes:
            return await store.load_message(tx, msg_id, caller.party)

        return Response(await deps.database.read(query), media_type="application/json")

    @routes.post("/messages", status_code=202, openapi_extra=declared(POSTED, POSTED_EXAMPLE, idempotent=True))
    async def post_message(caller: Writer, request: Request) -> Response:
        """Take a signed answer: `{manifest, dossier?}`. 202 with a receipt once durable; the outcome is at Location."""
        key = require_key(request)
        raw = await read_body(request, EXCHANGE_BYTES_MAX)
        return render(await actions.accept(deps, caller.party, key, raw), deps.keyring)

    @routes.get("/requests/{msg_id}")
    async def get_request(caller: Reader, msg_id: PathId, request: Request) -> Response:
        """Return what core said of a posted message: pending, accepted, or rejected with code and allowed actions.

        What was wrong stands in `errors`, in the form of a problem's.
        """

        async def query(tx: Transaction) -> dict[str, Any]:
            return await store.load_request(tx, caller.party, msg_id)

        found = await deps.database.read(query)
        faults = [parse_fault(text) for text in found.pop("faults", ())]
        if not faults:
            return reply(200, found)
        language = language_of(request)
        found["errors"] = [fault.as_dict(language) for fault in faults]
        return reply(200, found, language_headers(language))

    @routes.get("/claims/{claim_id}")
    async def get_claim(caller: Reader, claim_id: PathId) -> Response:
        """Return where a claim of the caller's stands, in clear: state, revision, allowed actions."""

        async def query(tx: Transaction) -> Response:
            claim = await store.load_claim(tx, claim_id, caller.party)
            body = store.claim_body(claim)
            return reply(200, body, {"ETag": f'"{claim.revision}"'})

        return await deps.database.read(query)

    return routes


def _from_root(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Show an item with a reference from the host's root; rows of earlier versions have one relative to the inbox."""
    href = str(item.get("href", ""))
    return item if href.startswith("/") else {**item, "href": actions.ROOT + href}
