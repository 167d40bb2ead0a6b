"""The routing headers of a record: CloudEvents 1.0 in Kafka's binary mode, and the trace.

They let an operator's or a stranger's tool see what passes without reading it. Nobody here decides anything by them:
what counts is inside the signed value. Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2.
"""

from collections.abc import Iterable, Mapping

from gateway.runtime.signals.tracing import TRACEPARENT, next_step

JSON = "application/json"
SIGNED_TEXT = "text/plain; charset=utf-8"
"""A leaf of the log: canonical JSON and a signature line."""

VALUE_BYTES_MAX = 256
NAMES = frozenset({"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type", TRACEPARENT})


def routing_headers(
    event_id: str, event_type: str, *, source: str, at: str, trace: str | None, content_type: str = JSON
) -> dict[str, str]:
    """Build the headers of any record of ours; `at` is RFC 3339, a record without a trace begins one."""
    return {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event_type,
        "ce_source": source,
        "ce_time": at,
        "content-type": content_type,
        TRACEPARENT: trace or next_step(None),
    }


def readable_headers(found: Iterable[tuple[str, bytes | None]]) -> Mapping[str, str]:
    """Keep the headers that could be ours; whatever else a stranger wrote is passed over."""
    return {
        name: value.decode("ascii")
        for name, value in found
        if name in NAMES and value is not None and value.isascii() and len(value) <= VALUE_BYTES_MAX
    }
