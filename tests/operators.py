"""What operators ask and do in a test, by each role's API with personal keys, and how a message comes to halt."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.protocol.canonical import compact, read_json
from gateway.runtime.component import Apply
from gateway.runtime.delivery.worker import Worker
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

    async def fail(*_: Any) -> None:
        raise RuntimeError

    async def bind(*_: Any) -> Apply:
        return fail

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(handlers, message, replace(handlers[message], bind=bind))
        yield worker


async def halted(found: House, topic: str) -> dict[str, Any]:
    async def listed() -> list[dict[str, Any]]:
        return [row for row in (await ask(found, "parked"))["parked"] if (row["topic"], row["why"]) == (topic, "halt")]

    [row] = await until(listed, "the halted message")
    return row


async def caught_up(found: House, role: str) -> bool:
    return not any(consumer["lag"] for consumer in (await ask(found, "lag", role))["consumers"])


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return read_json(self.out.encode())


async def command(data: Path, *words: str, role: str, by: str = OPERATOR) -> Said:
    """Run `gateway …` for a role as a process of its own, with a person's profile from the data folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words, "--role", role),
        *("--profile", str(data / "profiles" / f"{by}.json")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())
