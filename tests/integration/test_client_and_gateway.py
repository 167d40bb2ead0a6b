"""The client against the real house: what a hospital's, an insurer's and an auditor's engineer does, over ASGI."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client.auditor import AuditorClient
from gateway.client.authoring import DecisionEntry
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.protocol.errors import InvalidInputError
from tests.walk import House, house, until
from tests.walk_parties import Insurer, a_bill, hand_in


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "sandbox") as found:
        yield found


async def test_a_bill_gives_a_verified_receipt_and_the_same_bill_again_the_same_one(home: House) -> None:
    bill = compact(a_bill(1, "ins-lantau"))

    first = await home.hospital.submit(bill, "one")
    again = await home.hospital.submit(bill, "one")

    assert (first.stamp.role, first.stamp.type, first.stamp.key) == ("sz", "submitted", first.case_id)
    assert again.token == first.token
    assert (first.replayed, again.replayed) == (False, True)


async def test_a_bill_is_validated_without_being_kept_and_its_faults_have_places(home: House) -> None:
    bill = a_bill(1, "ins-lantau")
    wrong = bill | {"coverage": bill["coverage"] | {"carrier": "nobody", "hkid": "QQ123456"}}

    valid = await home.hospital.validate(compact(bill))
    with pytest.raises(ApiProblem) as refused:
        await home.hospital.validate(compact(wrong))

    assert valid["valid"] is True
    assert refused.value.status == 422
    assert len(refused.value.errors) >= 2
    assert refused.value.request_id
    assert (await home.hospital.events()).items == ()


async def test_an_insurers_system_opens_answers_and_hears_and_the_hospital_sees_it_all(home: House) -> None:
    claimed = await hand_in(home)
    insurer = Insurer(home)

    opened = await insurer.review(claimed)
    benefit_minor = await insurer.decide(opened, unpaid={0})

    shown = await until(lambda: _decided(home, claimed.claim_id), "the decision at the hospital")
    events = [event["event"] for event in await home.hospital.timeline(claimed.claim_id)]
    page = await home.hospital.events()
    standing = await insurer.client.claim(claimed.claim_id)
    outcome = await insurer.client.outcome((await insurer.item("accepted", claimed)).msg_id)
    assert shown["decision"]["benefit"] == f"{benefit_minor // 100}.{benefit_minor % 100:02d}"
    assert {"submitted", "acknowledged", "decided"} <= set(events)
    assert page.next
    assert {item["claim_id"] for item in page.items} == {claimed.claim_id}
    assert (standing.state, standing.revision) == (shown["state"], 3)
    assert outcome.type == "accepted"


async def _decided(home: House, claim_id: str) -> dict[str, Any] | None:
    found = dict(await home.hospital.claim(claim_id))
    return found if found.get("decision") else None


async def test_a_decision_that_does_not_balance_is_never_sent(home: House) -> None:
    opened = await Insurer(home).review(await hand_in(home))

    with pytest.raises(InvalidInputError) as refused:
        await Insurer(home).client.decide(opened, [DecisionEntry((0,), 1)], final=True, based_on=2)

    assert {fault.code for fault in refused.value.faults} == {"decision.entry-unbalanced", "decision.line-missing"}
    assert (await Insurer(home).client.claim(opened.claim_id)).revision == 2


async def test_a_claim_is_returned_and_its_text_reaches_the_hospital(home: House) -> None:
    claimed = await hand_in(home)
    insurer = Insurer(home)
    opened = await insurer.open(claimed)

    sent = await insurer.client.return_claim(opened, class_code="G001", texts={"en": "No such member."})

    assert (await insurer.outcome(sent.msg_id)).state == "returned"
    assert sent.stamp.role == "hk"


async def test_a_dispute_stops_the_claim(home: House) -> None:
    claimed = await hand_in(home)
    insurer = Insurer(home)

    sent = await insurer.client.dispute(await insurer.open(claimed), ["/asked_minor"])

    assert (await insurer.outcome(sent.msg_id)).state == "disputed"


async def test_an_acknowledged_inbox_goes_on_behind_what_was_taken(home: House) -> None:
    insurer = Insurer(home)
    await insurer.open(await hand_in(home))

    assert insurer.cursor is not None
    await insurer.client.acknowledge_inbox(insurer.cursor)

    assert (await insurer.client.inbox()).items == ()


async def test_an_auditor_finds_the_logs_files_and_a_claims_events(home: House) -> None:
    claimed = await hand_in(home)
    await home.until_logged()
    year = home.clock.now().year

    async with AuditorClient(home.profile("aud-one-tools"), transport=home.transport, clock=home.clock) as auditor:
        key = await auditor.vkey(year)
        checkpoint = await auditor.checkpoint(year)
        events = await auditor.events(claimed.case_id)

    assert auditor.log_url(year).endswith(f"/log/{year}")
    assert checkpoint.decode().splitlines()[0] == key.partition("+")[0]
    assert events["events"]
