"""Pages that say where to go on: `/` of a process and of every role, `/log/`, the guides. HTML for people, JSON else.

A browser names `text/html` before everything else and gets a page; a program that asks for JSON, for anything, or for
nothing gets JSON (RFC 9110 section 12.5.1). Pages load nothing but their own stylesheet.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from gateway.protocol.errors import NotFoundError
from gateway.runtime.web.http import reply
from gateway.runtime.web.reference import POLICY, template

GUIDES = Path(__file__).parents[3] / "docs"
"""The guides of a source tree; an installed package has none."""


@dataclass(frozen=True, slots=True)
class Link:
    """`href` is relative to the page; `text` says what is there, code between backticks."""

    href: str
    label: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    links: Sequence[Link]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    text: str
    sections: Sequence[Section]


FACE_LINKS = (
    Link("reference", "Reference", "every operation of this API"),
    Link("openapi.json", "OpenAPI", "the same for programs"),
    Link("readyz", "Readiness", "what this role waits for"),
    Link("metrics", "Metrics", "in Prometheus' text format"),
)


def answer_page(request: Request, page: Page, body: Mapping[str, Any]) -> Response:
    """Answer `page` to a browser and `body` to a program."""
    if not wants_page(request.headers.get("accept", "")):
        return reply(200, body, {"vary": "Accept"})
    text = template("links.html").render(page=page)
    headers = {"content-security-policy": POLICY, "cache-control": "no-store", "vary": "Accept"}
    return Response(text, 200, headers, "text/html")


def wants_page(accept: str) -> bool:
    """Tell whether `Accept` ranks HTML above JSON; what is equally good is JSON."""
    qualities: dict[str, float] = {}
    for part in accept.lower().split(",")[:32]:
        media_range, *parameters = (word.strip() for word in part.split(";"))
        given = next((word.removeprefix("q=") for word in parameters if word.startswith("q=")), "1")
        qualities[media_range] = float(given) if re.fullmatch(r"[01](\.[0-9]{0,3})?", given) else 0.0
    html = _quality(qualities, "text/html", "text/*")
    return html > _quality(qualities, "application/json", "application/*")


def _quality(qualities: Mapping[str, float], *ranges: str) -> float:
    """Take the quality of the most specific range that is there."""
    return next((qualities[one] for one in (*ranges, "*/*") if one in qualities), 0.0)


def style_routes() -> APIRouter:
    """`links.css`, beside every page that asks for it."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/links.css")
    async def get_style() -> Response:
        style = files(__package__).joinpath("links.css").read_bytes()
        return Response(style, 200, {"cache-control": "max-age=3600"}, "text/css")

    return routes


def face_routes(title: str) -> APIRouter:
    """`/` of one role's API: its reference, health and metrics."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def get_face(request: Request) -> Response:
        links = {link.label.lower(): link.href for link in FACE_LINKS}
        page = Page(title, "An API of the claims gateway.", [Section("Here", FACE_LINKS)])
        return answer_page(request, page, {"title": title, **links})

    routes.include_router(style_routes())
    return routes


def front_routes(title: str, version: str, faces: Mapping[str, str], guides: Path = GUIDES) -> APIRouter:
    """`/` of a process: what is mounted in it. `faces` is prefix → title; the guides are listed where there are any."""
    routes = APIRouter(include_in_schema=False)
    names = _guides(guides)

    @routes.get("/")
    async def get_front(request: Request) -> Response:
        sections = [Section(face, _links_of(prefix)) for prefix, face in faces.items()]
        if names:
            sections.append(Section("Guides", [Link("docs/", "docs/", "for hospitals, insurers, auditors, operators")]))
        body = {
            "title": title,
            "version": version,
            "mounted": [_described(prefix, face) for prefix, face in faces.items()],
            **({"docs": "docs/"} if names else {}),
        }
        return answer_page(request, Page(title, f"Version {version}. What this process serves:", sections), body)

    routes.include_router(style_routes())
    for path in (*faces, *(["/docs"] if names else [])):
        routes.add_api_route(path.rstrip("/"), _to_page, methods=["GET"])
    if names:
        _add_guides(routes, guides, names)
    return routes


async def _to_page(request: Request) -> Response:
    """Send a person who left the slash out to the page, by a relative reference: no `Host` enters it."""
    return Response(None, 308, {"location": f"{request.url.path.rpartition('/')[2]}/", "cache-control": "no-cache"})


def _links_of(prefix: str) -> list[Link]:
    inside = prefix.strip("/")
    log = [Link(f"{inside}/", "The log's years", "for verifiers")] if prefix == "/log" else []
    return [*log, *(Link(f"{inside}/{link.href}", link.label, link.text) for link in FACE_LINKS)]


def _described(prefix: str, face: str) -> dict[str, str]:
    inside = prefix.strip("/")
    return {"title": face, "href": f"{inside}/"} | {link.label.lower(): f"{inside}/{link.href}" for link in FACE_LINKS}


def _guides(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))


def _add_guides(routes: APIRouter, folder: Path, names: Sequence[str]) -> None:
    """Serve the guides as text, by the names that were there at the start and no other."""

    @routes.get("/docs/")
    async def get_guides(request: Request) -> Response:
        page = Page(
            "Guides", "As text, from the source tree.", [Section("Files", [Link(name, name) for name in names])]
        )
        return answer_page(request, page, {"guides": list(names)})

    @routes.get("/docs/links.css")
    async def get_guides_style() -> Response:
        return Response(files(__package__).joinpath("links.css").read_bytes(), 200, None, "text/css")

    @routes.get("/docs/{name:path}")
    async def get_guide(name: str) -> Response:
        if name not in names:
            raise NotFoundError("http.not-found")
        return PlainTextResponse(_read_guide(folder / name), headers={"cache-control": "no-cache"})


@cache
def _read_guide(path: Path) -> str:
    return path.read_text(encoding="utf-8")
