"""In every reachable state a party and two operators are offered exactly what core accepts of them."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gateway.claims.actions.closing import offered
from gateway.claims.claim import Claim
from gateway.protocol.claim_life import CLOSE_REASONS, UNASKED, Event
from gateway.protocol.errors import ConflictError, IllegalTransitionError
from tests.claim_standings import AMOUNTS, ASKED, GRAPH, decision, dispute
from tests.parties import HOSPITAL, INSURER, a_giving_up, a_returned, a_withdrawal, an_acknowledged


def accepted_of(claim: Claim, party: str) -> set[str]:
    """Try every action as this party, of every shape that matters; return those of which one is accepted."""
    actor, other = claim.actor(party), HOSPITAL if party == INSURER else INSURER
    said = {"sender": party, "recipients": (other,), "based_on": claim.revision}
    of_dispute = said | {"in_reply_to": "msg_nobody0001" if claim.dispute is None else claim.dispute.msg_id}

    def decide(amount: int, *, final: bool) -> Claim:
        return claim.decide(decision(claim, amount, final=final).model_copy(update=said))

    attempts: list[tuple[Event, Callable[[], Claim]]] = [
        (Event.ACKNOWLEDGE, lambda: claim.acknowledge(an_acknowledged(**said))),
        (Event.RETURN, lambda: claim.return_unprocessed(a_returned(**said))),
        (Event.DECIDE_PARTLY, lambda: decide(ASKED, final=False)),
        *((Event.DECIDE, partial(decide, amount, final=True)) for amount in AMOUNTS),
        (Event.WITHDRAW_DISPUTE, lambda: claim.withdraw_dispute(a_withdrawal(**of_dispute))),
        (Event.GIVE_UP, lambda: claim.give_up(a_giving_up(**of_dispute))),
    ]
    if (actor, Event.DISPUTE) not in UNASKED:
        attempts.append((Event.DISPUTE, partial(dispute, claim, party)))
    accepted = set()
    for event, move in attempts:
        try:
            move()
        except (ConflictError, IllegalTransitionError) as refused:
            # a refusal that offers anything else is told from one that does not by what it offers
            accepted |= set(refused.allowed_actions or ()) - set(claim.allowed(actor))
        else:
            accepted.add(str(event))
    return accepted


def test_what_a_party_is_offered_in_any_reachable_state_is_exactly_what_core_accepts() -> None:
    wrong = [
        (standing.key, party, claim.allowed(claim.actor(party)))
        for standing, _ in GRAPH.values()
        for claim in [standing.claim]
        for party in (HOSPITAL, INSURER)
        if accepted_of(claim, party) != set(claim.allowed(claim.actor(party)))
    ]

    assert wrong == []


def taken_of_operators(claim: Claim) -> set[str]:
    """Try every reason to close; return the actions of which one is taken."""
    attempts: list[tuple[str, Callable[[], object]]] = [("close-recoup", claim.close_recoup)]
    attempts += [("close-claim", partial(claim.close, reason)) for reason in CLOSE_REASONS]
    taken = set()
    for action, move in attempts:
        with suppress(ConflictError, IllegalTransitionError):
            move()
            taken.add(action)
    return taken


def test_what_operators_are_offered_in_any_reachable_state_is_exactly_what_core_takes() -> None:
    wrong = [key for key, (one, _) in GRAPH.items() if taken_of_operators(one.claim) != set(offered(one.claim))]

    assert wrong == []
