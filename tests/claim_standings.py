"""Every standing that a claim can reach with its money, walked by core's own rules and a model of settlement's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from gateway.claims.claim import Claim
from gateway.claims.payment import ENDED, PaymentEvent, PaymentState
from gateway.protocol.claim_life import CLOSE_REASONS, ENDS, Actor, State
from gateway.protocol.errors import ConflictError, IllegalTransitionError
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.settlements import obligation_id
from tests.parties import (
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
    the_route,
)

ASKED = 120_000
AMOUNTS = (0, 70_000, ASKED)


def received() -> Claim:
    return Claim.receive(a_submitted(), the_route(), frozenset())


def decision(claim: Claim, amount: int, *, final: bool = True) -> DecidedManifest:
    return a_decision(
        msg_id=f"msg_decision{claim.revision:05d}",
        based_on=claim.revision,
        decision_version=claim.decision_version + 1,
        final=final,
        entries=(an_entry(0, 1, benefit=amount, patient=ASKED - amount),),
    )


def decided(claim: Claim, amount: int, *, final: bool = True) -> Claim:
    """Take a decision as the use case does, which asks settlement in the same step."""
    manifest = decision(claim, amount, final=final)
    moved = claim.decide(manifest)
    if moved.changes_money(manifest):
        moved = moved.oblige(amount, obligation_id(claim.claim_id, moved.decision_version))
    return moved


def dispute(claim: Claim, party: str) -> Claim:
    about = claim.msg_id if party == INSURER else claim.answer_msg_id or "msg_never_said"
    recipient = HOSPITAL if party == INSURER else INSURER
    manifest = a_disputed(
        sender=party, recipients=(recipient,), in_reply_to=about, msg_id=f"msg_dispute{claim.revision:06d}"
    )
    moved = claim.dispute_content(manifest)
    return moved.ask_void() if moved.may_void else moved


def withdrawn(claim: Claim) -> Claim:
    raised = claim.dispute
    assert raised is not None
    recipient = HOSPITAL if raised.by == INSURER else INSURER
    return claim.withdraw_dispute(
        a_withdrawal(sender=raised.by, recipients=(recipient,), in_reply_to=raised.msg_id, msg_id="msg_withdrawn")
    )


def given_up(claim: Claim) -> Claim:
    assert claim.dispute is not None
    return claim.give_up(a_giving_up(in_reply_to=claim.dispute.msg_id))


def closed(claim: Claim, reason: str) -> Claim:
    return claim.close(reason)[0]


def answered(claim: Claim, event: PaymentEvent, amount_minor: int) -> Claim:
    """Take settlement's word, and ask it again to stop money that came back, as the use case does."""
    moved = claim.pay(event, amount_minor)
    again = event is PaymentEvent.RETURNED_TO_OPEN and moved.is_recouped and moved.void_obligation_id is None
    return moved.ask_void() if again else moved


# Every reachable standing, and who can lead it on


@dataclass(frozen=True)
class Standing:
    """What a claim's moves depend on; revisions, ids and amounts that only count are left out."""

    claim: Claim

    @property
    def key(self) -> tuple[object, ...]:
        claim = self.claim
        raised = None if claim.dispute is None else (claim.dispute.by, claim.dispute.from_state)
        pending = claim.void_obligation_id is not None
        return claim.state, claim.payment_state, claim.money_state, raised, pending, claim.obligated_minor

    @property
    def is_end(self) -> bool:
        """Nobody is waited for: the claim has ended and so has its money, or none is to be paid."""
        claim = self.claim
        unpaid = claim.payment_state is PaymentState.VOIDED and claim.state in (State.APPROVED, State.APPROVED_IN_PART)
        return claim.state in ENDS and claim.payment_state in ENDED and not unpaid and claim.void_obligation_id is None

    def moves(self) -> Iterator[tuple[str, Claim]]:
        """Yield every move that somebody may make now, with whose it is."""
        claim = self.claim
        attempts: list[tuple[Actor, Callable[[], Claim]]] = [
            (Actor.INSURER, lambda: claim.acknowledge(an_acknowledged(based_on=claim.revision))),
            (Actor.INSURER, lambda: claim.return_unprocessed(a_returned(based_on=claim.revision))),
            *((Actor.INSURER, partial(decided, claim, amount)) for amount in AMOUNTS),
            (Actor.INSURER, lambda: decided(claim, ASKED, final=False)),
            *((claim.actor(party), partial(dispute, claim, party)) for party in (HOSPITAL, INSURER)),
            *((Actor.OPERATOR, partial(closed, claim, reason)) for reason in CLOSE_REASONS),
            (Actor.OPERATOR, claim.close_recoup),
        ]
        if claim.dispute is not None:
            attempts.append((claim.actor(claim.dispute.by), lambda: withdrawn(claim)))
            attempts.append((Actor.HOSPITAL, lambda: given_up(claim)))
        for actor, move in attempts:
            try:
                yield str(actor), move()
            except (ConflictError, IllegalTransitionError):
                continue
        for event in self.outcomes():
            # the newest obligation is all that is obligated, or what a later decision added
            for amount in {claim.obligated_minor, claim.obligated_minor - AMOUNTS[1]} - {0}:
                if amount > 0:
                    yield "settlement", answered(claim, event, amount)

    def outcomes(self) -> Iterator[PaymentEvent]:
        """Yield what settlement may say next, as its own table has it."""
        claim, money = self.claim, self.claim.money_now
        if claim.obligation_id is None or claim.payment_state is PaymentState.RECOUP_CLOSED:
            return
        pending = claim.void_obligation_id is not None
        for state, event, void_only in SETTLEMENT:
            if money is state and (pending or not void_only):
                yield event


_P, _E = PaymentState, PaymentEvent
SETTLEMENT = (
    (_P.ASKED, _E.INSTRUCTED, False),
    (_P.ASKED, _E.VOIDED, False),
    (_P.INSTRUCTED, _E.SENT, False),
    (_P.INSTRUCTED, _E.RECEIVED, False),
    (_P.INSTRUCTED, _E.RETURNED_TO_OPEN, False),
    (_P.INSTRUCTED, _E.TOO_LATE, True),
    (_P.FUNDS_SENT, _E.RECEIVED, False),
    (_P.FUNDS_SENT, _E.TOO_LATE, True),
    (_P.FUNDS_RECEIVED, _E.RECONCILED, False),
    (_P.FUNDS_RECEIVED, _E.TOO_LATE, True),
    (_P.RECONCILED, _E.TOO_LATE, True),
)
"""What settlement says while the newest obligation is there; `too_late` only when it was asked to stop it."""


def reachable() -> dict[tuple[object, ...], tuple[Standing, list[tuple[str, tuple[object, ...]]]]]:
    """Walk every move from a received claim; decisions are counted, so their number is bounded by what it changes."""
    first = Standing(received())
    graph: dict[tuple[object, ...], tuple[Standing, list[tuple[str, tuple[object, ...]]]]] = {}
    waiting = [first]
    while waiting:
        standing = waiting.pop()
        if standing.key in graph:
            continue
        following = [(actor, Standing(moved)) for actor, moved in standing.moves()]
        graph[standing.key] = standing, [(actor, after.key) for actor, after in following]
        waiting += [after for _, after in following]
    return graph


GRAPH = reachable()
