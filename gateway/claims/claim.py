"""The core's view of one claim: each move that `claim_life.ALLOWED` has, and the guards of it. Pure.

Payment is a machine of its own (`payment.py`).
"""

from dataclasses import dataclass, replace

from gateway.claims.payment import AT_REST, MONEY_FREE, ClaimPayment, PaymentEvent, PaymentState
from gateway.protocol.claim_life import (
    ALLOWED,
    CLOSE_REASONS,
    DECISIONS,
    FIRST_REVISION,
    LETS_GO,
    UNASKED,
    Actor,
    Event,
    Guard,
    Receipts,
    State,
)
from gateway.protocol.claim_terms import BillingMode, PaidKind, Payee
from gateway.protocol.decisions import decision_faults
from gateway.protocol.errors import (
    ConflictError,
    Fault,
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    StaleError,
)
from gateway.protocol.exchange import Manifest
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.dispute_withdrawn import DisputeWithdrawnManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.given_up import GivenUpManifest
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.registry import Route


@dataclass(frozen=True, slots=True)
class Dispute:
    """Who stopped the claim by which message about which message, and the state that a withdrawal restores."""

    by: str
    msg_id: str
    in_reply_to: str
    from_state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(ClaimPayment):
    """Amounts are minor units of `currency`; `reader` is the party that opens dossiers and answers.

    `answer_msg_id` is the insurer's newest answer that was passed on to the hospital.
    """

    claim_id: str
    case_id: str
    claim_version: int
    msg_id: str
    hospital: str
    reader: str
    payer: str
    billing_mode: BillingMode
    payee: Payee
    currency: str
    line_amounts_minor: tuple[int, ...]
    asked_minor: int
    state: State
    decision_version: int
    revision: int
    content_sha256: str | None = None
    answer_msg_id: str | None = None
    dispute: Dispute | None = None

    @classmethod
    def receive(cls, manifest: SubmittedManifest, route: Route, third_party_kinds: frozenset[PaidKind]) -> "Claim":
        """Take a submitted claim in: the route must be the filed one, and no more asked than third parties left."""
        faults = []
        if manifest.recipients != (route.reader,) or manifest.administrator != route.administrator:
            faults.append(Fault("claim.recipient-not-on-route", "/recipients"))
        if (manifest.mechanism.value, manifest.filing_ref) != (route.mechanism, route.filing_ref):
            faults.append(Fault("claim.mechanism-not-on-route", "/mechanism"))
        if manifest.currency != route.currency:
            faults.append(Fault("claim.currency-not-on-route", "/currency"))
        if manifest.asked_minor > manifest.asked_at_most(third_party_kinds):
            faults.append(Fault("claim.asked-over-rest", "/asked_minor"))
        if faults:
            raise InvalidInputError("claim.refused", faults=faults)
        return cls(
            claim_id=manifest.claim_id,
            case_id=manifest.case_id,
            claim_version=manifest.claim_version,
            msg_id=manifest.msg_id,
            hospital=manifest.sender,
            reader=route.reader,
            payer=manifest.payer,
            billing_mode=manifest.billing_mode,
            payee=manifest.payee,
            currency=manifest.currency,
            line_amounts_minor=manifest.line_amounts_minor,
            asked_minor=manifest.asked_minor,
            state=State.RECEIVED,
            payment_state=PaymentState.NONE,
            decision_version=0,
            obligated_minor=0,
            obligation_id=None,
            revision=FIRST_REVISION,
            content_sha256=manifest.content_sha256,
        )

    # What parties say

    def acknowledge(self, manifest: AcknowledgedManifest) -> "Claim":
        """Take the claim into review; a `content_sha256` that is stated must be the submission's."""
        moved = self._move(Event.ACKNOWLEDGE, manifest, State.IN_REVIEW, self.msg_id)
        stated = manifest.content_sha256
        if None not in (stated, self.content_sha256) and stated != self.content_sha256:
            faults = [Fault("message.content-differs", "/content_sha256")]
            raise InvalidInputError("message.not-of-claim", faults=faults, allowed_actions=self.actions_of(self.reader))
        return moved

    def return_unprocessed(self, manifest: ReturnedManifest) -> "Claim":
        moved = self._move(Event.RETURN, manifest, State.RETURNED, self.msg_id)
        return replace(moved.undisputed(), answer_msg_id=manifest.msg_id)

    def dispute_content(self, manifest: DisputedManifest) -> "Claim":
        """Stop the claim: content and manifest differ. No `based_on`: whoever saw it says so at once.

        The insurer disputes the submission, the hospital the newest answer that was passed on to it.
        """
        about = self.msg_id if self.actor(manifest.sender) is Actor.INSURER else self.answer_msg_id
        moved = self._move(Event.DISPUTE, manifest, State.DISPUTED, about)
        return replace(moved, dispute=Dispute(manifest.sender, manifest.msg_id, manifest.in_reply_to, self.state))

    def withdraw_dispute(self, manifest: DisputeWithdrawnManifest) -> "Claim":
        """Go back to the state before the dispute; money that was voided meanwhile takes a new decision."""
        to = self.state if self.dispute is None else self.dispute.from_state
        return self._move(Event.WITHDRAW_DISPUTE, manifest, to, self._dispute_msg_id).undisputed()

    def give_up(self, manifest: GivenUpManifest) -> "Claim":
        """End a submission that the insurer disputes; the hospital may claim its receipts under a new number."""
        return self._move(Event.GIVE_UP, manifest, State.GIVEN_UP, self._dispute_msg_id).undisputed()

    def decide(self, decision: DecidedManifest, hospital_bears: frozenset[str] = frozenset()) -> "Claim":
        """Take a decision whose entries explain the bill: each line once, sums exact, no more than was asked.

        `hospital_bears` lists the class codes that the route's contract lets the hospital bear.
        """
        actor = self.actor(decision.sender)
        if actor is Actor.INSURER and self.void_obligation_id is not None:
            raise ConflictError("claim.void-pending", allowed_actions=self.allowed(actor))
        event = Event.DECIDE if decision.final else Event.DECIDE_PARTLY
        moved = self._move(event, decision, self._decided_state(decision), self.msg_id)
        if decision.decision_version != self.decision_version + 1:
            raise ConflictError("decision.version", allowed_actions=self.allowed(actor))
        faults = decision_faults(
            decision,
            self.line_amounts_minor,
            asked_minor=self.asked_minor,
            currency=self.currency,
            hospital_bears=hospital_bears,
        )
        if faults:
            raise InvalidInputError("decision.refused", faults=faults, allowed_actions=self.allowed(actor))
        self._check_money(decision)
        decided = replace(
            moved, decision_version=decision.decision_version, answer_msg_id=decision.msg_id, dispute=None
        )
        approved = decision.final and self.payee is Payee.HOSPITAL and not self.changes_money(decision)
        return decided.approved_as_obligated() if approved else decided

    # What operators do

    def close(self, reason: str) -> tuple["Claim", Receipts]:
        """End the claim and say what becomes of its receipts; they are released only while no money is out."""
        if (rule := ALLOWED[self.state].get(Event.CLOSE)) is None or not self.holds(rule.guard, Actor.OPERATOR):
            raise IllegalTransitionError("claim.illegal-move", allowed_actions=())
        receipts = CLOSE_REASONS[reason]
        if self.dispute is not None and self.dispute.from_state in LETS_GO:
            receipts = Receipts.RELEASED
        elif receipts is Receipts.RELEASED and not self.holds(Guard.MONEY_FREE, Actor.OPERATOR):
            raise ConflictError("claim.money-out", allowed_actions=())
        return replace(self, state=State.CLOSED, dispute=None, revision=self.revision + 1), receipts

    def close_recoup(self) -> "Claim":
        """End a recoup that the parties have settled between themselves, or that nobody pursues any more."""
        if self.void_obligation_id is not None:
            raise ConflictError("claim.void-pending", allowed_actions=())
        return replace(self.recoup_closed(), revision=self.revision + 1)

    # Money

    def pay(self, event: PaymentEvent, amount_minor: int = 0) -> "Claim":
        """Move the payment machine on what settlement reports of an obligation over `amount_minor`.

        Money that went although it was to be stopped is rightful again if the dispute has ended meanwhile.
        """
        stopped = self.state in (State.DISPUTED, State.CLOSED)
        return replace(self.follow(event, amount_minor, stopped=stopped), revision=self.revision + 1)

    def undisputed(self) -> "Claim":
        """End the dispute, if there is one; money that could not be stopped is rightful again."""
        return replace(self.rightful(), dispute=None)

    def changes_money(self, decision: DecidedManifest) -> bool:
        """Say whether a decision asks settlement for more, or for a refund: final, and not what is obligated."""
        return decision.final and self.payee is Payee.HOSPITAL and decision.benefit_minor != self.obligated_minor

    def _check_money(self, decision: DecidedManifest) -> None:
        """Another amount waits until the obligation that is on its way has arrived; after a recoup there is none."""
        if not self.changes_money(decision):
            return
        actions = self.actions_of(decision.sender)
        if self.money_state is None and self.payment_state in (PaymentState.RECOUP_NEEDED, PaymentState.RECOUP_CLOSED):
            raise ConflictError("claim.payment-over", allowed_actions=actions)
        if self.money_now not in AT_REST:
            raise ConflictError("claim.payment-under-way", allowed_actions=actions)

    # Who may do what

    @property
    def _dispute_msg_id(self) -> str | None:
        return None if self.dispute is None else self.dispute.msg_id

    def actor(self, party: str) -> Actor:
        """Tell what `party` is on this claim; a stranger hears that there is no such claim."""
        if party == self.hospital:
            return Actor.HOSPITAL
        if party == self.reader:
            return Actor.INSURER
        raise NotFoundError("claim.unknown")

    def actions_of(self, party: str) -> tuple[str, ...]:
        return self.allowed(self.actor(party))

    def allowed(self, actor: Actor) -> tuple[str, ...]:
        """Return what `actor` may be offered now, in table order; no decision while money is being voided."""
        return tuple(
            str(event)
            for event, rule in ALLOWED[self.state].items()
            if actor in rule.by
            and self.holds(rule.guard, actor)
            and (actor, event) not in UNASKED
            and not (event in DECISIONS and self.void_obligation_id is not None)
        )

    def holds(self, guard: Guard | None, actor: Actor) -> bool:
        raised = self.dispute
        by = None if raised is None else self.actor(raised.by)
        money_free = self.payment_state in MONEY_FREE and self.obligated_minor == 0 and self.void_obligation_id is None
        from_state = None if raised is None else raised.from_state
        return {
            None: True,
            Guard.OWN_DISPUTE: by is actor,
            Guard.DECISION_DISPUTED: by is Actor.HOSPITAL and from_state is not State.RETURNED,
            Guard.RETURN_DISPUTED: by is Actor.HOSPITAL and from_state is State.RETURNED,
            Guard.SUBMISSION_DISPUTED: by is Actor.INSURER and money_free,
            Guard.MONEY_FREE: money_free,
            Guard.VOIDED: self.payment_state is PaymentState.VOIDED,
        }[guard]

    def _decided_state(self, decision: DecidedManifest) -> State:
        if not decision.final:
            return State.PARTLY_DECIDED
        if decision.benefit_minor == 0:
            return State.DENIED
        return State.APPROVED if decision.benefit_minor == self.asked_minor else State.APPROVED_IN_PART

    def _move(self, event: Event, manifest: Manifest, to: State, about: str | None) -> "Claim":
        """Move if the message is about this claim and `about`, the table has the move, and the guard holds."""
        actor = self.actor(manifest.sender)
        self._check_addressed(manifest, actor)
        actions = self.allowed(actor)
        rule = ALLOWED[self.state].get(event)
        if rule is None or actor not in rule.by or to not in rule.to or not self.holds(rule.guard, actor):
            raise IllegalTransitionError("claim.illegal-move", allowed_actions=actions)
        if manifest.in_reply_to != about:
            faults = [Fault("message.reply-to-other", "/in_reply_to")]
            raise InvalidInputError("message.not-of-claim", faults=faults, allowed_actions=actions)
        if manifest.based_on is not None and manifest.based_on != self.revision:
            raise StaleError("claim.stale", allowed_actions=actions)
        return replace(self, state=to, revision=self.revision + 1)

    def _check_addressed(self, manifest: Manifest, actor: Actor) -> None:
        """Resolve the clear fields that name the claim: recipient, case and version; every wrong one is named."""
        other = self.hospital if actor is Actor.INSURER else self.reader
        faults = []
        if manifest.case_id != self.case_id:
            faults.append(Fault("message.case-of-other", "/case_id"))
        if manifest.claim_version != self.claim_version:
            faults.append(Fault("message.version-of-other", "/claim_version"))
        if manifest.recipients != (other,):
            faults.append(Fault("message.recipient-not-on-claim", "/recipients"))
        if faults:
            alone = len(faults) == 1 and faults[0].pointer == "/recipients"
            raise InvalidInputError(
                "message.recipient-not-on-claim" if alone else "message.not-of-claim",
                faults=faults,
                allowed_actions=self.allowed(actor),
            )
