"""Core's claims on SQLite and on a real PostgreSQL: what may happen once happens once, also when many try at once."""

import asyncio
from dataclasses import replace

import pytest

from gateway.claims import store
from gateway.claims.payment import PaymentState
from gateway.claims.tables import METADATA
from gateway.protocol.claim_life import State
from gateway.protocol.errors import (
    ConflictError,
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    StaleError,
)
from gateway.protocol.messages.outcome import Outcome, OutcomeType
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.settlements import obligation_id
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES, SETTLEMENT_REQUESTS
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.tables import METADATA as RUNTIME
from tests.conftest import MakeDatabase
from tests.core_claims import Core
from tests.parties import (
    CASE,
    CLAIM,
    HOSPITAL,
    INSURER,
    NOW,
    OTHER_INSURER,
    a_decision,
    a_disputed,
    a_returned,
    a_submitted,
    an_acknowledged,
    an_entry,
    by_hospital,
)

ROUNDS = 200


@pytest.fixture
def core(make_database: MakeDatabase) -> Core:
    return Core.over(make_database(RUNTIME, METADATA))


def submitted(number: int, **changes: object) -> SubmittedManifest:
    """Build claim `number`: everything that must be unique is."""
    unique: dict[str, object] = {
        "msg_id": f"msg_synthetic{number:05d}",
        "case_id": f"case_synthetic{number:05d}",
        "claim_id": f"claim_synthetic{number:05d}",
        "claim_token": f"tok_claim_{number:05d}",
        "receipt_tokens": (f"tok_receipt_{number:05d}",),
    }
    return a_submitted(**unique | changes)


def to(insurer: str) -> dict[str, object]:
    return {"recipients": (insurer,), "carrier": insurer, "payer": insurer}


async def test_one_receipt_is_never_live_on_two_claims_of_one_rank_however_they_race(core: Core) -> None:
    for round_number in range(ROUNDS):
        receipts = (f"tok_shared_{round_number}", f"tok_other_{round_number}")
        rivals = [
            submitted(2 * round_number, receipt_tokens=receipts, **to(INSURER)),
            submitted(2 * round_number + 1, receipt_tokens=receipts[::-1], **to(OTHER_INSURER)),
        ]

        results = await asyncio.gather(*(core.take(rival) for rival in rivals), return_exceptions=True)

        lost = [one for one in results if one is not None]
        assert [getattr(one, "code", repr(one)) for one in lost] == ["receipt.live-on-another-claim"]
        winner, loser = rivals if results[0] is None else rivals[::-1]
        assert (await core.claim(winner.claim_id)).state is State.RECEIVED
        with pytest.raises(NotFoundError):
            await core.claim(loser.claim_id)

    delivered = [one for one in await core.sent() if one.topic == INSURER_DELIVERIES]
    assert len(delivered) == ROUNDS


async def test_another_payer_rank_may_claim_the_same_receipt(core: Core) -> None:
    shared = ("tok_shared",)

    await core.take(submitted(1, receipt_tokens=shared))
    await core.take(submitted(2, receipt_tokens=shared, payer_rank=2))

    assert (await core.claim(submitted(2).claim_id)).state is State.RECEIVED


async def test_a_returned_claim_lets_go_of_its_receipts_and_the_next_version_takes_them(core: Core) -> None:
    await core.take(a_submitted())
    corrected = submitted(
        2, claim_token=a_submitted().claim_token, claim_version=2, receipt_tokens=("tok_receipt_0001",)
    )
    with pytest.raises(ConflictError, match=r"receipt\.live-on-another-claim"):
        await core.take(corrected)

    await core.take(a_returned())
    await core.take(corrected)

    assert (await core.claim(CLAIM)).state is State.RETURNED
    assert (await core.claim(corrected.claim_id)).state is State.RECEIVED


async def test_a_message_counts_once(core: Core) -> None:
    await core.take(a_submitted())

    with pytest.raises(ConflictError, match=r"message\.replayed"):
        await core.take(a_submitted())

    await core.take(an_acknowledged())
    with pytest.raises(ConflictError, match=r"message\.replayed"):
        await core.take(submitted(2, msg_id=a_submitted().msg_id))


async def test_a_claim_number_is_taken_once_in_each_version_however_they_race(core: Core) -> None:
    for round_number in range(ROUNDS // 10):
        token = f"tok_number_{round_number}"
        rivals = [submitted(10 * round_number + index, claim_token=token) for index in range(4)]

        results = await asyncio.gather(*(core.take(rival) for rival in rivals), return_exceptions=True)

        codes = sorted(getattr(one, "code", repr(one)) for one in results if one is not None)
        assert codes == ["claim.number-taken"] * 3

    await core.take(submitted(9001, claim_token="tok_number_0", claim_version=2))


async def test_a_claim_id_that_is_taken_is_refused_and_never_stops_the_role(core: Core) -> None:
    await core.take(a_submitted())

    with pytest.raises(ConflictError, match=r"claim\.id-taken"):
        await core.take(submitted(2, claim_id=CLAIM))

    assert (await core.claim(CLAIM)).msg_id == a_submitted().msg_id


async def test_a_refused_claim_leaves_nothing_behind(core: Core) -> None:
    await core.take(a_submitted())
    before = await core.sent()
    refused = submitted(2, receipt_tokens=("tok_free", "tok_receipt_0001"))

    with pytest.raises(ConflictError):
        await core.take(refused)

    assert await core.sent() == before
    await core.take(submitted(2, receipt_tokens=("tok_free",)))


async def approved(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())
    await core.take(a_decision())


async def test_a_final_decision_asks_settlement_once_for_the_benefit(core: Core) -> None:
    await approved(core)

    claim = await core.claim(CLAIM)
    [asked] = [one for one in await core.sent() if one.topic == SETTLEMENT_REQUESTS]
    assert (claim.state, claim.payment_state) == (State.APPROVED, PaymentState.ASKED)
    assert asked.message["amount_minor"] == claim.obligated_minor == 120_000
    assert asked.message["obligation_id"] == claim.obligation_id == obligation_id(CLAIM, 1)
    with pytest.raises(IllegalTransitionError):
        await core.take(a_decision(msg_id="msg_answer0099", based_on=claim.revision, decision_version=2))


async def test_a_denied_claim_asks_for_no_money(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())
    await core.take(a_decision(entries=(an_entry(0, 1, benefit=0, patient=120_000),)))

    assert (await core.claim(CLAIM)).state is State.DENIED
    assert [one for one in await core.sent() if one.topic == SETTLEMENT_REQUESTS] == []


async def test_a_decision_that_is_not_final_moves_no_money(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())
    await core.take(a_decision(final=False))

    assert (await core.claim(CLAIM)).state is State.PARTLY_DECIDED
    assert [one for one in await core.sent() if one.topic == SETTLEMENT_REQUESTS] == []


async def test_what_the_insured_has_paid_is_settled_outside(core: Core) -> None:
    paid = ({"kind": "cash", "amount_minor": 120_000, "order": 1},)
    await core.take(a_submitted(paid=paid, unpaid_minor=0, billing_mode="pay_and_claim", payee="insured"))
    await core.take(an_acknowledged())
    await core.take(a_decision())

    assert (await core.claim(CLAIM)).payment_state is PaymentState.SETTLED_OUTSIDE
    assert [one for one in await core.sent() if one.topic == SETTLEMENT_REQUESTS] == []


async def test_a_dispute_after_the_decision_asks_the_money_back(core: Core) -> None:
    await approved(core)
    await core.take(a_disputed(**by_hospital(3) | {"in_reply_to": a_decision().msg_id}))

    requests = [one for one in await core.sent() if one.topic == SETTLEMENT_REQUESTS]
    assert [one.type for one in requests] == ["obligation", "void_asked"]
    assert requests[1].message["obligation_id"] == requests[0].message["obligation_id"]


async def test_settlement_s_news_reach_the_hospital_in_order(core: Core) -> None:
    await approved(core)
    kinds: tuple[OutcomeType, ...] = ("instructed", "sent", "received", "reconciled")
    for number, kind in enumerate(kinds):
        await core.take(
            Outcome(
                type=kind,
                obligation_id=obligation_id(CLAIM, 1),
                case_id=CASE,
                claim_id=CLAIM,
                amount_minor=120_000,
                currency="CNY",
                at=f"2026-03-02T01:00:0{number}.000Z",
                reference="E2E-1",
            )
        )

    news = [one.message for one in await core.sent() if one.topic == HOSPITAL_NOTICES and one.type == "claim_state"]
    assert [one["event"] for one in news] == [
        "received",
        "acknowledged",
        "decided",
        "instructed",
        "sent",
        "received",
        "reconciled",
    ]
    assert [one["revision"] for one in news] == list(range(1, 8))
    assert news[-1]["payment_state"] == "reconciled"


async def test_an_answer_to_an_older_revision_is_stale_and_one_of_two_at_once_wins(core: Core) -> None:
    await core.take(a_submitted())
    twins = [an_acknowledged(msg_id=f"msg_twin000{number}") for number in range(4)]

    results = await asyncio.gather(*(core.take(twin) for twin in twins), return_exceptions=True)

    assert results.count(None) == 1
    assert all(isinstance(one, IllegalTransitionError) for one in results if one is not None)
    with pytest.raises(StaleError, match=r"claim\.stale"):
        await core.take(a_decision(based_on=1))


async def test_a_stranger_s_answer_finds_no_claim(core: Core) -> None:
    await core.take(a_submitted())

    with pytest.raises(NotFoundError, match=r"claim\.unknown"):
        await core.take(an_acknowledged(sender=OTHER_INSURER))


async def test_a_case_id_of_another_hospital_is_refused(core: Core) -> None:
    await core.take(a_submitted())
    claim = replace(await core.claim(CLAIM), claim_id="claim_of_another", hospital="hosp-other")
    stolen = submitted(2, case_id=CASE, claim_id="claim_of_another", sender="hosp-other")

    async def work(tx: Transaction) -> None:
        await store.take_in(tx, claim, stolen, NOW)

    with pytest.raises(ConflictError, match=r"claim\.case-of-another"):
        await core.database.write(work)


async def test_an_answer_addressed_to_another_party_is_refused(core: Core) -> None:
    await core.take(a_submitted())

    with pytest.raises(InvalidInputError, match=r"message\.recipient-not-on-claim"):
        await core.take(an_acknowledged(recipients=(OTHER_INSURER,)))

    assert (await core.claim(CLAIM)).state is State.RECEIVED


async def test_core_refuses_what_no_table_allows_and_names_it(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())
    decision = a_decision(entries=(an_entry(0, 1, benefit=120_000, class_code="G999"),))
    by_insurer = a_disputed(differences=("Chan Tai Man",))
    by_hospital = a_disputed(sender=HOSPITAL, recipients=(INSURER,), differences=("/asked_minor",))

    refused = []
    for message in (decision, by_insurer, by_hospital, a_returned(class_code="G028")):
        with pytest.raises(InvalidInputError, match=r"message\.invalid") as error:
            await core.take(message)
        refused += [(fault.code, fault.pointer) for fault in error.value.faults]

    assert refused == [
        ("reason.unknown", "/entries/0/class_code"),
        ("dispute.difference-unknown", "/differences/0"),
        ("dispute.difference-unknown", "/differences/0"),
        ("reason.unknown", "/class_code"),
    ]
    assert (await core.claim(CLAIM)).state is State.IN_REVIEW


async def test_a_claim_with_a_token_that_is_a_persons_number_is_refused(core: Core) -> None:
    with pytest.raises(InvalidInputError) as refused:
        await core.take(a_submitted(receipt_tokens=("11010519491231002X",)))

    assert [(fault.code, fault.pointer) for fault in refused.value.faults] == [
        ("field.names-a-person", "/receipt_tokens/0")
    ]
