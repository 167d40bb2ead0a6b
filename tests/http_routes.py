"""Routes that answer as a role's do, for what every role does alike."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from gateway.protocol.errors import ConflictError, UnavailableError
from gateway.runtime.web.http import (
    etag,
    if_match,
    prefer_wait,
    read_body,
    reply,
    request_id_of,
    required_if_match,
)

CANARY = "QQ-canary-1900"


def routes() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get("/claims/{number}")
    async def get_claim(request: Request, number: int, limit: Annotated[int, Query(le=9)] = 5) -> Response:
        return reply(200, {"number": number, "limit": limit, "id": request_id_of(request)}, {"ETag": etag(3)})

    @router.post("/claims")
    async def post_claim(request: Request) -> Response:
        return reply(202, {"bytes": len(await read_body(request, 1000))})

    @router.patch("/claims")
    async def patch_claim(request: Request) -> Response:
        return reply(200, {"based_on": required_if_match(request), "same": if_match(request)})

    @router.get("/wait")
    async def get_wait(request: Request) -> Response:
        return reply(200, {"wait": prefer_wait(request)})

    @router.get("/decide")
    async def get_decide() -> Response:
        raise ConflictError("claim.state", allowed_actions=["acknowledge"])

    @router.get("/busy")
    async def get_busy() -> Response:
        raise UnavailableError("admission.outbox-full", retry_after_s=30)

    @router.get("/bug")
    async def get_bug() -> Response:
        raise ValueError(CANARY)

    @router.get("/half")
    async def get_half() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise ValueError(CANARY)

        return StreamingResponse(parts())

    return router
