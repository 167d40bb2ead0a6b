"""Errors say what happens next: REFUSE (theirs), RETRY (nobody's), HALT (ours, the default).

An error never carries a value that somebody sent, only codes, JSON Pointers (RFC 6901) and counts, so that it may
stand in an answer, a log line or an audit record. One code, one sentence, one hint in three languages
(`hints.py`). HTTP shows an error as RFC 9457 problem+json, FHIR as an OperationOutcome.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from gateway.protocol.facts import tell
from gateway.protocol.hints import hint_for

Facts = Mapping[str, int | float | str | Sequence[str]]
"""Numbers and names of ours that make a fault precise: a bound, the media types taken, line and column in a JSON text.
Never what somebody sent. Names as in `facts.py`."""

ITEMISED = (400, 413, 415, 422)
"""Statuses whose problem always lists `errors`, also where only one thing is wrong: one form for every reader."""


class Disposition(StrEnum):
    REFUSE = "refuse"
    RETRY = "retry"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place: a stable code and a JSON Pointer, never the value."""

    code: str
    pointer: str = ""
    facts: Facts = field(default_factory=dict, compare=False)

    @property
    def sentence(self) -> str:
        return hint_for(self.code).sentence

    def as_dict(self, language: str = "en") -> dict[str, Any]:
        """Build one item of `errors`: code, pointer, detail, fix, and the facts as members of their own."""
        hint = hint_for(self.code)
        sentence, fix = hint.sentence_in(language), hint.fix(language) + tell(self.facts, language)
        return {"code": self.code, "pointer": self.pointer, "detail": sentence, "fix": fix, **self.facts}


def parse_fault(text: str) -> Fault:
    """Read a fault as a `rejected` message carries it: its code and, after a blank, its pointer."""
    code, _, pointer = text.partition(" ")
    return Fault(code, pointer)


class GatewayError(Exception):
    """The root: what it is (`code`), whose it is (`disposition`), and the HTTP status an edge answers with."""

    disposition: ClassVar[Disposition] = Disposition.HALT
    status: ClassVar[int] = 500

    def __init__(
        self,
        code: str = "internal",
        *,
        faults: Iterable[Fault] = (),
        allowed_actions: Iterable[str] | None = None,
        retry_after_s: int | None = None,
        facts: Facts | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.facts = facts or {}
        self.members = members or {}
        self.faults = tuple(faults)
        self.allowed_actions = None if allowed_actions is None else tuple(allowed_actions)
        self.retry_after_s = retry_after_s
        super().__init__(code)

    @property
    def sentence(self) -> str:
        return hint_for(self.code).sentence

    def problem(self, request_id: str, language: str = "en") -> dict[str, Any]:
        """Build the RFC 9457 body; members beyond the RFC: code, errors, fix, request_id, allowed_actions, `members`.

        `members` names what of the caller's own the error is about, e.g. `claim_id`.
        """
        body: dict[str, Any] = {
            "type": f"urn:szhk:problem:{self.code}",
            "title": hint_for(self.code).sentence_in(language),
            "status": self.status,
            "code": self.code,
            "fix": hint_for(self.code).fix(language) + tell(self.facts, language),
            "request_id": request_id,
        }
        faults = self.faults or ((Fault(self.code, facts=self.facts),) if self.status in ITEMISED else ())
        if faults:
            body["errors"] = [fault.as_dict(language) for fault in faults]
        if self.allowed_actions is not None:
            body["allowed_actions"] = list(self.allowed_actions)
        return {**body, **self.members}

    def operation_outcome(self, language: str = "en") -> dict[str, Any]:
        """Build the same failure as an R4 OperationOutcome, one issue a fault."""
        faults = self.faults or (Fault(self.code),)
        return {
            "resourceType": "OperationOutcome",
            "issue": [
                {
                    "severity": "error",
                    "code": "transient" if self.disposition is Disposition.RETRY else "invalid",
                    "details": {"coding": [{"system": "urn:szhk:problem", "code": fault.code}]},
                    "diagnostics": hint_for(fault.code).fix(language),
                    **({"expression": [fault.pointer]} if fault.pointer else {}),
                }
                for fault in faults
            ],
        }


class RefuseError(GatewayError):
    disposition = Disposition.REFUSE
    status = 422


class RetryError(GatewayError):
    disposition = Disposition.RETRY
    status = 503


class MalformedInputError(RefuseError):
    """Bytes that are no message: the one error that every `parse_*` and reader raises."""

    status = 400


class InvalidInputError(RefuseError):
    """Well-formed but wrong; `faults` names everything that is wrong at once."""

    status = 422


class TooLargeError(RefuseError):
    status = 413


class UnsupportedMediaError(RefuseError):
    status = 415


class UnauthenticatedError(RefuseError):
    status = 401


class ForbiddenError(RefuseError):
    status = 403


class NotFoundError(RefuseError):
    """Unknown, or not yours: the answer is the same on purpose."""

    status = 404


class ConflictError(RefuseError):
    """Wrong state, or twice: `allowed_actions` tells what would be allowed."""

    status = 409


class StaleError(RefuseError):
    """`If-Match` or `based_on` names a revision that is no longer the newest."""

    status = 412


class PreconditionRequiredError(RefuseError):
    status = 428


class BadSignatureError(RefuseError):
    """A signature, seal or stamp that does not verify. Such bytes have no known author: quarantine."""

    status = 422


class UnknownKeyError(RetryError):
    """A key id that the registry release at hand does not know: wait for the next release."""


class UnavailableError(RetryError):
    """A dependency is away, or a limit is reached: try again after `retry_after_s`."""


class IllegalTransitionError(ConflictError):
    """The state table has no such move from here for this actor."""


class HeldError(RefuseError):
    """Genuine but late or under a compromised key: stays where an operator decides; never lost."""
