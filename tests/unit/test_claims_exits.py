"""No claim is held by anybody's silence, and no order of disputes and bank news pays twice or loses money.

A model of core and settlement: core moves the claim, settlement answers one request after the other and moves its
obligations in any order that its own table allows. Messages of each direction keep their order.
"""

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import sampled_from

from gateway.claims.claim import Claim
from gateway.claims.payment import PaymentEvent, PaymentState
from gateway.protocol.claim_life import ALLOWED, CLOSE_REASONS, ENDS, Actor, Event, Receipts, State
from gateway.protocol.errors import ConflictError, IllegalTransitionError
from tests.claim_standings import AMOUNTS, GRAPH, Standing, decided, dispute, received, withdrawn
from tests.parties import HOSPITAL, INSURER, an_acknowledged


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
