"""What each party was told last of a claim is what core accepts of it now, on both databases and along any way."""

from collections.abc import Iterator
from random import Random
from typing import Any, cast

import pytest

from gateway.claims.claim import Claim
from gateway.claims.payment import PaymentEvent, PaymentState
from gateway.claims.tables import METADATA
from gateway.protocol.claim_life import Actor
from gateway.protocol.errors import RefuseError
from gateway.protocol.exchange import Message
from gateway.protocol.messages.outcome import Outcome, OutcomeType
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES
from gateway.runtime.storage.tables import METADATA as RUNTIME
from tests.conftest import MakeDatabase
from tests.core_claims import Core
from tests.parties import (
    CASE,
    CLAIM,
    HOSPITAL,
    INSURER,
    a_decision,
    a_disputed,
    a_giving_up,
    a_returned,
    a_submitted,
    a_withdrawal,
    an_acknowledged,
    an_entry,
)

STEPS = 40
BENEFITS = (0, 70_000, 120_000)
_P, _E = PaymentState, PaymentEvent
BANK = {
    _P.ASKED: (_E.INSTRUCTED, _E.VOIDED),
    _P.INSTRUCTED: (_E.SENT, _E.RECEIVED, _E.RETURNED_TO_OPEN, _E.TOO_LATE),
    _P.FUNDS_SENT: (_E.RECEIVED, _E.TOO_LATE),
    _P.FUNDS_RECEIVED: (_E.RECONCILED, _E.TOO_LATE),
    _P.RECONCILED: (_E.TOO_LATE,),
}
"""What settlement may say of the newest obligation; `too_late` only if it was asked to stop it."""


def moves(claim: Claim, step: int) -> Iterator[Message]:
    """Yield a message of every kind, right or wrong at this moment."""
    to_hospital: dict[str, Any] = {"msg_id": f"msg_step{step:06d}", "based_on": claim.revision}
    to_insurer = to_hospital | {"sender": HOSPITAL, "recipients": (INSURER,)}
    raised = "msg_nobody0001" if claim.dispute is None else claim.dispute.msg_id
    answer = claim.answer_msg_id or "msg_nobody0002"
    yield an_acknowledged(**to_hospital)
    yield a_returned(**to_hospital)
    yield a_disputed(**to_hospital)
    yield a_disputed(**to_insurer | {"in_reply_to": answer})
    for said in (to_hospital, to_insurer):
        yield a_withdrawal(**said | {"in_reply_to": raised})
    yield a_giving_up(**to_insurer | {"in_reply_to": raised})
    for benefit in BENEFITS:
        entries = (an_entry(0, 1, benefit=benefit, patient=120_000 - benefit),)
        version = claim.decision_version + 1
        yield a_decision(**to_hospital | {"entries": entries, "decision_version": version, "final": benefit != 0})
    for event in BANK.get(claim.money_now, ()):
        if claim.obligation_id is not None and (event is not _E.TOO_LATE or claim.void_obligation_id is not None):
            yield Outcome(
                type=cast(OutcomeType, event.value),
                obligation_id=claim.obligation_id,
                case_id=CASE,
                claim_id=CLAIM,
                amount_minor=claim.obligated_minor,
                currency="CNY",
                at="2026-03-02T01:00:00.000Z",
            )


async def told_last(core: Core, topic: str) -> tuple[str, ...]:
    told = [one.message for one in await core.sent() if one.topic == topic and "allowed_actions" in one.message]
    return tuple(told[-1]["allowed_actions"])


@pytest.mark.parametrize("seed", [6, 18, 29, 33])
async def test_each_party_knows_what_core_accepts_of_it_after_every_move(
    make_database: MakeDatabase, seed: int
) -> None:
    core, choice = Core.over(make_database(RUNTIME, METADATA)), Random(seed)  # noqa: S311 a walk, no secret
    await core.take(a_submitted())
    taken = 0
    await core.take(an_acknowledged())

    for step in range(STEPS):
        claim = await core.claim(CLAIM)
        try:
            await core.take(choice.choice(list(moves(claim, step))))
        except RefuseError:
            continue
        taken += 1
        now = await core.claim(CLAIM)
        assert await told_last(core, HOSPITAL_NOTICES) == now.allowed(Actor.HOSPITAL)
        assert await told_last(core, INSURER_DELIVERIES) == now.allowed(Actor.INSURER)

    assert taken > 0
