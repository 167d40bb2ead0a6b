import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.runtime.web.auth import Caller, require
from gateway.runtime.web.http import create_app, reply
from gateway.runtime.web.reference import document, reference_routes

VOID = {"meta", "link", "br"}


class Line(BaseModel):
    code: str = Field(description="Hospital's own `code` & <name>", max_length=20)
    parts: list["Line"] = []


class Bill(BaseModel):
    currency: str = Field(pattern="^[A-Z]{3}$")
    lines: list[Line]
    note: str | None = None


class WellFormed(HTMLParser):
    """Refuses unbalanced tags and collects what a page would load and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        self.ids |= {str(found["id"])} if "id" in found else set()
        reference = found.get("href") or found.get("src") or ""
        if tag in ("link", "img", "script"):
            self.loads.append(reference)
        if reference.startswith("#"):
            self.anchors.add(reference[1:])
        assert not any(name.startswith("on") or name == "style" for name in found), "no inline script or style"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app("Edge <sz>", clock=VirtualClock())
    routes = APIRouter(prefix="/v1", tags=["claims"])

    @routes.post("/claims/{claim_id}", status_code=202)
    async def post_claim(
        claim_id: str,
        bill: Bill,
        caller: Annotated[Caller, Depends(require("claims:submit"))],
        limit: Annotated[int, Query(ge=1, le=9, description="How `many`")] = 5,
    ) -> Response:
        """Take a bill <b>now</b>: `{lines}`.

        Second paragraph.
        """
        return reply(202, {"claim_id": claim_id, "limit": limit, "currency": bill.currency, "party": caller.party})

    @routes.get("/open", openapi_extra={"responses": {"200": {"content": {"application/json": {"example": {"a": 1}}}}}})
    async def get_open() -> Response:
        return reply(200, {})

    app.include_router(routes)
    app.include_router(reference_routes(app))
    outer = create_app("all", clock=VirtualClock())
    outer.mount("/sz", app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(outer), base_url="http://gateway") as client:
        yield client


async def page(http: httpx2.AsyncClient) -> tuple[str, WellFormed]:
    answer = await http.get("/sz/reference")
    assert answer.status_code == 200
    reader = WellFormed()
    reader.feed(answer.text)
    assert reader.open == []
    return answer.text, reader


async def test_the_page_is_well_formed_loads_only_from_us_and_runs_nothing(http: httpx2.AsyncClient) -> None:
    _, reader = await page(http)

    assert reader.loads == ["reference.css"]
    assert "script" not in reader.tags
    assert reader.anchors <= reader.ids
    style = await http.get("/sz/reference.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "url(" not in style.text
    assert "@import" not in style.text


async def test_the_policy_forbids_everything_but_our_style(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/sz/reference")

    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")


async def test_an_operation_shows_path_scope_parameters_body_and_answers(http: httpx2.AsyncClient) -> None:
    text, _ = await page(http)

    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    for shown in (
        "POST /sz/v1/claims/{claim_id}",
        "Scope: claims:submit",
        "limit query integer How many ; at least 1, at most 9, otherwise 5",
        "currency required string ^[A-Z]{3}$",
        "lines required object[]",
        "note string | null",
        "code required string Hospital&#39;s own code &amp; &lt;name&gt;; up to 20 characters",
        "202 Accepted",
        "401 Unauthorized",
        "422 Unprocessable",
    ):
        assert shown in plain, shown


async def test_text_of_ours_is_escaped_and_code_spans_are_code(http: httpx2.AsyncClient) -> None:
    text, _ = await page(http)

    assert "Edge &lt;sz&gt;" in text
    assert "&lt;b&gt;now&lt;/b&gt;" in text
    assert "<code>{lines}</code>" in text
    assert "Second paragraph." in text


async def test_an_example_is_shown(http: httpx2.AsyncClient) -> None:
    text, _ = await page(http)

    assert "<figcaption>Example</figcaption>" in text
    assert "&#34;a&#34;: 1" in text


async def test_a_schema_that_contains_itself_ends(http: httpx2.AsyncClient) -> None:
    text, _ = await page(http)

    assert 2 < text.count("<code>parts</code>") < 20


async def openapi(http: httpx2.AsyncClient) -> dict[str, Any]:
    return read_json_object((await http.get("/sz/openapi.json")).content)


async def test_the_document_is_openapi_3_1_and_tells_failures_as_problems(http: httpx2.AsyncClient) -> None:
    found = await openapi(http)

    operation = found["paths"]["/v1/claims/{claim_id}"]["post"]
    assert found["openapi"].startswith("3.1")
    assert found["servers"] == [{"url": "/sz"}]
    assert operation["security"] == [{"oauth2": ["claims:submit"]}]
    assert {"202", "401", "403", "422", "default"} == set(operation["responses"])
    for status in ("401", "403", "422", "default"):
        assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in found["components"]["schemas"]
    assert "401" not in found["paths"]["/v1/open"]["get"]["responses"]


def test_asking_twice_changes_nothing() -> None:
    app = create_app("x", clock=VirtualClock())

    assert document(app) == document(app)
