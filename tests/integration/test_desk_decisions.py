"""Decisions and returns over the desk's API: once, balanced, on the revision that was seen, every fault named."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from adapters.hk.desk.tables import answers, claims
from gateway.client.transport import Answer, ApiProblem, Session
from gateway.protocol.canonical import compact
from gateway.protocol.errors import Fault
from gateway.protocol.messages.decided import DecidedManifest
from tests.claims_in_transit import a_claim, delivered
from tests.conftest import MakeDatabase
from tests.desk_world import TABLES, DeskWorld, a_decision, an_accepted, an_entry, refused

CLAIM = "claim_transit0001"
DECISION = f"/v1/claims/{CLAIM}/decision"
CANARY = "QQ-canary-1900"


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


async def test_a_decision_is_signed_sent_and_shown_at_its_location(desk: DeskWorld, person: Session) -> None:
    denied = an_entry(
        13, benefit="0.00", patient="80.00", class_code="G003", text={"en": "Not covered.", "zh_hant": "不受保障。"}
    )

    answer = await person.post(
        DECISION, a_decision(*(an_entry(line) for line in range(13)), denied), key="one", if_match=2
    )
    await desk.send()

    body = answer.json()
    assert (answer.status, body["status"]) == (202, "pending")
    assert answer.headers["location"] == f"/desk/v1/requests/{body['request_id']}"
    manifest = (await desk.taken())[-1]
    assert isinstance(manifest, DecidedManifest)
    assert (manifest.based_on, manifest.decision_version, manifest.final) == (2, 1, True)
    assert manifest.benefit_minor == a_claim().total_minor - 8_000
    [row] = [row for row in await desk.read(select(answers)) if row.type == "decided"]
    assert "Not covered" not in str(tuple(row))
    assert row.asked_by == "ins-harbour-assessor"


async def test_the_same_decision_again_gives_the_same_answer_and_another_body_under_the_key_is_refused(
    desk: DeskWorld, person: Session
) -> None:
    first = await person.post(DECISION, a_decision(), key="one", if_match=2)
    again = await person.post(DECISION, a_decision(), key="one", if_match=2)
    problem = await refused(person.post(DECISION, a_decision(an_entry(0), final=False), key="one", if_match=2))

    assert (again.body, again.replayed, first.replayed) == (first.body, True, False)
    assert (problem.status, problem.code) == (422, "idempotency.key-reused")
    assert len([row for row in await desk.read(select(answers)) if row.type == "decided"]) == 1


async def test_eight_equal_decisions_at_once_are_one_and_have_eight_equal_answers(
    desk: DeskWorld, person: Session
) -> None:
    found: list[Answer] = await asyncio.gather(
        *(person.post(DECISION, a_decision(), key="one", if_match=2) for _ in range(8))
    )

    assert len({answer.body for answer in found}) == 1
    assert len([row for row in await desk.read(select(answers)) if row.type == "decided"]) == 1


async def test_of_eight_people_who_decide_at_once_one_is_taken_and_seven_are_told(
    desk: DeskWorld, person: Session
) -> None:
    asked = [person.post(DECISION, a_decision(), key=f"key-{number}", if_match=2) for number in range(8)]
    found = await asyncio.gather(*asked, return_exceptions=True)

    problems = [one for one in found if isinstance(one, ApiProblem)]
    assert [(one.status, one.code) for one in problems] == [(409, "desk.answer-on-its-way")] * 7
    assert len([row for row in await desk.read(select(answers)) if row.type == "decided"]) == 1


async def test_dying_before_the_commit_decides_nothing(desk: DeskWorld, person: Session) -> None:
    desk.database.broken = True
    problem = await refused(person.post(DECISION, a_decision(), key="one", if_match=2))
    desk.database.broken = False
    answer = await person.post(DECISION, a_decision(), key="one", if_match=2)

    assert problem.status == 500
    assert (answer.status, answer.replayed) == (202, False)


async def test_every_fault_of_a_decision_is_named_at_once_and_nothing_is_echoed(person: Session) -> None:
    wrong = [
        an_entry(0, benefit="1e5"),
        an_entry(1, benefit="-1.00"),
        an_entry(2, class_code="G999"),
    ]
    unbalanced = [an_entry(0, benefit="1.00"), an_entry(1), an_entry(1)]

    malformed = await refused(person.post(DECISION, a_decision(*wrong), key="one", if_match=2))
    refusal = await refused(person.post(DECISION, a_decision(*unbalanced), key="two", if_match=2))

    assert malformed.errors == (
        Fault("money.malformed", "/entries/0/benefit"),
        Fault("money.negative", "/entries/1/benefit"),
        Fault("reason.unknown", "/entries/2/class_code"),
    )
    assert {fault.code for fault in refusal.errors} >= {
        "decision.entry-unbalanced",
        "decision.line-twice",
        "decision.line-missing",
    }


BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "broken JSON": (b'{"final": true', 400),
    "a duplicate key": (b'{"final":true,"final":true,"entries":[]}', 400),
    "NaN": (b'{"final":true,"entries":[NaN]}', 400),
    "a list": (b"[]", 400),
    "an unknown field": (compact({"final": True, "entries": [an_entry(0)], CANARY: CANARY}), 422),
    "a number as amount": (compact({"final": True, "entries": [an_entry(0, benefit=30000)]}), 422),
    "an unknown bearer": (compact({"final": True, "entries": [an_entry(0, bearer=CANARY)]}), 422),
    "no entries": (compact({"final": True, "entries": []}), 422),
    "text as flag": (compact({"final": CANARY, "entries": [an_entry(0)]}), 422),
    "too much": (b" " * (1 << 21), 413),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_bad_input_is_a_problem_that_never_carries_what_was_sent(
    desk: DeskWorld, person: Session, case: str
) -> None:
    body, status = BAD_BODIES[case]
    transport = httpx2.ASGITransport(desk.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as bare:
        token = (await person._access()).text
        headers = {
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": "one",
            "If-Match": '"2"',
            "Content-Type": "application/json",
        }
        answer = await bare.post(f"/desk{DECISION}", content=body, headers=headers)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert CANARY not in answer.text


async def test_a_decision_needs_a_key_and_the_revision_it_is_based_on(person: Session) -> None:
    without_key = await refused(person.post(DECISION, a_decision(), if_match=2))
    without_revision = await refused(person.post(DECISION, a_decision(), key="one"))
    stale = await refused(person.post(DECISION, a_decision(), key="one", if_match=1))

    assert (without_key.status, without_revision.status) == (400, 428)
    assert (stale.status, stale.code) == (412, "claim.stale")
    assert "decide" in stale.allowed_actions


async def test_a_claim_that_core_has_not_taken_into_review_is_not_decided(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()

    async with desk.person() as person:
        problem = await refused(person.post(DECISION, a_decision(), key="one", if_match=1))
        unknown = await refused(person.post("/v1/claims/claim_nobody/decision", a_decision(), key="two", if_match=1))

    assert (problem.status, problem.code) == (409, "desk.answer-on-its-way")
    assert (unknown.status, unknown.code) == (404, "claim.unknown")


async def test_after_a_final_decision_core_allows_nothing_and_neither_does_the_desk(
    desk: DeskWorld, person: Session
) -> None:
    await person.post(DECISION, a_decision(), key="one", if_match=2)
    await desk.send()
    manifest = (await desk.taken())[-1]
    await desk.say(an_accepted(manifest, state="approved", revision=3, allowed_actions=()))
    await desk.pull()

    problem = await refused(person.post(DECISION, a_decision(), key="two", if_match=3))

    assert (problem.status, problem.code, problem.allowed_actions) == (409, "claim.illegal-move", ())
    [kept] = await desk.read(select(claims))
    assert (kept.state, kept.decision_version) == ("approved", 1)


async def test_a_claim_is_returned_with_a_code_in_clear_and_a_sealed_text(desk: DeskWorld, person: Session) -> None:
    path = f"/v1/claims/{CLAIM}/return"
    body = partial(lambda **changes: compact({"class_code": "G001", "text": {"en": CANARY}} | changes))

    without_text = await refused(person.post(path, body(text={}), key="one", if_match=2))
    unknown_code = await refused(person.post(path, body(class_code="G999"), key="two", if_match=2))
    answer = await person.post(path, body(), key="three", if_match=2)
    await desk.send()

    assert (without_text.status, unknown_code.errors) == (422, (Fault("reason.unknown", "/class_code"),))
    assert answer.status == 202
    manifest = (await desk.taken())[-1]
    assert (manifest.type, manifest.model_dump()["class_code"]) == ("returned", "G001")
    [row] = [row for row in await desk.read(select(answers)) if row.type == "returned"]
    assert CANARY.encode() not in row.posted
