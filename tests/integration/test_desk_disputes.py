"""Disputes at the Hong Kong edge and the desk: both are seen, one's own is withdrawn, answers are resolved."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import authoring
from gateway.client.authoring import Author
from gateway.client.transport import Session
from gateway.protocol.canonical import compact
from gateway.protocol.exchange import Manifest, Posted
from gateway.protocol.jose import Typ, sign
from gateway.protocol.messages.claim_state import ClaimState, DisputeStanding
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from tests.claims_in_transit import a_claim, an_opened, delivered, passed_on
from tests.conftest import MakeDatabase
from tests.desk_world import TABLES, DeskWorld, a_decision, refused
from tests.parties import HOSPITAL, INSURER, NOW, key_of

CLAIM = a_claim()
SHOWN = f"/v1/claims/{CLAIM.claim_id}"
WITHDRAWAL = f"{SHOWN}/dispute-withdrawal"


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


def standing(by: str, in_reply_to: str = "msg_decision0001") -> DisputeStanding:
    against = HOSPITAL if by == INSURER else INSURER
    return DisputeStanding(by=by, against=against, msg_id="msg_dispute0001", in_reply_to=in_reply_to)


def a_state(revision: int, *allowed: str, **changes: Any) -> ClaimState:
    words: dict[str, Any] = {
        "case_id": CLAIM.case_id,
        "claim_id": CLAIM.claim_id,
        "claim_version": 1,
        "revision": revision,
        "state": "disputed",
        "payment_state": "asked",
        "event": "disputed",
        "at": "2026-03-02T01:00:00.000Z",
        "allowed_actions": allowed,
        "to": INSURER,
        "dispute": standing(HOSPITAL),
    }
    return ClaimState(**(words | changes))


def the_hospital_disputes() -> DisputedManifest:
    return DisputedManifest(
        msg_id="msg_dispute0001",
        case_id=CLAIM.case_id,
        claim_id=CLAIM.claim_id,
        claim_version=1,
        in_reply_to="msg_decision0001",
        sender=HOSPITAL,
        recipients=(INSURER,),
        sent_at=NOW,
        differences=("/content_sha256",),
    )


async def test_a_hospital_s_dispute_is_seen_at_the_desk_which_offers_what_is_truly_allowed(
    desk: DeskWorld, person: Session
) -> None:
    await desk.present(passed_on(the_hospital_disputes(), seq=3))
    await desk.say(a_state(4))
    await desk.pull()
    while_money_is_voided = (await person.get(SHOWN)).json()
    early = await refused(person.post(f"{SHOWN}/decision", a_decision(), key="early", if_match=4))
    await desk.say(a_state(5, "decide_partly", "decide", payment_state="voided", event="voided"))
    await desk.pull()

    answer = await person.post(f"{SHOWN}/decision", a_decision(), key="again", if_match=5)

    assert while_money_is_voided["state"] == "disputed"
    assert while_money_is_voided["allowed_actions"] == []
    assert while_money_is_voided["dispute"] == standing(HOSPITAL).model_dump() | {"differences": ["/content_sha256"]}
    assert (early.status, early.code) == (409, "claim.illegal-move")
    assert answer.status == 202


async def test_the_desk_withdraws_its_own_dispute_once(desk: DeskWorld, person: Session) -> None:
    await desk.say(a_state(3, "withdraw_dispute", dispute=standing(INSURER, CLAIM.msg_id)))
    await desk.pull()

    answer = await person.post(WITHDRAWAL, b"{}", key="back", if_match=3)
    again = await person.post(WITHDRAWAL, b"{}", key="back", if_match=3)
    await desk.send()

    assert (answer.status, again.json()) == (202, answer.json())
    [withdrawn] = [one for one in await desk.taken() if one.type == "dispute_withdrawn"]
    assert isinstance(withdrawn, DisputeWithdrawnManifest)
    assert (withdrawn.in_reply_to, withdrawn.recipients) == ("msg_dispute0001", (HOSPITAL,))


async def test_another_s_dispute_is_not_withdrawn_and_a_form_with_fields_is_refused(
    desk: DeskWorld, person: Session
) -> None:
    await desk.say(a_state(4))
    await desk.pull()

    another = await refused(person.post(WITHDRAWAL, b"{}", key="back", if_match=4))
    form = await refused(person.post(WITHDRAWAL, b'{"because": "QQ-canary"}', key="form", if_match=4))

    assert (another.status, another.code) == (409, "claim.illegal-move")
    assert (form.status, form.code) == (422, "request.invalid")
    assert "QQ-canary" not in str(form)


async def test_an_older_word_of_core_changes_nothing(desk: DeskWorld, person: Session) -> None:
    await desk.say(a_state(9, "decide"))
    await desk.pull()
    before = (await person.get(SHOWN)).json()

    await desk.say(a_state(4, state="closed", dispute=None))
    await desk.pull()

    assert (await person.get(SHOWN)).json() == before


def signed(manifest: Manifest) -> Posted:
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    return Posted(sign(payload, key_of(f"{INSURER}/sign/1"), Typ.MANIFEST))


def an_acknowledgement(**changes: Any) -> Manifest:
    author = Author(INSURER, key_of(f"{INSURER}/sign/1"), key_of(f"{INSURER}/seal/1").public)
    authored = authoring.acknowledge(author, an_opened().manifest, based_on=1, at=NOW)
    return authored.manifest.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "status", "code", "pointers"),
    [
        ({"in_reply_to": "msg_out_of_thin_air"}, 422, "message.not-of-claim", ["/in_reply_to"]),
        ({"claim_version": 2}, 422, "message.not-of-claim", ["/claim_version"]),
        ({"content_sha256": "f" * 64}, 422, "message.not-of-claim", ["/content_sha256"]),
        ({"content_sha256": None}, 422, "message.invalid", ["/content_sha256"]),
        ({"msg_id": CLAIM.msg_id}, 409, "message.id-taken", []),
        ({"msg_id": "accepted-msg_answer0001"}, 422, "message.id-reserved", ["/msg_id"]),
    ],
)
async def test_the_edge_resolves_what_an_answer_names(
    desk: DeskWorld, changes: dict[str, Any], status: int, code: str, pointers: list[str]
) -> None:
    await desk.present(delivered())

    problem = await refused(desk.deps.client.send(signed(an_acknowledgement(**changes)), "key-of-the-answer"))

    assert (problem.status, problem.code) == (status, code)
    assert [fault.pointer for fault in problem.errors] == pointers
    assert await desk.taken() == []
