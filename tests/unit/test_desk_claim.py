import pytest

from adapters.hk.desk.claim import DeskClaim
from gateway.protocol.claim_life import Event
from gateway.protocol.errors import ConflictError, IllegalTransitionError, StaleError
from gateway.protocol.messages.accepted import Accepted
from tests.claims_in_transit import a_claim, an_opened, delivered
from tests.parties import INSURER, NOW

OPENED = DeskClaim.opened(an_opened(), NOW)


def told(revision: int, *actions: str, state: str = "in_review") -> Accepted:
    return Accepted(
        case_id=OPENED.case_id,
        claim_id=OPENED.claim_id,
        in_reply_to="msg_answer0001",
        to=INSURER,
        state=state,
        revision=revision,
        allowed_actions=actions,
    )


def test_an_opened_claim_stands_at_the_first_revision_and_allows_nothing_until_core_has_spoken() -> None:
    assert (OPENED.state, OPENED.revision, OPENED.allowed_actions, OPENED.decision_version) == ("received", 1, (), 0)
    assert OPENED.signed == a_claim()


def test_a_claim_with_differences_keeps_them() -> None:
    assert DeskClaim.opened(an_opened(delivered(a_claim(asked_minor=1))), NOW).differences == ("/asked_minor",)


def test_core_is_followed_forwards_only() -> None:
    in_review = OPENED.follow(told(2, "decide"), None)
    decided = in_review.follow(told(3, state="approved"), 1)

    assert (in_review.state, in_review.allowed_actions, in_review.decision_version) == ("in_review", ("decide",), 0)
    assert (decided.state, decided.allowed_actions, decided.decision_version) == ("approved", (), 1)
    assert decided.follow(told(2, "decide"), None) == decided
    assert decided.follow(told(3, "decide", state="returned"), None) == decided


def test_an_answer_is_checked_against_what_is_on_its_way_the_revision_and_what_core_allows() -> None:
    claim = OPENED.follow(told(2, "decide"), None)

    claim.check(Event.DECIDE, 2, answer_open=False)
    with pytest.raises(ConflictError, match=r"desk\.answer-on-its-way"):
        claim.check(Event.DECIDE, 2, answer_open=True)
    with pytest.raises(StaleError) as stale:
        claim.check(Event.DECIDE, 1, answer_open=False)
    with pytest.raises(IllegalTransitionError):
        claim.check(Event.RETURN, 2, answer_open=False)
    assert stale.value.allowed_actions == ("decide",)


def test_no_signature_and_no_content_show_in_a_repr() -> None:
    assert OPENED.manifest not in repr(OPENED)
