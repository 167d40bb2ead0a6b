"""What is forged, replayed, mistimed or somebody else's is refused where it comes in over HTTP, and moves nothing."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.exchange import Posted
from gateway.protocol.topics import INSURER_RESPONSES
from tests.forging import http_refusal, on_the_bus, reviewed, stranger
from tests.walk import house


async def test_a_manifest_signed_by_another_key_is_refused_at_the_edge(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        forged = await case.decision(key=stranger("ins-lantau/sign/1"))

        refusal = await http_refusal(lambda: case.insurer.client.send(forged.posted, forged.msg_id))

        assert refusal[0] in (400, 401, 403, 422)
        assert refusal[1] == "jws.signature"
        assert [entry["clr"]["code"] for entry in await found.log(typ="hk.message_refused")] == ["jws.signature"]
        assert await case.state() == "in_review"
        await case.decide_truly()


async def test_a_replayed_post_gets_the_same_bytes_and_nothing_happens_twice(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision = await case.decision()
        session = found.session("ins-lantau-system", "hk")

        first = await session.post("/v1/messages", decision.posted.encode(), key="one")
        second = await session.post("/v1/messages", decision.posted.encode(), key="one")

        assert (first.body, first.status) == (second.body, second.status)
        assert (first.replayed, second.replayed) == (False, True)
        await found.until_claim(case.claimed, state="approved")
        assert len(await on_the_bus(found, INSURER_RESPONSES, case.claimed.case_id)) == 2


async def test_a_message_posted_again_under_another_key_is_a_conflict(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision = await case.decision()
        session = found.session("ins-lantau-system", "hk")
        await session.post("/v1/messages", decision.posted.encode(), key="one")

        status, code = await http_refusal(lambda: session.post("/v1/messages", decision.posted.encode(), key="two"))

        assert (status, code) == (409, "message.replayed")
        assert len(await found.log(typ="hk.message_replayed")) == 1


async def test_the_same_key_with_another_body_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        first, other = await case.decision(), await case.decision()
        session = found.session("ins-lantau-system", "hk")
        await session.post("/v1/messages", first.posted.encode(), key="one")

        status, code = await http_refusal(lambda: session.post("/v1/messages", other.posted.encode(), key="one"))

        assert (status, code) == (422, "idempotency.key-reused")


async def test_an_insurer_learns_nothing_of_another_insurers_claim(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        foreign = await case.decision(code="ins-harbour")
        session = found.session("ins-harbour-desk", "hk")

        seen = await http_refusal(lambda: session.get(f"/v1/claims/{case.claimed.claim_id}"))
        fetched = await http_refusal(lambda: session.get(f"/v1/messages/{case.opened.msg_id}"))
        posted = await http_refusal(lambda: session.post("/v1/messages", foreign.posted.encode(), key="one"))

        assert {status for status, _ in (seen, fetched, posted)} == {404}
        assert await case.state() == "in_review"


async def test_an_insurer_cannot_post_in_anothers_name(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision = await case.decision()
        session = found.session("ins-harbour-desk", "hk")

        status, code = await http_refusal(lambda: session.post("/v1/messages", decision.posted.encode(), key="one"))

        assert (status, code) == (403, "message.sender-is-not-caller")
        assert await case.state() == "in_review"


async def test_a_decision_whose_content_is_not_what_was_signed_is_disputed_and_never_paid(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision, other = await case.decision(), await case.decision()
        altered = Posted(decision.posted.manifest, other.posted.dossier)

        await case.insurer.client.send(altered, decision.msg_id)

        await found.until_claim(case.claimed, state="disputed", payment_state="voided")
        shown = await found.hospital.claim(case.claimed.claim_id)
        assert shown["differences"] == ["/content_sha256"]
        assert (await found.bank_journal())["payments"] == []
        assert len(await found.log(typ="hospital.disputed")) == 1


async def test_an_answer_that_only_one_party_could_open_is_refused_and_the_next_one_is_paid(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision = await case.decision()
        sealed = read_json_object((decision.posted.dossier or "").encode())
        alone = Posted(decision.posted.manifest, compact(sealed | {"recipients": sealed["recipients"][:1]}).decode())

        with pytest.raises(ApiProblem) as refused:
            await case.insurer.client.send(alone, decision.msg_id)

        assert (refused.value.status, refused.value.code) == (422, "dossier.refused")
        assert [(fault.code, fault.pointer) for fault in refused.value.errors] == [
            ("dossier.one-recipient", "/dossier/recipients")
        ]
        await case.decide_truly()


@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(minutes=6)], ids=["too-old", "from-the-future"])
async def test_an_answer_sent_outside_the_time_window_is_refused(tmp_path: Path, off: timedelta) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision = await case.decision(at=found.clock.now() + off)

        refusal = await http_refusal(lambda: case.insurer.client.send(decision.posted, decision.msg_id))

        assert refusal == (422, "exchange.time-window")
        assert len(await found.log(typ="hk.message_refused")) == 1
        assert await case.state() == "in_review"
