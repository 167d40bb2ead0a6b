"""The hospital's API: hand bills in, check them beforehand, see where claims stand and what happened to them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from adapters.sz.actions import Deps, answers, disputes, intake
from adapters.sz.formats import FORMATS
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.declared import NOTHING, declared
from gateway.runtime.web.http import (
    JSON,
    WAIT_S_MAX,
    etag,
    language_headers,
    language_of,
    read_body,
    reply,
    required_if_match,
)
from gateway.runtime.web.idempotency import render, require_key
from gateway.runtime.web.paging import Cursors
from gateway.runtime.web.parameters import PathId

PAGE_MAX = 200
MOVE_BYTES_MAX = 1024
BILL = {
    "type": "object",
    "required": ["billing", "consent", "coverage", "receipts", "settlement_list"],
    "description": "A bill in the national format and what a claim needs beside it; docs/hospitals.md has every field",
}
FILE = {"type": "string", "format": "binary", "description": "A bill as a file; docs/hospitals.md has every table"}

Submitter = Annotated[Caller, Depends(require("claims:submit"))]
Reader = Annotated[Caller, Depends(require("claims:read"))]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def hospital_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["claims"])
    cursors = Cursors(deps.keyring.storage)

    @routes.post("/claims", status_code=202, openapi_extra=_declared_bill(deps, idempotent=True))
    async def post_claim(caller: Submitter, request: Request) -> Response:
        """Take a bill in: 202 with a signed receipt once durable, or every fault of the bill at once."""
        key = require_key(request)
        raw = await read_body(request, deps.bill_bytes_max, media_type=_media_types(deps, caller.party))
        return render(await intake.submit(deps, caller.party, key, raw, language_of(request)), deps.keyring)

    @routes.post("/validate", openapi_extra=_declared_bill(deps))
    async def post_validate(caller: Submitter, request: Request) -> Response:
        """Check a bill as `POST /claims` would, keep nothing; tells what was tidied and what would not be sent."""
        raw = await read_body(request, deps.bill_bytes_max, media_type=_media_types(deps, caller.party))
        language = language_of(request)
        body = intake.validate(deps, caller.party, raw, language)
        return reply(200, body, language_headers(language) if "warnings" in body else {})

    @routes.get("/claims")
    async def get_claims(caller: Reader, after: str | None = None, limit: Limit = 50) -> Response:
        """List the caller's claims, oldest first, page by page."""
        scope = f"claims/{caller.party}"
        position = 0 if after is None else int(cursors.read(scope, after)[0])

        async def query(tx: Transaction) -> Response:
            found = await answers.show_claims(tx, deps, caller.party, position, limit)
            last = cursors.write(scope, [found[-1][0] if found else position])
            more = len(found) == limit
            headers = {"Link": f'</sz/v1/claims?after={last}&limit={limit}>; rel="next"'} if more else {}
            return reply(200, {"items": [shown for _, shown in found], "next": last}, headers)

        return await deps.database.read(query)

    @routes.get("/claims/{claim_id}")
    async def get_claim(caller: Reader, claim_id: PathId, request: Request) -> Response:
        """Return where a claim stands, the insurer's decision with its texts, and what may be done now.

        A refused claim says why (`refusal`), a disputed one who disputes which message (`dispute`).
        """
        language = language_of(request)

        async def query(tx: Transaction) -> Response:
            shown = await answers.show_claim(tx, deps, claim_id, caller.party, language)
            told = language_headers(language) if "refusal" in shown else {}
            return reply(200, shown, {"ETag": etag(shown["revision"]), **told})

        return await deps.database.read(query)

    @routes.post(
        "/claims/{claim_id}/dispute-withdrawal",
        status_code=202,
        openapi_extra=declared(NOTHING, {}, idempotent=True, if_match=True),
    )
    async def post_dispute_withdrawal(caller: Submitter, claim_id: PathId, request: Request) -> Response:
        """Withdraw the dispute of an insurer's answer: `{}`; the claim stands as before. 202, core's word is an event.

        Needs Idempotency-Key and If-Match. Money that was voided meanwhile takes a new decision of the insurer.
        """
        asked = _asked(caller, claim_id, request)
        raw = await read_body(request, MOVE_BYTES_MAX)
        return render(await disputes.ask(deps, asked, disputes.WITHDRAWAL, raw), deps.keyring)

    @routes.post(
        "/claims/{claim_id}/give-up",
        status_code=202,
        openapi_extra=declared(NOTHING, {}, idempotent=True, if_match=True),
    )
    async def post_give_up(caller: Submitter, claim_id: PathId, request: Request) -> Response:
        """Give up a claim that the insurer disputes: `{}`; its receipts may then be claimed under a new number.

        Needs Idempotency-Key and If-Match. 202, core's word is an event.
        """
        asked = _asked(caller, claim_id, request)
        raw = await read_body(request, MOVE_BYTES_MAX)
        return render(await disputes.ask(deps, asked, disputes.GIVING_UP, raw), deps.keyring)

    @routes.get("/claims/{claim_id}/timeline")
    async def get_timeline(caller: Reader, claim_id: PathId, request: Request) -> Response:
        """Return what happened to a claim, oldest first."""
        language = language_of(request)

        async def query(tx: Transaction) -> Response:
            return reply(
                200,
                {"events": await answers.show_timeline(tx, claim_id, caller.party, language)},
                language_headers(language),
            )

        return await deps.database.read(query)

    @routes.get("/events")
    async def get_events(
        caller: Reader,
        after: str | None = None,
        limit: Limit = 50,
        wait: Annotated[float, Query(ge=0, le=WAIT_S_MAX)] = 0,
    ) -> Response:
        """Return the caller's events after a cursor: at least once, in order per claim; waits up to `wait` s."""
        page = await deps.feed.page(caller.party, after, limit=limit, wait_s=wait)
        return reply(200, {"items": list(page.items), "next": page.next})

    return routes


def _media_types(deps: Deps, hospital: str = "") -> tuple[str, ...]:
    """Return what the bills of a hospital come as; of every hospital here, where it is none of them or not named."""
    names = {deps.formats[hospital]} if hospital in deps.formats else {*deps.formats.values()} or {*FORMATS}
    return tuple(media_type for name in FORMATS if name in names for media_type in FORMATS[name].media_types)


def _declared_bill(deps: Deps, *, idempotent: bool = False) -> dict[str, Any]:
    """Declare a bill in every media type that this edge's hospitals use; only JSON has a schema."""
    operation = declared(BILL, idempotent=idempotent)
    schemas = {JSON: BILL}
    operation["requestBody"]["content"] = {
        media_type: {"schema": schemas.get(media_type, FILE)} for media_type in _media_types(deps)
    }
    return operation


def _asked(caller: Caller, claim_id: PathId, request: Request) -> disputes.Asked:
    return disputes.Asked(caller.party, claim_id, required_if_match(request), require_key(request))
