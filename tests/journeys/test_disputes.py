"""A claim that was stopped goes on or ends, through every role, on both databases, and after kill -9."""

from pathlib import Path
from typing import Any

import pytest

from gateway.client.authoring import Authored
from gateway.client.opened import OpenedClaim
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.protocol.errors import UnavailableError
from gateway.protocol.exchange import Posted
from gateway.protocol.jose import Typ, sign
from tests.one_claim import QUICK
from tests.operators import act, confirm
from tests.served import served
from tests.walk import Claimed, House, Parties, house, until
from tests.walk_parties import Insurer, a_bill, hand_in

PAYER = "ins-lantau"
BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


async def decide_unreadably(found: House, insurer: Insurer, opened: OpenedClaim) -> Authored:
    """Post a decision whose content is not what was signed: only the hospital's edge, which opens it, can tell."""
    authored = await insurer.authored(opened)
    manifest = authored.manifest.model_copy(update={"content_sha256": "0" * 64})
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    token = sign(payload, found.key(f"{insurer.code}/sign/1"), Typ.MANIFEST)
    await insurer.client.send(Posted(token, authored.posted.dossier), manifest.msg_id)
    assert (await insurer.outcome(manifest.msg_id)).status == "accepted"
    return authored


async def until_shown(found: Parties, claimed: Claimed, **expected: Any) -> dict[str, Any]:
    """Wait until the hospital is shown these values of its claim."""

    async def shown() -> dict[str, Any] | None:
        claim = dict(await found.hospital.claim(claimed.claim_id))
        return claim if expected.items() <= claim.items() else None

    return await until(shown, f"the hospital's claim with {expected}")


async def until_allowed(insurer: Insurer, claimed: Claimed, action: str) -> int:
    """Wait until the insurer may do this; return the revision to base it on."""

    async def allowed() -> int | None:
        standing = await insurer.client.claim(claimed.claim_id)
        return standing.revision if action in standing.allowed_actions else None

    return await until(allowed, f"{action} allowed to the insurer")


async def paid(found: House) -> list[int]:
    return [row["amount_minor"] for row in (await found.bank_journal())["movements"] if row["side"] == "DBIT"]


@BOTH
async def test_a_decision_nobody_can_read_is_decided_again_and_paid_once(tmp_path: Path, database: str) -> None:
    async with house(tmp_path / "data", database=database) as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.review(claimed)
        unreadable = await decide_unreadably(found, insurer, opened)

        said = await insurer.client.said((await insurer.item("disputed", claimed)).msg_id)
        told = await insurer.client.state((await insurer.item("claim_state", claimed)).msg_id)
        revision = await until_allowed(insurer, claimed, "decide")
        benefit = await insurer.decide(opened, decision_version=2)
        await found.pay(PAYER)
        await found.until_claim(claimed, state="approved", payment_state="reconciled")
        shown = await until_shown(found, claimed, payment_state="reconciled")

        assert said.in_reply_to == unreadable.msg_id
        assert (told.state, told.dispute is not None, told.allowed_actions) == ("disputed", True, ())
        assert revision > told.revision
        assert await paid(found) == [benefit]
        assert shown["decision"]["decision_version"] == 2
        assert "dispute" not in shown
        assert await found.verify("claim", "--cref", claimed.case_id) == 0


@BOTH
async def test_a_hospital_withdraws_its_dispute_and_the_money_takes_a_new_decision(
    tmp_path: Path, database: str
) -> None:
    async with house(tmp_path / "data", database=database) as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.review(claimed)
        await decide_unreadably(found, insurer, opened)
        disputed = await until_shown(found, claimed, state="disputed", payment_state="voided")

        answer = await found.hospital.withdraw_dispute(claimed.claim_id, "back", revision=disputed["revision"])
        await insurer.item("dispute_withdrawn", claimed)
        restored = await until_shown(found, claimed, state="approved", payment_state="voided")
        await until_allowed(insurer, claimed, "decide")
        benefit = await insurer.decide(opened, decision_version=2)
        await found.pay(PAYER)
        await found.until_claim(claimed, payment_state="reconciled")

        assert disputed["allowed_actions"] == ["withdraw_dispute"]
        assert (answer["status"], answer["allowed_actions"]) == ("pending", [])
        assert restored["allowed_actions"] == []
        assert await paid(found) == [benefit]


@BOTH
async def test_a_hospital_gives_up_what_the_insurer_disputes_and_claims_its_receipts_anew(
    tmp_path: Path, database: str
) -> None:
    async with house(tmp_path / "data", database=database) as found:
        claimed, insurer = await hand_in(found, number=1), Insurer(found)
        await insurer.client.dispute(await insurer.open(claimed), differences=["/asked_minor"])
        disputed = await until_shown(found, claimed, state="disputed", allowed_actions=["give_up"])

        await found.hospital.give_up(claimed.claim_id, "enough", revision=disputed["revision"])
        ended = await until_shown(found, claimed, state="given_up")
        await insurer.item("given_up", claimed)
        again = await the_same_receipts_under_a_new_number(found)

        assert disputed["dispute"]["by"] == PAYER
        assert ended["allowed_actions"] == []
        await found.until_claim(again, state="received")
        with pytest.raises(ApiProblem) as late:
            await found.hospital.give_up(claimed.claim_id, "again", revision=ended["revision"])
        assert (late.value.status, late.value.code) == (409, "claim.illegal-move")


async def the_same_receipts_under_a_new_number(found: Parties) -> Claimed:
    bill = a_bill(1, PAYER)
    bill["billing"]["claim_number"] = "SYN-WALK-AGAIN"
    receipt = await found.hospital.submit(compact(bill), "under-a-new-number")
    return Claimed(receipt.claim_id, receipt.case_id, PAYER)


@BOTH
async def test_an_insurer_withdraws_its_dispute_and_reviews_the_claim(tmp_path: Path, database: str) -> None:
    async with house(tmp_path / "data", database=database) as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.open(claimed)
        sent = await insurer.client.dispute(opened, differences=["/asked_minor"])
        await until_shown(found, claimed, state="disputed")

        withdrawn = await insurer.client.withdraw_dispute(opened, sent.msg_id)
        outcome = await insurer.outcome(withdrawn.msg_id)
        await insurer.client.acknowledge(opened, based_on=outcome.revision or 0)
        await found.until_claim(claimed, state="in_review")

        assert (outcome.status, outcome.state) == ("accepted", "received")
        await until_shown(found, claimed, state="in_review")
        events = [one["event"] for one in await found.hospital.timeline(claimed.claim_id)]
        assert {"disputed_by_insurer", "dispute_withdrawn_by_insurer"} <= set(events)


@BOTH
async def test_two_operators_close_a_claim_that_nobody_answers(tmp_path: Path, database: str) -> None:
    async with house(tmp_path / "data", database=database) as found:
        claimed, insurer = await hand_in(found, number=1), Insurer(found)
        await insurer.open(claimed)
        form = {"claim_id": claimed.claim_id, "reason": "insurer-silent", "ticket": "OPS-4"}

        asked = await act(found, "requests", {"action": "close-claim", "form": form})
        await confirm(found, asked["request_id"])
        await until_shown(found, claimed, state="closed", allowed_actions=[])
        told = await insurer.client.state((await insurer.item("claim_state", claimed)).msg_id)
        again = await the_same_receipts_under_a_new_number(found)

        assert (told.state, told.reason, told.receipts) == ("closed", "insurer-silent", "released")
        await found.until_claim(again, state="received")
        [entry] = await found.log(typ="claim.closed")
        assert (entry["clr"]["ticket"], entry["clr"]["receipts"]) == ("OPS-4", "released")


@pytest.mark.parametrize("place", ["api.before_commit", "api.after_commit"])
async def test_giving_up_survives_kill_nine(tmp_path: Path, place: str) -> None:
    async with served(tmp_path / "data", QUICK) as (gateway, parties):
        # the bill is the first change over HTTP, the insurer's dispute the second
        assert await gateway.start(f"{place}=kill@3")
        bill = await parties.hospital.submit(compact(a_bill(1, PAYER)), "the-bill")
        claimed, insurer = Claimed(bill.claim_id, bill.case_id, PAYER), Insurer(parties)
        await insurer.client.dispute(await insurer.open(claimed), differences=["/asked_minor"])
        disputed = await until_shown(parties, claimed, state="disputed", allowed_actions=["give_up"])

        with pytest.raises(UnavailableError):
            await parties.hospital.give_up(claimed.claim_id, "enough", revision=disputed["revision"])
        assert await gateway.until_dead() == -9
        await parties.forget()
        assert await gateway.start()
        answer = await parties.hospital.give_up(claimed.claim_id, "enough", revision=disputed["revision"])
        await until_shown(parties, claimed, state="given_up")
        again = await the_same_receipts_under_a_new_number(parties)

        assert answer["status"] == "pending"
        await parties.until_claim(again, state="received")
        events = [one["event"] for one in await parties.hospital.timeline(claimed.claim_id)]
        assert events.count("giving_up_asked") == events.count("given_up") == 1
