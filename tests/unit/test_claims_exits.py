"""No claim is held by anybody's silence, and no order of disputes and bank news pays twice or loses money.

A model of core and settlement: core moves the claim, settlement answers one request after the other and moves its
obligations in any order that its own table allows. Messages of each direction keep their order.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import sampled_from

from gateway.claims.actions.closing import offered
from gateway.claims.claim import Claim
from gateway.claims.payment import ENDED, PaymentEvent, PaymentState
from gateway.protocol.claim_life import ALLOWED, CLOSE_REASONS, ENDS, UNASKED, Actor, Event, Receipts, State
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


def led_to_an_end_without(silent: str) -> set[tuple[object, ...]]:
    """Return the standings from which an end is reached although one actor never says anything more."""
    ends = {key for key, (standing, _) in GRAPH.items() if standing.is_end}
    while True:
        more = {
            key
            for key, (_, moves) in GRAPH.items()
            if key not in ends and any(actor != silent and after in ends for actor, after in moves)
        }
        if not more:
            return ends
        ends |= more


def test_every_state_of_claim_and_payment_is_reached() -> None:
    claims = {standing.claim for standing, _ in GRAPH.values()}

    assert {claim.state for claim in claims} == set(State)
    assert {claim.payment_state for claim in claims} == set(PaymentState) - {PaymentState.SETTLED_OUTSIDE}


def test_no_reachable_state_is_held_by_the_silence_of_a_party() -> None:
    for silent in (Actor.HOSPITAL, Actor.INSURER):
        stuck = set(GRAPH) - led_to_an_end_without(str(silent))

        assert stuck == set(), f"held by the silence of the {silent}"


def test_every_state_that_waits_for_a_party_has_its_row_for_operators() -> None:
    waiting = {state for state in State if state not in ENDS}

    assert all(Event.CLOSE in ALLOWED[state] for state in waiting)


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


def test_receipts_are_released_only_while_no_money_of_the_claim_is_out() -> None:
    for standing, _ in GRAPH.values():
        claim = standing.claim
        for reason, receipts in CLOSE_REASONS.items():
            try:
                closed, given = claim.close(reason)
            except (ConflictError, IllegalTransitionError):
                continue
            released_before = claim.dispute is not None and claim.dispute.from_state is State.RETURNED
            assert given is (Receipts.RELEASED if released_before else receipts)
            if given is Receipts.RELEASED:
                assert (closed.obligated_minor, closed.void_obligation_id) == (0, None)


# Money, in any order


@dataclass
class Obligation:
    """Settlement's side of one obligation; `said` are its words, in order, that core has not heard yet."""

    amount: int
    state: str = "open"


@dataclass
class Settlement:
    obligations: dict[str, Obligation] = field(default_factory=dict)
    to_settlement: list[tuple[str, str, int]] = field(default_factory=list)
    to_core: list[tuple[str, PaymentEvent, int]] = field(default_factory=list)

    def say(self, name: str, event: PaymentEvent) -> None:
        self.to_core.append((name, event, self.obligations[name].amount))

    @property
    def paid(self) -> int:
        settled = ("instructed", "sent", "received", "reconciled")
        return sum(one.amount for one in self.obligations.values() if one.state in settled)


class MoneyFollowsTheClaim(RuleBasedStateMachine):
    """The hospital and the insurer dispute, withdraw and decide at will while the bank takes its time."""

    def __init__(self) -> None:
        super().__init__()
        received_claim = received()
        self.claim = received_claim.acknowledge(an_acknowledged(based_on=1))
        self.settlement = Settlement()
        self.approved = 0

    def _move(self, moved: Claim) -> None:
        """Send what core asks of settlement, as the use cases do."""
        if moved.obligation_id != self.claim.obligation_id and moved.obligation_id is not None:
            amount = moved.obligated_minor - self.claim.obligated_minor
            self.settlement.to_settlement.append(("obligation", moved.obligation_id, amount))
        if moved.void_obligation_id is not None and self.claim.void_obligation_id is None:
            self.settlement.to_settlement.append(("void_asked", moved.void_obligation_id, 0))
        self.claim = moved

    @rule(amount=sampled_from(AMOUNTS), final=sampled_from((True, True, False)))
    def insurer_decides(self, amount: int, *, final: bool) -> None:
        try:
            moved = decided(self.claim, amount, final=final)
        except (ConflictError, IllegalTransitionError):
            return
        if final:
            self.approved = amount
        self._move(moved)

    @rule(party=sampled_from((HOSPITAL, INSURER)))
    def a_party_disputes(self, party: str) -> None:
        if self.claim.answer_msg_id is not None or party == INSURER:
            try:
                self._move(dispute(self.claim, party))
            except IllegalTransitionError:
                return

    @precondition(lambda self: self.claim.dispute is not None)
    @rule()
    def the_dispute_is_withdrawn(self) -> None:
        self._move(withdrawn(self.claim))

    @precondition(lambda self: self.settlement.to_settlement)
    @rule()
    def settlement_takes_a_request(self) -> None:
        kind, name, amount = self.settlement.to_settlement.pop(0)
        if kind == "obligation":
            assert name not in self.settlement.obligations, "an obligation came twice"
            self.settlement.obligations[name] = Obligation(amount, "open" if amount > 0 else "refund_requested")
            return
        obligation = self.settlement.obligations[name]
        if obligation.state == "open":
            obligation.state = "voided"
            self.settlement.say(name, PaymentEvent.VOIDED)
        else:
            self.settlement.say(name, PaymentEvent.TOO_LATE)

    @rule(what=sampled_from(("instruct", "send", "receive", "refuse", "reconcile", "void")))
    def settlement_or_the_bank_acts(self, what: str) -> None:
        steps = {
            ("instruct", "open"): ("instructed", PaymentEvent.INSTRUCTED),
            ("send", "instructed"): ("sent", PaymentEvent.SENT),
            ("receive", "instructed"): ("received", PaymentEvent.RECEIVED),
            ("receive", "sent"): ("received", PaymentEvent.RECEIVED),
            ("refuse", "instructed"): ("open", PaymentEvent.RETURNED_TO_OPEN),
            ("reconcile", "received"): ("reconciled", PaymentEvent.RECONCILED),
            ("void", "open"): ("voided", PaymentEvent.VOIDED),
        }
        for name, obligation in self.settlement.obligations.items():
            if (what, obligation.state) in steps:
                obligation.state, event = steps[what, obligation.state]
                self.settlement.say(name, event)

    @precondition(lambda self: self.settlement.to_core)
    @rule()
    def core_hears_settlement(self) -> None:
        name, event, amount = self.settlement.to_core.pop(0)
        if self.claim.has_heard(event, name):
            return
        assert name == self.claim.obligation_id, "settlement speaks of an obligation that is not the claim's newest"
        moved = self.claim.pay(event, amount)
        if event is PaymentEvent.RETURNED_TO_OPEN and moved.is_recouped and moved.void_obligation_id is None:
            moved = moved.ask_void()
        self._move(moved)

    @invariant()
    def no_more_is_paid_than_the_last_decision_approves_unless_it_is_to_be_recouped(self) -> None:
        if self.claim.state is not State.DISPUTED and not self.settlement.to_core:
            assert self.settlement.paid <= self.approved or self.claim.is_recouped

    @invariant()
    def what_is_obligated_is_what_settlement_was_asked_for_and_has_not_voided(self) -> None:
        if self.settlement.to_settlement or self.settlement.to_core:
            return
        live = [one.amount for one in self.settlement.obligations.values() if one.state != "voided"]
        assert self.claim.obligated_minor == sum(live)

    @invariant()
    def an_approved_claim_is_paid_or_says_why_not(self) -> None:
        claim = self.claim
        quiet = not (self.settlement.to_settlement or self.settlement.to_core)
        if quiet and claim.state in (State.APPROVED, State.APPROVED_IN_PART) and not claim.is_recouped:
            assert claim.obligated_minor == self.approved or claim.payment_state is PaymentState.VOIDED

    @invariant()
    def somebody_can_always_move_it_on(self) -> None:
        claim = self.claim
        waits = self.settlement.to_settlement or self.settlement.to_core
        alive = any(
            one.state in ("open", "instructed", "sent", "received") for one in self.settlement.obligations.values()
        )
        standing = Standing(replace(claim))
        assert standing.is_end or waits or alive or any(True for _ in standing.moves())


TestMoneyFollowsTheClaim = MoneyFollowsTheClaim.TestCase
TestMoneyFollowsTheClaim.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
