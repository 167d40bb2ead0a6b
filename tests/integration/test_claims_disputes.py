"""A dispute at core on both databases: both parties hear of it in one commit, and it ends in more than one way."""

from typing import Any

import pytest

from gateway.claims import store
from gateway.claims.payment import PaymentState
from gateway.claims.tables import METADATA
from gateway.protocol.claim_life import State
from gateway.protocol.errors import ConflictError, IllegalTransitionError, InvalidInputError
from gateway.protocol.messages.outcome import Outcome, OutcomeType
from gateway.protocol.settlements import obligation_id
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES, SETTLEMENT_REQUESTS
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.tables import METADATA as RUNTIME
from tests.conftest import MakeDatabase
from tests.core_claims import Core, Sent
from tests.parties import (
    CASE,
    CLAIM,
    HOSPITAL,
    INSURER,
    NOW,
    a_decision,
    a_disputed,
    a_giving_up,
    a_returned,
    a_submitted,
    a_withdrawal,
    an_acknowledged,
    an_entry,
    by_hospital,
)


@pytest.fixture
def core(make_database: MakeDatabase) -> Core:
    return Core.over(make_database(RUNTIME, METADATA))


async def approved(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())
    await core.take(a_decision())


async def disputed_by_hospital(core: Core, **changes: Any) -> None:
    await core.take(a_disputed(**by_hospital(3) | {"in_reply_to": "msg_answer0004"} | changes))


async def withdrawn_by_hospital(core: Core) -> None:
    await core.take(a_withdrawal(**by_hospital(5) | {"in_reply_to": "msg_hospital0003"}))


def decided_again(number: int, based_on: int, **changes: Any) -> Any:
    return a_decision(msg_id=f"msg_again{number:04d}", based_on=based_on, decision_version=number, **changes)


async def money(core: Core, kind: OutcomeType, version: int = 1, amount_minor: int = 120_000) -> None:
    await core.take(
        Outcome(
            type=kind,
            obligation_id=obligation_id(CLAIM, version),
            case_id=CASE,
            claim_id=CLAIM,
            amount_minor=amount_minor,
            currency="CNY",
            at="2026-03-02T01:00:00.000Z",
        )
    )


async def sent_on(core: Core, topic: str, since: int = 0) -> list[Sent]:
    return [one for one in await core.sent() if one.topic == topic][since:]


async def test_a_hospital_s_dispute_is_presented_to_the_insurer_which_may_decide_once_money_is_voided(
    core: Core,
) -> None:
    await approved(core)
    told_before = len(await sent_on(core, INSURER_DELIVERIES))

    await disputed_by_hospital(core)
    presented, standing = await sent_on(core, INSURER_DELIVERIES, told_before)
    await money(core, "voided")

    assert (presented.type, standing.type) == ("disputed", "claim_state")
    assert standing.message["to"] == INSURER
    assert standing.message["allowed_actions"] == []
    assert standing.message["dispute"] == {
        "by": HOSPITAL,
        "against": INSURER,
        "msg_id": "msg_hospital0003",
        "in_reply_to": "msg_answer0004",
    }
    [*_, voided] = await sent_on(core, INSURER_DELIVERIES)
    assert voided.message["allowed_actions"] == ["decide_partly", "decide"]
    assert voided.message["revision"] == (await core.claim(CLAIM)).revision


async def test_an_insurer_s_dispute_is_presented_to_the_hospital_which_may_give_up(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(a_disputed())

    _, presented, standing = await sent_on(core, HOSPITAL_NOTICES)

    assert (presented.type, standing.type) == ("disputed", "claim_state")
    assert standing.message["allowed_actions"] == ["give_up"]
    assert standing.message["dispute"]["by"] == INSURER
    [*_, accepted] = await sent_on(core, INSURER_DELIVERIES)
    assert (accepted.type, accepted.message["allowed_actions"]) == ("accepted", ["withdraw_dispute"])


async def test_a_claim_that_was_given_up_releases_its_receipts_and_never_moves_again(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(a_disputed())
    again = a_submitted(
        msg_id="msg_submitted0002",
        case_id="case_synthetic0002",
        claim_id="claim_synthetic0002",
        claim_token="tok_claim_0002",
    )
    with pytest.raises(ConflictError, match=r"receipt\.live-on-another-claim"):
        await core.take(again)

    await core.take(a_giving_up())
    await core.take(again)

    assert (await core.claim(CLAIM)).state is State.GIVEN_UP
    assert (await core.claim(again.claim_id)).state is State.RECEIVED
    with pytest.raises(IllegalTransitionError):
        await core.take(a_withdrawal())
    [*_, given_up, standing] = [one for one in await sent_on(core, INSURER_DELIVERIES) if one.key == CASE]
    assert (given_up.type, standing.message["state"]) == ("given_up", "given_up")


@pytest.mark.parametrize("before", [State.RECEIVED, State.IN_REVIEW])
async def test_a_dispute_that_its_author_withdraws_restores_the_state_before(core: Core, before: State) -> None:
    await core.take(a_submitted())
    if before is State.IN_REVIEW:
        await core.take(an_acknowledged())
    await core.take(a_disputed())

    await core.take(a_withdrawal())

    claim = await core.claim(CLAIM)
    assert (claim.state, claim.dispute) == (before, None)
    kinds = [one.type for one in await sent_on(core, HOSPITAL_NOTICES)]
    assert kinds[-2:] == ["dispute_withdrawn", "claim_state"]


async def test_only_its_author_withdraws_a_dispute_and_by_its_own_id(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(a_disputed())

    with pytest.raises(IllegalTransitionError):
        await core.take(a_withdrawal(**by_hospital(5)))
    with pytest.raises(InvalidInputError, match=r"message\.not-of-claim"):
        await core.take(a_withdrawal(in_reply_to="msg_submitted0001"))


async def test_voided_money_is_paid_by_a_new_decision_and_not_by_a_withdrawn_dispute(core: Core) -> None:
    await approved(core)
    await disputed_by_hospital(core)
    await money(core, "voided")

    await withdrawn_by_hospital(core)
    restored = await core.claim(CLAIM)
    await core.take(decided_again(2, restored.revision))

    assert (restored.state, restored.payment_state, restored.obligated_minor) == (
        State.APPROVED,
        PaymentState.VOIDED,
        0,
    )
    asked = [one.message for one in await sent_on(core, SETTLEMENT_REQUESTS) if one.type == "obligation"]
    assert [(one["obligation_id"], one["amount_minor"]) for one in asked] == [
        (obligation_id(CLAIM, 1), 120_000),
        (obligation_id(CLAIM, 2), 120_000),
    ]
    assert (await core.claim(CLAIM)).payment_state is PaymentState.ASKED


async def test_a_decision_waits_until_settlement_has_said_what_became_of_the_money(core: Core) -> None:
    await approved(core)
    await disputed_by_hospital(core)
    claim = await core.claim(CLAIM)

    with pytest.raises(ConflictError, match=r"claim\.void-pending") as refused:
        await core.take(decided_again(2, claim.revision))
    await money(core, "voided")
    await core.take(decided_again(2, claim.revision + 1))

    assert refused.value.allowed_actions == ()
    assert (await core.claim(CLAIM)).state is State.APPROVED


@pytest.mark.parametrize("withdrawn_first", [True, False])
async def test_money_that_went_too_late_to_be_stopped_stays_paid_when_the_dispute_is_withdrawn(
    core: Core, *, withdrawn_first: bool
) -> None:
    await approved(core)
    await money(core, "instructed")
    await disputed_by_hospital(core)
    if withdrawn_first:
        await withdrawn_by_hospital(core)
        await money(core, "too_late")
    else:
        await money(core, "too_late")
        assert (await core.claim(CLAIM)).payment_state is PaymentState.RECOUP_NEEDED
        await money(core, "sent")
        await withdrawn_by_hospital(core)
    for kind in ("sent", "received", "reconciled"):
        if withdrawn_first or kind != "sent":
            await money(core, kind)

    claim = await core.claim(CLAIM)

    assert (claim.state, claim.payment_state, claim.obligated_minor) == (
        State.APPROVED,
        PaymentState.RECONCILED,
        120_000,
    )
    assert [one.type for one in await sent_on(core, SETTLEMENT_REQUESTS)] == ["obligation", "void_asked"]


async def test_the_same_decision_readable_this_time_leaves_money_that_is_under_way_alone(core: Core) -> None:
    await approved(core)
    await money(core, "instructed")
    await disputed_by_hospital(core)
    await money(core, "too_late")
    revision = (await core.claim(CLAIM)).revision
    less = (an_entry(0, 1, benefit=50_000, patient=70_000),)

    with pytest.raises(ConflictError, match=r"claim\.payment-under-way"):
        await core.take(decided_again(2, revision, entries=less))
    await core.take(decided_again(2, revision))
    await money(core, "received")

    claim = await core.claim(CLAIM)
    assert (claim.state, claim.payment_state) == (State.APPROVED, PaymentState.FUNDS_RECEIVED)
    assert [one.type for one in await sent_on(core, SETTLEMENT_REQUESTS)] == ["obligation", "void_asked"]


async def test_money_that_came_back_to_a_disputed_claim_is_voided_after_all(core: Core) -> None:
    await approved(core)
    await money(core, "instructed")
    await disputed_by_hospital(core)
    await money(core, "too_late")

    await money(core, "returned_to_open")
    await money(core, "voided")

    claim = await core.claim(CLAIM)
    assert (claim.payment_state, claim.obligated_minor) == (PaymentState.VOIDED, 0)
    assert [one.type for one in await sent_on(core, SETTLEMENT_REQUESTS)] == ["obligation", "void_asked", "void_asked"]


async def test_less_than_was_paid_is_asked_back_and_no_further_amount_is_taken(core: Core) -> None:
    await approved(core)
    for kind in ("instructed", "sent", "received", "reconciled"):
        await money(core, kind)
    await disputed_by_hospital(core)
    await money(core, "too_late")
    less = (an_entry(0, 1, benefit=50_000, patient=70_000),)

    await core.take(decided_again(2, (await core.claim(CLAIM)).revision, entries=less))
    await disputed_by_hospital(core, msg_id="msg_hospital0033", in_reply_to="msg_again0002")
    with pytest.raises(ConflictError, match=r"claim\.payment-over"):
        await core.take(decided_again(3, (await core.claim(CLAIM)).revision))
    await core.take(decided_again(3, (await core.claim(CLAIM)).revision, entries=less))

    claim = await core.claim(CLAIM)
    assert (claim.state, claim.payment_state) == (State.APPROVED_IN_PART, PaymentState.RECOUP_NEEDED)
    asked = [one.message for one in await sent_on(core, SETTLEMENT_REQUESTS) if one.type == "obligation"]
    assert [one["amount_minor"] for one in asked] == [120_000, -70_000]


async def test_a_return_that_the_hospital_cannot_read_is_returned_again(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(a_returned())
    await disputed_by_hospital(core, in_reply_to="msg_answer0002")
    disputed = await core.claim(CLAIM)

    with pytest.raises(IllegalTransitionError) as refused:
        await core.take(a_decision(based_on=disputed.revision))
    await core.take(a_returned(msg_id="msg_returned0002", based_on=disputed.revision))

    assert refused.value.allowed_actions == ("return",)
    assert (await core.claim(CLAIM)).state is State.RETURNED


async def test_no_two_messages_of_a_claim_share_an_id_whoever_signed_them(core: Core) -> None:
    await core.take(a_submitted())

    with pytest.raises(ConflictError, match=r"message\.id-taken"):
        await core.take(an_acknowledged(msg_id=a_submitted().msg_id))

    assert (await core.claim(CLAIM)).state is State.RECEIVED
    await core.take(an_acknowledged())
    with pytest.raises(ConflictError, match=r"message\.replayed"):
        await core.take(a_decision(msg_id=an_acknowledged().msg_id))


@pytest.mark.parametrize("beginning", ["accepted-", "rejected-", "claim_state-"])
async def test_no_party_uses_the_ids_of_the_gateway_s_own_messages(core: Core, beginning: str) -> None:
    with pytest.raises(InvalidInputError, match=r"message\.id-reserved"):
        await core.take(a_submitted(msg_id=f"{beginning}msg_answer0001"))
    await core.take(a_submitted())
    with pytest.raises(InvalidInputError, match=r"message\.id-reserved"):
        await core.take(an_acknowledged(msg_id=f"{beginning}{CLAIM}-2"))


async def test_an_answer_to_a_message_that_nobody_sent_moves_no_money(core: Core) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())

    with pytest.raises(InvalidInputError, match=r"message\.not-of-claim"):
        await core.take(a_decision(in_reply_to="msg_out_of_thin_air"))

    assert (await core.claim(CLAIM)).state is State.IN_REVIEW
    assert await sent_on(core, SETTLEMENT_REQUESTS) == []


async def test_settlement_s_word_on_another_obligation_is_not_the_claim_s(core: Core) -> None:
    await approved(core)

    with pytest.raises(ConflictError, match=r"payment\.other-obligation"):
        await money(core, "instructed", version=2)


async def test_the_second_of_two_answers_to_a_void_changes_nothing(core: Core) -> None:
    await approved(core)
    await disputed_by_hospital(core)
    await money(core, "voided")
    voided = await core.claim(CLAIM)

    await money(core, "too_late")
    assert await core.claim(CLAIM) == voided
    await core.take(decided_again(2, voided.revision))
    await money(core, "too_late")

    claim = await core.claim(CLAIM)
    assert (claim.state, claim.payment_state) == (State.APPROVED, PaymentState.ASKED)


async def test_a_claim_keeps_its_dispute_in_the_database(core: Core) -> None:
    await approved(core)
    await disputed_by_hospital(core)
    stored = await core.claim(CLAIM)

    async def work(tx: Transaction) -> None:
        await store.save(tx, stored, seen=stored.revision, moved_by=(a_decision(msg_id="msg_unique0001"), NOW))

    await core.database.write(work)

    assert await core.claim(CLAIM) == stored
    assert stored.dispute is not None
    assert (stored.dispute.by, stored.dispute.from_state) == (HOSPITAL, State.APPROVED)
    assert stored.void_obligation_id == stored.obligation_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"msg_id": "msg_answer0001"}, "message.replayed"),
        ({"msg_id": "msg_submitted0001"}, "message.id-taken"),
        ({"msg_id": "accepted-msg_answer"}, "message.id-reserved"),
        ({"msg_id": "msg-A123456-3"}, "message.invalid"),
        ({"in_reply_to": "msg_out_of_thin_air"}, "message.not-of-claim"),
        ({"based_on": 1}, "claim.stale"),
        ({"decision_version": 7}, "decision.version"),
    ],
)
async def test_a_refusal_offers_what_core_would_accept_whatever_was_wrong(
    core: Core, changes: dict[str, Any], code: str
) -> None:
    await core.take(a_submitted())
    await core.take(an_acknowledged())

    await core.refuse(a_decision(**changes))

    [refusal] = [one.message for one in await sent_on(core, INSURER_DELIVERIES) if one.type == "rejected"]
    assert (refusal["code"], tuple(refusal["allowed_actions"])) == (code, (await core.claim(CLAIM)).actions_of(INSURER))


async def test_the_refusal_of_a_claim_that_was_not_taken_in_offers_nothing(core: Core) -> None:
    await core.refuse(a_submitted(asked_minor=119_999, filing_ref="SANDBOX-OTHER"))

    [refusal] = [one.message for one in await sent_on(core, HOSPITAL_NOTICES) if one.type == "rejected"]
    assert (refusal["state"], refusal["allowed_actions"]) == ("refused", [])
