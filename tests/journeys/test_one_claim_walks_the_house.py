"""The walk of one claim through all roles in one process, and what may befall it on its way."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.claims.tables import claims
from gateway.client.opened import OpenedClaim
from gateway.client.transport import ApiProblem, Session
from gateway.protocol.canonical import compact
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, sign
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.money import Money
from gateway.protocol.records import record
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.delivery.outbox import Post
from settlement.tables import batches, obligations
from tests.walk import Claimed, House, house, until
from tests.walk_parties import HOSPITAL, Insurer, a_bill, hand_in, send_as

PAYER = "ins-lantau"
DESK_INSURER = "ins-harbour"
PAY_AND_CLAIM = "outpatient-pay-and-claim"


async def decided(found: House) -> tuple[Claimed, OpenedClaim, int]:
    """Walk a direct claim up to a final decision that leaves line 0 to the patient; return the benefit."""
    claimed, insurer = await hand_in(found), Insurer(found)
    opened = await insurer.review(claimed)
    return claimed, opened, await insurer.decide(opened, unpaid=(0,))


async def moved(found: House) -> list[int]:
    """List what the bank says it really took from payers, by its own journal."""
    journal = await found.bank_journal()
    return [row["amount_minor"] for row in journal["movements"] if row["side"] == "DBIT"]


async def obligations_of(found: House) -> list[Any]:
    return await found.read("core", select(obligations))


async def dispute_as_hospital(found: House, opened: OpenedClaim) -> None:
    """Send the dispute that the Shenzhen edge signs when an answer is not what it seems."""
    claim, edge = opened.manifest, found.process("sz")
    [answer] = await found.read("core", select(claims.c.answer_msg_id).where(claims.c.claim_id == claim.claim_id))
    manifest = DisputedManifest(
        msg_id=mint("msg"),
        case_id=claim.case_id,
        claim_id=claim.claim_id,
        claim_version=claim.claim_version,
        sender=HOSPITAL,
        recipients=claim.recipients,
        sent_at=found.clock.now(),
        in_reply_to=answer.answer_msg_id,
        differences=("/entries/0",),
    )
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    token = sign(payload, edge.keyring.named(f"{HOSPITAL}/sign/"), Typ.MANIFEST)
    clear = {"claim_id": claim.claim_id, "msg_id": manifest.msg_id}
    made = record("hospital.disputed", at=found.clock.now(), case_id=claim.case_id, clear=clear)
    await send_as(found, "sz", Post(HOSPITAL_REQUESTS, claim.case_id, "disputed", made, manifest.msg_id, token))


async def assert_books_closed(found: House, paid_minor: int) -> None:
    """In transit, payable and expense are zero; the two mirrors show what moved."""
    paid = str(Money(paid_minor, "CNY"))
    balances = await found.balances()
    open_accounts = {name: value for name, value in balances.items() if not name.startswith("bank-mirror/")}
    assert set(open_accounts.values()) <= {"0.00"}, open_accounts
    mirrors = {value for name, value in balances.items() if name.startswith("bank-mirror/")}
    assert mirrors == {paid, f"-{paid}"}


async def test_a_direct_claim_is_decided_paid_and_proved(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)

        opened = await insurer.review(claimed)
        benefit = await insurer.decide(opened, unpaid=(0,))
        await found.until_claim(claimed, state="approved_in_part", payment_state="asked")
        await found.pay(PAYER)
        await found.until_claim(claimed, payment_state="reconciled")

        assert 0 < benefit < opened.manifest.asked_minor
        assert await moved(found) == [benefit]
        await assert_books_closed(found, benefit)
        assert await found.verify("claim", "--cref", claimed.case_id) == 0
        types = [body["typ"] for body in await found.log(cref=claimed.case_id)]
        assert types.count("claim.decided") == types.count("payment.reconciled") == 1
        assert await found.verify("log") == 0


async def test_a_claim_is_decided_at_the_desk_and_read_by_its_hospital(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found, DESK_INSURER)
        assessor = found.session(f"{DESK_INSURER}-assessor", "insurer")

        shown = await until(lambda: _decidable(assessor, claimed), "the claim at the desk")
        entries = [_paid_whole(index, line["amount"]) for index, line in enumerate(shown["lines"])]
        await assessor.post(
            f"/v1/claims/{claimed.claim_id}/decision",
            compact({"final": True, "entries": entries}),
            key="decision",
            if_match=shown["revision"],
        )
        await found.until_claim(claimed, state="approved", payment_state="asked")
        await found.pay(DESK_INSURER)
        await found.until_claim(claimed, payment_state="reconciled")

        async def told() -> dict[str, Any] | None:
            seen = dict(await found.hospital.claim(claimed.claim_id))
            return seen if seen["payment_state"] == "reconciled" else None

        seen = await until(told, "the hospital's news of the payment")
        assert shown["differences"] == []
        assert (seen["decision"]["benefit"], seen["asked"]) == ("53878.84", "53878.84")
        assert await moved(found) == [5_387_884]
        events = [event["event"] for event in await found.hospital.timeline(claimed.claim_id)]
        assert events[:3] == ["submitted", "received", "acknowledged"]
        assert events[-1] == "reconciled"
        assert await found.verify("claim", "--cref", claimed.case_id) == 0


async def _decidable(assessor: Session, claimed: Claimed) -> dict[str, Any] | None:
    try:
        found = (await assessor.get(f"/v1/claims/{claimed.claim_id}")).json()
    except ApiProblem:
        return None
    return found if "decide" in found["allowed_actions"] else None


def _paid_whole(index: int, amount: str) -> dict[str, Any]:
    zeros = dict.fromkeys(("patient", "other_payer", "adjusted"), "0.00")
    return {"lines": [index], "benefit": amount, **zeros}


async def test_a_claim_the_patient_paid_ends_settled_outside(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found, name=PAY_AND_CLAIM), Insurer(found)

        opened = await insurer.review(claimed)
        await insurer.decide(opened)

        shown = await found.until_claim(claimed, payment_state="settled_outside")
        assert (shown["state"], shown["obligated"]) == ("approved", "0.00")
        await found.until_logged()
        assert await obligations_of(found) == []
        assert await moved(found) == []


async def test_a_denied_claim_is_never_paid(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.review(claimed)

        await insurer.decide(opened, unpaid=range(len(opened.lines)))

        shown = await found.until_claim(claimed, state="denied")

        assert shown["payment_state"] == "none"
        await found.until_logged()
        assert await obligations_of(found) == []


async def test_a_partial_decision_moves_no_money_and_the_final_one_moves_it_all(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.review(claimed)

        await insurer.decide(opened, lines=(0, 1), final=False)
        shown = await found.until_claim(claimed, state="partly_decided")
        await found.until_logged()
        obliged_by_part = await obligations_of(found)
        await insurer.decide(opened, decision_version=2)
        await found.until_claim(claimed, state="approved", payment_state="asked")

        assert shown["payment_state"] == "none"
        assert obliged_by_part == []

        async def obliged() -> list[Any]:
            return await obligations_of(found)

        [obligation] = await until(obliged, "the obligation")
        assert obligation.amount_minor == opened.manifest.asked_minor


async def test_a_returned_claim_frees_its_receipt_for_another_claim(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.open(claimed)

        await insurer.client.return_claim(opened, class_code="G014", texts={"en": "synthetic"})
        await found.until_claim(claimed, state="returned")
        again = await hand_in_again(found)

        assert (await found.until_claim(again, state="received"))["payment_state"] == "none"
        assert (await found.claim(claimed.claim_id))["payment_state"] == "none"
        assert (await found.hospital.claim(claimed.claim_id))["state"] == "returned"


async def hand_in_again(found: House) -> Claimed:
    """Hand in the first bill's receipt under another claim number."""
    bill = a_bill(1, PAYER)
    bill["billing"]["claim_number"] = "SYN-WALK-AGAIN"
    receipt = await found.hospital.submit(compact(bill), "again")
    return Claimed(receipt.claim_id, receipt.case_id, PAYER)


async def test_a_live_receipt_is_refused_on_a_second_claim(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)
        await found.until_claim(claimed, state="received")

        again = await hand_in_again(found)

        async def refused() -> bool:
            return bool((await found.hospital.claim(again.claim_id))["state"] == "refused")

        await until(refused, "the refusal")
        [entry] = await found.log(typ="claim.refused")
        assert entry["clr"]["code"] == "receipt.live-on-another-claim"
        assert (await found.claim(claimed.claim_id))["state"] == "received"


async def test_a_claim_the_insurer_disputes_stands_still(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        opened = await insurer.open(claimed)

        sent = await insurer.client.dispute(opened, ["/asked_minor"])
        assert (await insurer.outcome(sent.msg_id)).status == "accepted"
        shown = await found.until_claim(claimed, state="disputed")
        with pytest.raises(ApiProblem) as refused:
            await insurer.decide(opened)

        assert shown["payment_state"] == "none"
        assert (refused.value.status, refused.value.code) == (409, "claim.illegal-move")


async def test_a_dispute_before_the_money_moved_voids_the_obligation(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, opened, _ = await decided(found)
        await found.until_draft(PAYER)

        await dispute_as_hospital(found, opened)

        await found.until_claim(claimed, state="disputed", payment_state="voided")
        [obligation] = await obligations_of(found)
        [batch] = await found.read("core", select(batches))
        assert (obligation.state, batch.state) == ("voided", "withdrawn")
        assert set((await found.balances()).values()) <= {"0.00"}
        assert await moved(found) == []


async def test_a_dispute_after_the_money_moved_is_too_late_and_needs_a_recoup(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, opened, benefit = await decided(found)
        await found.pay(PAYER)
        await found.until_claim(claimed, payment_state="reconciled")

        await dispute_as_hospital(found, opened)

        await found.until_claim(claimed, state="disputed", payment_state="recoup_needed")
        assert await moved(found) == [benefit]
        assert len(await found.log(typ="obligation.too_late")) == 1


async def test_a_rejected_payment_reopens_and_pays_once_under_a_new_reference(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        await found.bank_fault(kind="reject", reason="AM04")
        claimed, _, benefit = await decided(found)

        first = await found.pay(PAYER)
        second = await found.pay(PAYER)
        await found.until_claim(claimed, payment_state="reconciled")

        assert first.batch_id != second.batch_id
        payments = (await found.bank_journal())["payments"]
        assert [row["status"] for row in payments] == ["RJCT", "ACCC"]
        assert len({row["end_to_end_id"] for row in payments}) == 2
        assert await moved(found) == [benefit]
        await assert_books_closed(found, benefit)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "fail_after_debit"}, {"kind": "unavailable"}, {"kind": "late", "delay_ms": 11_000}],
    ids=lambda fault: str(fault["kind"]),
)
async def test_an_unknown_outcome_is_inquired_and_pays_exactly_once(tmp_path: Path, fault: dict[str, Any]) -> None:
    async with house(tmp_path / "data") as found:
        await found.bank_fault(**fault)
        claimed, _, benefit = await decided(found)

        await found.pay(PAYER)
        await found.until_claim(claimed, payment_state="reconciled")

        assert await moved(found) == [benefit]
        assert len((await found.bank_journal())["payments"]) == 1
        await assert_books_closed(found, benefit)
        assert await found.verify("claim", "--cref", claimed.case_id) == 0
