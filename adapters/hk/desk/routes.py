"""The desk's API for the insurer's own people and systems. What a claim says is readable here and nowhere else."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from adapters.hk.desk import store
from adapters.hk.desk.actions import Deps, answering
from adapters.hk.desk.actions.answering import Asked, Shown, answer_body
from adapters.hk.desk.claim import DeskClaim
from adapters.hk.desk.form import DecisionForm, ReturnForm
from gateway.protocol.errors import ForbiddenError
from gateway.protocol.money import Money
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.declared import NOTHING, answers, declared
from gateway.runtime.web.http import etag, language_headers, language_of, read_body, reply, required_if_match
from gateway.runtime.web.idempotency import render, require_key
from gateway.runtime.web.paging import Cursors
from gateway.runtime.web.parameters import PathId

PAGE_MAX = 200
BODY_BYTES_MAX = 1 << 20
DECISION = declared(
    DecisionForm,
    {
        "final": True,
        "entries": [
            {
                "lines": [0, 1],
                "benefit": "800.00",
                "patient": "200.00",
                "other_payer": "0.00",
                "adjusted": "0.00",
                "class_code": "G003",
                "text": {"en": "Not covered", "zh_hans": "不在保障范围", "zh_hant": "不在保障範圍"},
            }
        ],
        "text": {"en": "Decided as agreed"},
    },
    idempotent=True,
    if_match=True,
)
RETURN = declared(
    ReturnForm, {"class_code": "G016", "text": {"en": "The total is wrong"}}, idempotent=True, if_match=True
)

Reader = Annotated[Caller, Depends(require("desk:read"))]
Decider = Annotated[Caller, Depends(require("desk:decide"))]


def desk_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["desk"])
    cursors, scope = Cursors(deps.keyring.storage), f"desk/{deps.party}"

    @routes.get("/claims")
    async def get_claims(
        caller: Reader,
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    ) -> Response:
        """List claims in the order in which they were opened, without their content."""
        _ours(deps, caller)
        place = None if after is None else cursors.read(scope, after)
        found = await deps.database.read(partial(store.list_claims, after=place, limit=limit + 1))
        body: dict[str, Any] = {"items": [_claim_body(claim) for claim in found[:limit]]}
        if len(found) <= limit:
            return reply(200, body)
        last = found[limit - 1]
        following = cursors.write(scope, (last.opened_at, last.claim_id, last.claim_version))
        link = f'<{_root(request)}/v1/claims?after={following}&limit={limit}>; rel="next"'
        return reply(200, body | {"next": following}, {"Link": link})

    @routes.get("/claims/{claim_id}")
    async def get_claim(caller: Reader, claim_id: PathId, request: Request) -> Response:
        """Return a claim as opened: lines, differences, state, what may be done next. ETag is core's revision."""
        _ours(deps, caller)
        shown = await answering.show(deps, claim_id)
        language = language_of(request)
        told = language_headers(language) if any(answer.faults for answer in shown.answers) else {}
        return reply(200, _shown_body(shown, language), {"ETag": etag(shown.claim.revision), **told})

    @routes.get("/claims/{claim_id}/content", response_class=Response, responses=answers("application/fhir+json"))
    async def get_content(caller: Reader, claim_id: PathId) -> Response:
        """Return the claim's FHIR R4 collection Bundle, as the hospital sealed it."""
        _ours(deps, caller)
        raw = await answering.show_content(deps, claim_id)
        return Response(raw, media_type="application/fhir+json", headers={"Cache-Control": "no-store"})

    @routes.post("/claims/{claim_id}/decision", status_code=202, openapi_extra=DECISION)
    async def post_decision(caller: Decider, claim_id: PathId, request: Request) -> Response:
        """Decide by entries that explain the bill; needs Idempotency-Key and If-Match. 202, core's word at Location."""
        asked = _asked(deps, caller, claim_id, request)
        return render(await answering.decide(deps, asked, await read_body(request, BODY_BYTES_MAX)), deps.keyring)

    @routes.post("/claims/{claim_id}/return", status_code=202, openapi_extra=RETURN)
    async def post_return(caller: Decider, claim_id: PathId, request: Request) -> Response:
        """Return a claim that cannot be processed: `{class_code, text}`; needs Idempotency-Key and If-Match."""
        asked = _asked(deps, caller, claim_id, request)
        return render(await answering.return_claim(deps, asked, await read_body(request, BODY_BYTES_MAX)), deps.keyring)

    @routes.post(
        "/claims/{claim_id}/dispute-withdrawal",
        status_code=202,
        openapi_extra=declared(NOTHING, {}, idempotent=True, if_match=True),
    )
    async def post_dispute_withdrawal(caller: Decider, claim_id: PathId, request: Request) -> Response:
        """Withdraw this insurer's own dispute: `{}`; the claim stands as before. Needs Idempotency-Key and If-Match."""
        asked = _asked(deps, caller, claim_id, request)
        raw = await read_body(request, BODY_BYTES_MAX)
        return render(await answering.withdraw_dispute(deps, asked, raw), deps.keyring)

    @routes.get("/requests/{request_id}")
    async def get_request(caller: Reader, request_id: PathId, request: Request) -> Response:
        """Return what became of an answer: pending, accepted, or rejected with code and allowed actions."""
        _ours(deps, caller)
        answer = await deps.database.read(partial(store.load_answer, request_id=request_id))
        language = language_of(request)
        body = answer_body(answer, language)
        return reply(200, body, language_headers(language) if "errors" in body else {})

    return routes


def _ours(deps: Deps, caller: Caller) -> None:
    if caller.party != deps.party:
        raise ForbiddenError("desk.not-your-desk")


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _asked(deps: Deps, caller: Caller, claim_id: str, request: Request) -> Asked:
    _ours(deps, caller)
    key = require_key(request)
    return Asked(caller, claim_id, required_if_match(request), key, f"{_root(request)}/v1/requests/")


def _claim_body(claim: DeskClaim) -> dict[str, Any]:
    return {
        "claim_id": claim.claim_id,
        "case_id": claim.case_id,
        "claim_version": claim.claim_version,
        "hospital": claim.hospital,
        "carrier": claim.carrier,
        "payer": claim.payer,
        "total": str(Money(claim.total_minor, claim.currency)),
        "asked": str(Money(claim.asked_minor, claim.currency)),
        "currency": claim.currency,
        "state": claim.state,
        "revision": claim.revision,
        "decision_version": claim.decision_version,
        "differences": list(claim.differences),
        "received_at": claim.received_at,
        "opened_at": claim.opened_at,
    }


def _shown_body(shown: Shown, language: str) -> dict[str, Any]:
    claim = shown.claim
    signed = claim.signed
    lines = [
        {
            "index": line.index,
            "amount": str(Money(line.amount_minor, claim.currency)),
            "text": line.text,
            "code": line.code,
            "category": line.category,
            "programme": line.programme,
        }
        for line in shown.lines
    ]
    return (
        _claim_body(claim)
        | _dispute_body(claim)
        | {
            "billing_mode": signed.billing_mode,
            "payee": signed.payee,
            "paid": [
                {"kind": paid.kind, "amount": str(Money(paid.amount_minor, claim.currency)), "order": paid.order}
                for paid in signed.paid
            ],
            "unpaid": str(Money(signed.unpaid_minor, claim.currency)),
            "allowed_actions": list(shown.allowed_actions),
            "lines": lines,
            "requests": [answer_body(answer, language) for answer in shown.answers],
        }
    )


def _dispute_body(claim: DeskClaim) -> dict[str, Any]:
    """Tell who has stopped the claim, and what the dispute says is wrong with the message that it is about."""
    if claim.dispute is None:
        return {}
    places = claim.disputed_places if claim.dispute.by == claim.hospital else claim.differences
    return {"dispute": claim.dispute.model_dump(mode="json") | {"differences": list(places)}}
