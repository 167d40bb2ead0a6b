"""What operators ask and do in a test, by each role's API with personal keys, and how a message comes to halt."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.protocol.canonical import compact
from gateway.runtime.worker import Worker
from tests.walk import House, until

OPERATOR = "op-gateway-1"
SECOND = "op-gateway-2"
LONG_AGO = "2026-01-01T00:00:00Z"


async def ask(found: House, what: str, role: str = "core") -> dict[str, Any]:
    return (await found.session(OPERATOR, role).get(f"/v1/operations/{what}")).json()


async def act(
    found: House, what: str, form: dict[str, Any], *, role: str = "core", key: str = "act-1", by: str = OPERATOR
) -> dict[str, Any]:
    answer = await found.session(by, role).post(f"/v1/operations/{what}", compact(form), key=key)
    return answer.json()


async def confirm(found: House, request_id: str, *, key: str = "yes-1", by: str = SECOND) -> dict[str, Any]:
    return await act(found, f"requests/{request_id}/confirm", {}, key=key, by=by)


@contextlib.contextmanager
def broken(found: House, group: str, topic: str, message: str) -> Iterator[Worker]:
    """Have the handler of one message fail as a fault of ours would, which halts its key."""
    worker = next(one for process in found.gateway.processes for one in process.workers if one.group == group)
    handlers = next(one.handlers for one in worker.component.subscriptions if one.topic == topic)
    assert isinstance(handlers, dict)

    async def fail(*_: Any) -> None:
        raise RuntimeError

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(handlers, message, fail)
        yield worker


async def halted(found: House, topic: str) -> dict[str, Any]:
    async def listed() -> list[dict[str, Any]]:
        return [row for row in (await ask(found, "parked"))["parked"] if (row["topic"], row["why"]) == (topic, "halt")]

    [row] = await until(listed, "the halted message")
    return row


async def caught_up(found: House, role: str) -> bool:
    return not any(consumer["lag"] for consumer in (await ask(found, "lag", role))["consumers"])
