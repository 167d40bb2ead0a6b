"""The auditor's API, the log as static files (C2SP tlog-tiles), and a witness's two calls."""

from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi import Path as Path_
from starlette.responses import PlainTextResponse, Response

from audit import actions, store, witness
from audit.actions import Deps
from audit.log_folder import CHECKPOINT, read_file
from audit.merkle import VerificationError
from audit.tiles import parse_path
from gateway.protocol.canonical import sha256_hex
from gateway.protocol.errors import (
    ForbiddenError,
    GatewayError,
    InvalidInputError,
    MalformedInputError,
    NotFoundError,
)
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.declared import answers, declared
from gateway.runtime.web.http import read_body, reply
from gateway.runtime.web.links import Link, Page, Section, answer_page
from gateway.runtime.web.parameters import PathId

SourceCode = Annotated[str, Path_(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Number = Annotated[int, Path_(ge=1, lt=1 << 31)]
Auditor = Annotated[Caller, Depends(require("audit:read"))]
SUBMISSION_BYTES_MAX = 64 * 1024
ABOUT_LOG = """One log a year: a checkpoint and tiles that never change. Verify one off line, with keys from elsewhere:
`python -m audit.verify log --log ADDRESS/YEAR/ --trust FILE`."""
SIZE_TYPE = "text/x.tlog.size"
SUBMISSION = declared(
    {"type": "string", "description": "`old <size>`, proof hashes, an empty line, the signed checkpoint"},
    media_type="*/*",
)
CONFLICT = answers(SIZE_TYPE, status=409, text=True)


def audit_routes(deps: Deps) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["audit"])

    @routes.get("/claims/{cref}")
    async def get_events(cref: PathId, _: Auditor) -> Response:
        """Return every event of a claim (by its case id) in log order, with the index to prove it by."""

        async def query(tx: Transaction) -> Response:
            return reply(200, await actions.follow_claim(tx, cref))

        return await deps.database.read(query)

    @routes.get("/exceptions")
    async def get_exceptions(_: Auditor) -> Response:
        """Return what the rules found."""
        found = await deps.database.read(store.list_exceptions)
        return reply(200, {"exceptions": [dict(row._mapping) for row in found]})

    @routes.get("/logs")
    async def get_logs(_: Auditor) -> Response:
        """Return each log's signed size, and whether witnesses have cosigned it."""

        async def query(tx: Transaction) -> Response:
            head = await store.load_head(tx, deps.sequencer.origin)
            shown = {"origin": deps.sequencer.origin, "vkey": str(deps.sequencer.signer.vkey)}
            if head is not None:
                shown |= {"size": str(head.size), "cosigned": "yes" if head.published else "awaiting witnesses"}
            return reply(200, {"logs": [shown], "fork": deps.sequencer.fork})

        return await deps.database.read(query)

    @routes.get("/sources/{source}")
    async def get_source(source: SourceCode) -> Response:
        """Return the last entry that the log has of a role, as signed by it, and why nothing more goes in, if so.

        Public like the log itself: a role asks here at its start whether the log knows more of it than it does.
        """
        if source not in {key.name for key in deps.sequencer.source_keys()}:
            raise NotFoundError("source.unknown")
        return reply(200, await deps.database.read(partial(actions.show_source, source=source)))

    @routes.get("/sources/{source}/entries/{epoch}/{sq}")
    async def get_source_entry(source: SourceCode, epoch: Number, sq: Number) -> Response:
        """Return the entry of a role that stands at a number of an epoch, as signed by it."""
        row = await deps.database.read(partial(store.load_entry_at, src=source, epoch=epoch, sq=sq))
        if row is None:
            raise NotFoundError("source.no-such-entry")
        return reply(200, {"source": source, "index": row.idx, "log": row.log, "entry": bytes(row.entry).decode()})

    return routes


def log_routes(folder: Path, vkeys: dict[str, str]) -> APIRouter:
    """Serve `/<year>/checkpoint`, `/<year>/tile/…`, `/<year>/vkey`; what is missing is exactly 404."""
    routes = APIRouter(tags=["log"])

    @routes.get("/")
    async def get_years(request: Request) -> Response:
        """List the years; one log a year. A browser gets a page."""
        years = sorted(vkeys.items())
        sections = [Section(f"Log of {year}", _year_links(year), f"Verifier key `{vkey}`") for year, vkey in years]
        body = {"logs": [{"year": year, "vkey": vkey} for year, vkey in years]}
        return answer_page(request, Page("The signed log (C2SP tlog-tiles)", ABOUT_LOG, sections), body)

    @routes.get("/{year}/vkey", response_class=PlainTextResponse)
    async def get_vkey(year: PathId) -> Response:
        """Return the log's note verifier key, one line."""
        if year not in vkeys:
            raise NotFoundError("log.unknown")
        return PlainTextResponse(vkeys[year] + "\n", headers=_headers("no-cache"))

    @routes.get("/{year}/checkpoint", response_class=PlainTextResponse)
    async def get_checkpoint(year: PathId) -> Response:
        """Return the newest cosigned checkpoint, a signed note."""
        raw = _read(folder, year, CHECKPOINT, vkeys)
        return PlainTextResponse(raw.decode(), headers=_headers("no-cache"))

    @routes.get("/{year}/tile/{path:path}", response_class=Response, responses=answers("application/octet-stream"))
    async def get_tile(year: PathId, path: PathId) -> Response:
        """Return a hash tile or an entry bundle; its bytes never change."""
        try:
            tile = parse_path(f"tile/{path}")
        except VerificationError:
            raise NotFoundError("log.no-such-file") from None
        raw = _read(folder, year, tile.path, vkeys)
        headers = _headers("public, max-age=31536000, immutable")
        return Response(raw, media_type="application/octet-stream", headers=headers)

    return routes


def _year_links(year: str) -> list[Link]:
    return [
        Link(f"{year}/checkpoint", "Checkpoint", "the newest head that is signed and cosigned"),
        Link(f"{year}/vkey", "Verifier key", "compare it with the one that you got elsewhere"),
    ]


def _headers(cache: str) -> dict[str, str]:
    return {"Cache-Control": cache, "Access-Control-Allow-Origin": "*"}


def _read(folder: Path, year: str, name: str, vkeys: dict[str, str]) -> bytes:
    if year not in vkeys:
        raise NotFoundError("log.unknown")
    try:
        return read_file(folder / year, name)
    except FileNotFoundError:
        raise NotFoundError("log.no-such-file") from None


def _problem_of(refusal: witness.WitnessRefusalError) -> GatewayError:
    """Say why a checkpoint was not cosigned; the protocol fixes the status and leaves the body open."""
    match refusal.status:
        case 403:
            return ForbiddenError("witness.log-signature")
        case 404:
            return NotFoundError("witness.log-unknown")
        case 422:
            return InvalidInputError("witness.not-consistent")
        case _:
            return MalformedInputError("witness.submission-malformed")


def witness_routes(deps: witness.Deps) -> APIRouter:
    routes = APIRouter(tags=["witness"])

    @routes.post("/add-checkpoint", response_class=PlainTextResponse, openapi_extra=SUBMISSION, responses=CONFLICT)
    async def post_checkpoint(request: Request) -> Response:
        """Cosign a checkpoint that is consistent with the last one cosigned (C2SP tlog-witness).

        The protocol names no media type of the request, so every one is taken, also none.
        """
        raw = await read_body(request, SUBMISSION_BYTES_MAX, media_type=None)
        try:
            return PlainTextResponse((await witness.add_checkpoint(deps, raw)).decode())
        except witness.WitnessRefusalError as refusal:
            if refusal.size is None:
                raise _problem_of(refusal) from None
            # the protocol demands exactly this type; as `media_type` it would get a charset
            return Response(f"{refusal.size}\n", refusal.status, {"content-type": SIZE_TYPE})

    @routes.get("/vkey", response_class=PlainTextResponse)
    async def get_vkey() -> Response:
        """Return this witness's cosigning key, one line."""
        return PlainTextResponse(f"{deps.signer.vkey}\n")

    @routes.get("/{origin_sha256}/checkpoint", response_class=PlainTextResponse)
    async def get_cosigned(origin_sha256: PathId) -> Response:
        """Return the newest checkpoint cosigned for a log, named by the SHA-256 of its origin."""
        for key in deps.logs:
            if sha256_hex(key.name.encode()) == origin_sha256:
                found = await deps.database.read(partial(store.load_witnessed, origin=key.name, lock=False))
                if found is not None:
                    return PlainTextResponse(bytes(found.note).decode())
        raise NotFoundError("log.unknown")

    return routes
