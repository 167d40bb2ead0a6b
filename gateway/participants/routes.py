"""The signed release for those who are not on the bus: insurers' desks, clients, auditors."""

from fastapi import APIRouter
from starlette.responses import Response

from gateway.participants.actions import Deps


def registry_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1/registry", tags=["registry"])

    @routes.get("/release")
    async def get_release() -> Response:
        """Return the release in force, signed: `{release, registry_key}`, two compact JWS. It needs no login."""
        signed = deps.trust.signed
        headers = {"ETag": f'"{deps.trust.number}"', "Cache-Control": "no-cache"}
        return Response(signed.encode(), media_type="application/json", headers=headers)

    return routes
