"""The catalogue release that eligibility is judged against, for anyone who wants to check a hash."""

from fastapi import APIRouter
from starlette.responses import Response

from gateway.protocol.uses import CatalogueRelease
from gateway.runtime.web.http import reply


def catalogue_routes(release: CatalogueRelease) -> APIRouter:
    routes = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])

    @routes.get("/release")
    async def get_catalogue_release() -> Response:
        """Return the release and its hash; an empty one leaves every use `UNDETERMINED`."""
        return reply(200, release.model_dump(mode="json") | {"sha256": release.sha256})

    return routes
