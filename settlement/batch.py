"""A batch: many obligations, one payment. Payer x hospital x currency x rail x value date.

The maker is settlement's job; two different treasurers of the payer approve, each by a signature over `batch_hash`
(SET-13). The hash covers every fact that reaches the bank except the time of sending, so one changed byte voids the
approvals. One batch is one attempt: after a rejection its obligations go into a new batch with a new EndToEndId that
names the old one in `replaces`. While an outcome is unknown nothing is sent again: the bank is asked first.

Ids derive from the members, hence the same draft twice is the same batch; only the UETR is random (a version 4 UUID).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Self

from gateway.protocol.canonical import canonical, sha256_hex
from gateway.protocol.errors import ConflictError, ForbiddenError, IllegalTransitionError, InvalidInputError
from gateway.protocol.money import Money, total
from settlement.bank_entry import Seen
from settlement.obligation import Actor, Obligation, Rule, rule
from settlement.payment import AccountHolder, ChargeBearer, PaymentInstruction, RemittanceLine

MAKER = "settlement.job"
MEMBERS_MAX = 500
APPROVALS_NEEDED = 2
PURPOSE = "HSPC"
"""Hospital care (ExternalPurpose1Code)."""


class State(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    INSTRUCTED = "instructed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """No answer, or none that can be read: money may have moved."""
    DEBITED = "debited"
    CREDITED = "credited"
    """The hospital's credit was seen, whether or not the debit was."""
    RECONCILED = "reconciled"
    WITHDRAWN = "withdrawn"
    """Its last member was voided before anything was sent."""


class Event(StrEnum):
    FIRST_APPROVAL = "first_approval"
    SECOND_APPROVAL = "second_approval"
    AMEND = "amend"
    WITHDRAW = "withdraw"
    INSTRUCT = "instruct"
    ACCEPT = "accept"
    REJECT = "reject"
    LOSE = "lose"
    RESEND = "resend"
    DEBIT_SEEN = "debit_seen"
    CREDIT_SEEN = "credit_seen"
    RECONCILE = "reconcile"
    RETURN = "return"
    SETTLE = "settle"


_AMEND = rule(State.DRAFT, Actor.JOB, Actor.CORE, Actor.OPERATOR, guard="approvals are void")
_WITHDRAW = rule(State.WITHDRAWN, Actor.CORE, Actor.OPERATOR, guard="no member is left")
_ACCEPT = rule(State.ACCEPTED, Actor.BANK)
_REJECT = rule(State.REJECTED, Actor.BANK, Actor.OPERATOR, guard="operators: the bank denies it in writing")
_SETTLE = rule(State.RECONCILED, Actor.OPERATOR, guard="two persons, the bank confirms it in writing")
_DEBIT = rule(State.DEBITED, Actor.BANK)
_CREDIT = rule(State.CREDITED, Actor.BANK)

ALLOWED: Mapping[State, Mapping[Event, Rule[State]]] = {
    State.DRAFT: {
        Event.FIRST_APPROVAL: rule(State.DRAFT, Actor.TREASURER, guard="of the payer, over this hash"),
        Event.SECOND_APPROVAL: rule(State.APPROVED, Actor.TREASURER, guard="another person than the first"),
        Event.AMEND: _AMEND,
        Event.WITHDRAW: _WITHDRAW,
    },
    State.APPROVED: {
        Event.INSTRUCT: rule(State.INSTRUCTED, Actor.JOB, guard="every approval is over today's hash"),
        Event.AMEND: _AMEND,
        Event.WITHDRAW: _WITHDRAW,
    },
    State.INSTRUCTED: {
        Event.ACCEPT: _ACCEPT,
        Event.REJECT: _REJECT,
        Event.LOSE: rule(State.UNKNOWN, Actor.JOB),
        Event.DEBIT_SEEN: _DEBIT,
        Event.CREDIT_SEEN: _CREDIT,
        Event.SETTLE: _SETTLE,
    },
    State.UNKNOWN: {
        Event.ACCEPT: _ACCEPT,
        Event.REJECT: _REJECT,
        Event.RESEND: rule(State.INSTRUCTED, Actor.JOB, guard="the bank said that it knows no such message"),
        Event.DEBIT_SEEN: _DEBIT,
        Event.CREDIT_SEEN: _CREDIT,
        Event.SETTLE: _SETTLE,
    },
    State.ACCEPTED: {
        Event.ACCEPT: _ACCEPT,
        Event.REJECT: _REJECT,
        Event.DEBIT_SEEN: _DEBIT,
        Event.CREDIT_SEEN: _CREDIT,
        Event.SETTLE: _SETTLE,
    },
    State.DEBITED: {
        Event.ACCEPT: rule(State.DEBITED, Actor.BANK),
        Event.CREDIT_SEEN: _CREDIT,
        Event.RETURN: rule(State.REJECTED, Actor.OPERATOR, guard="two persons: the money is back at the payer"),
        Event.SETTLE: _SETTLE,
    },
    State.CREDITED: {
        Event.ACCEPT: rule(State.CREDITED, Actor.BANK),
        Event.DEBIT_SEEN: rule(State.CREDITED, Actor.BANK, guard="the debit was not seen before"),
        Event.RECONCILE: rule(State.RECONCILED, Actor.JOB, guard="debit and credit seen, both of the full amount"),
        Event.SETTLE: _SETTLE,
    },
    State.RECONCILED: {Event.ACCEPT: rule(State.RECONCILED, Actor.BANK)},
    State.REJECTED: {},
    State.WITHDRAWN: {},
}

ENDED = frozenset((State.REJECTED, State.RECONCILED, State.WITHDRAWN))
"""Nothing more happens to the batch; members of a rejected one are open again."""

LIVE = frozenset(State) - {State.REJECTED, State.WITHDRAWN}
"""States in which the batch claims its members (SET-3)."""


@dataclass(frozen=True, slots=True)
class Member:
    obligation_id: str
    amount: Money

    @property
    def reference(self) -> str:
        """The obligation's reference towards the bank: its id without prefix, upper case."""
        return self.obligation_id.removeprefix("obl_").upper()


@dataclass(frozen=True, slots=True)
class Approval:
    """One treasurer's word over one hash. The route has verified `statement`, the person's compact JWS."""

    treasurer: str
    party: str
    batch_hash: str
    approved_at: datetime
    statement: str


@dataclass(frozen=True, slots=True)
class Batch:
    batch_id: str
    payer: str
    payee: str
    rail: str
    value_date: date
    debtor: AccountHolder
    creditor: AccountHolder
    members: tuple[Member, ...]
    uetr: str
    charge_bearer: ChargeBearer
    bank: str = ""
    """The bank's name in its profile; empty in a batch that was made while there was one only."""
    state: State = State.DRAFT
    replaces: tuple[str, ...] = ()
    """EndToEndIds of the rejected attempts that members of this one were in before."""
    approvals: tuple[Approval, ...] = ()
    instructed_at: datetime | None = None
    reason_code: str | None = None
    debit: Seen | None = None
    credit: Seen | None = None

    @classmethod
    def draft(
        cls,
        obligations: Sequence[Obligation],
        *,
        rail: str,
        value_date: date,
        debtor: AccountHolder,
        creditor: AccountHolder,
        uetr: str,
        charge_bearer: ChargeBearer,
        bank: str = "",
    ) -> Self:
        """Make a batch of open obligations of one payer, payee and currency; `InvalidInputError` otherwise.

        The caller moves each obligation with `Obligation.batch(batch_id, end_to_end_id)` in the same transaction.
        """
        chosen = sorted(obligations, key=lambda found: found.obligation_id)
        keys = {(found.payer, found.payee, found.amount.currency) for found in chosen}
        if keys != {(debtor.party, creditor.party, debtor.currency)} or len(chosen) > MEMBERS_MAX:
            raise InvalidInputError("batch.members")
        if any(found.amount.amount_minor <= 0 for found in chosen):
            raise InvalidInputError("batch.members")
        attempts = [[found.obligation_id, found.attempt] for found in chosen]
        return cls(
            batch_id="bat_" + sha256_hex(canonical([rail, value_date.isoformat(), attempts]))[:32],
            payer=debtor.party,
            payee=creditor.party,
            rail=rail,
            value_date=value_date,
            debtor=debtor,
            creditor=creditor,
            members=tuple(Member(found.obligation_id, found.amount) for found in chosen),
            uetr=uetr,
            charge_bearer=charge_bearer,
            bank=bank,
            replaces=tuple(sorted({found.end_to_end_id for found in chosen if found.end_to_end_id})),
        )

    @property
    def amount(self) -> Money:
        return total((member.amount for member in self.members), self.debtor.currency)

    @property
    def message_id(self) -> str:
        return "MSG" + self._digest

    @property
    def end_to_end_id(self) -> str:
        """35 characters, by the batch id: a new attempt is a new batch and so has a new EndToEndId."""
        return "E2E" + self._digest

    @property
    def remittance_id(self) -> str:
        return "RMT" + self._digest

    @property
    def _digest(self) -> str:
        return self.batch_id.removeprefix("bat_").upper()

    def body(self) -> dict[str, Any]:
        """Return what is approved; RFC 8785 bytes of it are hashed. Amounts in minor units."""
        return {
            "batch_id": self.batch_id,
            "payer": self.payer,
            "payee": self.payee,
            "rail": self.rail,
            "currency": self.amount.currency,
            "amount_minor": self.amount.amount_minor,
            "value_date": self.value_date.isoformat(),
            "members": [[member.obligation_id, member.amount.amount_minor] for member in self.members],
            "debtor": _holder_body(self.debtor),
            "creditor": _holder_body(self.creditor),
            "charge_bearer": self.charge_bearer,
            "purpose": PURPOSE,
            "message_id": self.message_id,
            "end_to_end_id": self.end_to_end_id,
            "remittance_id": self.remittance_id,
            "uetr": self.uetr,
            "replaces": list(self.replaces),
        }

    @property
    def batch_hash(self) -> str:
        return sha256_hex(canonical(self.body()))

    def allowed_actions(self, by: Actor) -> tuple[str, ...]:
        """Return the events that `by` may trigger now, in table order; of the two approvals the one that is next."""
        other = Event.FIRST_APPROVAL if self.approvals else Event.SECOND_APPROVAL
        return tuple(
            event.value for event, found in ALLOWED[self.state].items() if by in found.by and event is not other
        )

    def can(self, event: Event, by: Actor) -> bool:
        found = ALLOWED[self.state].get(event)
        return found is not None and by in found.by

    def approve(self, approval: Approval) -> Self:
        """Add one treasurer's approval; the second, by another person, makes the batch approved."""
        event = Event.SECOND_APPROVAL if self.approvals else Event.FIRST_APPROVAL
        state = self._next(event, Actor.TREASURER)
        if approval.party != self.payer or approval.treasurer == MAKER:
            raise ForbiddenError("batch.approver-not-allowed")
        if approval.batch_hash != self.batch_hash:
            raise ConflictError("batch.hash-differs", allowed_actions=self.allowed_actions(Actor.TREASURER))
        if any(found.treasurer == approval.treasurer for found in self.approvals):
            raise ConflictError("batch.approved-by-you-already", allowed_actions=())
        return replace(self, state=state, approvals=(*self.approvals, approval))

    def redate(self, value_date: date, *, by: Actor = Actor.JOB) -> Self:
        """Take a new value date, because the old one has passed or turned out closed; approvals are void."""
        return replace(self, state=self._next(Event.AMEND, by), value_date=value_date, approvals=())

    def without(self, obligation_id: str, *, by: Actor = Actor.CORE) -> Self:
        """Go on without a voided member; approvals are void. Without its last one the batch is withdrawn, as it was."""
        left = tuple(member for member in self.members if member.obligation_id != obligation_id)
        if len(left) == len(self.members):
            raise InvalidInputError("batch.members")
        if not left:
            return replace(self, state=self._next(Event.WITHDRAW, by), approvals=())
        return replace(self, state=self._next(Event.AMEND, by), members=left, approvals=())

    def instruct(self, at: datetime, *, by: Actor = Actor.JOB) -> Self:
        """Decide to send. What was approved is checked again against what will be sent (SET-13)."""
        state = self._next(Event.INSTRUCT, by)
        approvers = {found.treasurer for found in self.approvals if found.batch_hash == self.batch_hash}
        if len(approvers) < APPROVALS_NEEDED:
            raise ConflictError("batch.hash-differs", allowed_actions=())
        return replace(self, state=state, instructed_at=at)

    def instruction(self) -> PaymentInstruction:
        """Return what the channel sends. Asked again it is equal, hence a resend has the same bytes and MsgId."""
        if self.instructed_at is None:
            raise IllegalTransitionError("batch.wrong-state", allowed_actions=self.allowed_actions(Actor.JOB))
        return PaymentInstruction(
            message_id=self.message_id,
            end_to_end_id=self.end_to_end_id,
            uetr=self.uetr,
            remittance_id=self.remittance_id,
            created_at=self.instructed_at,
            value_date=self.value_date,
            debtor=self.debtor,
            creditor=self.creditor,
            amount=self.amount,
            lines=tuple(RemittanceLine(member.reference, member.amount) for member in self.members),
            charge_bearer=self.charge_bearer,
            purpose=PURPOSE,
        )

    def accept(self, *, by: Actor = Actor.BANK) -> Self:
        return replace(self, state=self._next(Event.ACCEPT, by))

    def reject(self, reason_code: str, *, by: Actor = Actor.BANK) -> Self:
        return replace(self, state=self._next(Event.REJECT, by), reason_code=reason_code)

    def give_back(self, reason_code: str, *, by: Actor = Actor.OPERATOR) -> Self:
        """End it after the money came back to the payer, which no notification tied to it."""
        return replace(self, state=self._next(Event.RETURN, by), reason_code=reason_code)

    def settle(self, reason_code: str, *, by: Actor = Actor.OPERATOR) -> Self:
        """Take the bank's written word for the sides that its notifications do not show, or not in full."""
        return replace(self, state=self._next(Event.SETTLE, by), reason_code=reason_code)

    def lose(self, *, by: Actor = Actor.JOB) -> Self:
        """Note that the answer is missing or unreadable."""
        return replace(self, state=self._next(Event.LOSE, by))

    def resend(self, *, by: Actor = Actor.JOB) -> Self:
        return replace(self, state=self._next(Event.RESEND, by))

    def debit_seen(self, seen: Seen, *, by: Actor = Actor.BANK) -> Self:
        state = self._next(Event.DEBIT_SEEN, by)
        if self.debit is not None:
            raise IllegalTransitionError("batch.wrong-state", allowed_actions=self.allowed_actions(by))
        return replace(self, state=state, debit=seen)

    def credit_seen(self, seen: Seen, *, by: Actor = Actor.BANK) -> Self:
        return replace(self, state=self._next(Event.CREDIT_SEEN, by), credit=seen)

    @property
    def settled_in_full(self) -> bool:
        """Both sides were seen, each with exactly the amount."""
        return all(side is not None and side.amount == self.amount for side in (self.debit, self.credit))

    def reconcile(self, *, by: Actor = Actor.JOB) -> Self:
        state = self._next(Event.RECONCILE, by)
        if not self.settled_in_full:
            raise ConflictError("batch.not-settled-in-full", allowed_actions=())
        return replace(self, state=state)

    def _next(self, event: Event, by: Actor) -> State:
        if not self.can(event, by):
            raise IllegalTransitionError("batch.wrong-state", allowed_actions=self.allowed_actions(by))
        return ALLOWED[self.state][event].to


def _holder_body(holder: AccountHolder) -> dict[str, Any]:
    return {
        "party": holder.party,
        "name": holder.name,
        "town": holder.town,
        "country": holder.country,
        "account": holder.account,
        "currency": holder.currency,
        "clearing_system": holder.agent.clearing_system,
        "member_id": holder.agent.member_id,
        "bic": holder.agent.bic,
        "lei": holder.lei,
    }


def by_payment(obligations: Iterable[Obligation]) -> Mapping[tuple[str, str, str], list[list[Obligation]]]:
    """Group what may go out together, by (payer, payee, currency), in runs of at most `MEMBERS_MAX`, ordered by id."""
    found: dict[tuple[str, str, str], list[list[Obligation]]] = {}
    for obligation in sorted(obligations, key=lambda one: one.obligation_id):
        runs = found.setdefault((obligation.payer, obligation.payee, obligation.amount.currency), [[]])
        if len(runs[-1]) == MEMBERS_MAX:
            runs.append([])
        runs[-1].append(obligation)
    return found
