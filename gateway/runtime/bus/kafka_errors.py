"""What a broker's error about a produced record means for it: our own table, by the protocol's codes (K18).

Source: Apache Kafka protocol guide, "Error Codes". Everything that is not here may still have happened, or may pass
when it is sent again: it is *unknown*.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """A definite no, before any effect: about one record, or about whatever we would write to the topic."""

    name: str
    whole_topic: bool = False


REFUSALS: Mapping[int, Refusal] = {
    10: Refusal("MESSAGE_TOO_LARGE"),
    17: Refusal("INVALID_TOPIC_EXCEPTION", whole_topic=True),
    18: Refusal("RECORD_LIST_TOO_LARGE"),
    29: Refusal("TOPIC_AUTHORIZATION_FAILED", whole_topic=True),
    32: Refusal("INVALID_TIMESTAMP", whole_topic=True),
    87: Refusal("INVALID_RECORD"),
}


def refusal_of(error: BaseException) -> Refusal | None:
    """Look an exception's protocol code up; None where it has none or where the outcome is unknown."""
    return REFUSALS.get(getattr(error, "errno", None) or 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: how many leading records are durable, and why the next one is not, if there is one."""

    durable: int
    failure: BaseException | None
    unknown: int
    """Sends without a definite answer (K3): what a deadline cut off may still arrive; what was refused cannot."""
    broker_failed: bool


def outcome_of(sent: "Sequence[asyncio.Future[Any]]", stopped: BaseException | None, wanted: int) -> Outcome:
    """Look at the sends of `wanted` records, in order; `stopped` is what kept the next one from being sent at all."""
    errors = [_error_of(future) for future in sent]
    durable = next((place for place, error in enumerate(errors) if error is not None), len(errors))
    failures = [error for error in errors if error is not None]
    unknown = sum(refusal_of(error) is None for error in failures)
    if durable == wanted:
        return Outcome(durable, None, 0, broker_failed=False)
    return Outcome(durable, [*failures, stopped or TimeoutError()][0], unknown, broker_failed=bool(failures))


def _error_of(future: "asyncio.Future[Any]") -> BaseException | None:
    """Say what became of one send: None if it was acknowledged, `TimeoutError` if nobody answered."""
    return future.exception() if future.done() and not future.cancelled() else TimeoutError()
