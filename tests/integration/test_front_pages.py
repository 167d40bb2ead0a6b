"""`/`, a role's `/`, `/log/` and the guides: a page for a browser, JSON for a program, no link that leads nowhere."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from gateway import VERSION
from gateway.protocol.clock import SystemClock
from gateway.roles import open_all, open_one
from gateway.runtime.web.links import wants_page
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
BASE = "http://127.0.0.1:8080"


class Links(HTMLParser):
    """Collects where a page leads and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        reference = dict(attrs).get("href")
        self.tags.add(tag)
        if reference is not None:
            (self.loads if tag == "link" else self.anchors).append(reference)


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    init(tmp_path, layout=Layout(BASE), clock=SystemClock())
    gateway = await open_all(tmp_path, SystemClock())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway.app), base_url=BASE) as client:
        yield client
    await gateway.close()


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*, application/json;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=nonsense", False),
    ],
)
def test_a_page_is_for_who_prefers_html(accept: str, page: bool) -> None:
    assert wants_page(accept) is page


@pytest.mark.parametrize("path", ["/", "/log/", "/sz/", "/witness/hk/", "/docs/"])
async def test_a_browser_gets_a_page_that_loads_its_own_style_alone(http: httpx2.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers={"accept": BROWSER})

    links = Links()
    links.feed(answer.text)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert answer.headers["vary"] == "Accept"
    assert links.loads == ["links.css"]
    assert not links.tags & {"script", "style", "img", "iframe", "form"}
    for reference in (*links.loads, *links.anchors):
        target = await http.get(urljoin(path, reference))
        missing = target.json().get("code") if target.status_code == 404 else None
        # a log that has no checkpoint yet says so; every other link leads somewhere
        assert target.status_code in (200, 503) or missing == "log.no-such-file", reference


async def test_the_front_page_links_the_reference_of_everything_that_is_mounted(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/")

    found = answer.json()
    assert (answer.headers["content-type"], answer.headers["vary"]) == ("application/json", "Accept")
    assert found["version"] == VERSION
    assert {one["href"] for one in found["mounted"]} == {
        *("sz/", "core/", "settlement/", "hk/", "desk/", "audit/", "log/", "witness/sz/", "witness/hk/")
    }
    for one in found["mounted"]:
        assert (await http.get(f"/{one['reference']}")).status_code == 200


async def test_the_log_s_list_stays_json_for_programs(http: httpx2.AsyncClient) -> None:
    year = str(SystemClock().now().year)

    found = (await http.get("/log/")).json()

    assert [one["year"] for one in found["logs"]] == [year]
    assert (await http.get(f"/log/{year}/vkey", headers={"accept": BROWSER})).text.strip() == found["logs"][0]["vkey"]


async def test_a_role_that_runs_alone_lists_its_own(tmp_path: Path) -> None:
    init(tmp_path, layout=Layout(BASE), clock=SystemClock())
    gateway = await open_one(tmp_path / "roles" / "core", SystemClock())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway.app), base_url=BASE) as client:
        found = (await client.get("/")).json()
    await gateway.close()

    assert [one["href"] for one in found["mounted"]] == ["core/", "settlement/"]


@pytest.mark.parametrize("path", ["/docs/../pyproject.toml", "/docs/%2e%2e/pyproject.toml", "/docs/nowhere.md"])
async def test_nothing_but_the_guides_is_served_as_a_guide(http: httpx2.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/log", "/sz", "/witness/sz", "/docs"])
async def test_a_page_whose_last_slash_was_left_out_is_one_step_away(http: httpx2.AsyncClient, path: str) -> None:
    first = await http.get(path, headers={"Accept": BROWSER, "Host": "elsewhere.example"})

    assert first.status_code == 308
    assert urljoin(f"{BASE}{path}", first.headers["location"]) == f"{BASE}{path}/"
    assert (await http.get(f"{path}/", headers={"Accept": BROWSER})).status_code == 200
