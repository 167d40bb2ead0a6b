"""What a broker's error about a produced record means for it: our own table, by the protocol's codes.

Source: Apache Kafka protocol guide, "Error Codes". Everything that is not here may still have happened, or may pass
when it is sent again: it is *unknown*.
"""

from collections.abc import Mapping
from dataclasses import dataclass


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
