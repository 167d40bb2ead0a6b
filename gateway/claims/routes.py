"""Core's view of a claim for operators: states and amounts in clear, never content."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from gateway.claims import store
from gateway.claims.actions import Deps
from gateway.claims.actions.closing import offered
from gateway.protocol.money import Money
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.http import reply
from gateway.runtime.web.parameters import PathId


def claims_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1/claims", tags=["claims"])

    @routes.get("/{claim_id}")
    async def get_claim(claim_id: PathId, _: Annotated[Caller, Depends(require("claims:observe"))]) -> Response:
        """Return where a claim stands, for an operator: states, revision, amounts, and what two persons may do."""

        async def query(tx: Transaction) -> Response:
            claim = await store.load(tx, claim_id, lock=False)
            body = {
                "claim_id": claim.claim_id,
                "case_id": claim.case_id,
                "claim_version": claim.claim_version,
                "hospital": claim.hospital,
                "reader": claim.reader,
                "payer": claim.payer,
                "state": claim.state,
                "payment_state": claim.payment_state,
                "decision_version": claim.decision_version,
                "currency": claim.currency,
                "asked": str(Money(claim.asked_minor, claim.currency)),
                "obligated": str(Money(claim.obligated_minor, claim.currency)),
                "revision": claim.revision,
                "disputed_by": None if claim.dispute is None else claim.dispute.by,
                "void_pending": claim.void_obligation_id is not None,
                "allowed_actions": list(offered(claim)),
            }
            return reply(200, body, {"ETag": f'"{claim.revision}"'})

        return await deps.database.read(query)

    return routes
