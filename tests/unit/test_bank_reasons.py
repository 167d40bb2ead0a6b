"""A bank's own reason reaches core and the hospital whole, and never stands in clear in the log."""

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from adapters.sz.showing import state_event
from gateway.claims.announcements import VOID_REASON
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.exchange import parse_message
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.outcome import Outcome
from settlement.actions import OWN_REASONS, OWN_WORDS, outcome, payment_record
from settlement.actions.closing import CloseObligation, DecideBatch
from settlement.documents import read_batch, write_batch
from tests.settlement_builders import NOW, an_instructed_batch, an_obligation

DEPS: Any = SimpleNamespace(clock=VirtualClock(NOW))

LONGEST = "拒" * 35
REASONS = ["AC04", "INSUF_FUNDS", LONGEST, "\\U000e0001" * 35, "account.unknown"]


def refused(reason: str) -> Any:
    return an_obligation().batch("bat_1", "E2E1").instruct().reject(reason)


@pytest.mark.parametrize("reason", REASONS)
def test_an_outcome_carries_the_banks_reason_over_the_wire(reason: str) -> None:
    obligation = refused(reason)

    post = outcome(DEPS, "returned_to_open", obligation, payment_record(DEPS, "payment.rejected", obligation))

    assert post.message is not None
    raw = compact(post.message.model_dump(mode="json"))
    assert parse_message(Outcome, read_json_object(raw)).reason_code == reason


@pytest.mark.parametrize("reason", REASONS)
def test_a_batch_keeps_the_banks_reason(reason: str) -> None:
    batch = an_instructed_batch().reject(reason)

    assert read_batch(write_batch(batch), "rejected").reason_code == reason


@pytest.mark.parametrize("reason", ["AC04", "NARR", "disputed", "account.unknown"])
def test_a_code_is_clear_in_the_log(reason: str) -> None:
    record = payment_record(DEPS, "payment.rejected", refused(reason))

    assert (record.clear["reason_code"], record.facts) == (reason, {})


@pytest.mark.parametrize(
    "reason",
    ["Wang Xiaoming has no account", "INSUF_FUNDS", "wang", "chan.taiman", "chan-tai-man", "LEE", LONGEST],
)
def test_a_banks_own_words_are_committed_and_never_clear(reason: str) -> None:
    record = payment_record(DEPS, "payment.rejected", refused(reason))

    assert (record.clear["reason_code"], record.facts) == (OWN_WORDS, {"reason": reason})


@pytest.mark.parametrize(
    "reasons",
    [
        get_args(CloseObligation.model_fields["reason"].annotation),
        get_args(DecideBatch.model_fields["reason"].annotation),
        (VOID_REASON,),
    ],
)
def test_a_reason_of_our_own_is_clear_in_the_log(reasons: tuple[str, ...]) -> None:
    assert set(reasons) <= OWN_REASONS


def test_a_hospital_sees_why_its_payment_was_refused() -> None:
    message = ClaimState(
        case_id="case_1",
        claim_id="claim_1",
        claim_version=1,
        revision=5,
        state="approved",
        payment_state="asked",
        event="returned_to_open",
        at="2026-03-02T01:00:00.000Z",
        allowed_actions=(),
        reason_code=LONGEST,
    )

    assert state_event(message)["reason_code"] == LONGEST
