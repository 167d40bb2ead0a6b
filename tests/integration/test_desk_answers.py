"""Answers out of the insurer's desk, signed once and sent until taken; and what its people are shown."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import delete, select

from adapters.hk.desk.actions import reception
from adapters.hk.desk.tables import answers
from gateway.client.transport import Session
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.registry import Client
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.tables import case_secrets
from tests.claims_in_transit import a_claim, a_minimised, a_profile, delivered
from tests.conftest import MakeDatabase
from tests.desk_world import TABLES, DeskWorld, a_decision, an_accepted, refused
from tests.parties import INSURER, OTHER_INSURER, world

OPERATOR = "op-gateway"
CLAIM = "claim_transit0001"
DECISION = f"/v1/claims/{CLAIM}/decision"


@pytest.fixture
async def desk(make_database: MakeDatabase, tmp_path: Path) -> AsyncIterator[DeskWorld]:
    found = DeskWorld.open(make_database(*TABLES), tmp_path)
    yield found
    await found.close()


@pytest.fixture
async def person(desk: DeskWorld) -> AsyncIterator[Session]:
    await desk.review(delivered())
    async with desk.person() as session:
        yield session


# Sending


async def test_an_answer_whose_receipt_was_lost_is_sent_again_as_the_same_bytes_and_taken_once(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()
    desk.line.breaks = lambda request: "after" if request.method == "POST" else None
    await desk.send()
    desk.line.breaks = lambda _: None
    desk.clock.advance(timedelta(minutes=6))

    await desk.send()

    posts = [request for request in desk.line.asked if request.url.path == "/hk/v1/messages"]
    assert len(posts) == 2
    assert posts[0].content == posts[1].content
    assert posts[0].headers["Idempotency-Key"] == posts[1].headers["Idempotency-Key"]
    assert len(await desk.taken()) == 1
    assert [row.status for row in await desk.read(select(answers))] == ["sent"]


async def test_an_answer_that_waited_too_long_is_signed_anew_and_taken_once(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()
    [before] = await desk.read(select(answers))
    desk.clock.advance(timedelta(minutes=6))

    await desk.send()
    await desk.send()

    [after] = await desk.read(select(answers))
    [manifest] = await desk.taken()
    assert after.request_id == before.request_id
    assert manifest.msg_id == after.msg_id != before.msg_id
    authored = await desk.records("answer.authored")
    assert [one["clear"]["msg_id"] for one in authored] == [before.msg_id, after.msg_id]


async def test_while_the_edge_is_away_an_answer_waits_longer_each_time_and_is_not_lost(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()
    desk.line.breaks = lambda _: "before"

    for _ in range(3):
        await desk.send()
    [waiting] = await desk.read(select(answers))
    desk.line.breaks = lambda _: None
    desk.clock.advance(timedelta(minutes=2))
    await desk.send()

    assert (waiting.attempts, waiting.status) == (1, "queued")
    assert len(await desk.taken()) == 1


async def test_an_answer_that_the_edge_forbids_is_rejected_with_its_code_and_actions(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()
    elsewhere = an_accepted(a_claim(msg_id="msg_elsewhere001", sender=INSURER), state="returned", allowed_actions=())
    await desk.say(elsewhere)

    await desk.send()

    [answer] = await desk.read(select(answers))
    assert (answer.status, answer.code) == ("rejected", "claim.illegal-move")
    assert await desk.taken() == []


async def test_a_false_receipt_leaves_the_answer_queued(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()
    false = httpx2.Response(202, json={"msg_id": "x", "receipt": delivered().receipt})
    desk.line.breaks = lambda request: false if request.url.path == "/hk/v1/messages" else None

    await desk.send()

    assert [row.status for row in await desk.read(select(answers))] == ["queued"]


async def test_cores_refusal_is_shown_with_its_faults_and_frees_the_claim_for_another_answer(
    desk: DeskWorld, person: Session
) -> None:
    stored = await person.post(DECISION, a_decision(), key="one", if_match=2)
    await desk.send()
    manifest = (await desk.taken())[-1]
    await desk.say(
        Rejected(
            case_id=manifest.case_id,
            claim_id=CLAIM,
            in_reply_to=manifest.msg_id,
            to=INSURER,
            code="decision.refused",
            faults=("decision.over-asked /entries",),
            allowed_actions=("decide",),
        )
    )
    await desk.pull()

    request = (await person.get(f"/v1/requests/{stored.json()['request_id']}")).json()
    shown = (await person.get(f"/v1/claims/{CLAIM}")).json()

    assert (request["status"], request["code"]) == ("rejected", "decision.refused")
    [fault] = request["errors"]
    assert (fault["code"], fault["pointer"]) == ("decision.over-asked", "/entries")
    assert fault["detail"]
    assert fault["fix"]
    assert shown["allowed_actions"] == ["decide"]


# Reading


async def test_a_claim_shows_its_lines_amounts_and_what_may_be_done_next(person: Session) -> None:
    answer = await person.get(f"/v1/claims/{CLAIM}")

    shown = answer.json()
    assert answer.headers["etag"] == '"2"'
    assert shown["state"] == "in_review"
    assert shown["allowed_actions"] == ["return", "decide_partly", "decide", "dispute"]
    assert shown["lines"][0] | {"code": ...} == {
        "index": 0,
        "amount": "300.00",
        "text": "三人间床位费",
        "code": ...,
        "category": "01",
        "programme": False,
    }
    assert [line["programme"] for line in shown["lines"]].count(True) == 1


async def test_the_content_is_the_bundle_byte_for_byte_until_the_case_is_erased(
    desk: DeskWorld, person: Session
) -> None:
    answer = await person.get(f"/v1/claims/{CLAIM}/content")

    async def erase(tx: Transaction) -> None:
        await tx.execute(delete(case_secrets))

    await desk.database.inner.write(erase)
    problem = await refused(person.get(f"/v1/claims/{CLAIM}/content"))

    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["cache-control"] == "no-store"
    assert a_minimised().manifest.claim_id.encode() in answer.body
    assert (problem.status, problem.code) == (404, "case.erased")


async def test_the_list_pages_through_every_claim_once_without_content(desk: DeskWorld) -> None:
    claims_of = [delivered(a_claim(number=number), packed=a_minimised(number=number).packed) for number in range(1, 6)]
    await desk.present(*claims_of)
    await desk.pull()

    async with desk.person() as person:
        seen, query = [], {"limit": "2"}
        while True:
            page = (await person.get("/v1/claims", query=query)).json()
            seen += [item["claim_id"] for item in page["items"]]
            assert all("lines" not in item for item in page["items"])
            if "next" not in page:
                break
            query["after"] = page["next"]

        forged = await refused(person.get("/v1/claims", query={"after": "AAAA"}))

    assert seen == [f"claim_transit{number:04d}" for number in range(1, 6)]
    assert (forged.status, forged.code) == (400, "cursor.malformed")


async def test_who_has_no_scope_at_this_desk_gets_no_token_for_it_or_no_answer(desk: DeskWorld) -> None:
    await desk.review(delivered())

    async with (
        desk.person("ins-lantau-system", OTHER_INSURER) as other,
        desk.person("op-gateway-1", OPERATOR) as operator,
    ):
        no_token = await refused(other.get(f"/v1/claims/{CLAIM}"))
        no_answer = await refused(operator.get(f"/v1/claims/{CLAIM}"))

    assert no_token.status in (400, 401, 403)
    assert (no_answer.status, no_answer.code) == (403, "auth.scope")


async def test_another_insurers_person_reads_nothing_here_whatever_the_scopes(desk: DeskWorld) -> None:
    await desk.review(delivered())
    other = world().directory.party(OTHER_INSURER)
    scopes = ("desk:read", "desk:decide")
    guest = Client(
        client_id="ins-lantau-guest",
        roles=("insurer",),
        scopes=scopes,
        kid=f"{OTHER_INSURER}/token/ins-lantau-system",
    )
    parties = [party for party in world().directory.parties.values() if party.code != OTHER_INSURER]
    changed = other.model_copy(update={"clients": (guest,)})
    desk.release = world().sign_release([*parties, changed], number=2).encode()
    await reception.install_release(desk.deps)
    profile = replace(
        a_profile("ins-lantau-system", OTHER_INSURER, "desk", " ".join(scopes)), client_id=guest.client_id
    )

    async with Session(profile, "desk", transport=httpx2.ASGITransport(desk.app), clock=desk.clock) as stranger:
        problems = [
            await refused(stranger.get("/v1/claims")),
            await refused(stranger.get(f"/v1/claims/{CLAIM}")),
            await refused(stranger.get(f"/v1/claims/{CLAIM}/content")),
            await refused(stranger.get("/v1/requests/req_any")),
            await refused(stranger.post(DECISION, a_decision(), key="one", if_match=2)),
            await refused(stranger.post(f"/v1/claims/{CLAIM}/return", b"{}", key="one", if_match=2)),
        ]

    assert [(problem.status, problem.code) for problem in problems] == [(403, "desk.not-your-desk")] * 6
