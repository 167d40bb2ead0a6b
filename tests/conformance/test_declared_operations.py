"""OpenAPI documents say what operations demand and give: compared with what each operation answers."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_hostile_text import Attack, without_braces
from tests.walk import house
from tests.walk_parties import Insurer, hand_in

WITHOUT_KEY = ("/oauth/token", "/validate", "/inbox/ack", "/add-checkpoint")
"""Changes that need no Idempotency-Key: a jti counts once, nothing is kept, repeating is harmless, compare-and-swap."""
TEXT = ("/vkey", "/checkpoint")
MOVES = ("/desk/v1/claims/{claim_id}/", "/sz/v1/claims/{claim_id}/")
"""What moves a claim says which state of it it was decided on."""


@pytest.fixture
async def roles(tmp_path: Path) -> AsyncIterator[Attack]:
    async with house(tmp_path / "data") as gateway, gateway.http() as http:
        yield Attack(gateway, http)


def parameters(operation: Mapping[str, Any], place: str) -> Iterator[Mapping[str, Any]]:
    return (found for found in operation.get("parameters", ()) if found["in"] == place)


async def test_every_operation_declares_headers_bodies_and_media_types_as_they_are(roles: Attack) -> None:
    operations = list(roles.operations())

    for method, path, operation in operations:
        answers = {status: set(found.get("content", {})) for status, found in operation["responses"].items()}
        bodies = operation.get("requestBody", {}).get("content", {})
        required = {found["name"] for found in parameters(operation, "header") if found.get("required")}
        for found in parameters(operation, "path"):
            assert found["schema"].get("pattern") or found["schema"]["type"] == "integer", (path, found)
        assert (method == "POST") == bool(bodies), path
        assert ("Idempotency-Key" in required) == (method == "POST" and not path.endswith(WITHOUT_KEY)), path
        assert ("If-Match" in required) == (method == "POST" and path.startswith(MOVES)), path
        if path.endswith(TEXT) and method == "GET":
            assert answers["200"] == {"text/plain"}, path
        if path.endswith("/content"):
            assert answers["200"] == {"application/fhir+json"}, path
        for media_type, content in bodies.items():
            assert content["schema"], (path, media_type)
            assert "$defs" not in content["schema"], path
    assert len(operations) > 50


async def test_a_header_that_is_declared_as_required_is_missed(roles: Attack) -> None:
    for method, path, operation in roles.operations():
        names = [found["name"] for found in parameters(operation, "header") if found["required"]]
        headers = await roles.authorization(path, operation) | {"content-type": "application/json"}
        for name in names:
            others = {other: '"1"' for other in names if other != name}

            answer = await roles.http.request(method, without_braces(path), headers=headers | others, content=b"{}")

            assert answer.status_code == (428 if name == "If-Match" else 400), (path, name, answer.text)


async def test_the_body_of_every_change_is_of_the_declared_media_type_only(roles: Attack) -> None:
    for method, path, operation in roles.operations():
        for media_type in operation.get("requestBody", {}).get("content", {}):
            headers = await roles.authorization(path, operation) | roles.key() | {"if-match": '"1"'}
            headers["content-type"] = "application/x-other"

            answer = await roles.http.request(method, without_braces(path), headers=headers, content=b"{}")

            assert answer.status_code == (400 if media_type == "*/*" else 415), (path, answer.text)
            if media_type != "*/*":
                assert answer.json()["errors"][0]["accepted"] == [media_type]


async def test_head_is_answered_on_every_get_and_other_methods_name_those_there_are(roles: Attack) -> None:
    for method, path, operation in roles.operations():
        headers = await roles.authorization(path, operation)
        if method == "GET":
            got = await roles.http.get(without_braces(path), headers=headers)
            head = await roles.http.head(without_braces(path), headers=headers)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers["content-type"] == got.headers["content-type"], path

        refused = await roles.http.request("PATCH", without_braces(path), headers=headers)

        assert refused.status_code == 405
        assert method in refused.headers["allow"].split(", "), path
        assert ("HEAD" in refused.headers["allow"]) == ("GET" in refused.headers["allow"])


async def test_unknown_query_parameters_are_refused_on_every_operation_but_static_files(roles: Attack) -> None:
    for method, path, operation in roles.operations():
        headers = await roles.authorization(path, operation)

        answer = await roles.http.request(method, f"{without_braces(path)}?limt=1", headers=headers)

        if not path.startswith(("/log", "/witness")):
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/limt"), path


async def test_references_of_every_role_begin_at_the_hosts_root(roles: Attack) -> None:
    claimed, insurer = await hand_in(roles.gateway), Insurer(roles.gateway)
    await insurer.review(claimed)
    inbox = (await roles.gateway.session("ins-lantau-system", "hk").get("/v1/inbox")).json()["items"]
    events = (await roles.gateway.session("hosp-nanshan-his", "sz").get("/v1/events")).json()["items"]

    assert inbox
    assert events
    for item in (*inbox, *events):
        assert item["href"].startswith(("/hk/v1/messages/", "/sz/v1/claims/"))
        client = "ins-lantau-system" if item["href"].startswith("/hk") else "hosp-nanshan-his"
        prefix = item["href"][:3]
        session = roles.gateway.session(client, prefix.strip("/"))
        assert (await session.get(item["href"].removeprefix(prefix))).status == 200
