"""A claim and an answer as the desk keeps them. Pure: core decides, the desk follows and forbids early."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.client.authoring import Authored
from gateway.client.opened import OpenedClaim
from gateway.protocol.claim_life import FIRST_REVISION, FIRST_STATE, Event
from gateway.protocol.clock import parse_rfc3339, rfc3339
from gateway.protocol.errors import ConflictError, IllegalTransitionError, MalformedInputError, StaleError
from gateway.protocol.exchange import read_payload
from gateway.protocol.messages import parse_manifest
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState, DisputeStanding
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.submitted import SubmittedManifest

QUEUED, SENT, ACCEPTED, REJECTED = "queued", "sent", "accepted", "rejected"
OPEN = (QUEUED, SENT)
"""An answer that core has not spoken about; a claim has one at most."""


@dataclass(frozen=True, slots=True)
class DeskClaim:
    """Amounts are minor units; `allowed_actions` are core's, empty until it has spoken. Times are RFC 3339."""

    claim_id: str
    claim_version: int
    case_id: str
    msg_id: str
    hospital: str
    carrier: str
    payer: str
    currency: str
    total_minor: int
    asked_minor: int
    manifest: str = field(repr=False)
    differences: tuple[str, ...]
    state: str
    revision: int
    allowed_actions: tuple[str, ...]
    decision_version: int
    received_at: str
    opened_at: str
    dispute: DisputeStanding | None = None
    """The dispute that stands on the claim, whoever raised it."""
    disputed_places: tuple[str, ...] = ()
    """What the hospital's newest dispute says is wrong with an answer of ours."""

    @classmethod
    def opened(cls, found: OpenedClaim, at: datetime) -> "DeskClaim":
        signed = found.manifest
        return cls(
            claim_id=signed.claim_id,
            claim_version=signed.claim_version,
            case_id=signed.case_id,
            msg_id=signed.msg_id,
            hospital=signed.sender,
            carrier=signed.carrier,
            payer=signed.payer,
            currency=signed.currency,
            total_minor=signed.total_minor,
            asked_minor=signed.asked_minor,
            manifest=found.token,
            differences=found.differences,
            state=FIRST_STATE,
            revision=FIRST_REVISION,
            allowed_actions=(),
            decision_version=0,
            received_at=rfc3339(found.received_at),
            opened_at=rfc3339(at),
        )

    @property
    def signed(self) -> SubmittedManifest:
        """Read the manifest that was verified when the claim was opened."""
        found = parse_manifest(read_payload(self.manifest), accepting=False)
        if not isinstance(found, SubmittedManifest):
            raise MalformedInputError("exchange.not-a-claim")
        return found

    @property
    def received(self) -> datetime:
        return parse_rfc3339(self.received_at)

    def follow(self, told: Accepted | ClaimState, decision_version: int | None) -> "DeskClaim":
        """Take over what core says of the claim; what is not newer changes nothing."""
        if told.revision <= self.revision:
            return self
        return replace(
            self,
            state=told.state,
            revision=told.revision,
            allowed_actions=told.allowed_actions,
            dispute=told.dispute,
            decision_version=decision_version or self.decision_version,
        )

    def own_dispute(self, party: str) -> str:
        """Return the message id of the dispute that this insurer has raised; it alone may be withdrawn."""
        if self.dispute is None or self.dispute.by != party:
            raise IllegalTransitionError("claim.illegal-move", allowed_actions=self.allowed_actions)
        return self.dispute.msg_id

    def check(self, event: Event, based_on: int, *, answer_open: bool) -> None:
        """Refuse what core would refuse anyway: an answer on its way, another revision, a move not allowed."""
        if answer_open:
            raise ConflictError("desk.answer-on-its-way", allowed_actions=())
        if based_on != self.revision:
            raise StaleError("claim.stale", allowed_actions=self.allowed_actions)
        if event not in self.allowed_actions:
            raise IllegalTransitionError("claim.illegal-move", allowed_actions=self.allowed_actions)


@dataclass(frozen=True, slots=True)
class DeskAnswer:
    """One signed answer and what became of it; `asked_by` is the client that asked for it, or the desk itself."""

    request_id: str
    msg_id: str
    claim_id: str
    claim_version: int
    case_id: str
    type: str
    decision_version: int | None
    posted: bytes = field(repr=False)
    asked_by: str
    status: str
    attempts: int
    next_at: str
    authored_at: str
    receipt: str | None = field(default=None, repr=False)
    code: str | None = None
    faults: tuple[str, ...] = ()
    state: str | None = None
    allowed_actions: tuple[str, ...] = ()

    @classmethod
    def queued(cls, authored: Authored, request_id: str, asked_by: str, at: datetime) -> "DeskAnswer":
        signed = authored.manifest
        return cls(
            request_id=request_id,
            msg_id=signed.msg_id,
            claim_id=signed.claim_id,
            claim_version=signed.claim_version,
            case_id=signed.case_id,
            type=signed.type,
            decision_version=signed.decision_version if isinstance(signed, DecidedManifest) else None,
            posted=authored.posted.encode(),
            asked_by=asked_by,
            status=QUEUED,
            attempts=0,
            next_at=rfc3339(at),
            authored_at=rfc3339(at),
        )
