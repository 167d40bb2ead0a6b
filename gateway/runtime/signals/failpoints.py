"""Failpoints: named places where a test makes a process die, fail or wait, to show that a restart loses nothing.

The setting `failpoint` names a place and an action: `relay.after_send=kill`, `=raise` or `=sleep:0.5`; with `@n` the
n-th time it is reached. Places are named after the step: API `api.before_commit`, `api.after_commit`; relay
`relay.after_select`, `relay.after_send`, `relay.after_ack`; consumer `consumer.after_fetch`, `consumer.after_inbox`,
`consumer.before_commit`, `consumer.after_commit`; settlement `settlement.after_intent`, `settlement.after_send`,
`settlement.after_answer`; audit `audit.after_tiles`, `audit.after_sign`, `audit.after_publish`.
"""

import os
import signal
import time
from dataclasses import dataclass

PLACES = (
    "api.before_commit",
    "api.after_commit",
    "relay.after_select",
    "relay.after_send",
    "relay.after_ack",
    "consumer.after_fetch",
    "consumer.after_inbox",
    "consumer.before_commit",
    "consumer.after_commit",
    "settlement.after_intent",
    "settlement.after_send",
    "settlement.after_answer",
    "audit.after_tiles",
    "audit.after_sign",
    "audit.after_publish",
)


class FailpointError(Exception):
    """What `=raise` raises."""


@dataclass
class _Armed:
    place: str
    action: str
    remaining: int


_armed: list[_Armed] = []
"""Owned by `arm`, at start; one process, one setting."""


def arm(setting: str | None) -> None:
    """Arm the failpoint a setting names; None disarms."""
    _armed.clear()
    if not setting:
        return
    place, _, action = setting.partition("=")
    action, _, nth = action.partition("@")
    if place not in PLACES or action.partition(":")[0] not in ("kill", "raise", "sleep"):
        raise ValueError(f"no such failpoint; places are {', '.join(PLACES)}")
    _armed.append(_Armed(place, action, int(nth or 1)))


def reach(place: str) -> None:
    """Mark that the code is at `place`; does nothing unless it is armed."""
    for armed in _armed:
        if armed.place == place:
            armed.remaining -= 1
            if armed.remaining == 0:
                _act(armed.action)


def _act(action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise":
        raise FailpointError
    time.sleep(float(action.partition(":")[2] or 1))
