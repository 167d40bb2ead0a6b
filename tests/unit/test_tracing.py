"""W3C Trace Context as far as the gateway takes part: what is gone on with, and what begins a trace of its own."""

import re

import pytest
import structlog

from gateway.runtime.bus.headers import readable_headers
from gateway.runtime.signals.tracing import carried, current, following, next_step

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OURS = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


@pytest.mark.parametrize("given", [GIVEN, GIVEN.replace("00-", "cc-", 1), GIVEN.replace("00-", "cc-", 1) + "-more"])
def test_a_trace_goes_on_under_a_parent_id_of_our_own(given: str) -> None:
    step = next_step(given)

    assert OURS.fullmatch(step)
    assert step.split("-")[1::2] == ["0af7651916cd43dd8448eb211c80319c", "01"]
    assert step.split("-")[2] != "b7ad6b7169203331"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "QQ-canary-1900",
        GIVEN.upper(),
        GIVEN.replace("00-", "ff-", 1),
        GIVEN + "-more",
        GIVEN + "\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        GIVEN.replace("00-", "cc-", 1) + "-" + "x" * 201,
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(given: str | None) -> None:
    step = next_step(given)

    assert OURS.fullmatch(step)
    assert "0af7651916cd43dd8448eb211c80319c" not in step
    assert step.endswith("-00")


def test_log_lines_name_the_trace_that_is_followed_and_none_afterwards() -> None:
    with following(GIVEN):
        inside = structlog.contextvars.get_contextvars()

    assert inside["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "trace_id" not in structlog.contextvars.get_contextvars()
    assert current() is None


async def test_work_that_runs_elsewhere_carries_the_trace_of_whoever_asked_for_it() -> None:
    async def work() -> str | None:
        return current()

    with following(GIVEN):
        asked, given = current(), carried(work)

    assert await given() == asked
    assert await work() is None


def test_of_a_strangers_headers_only_those_are_kept_that_could_be_ours() -> None:
    found = [
        ("ce_id", b"msg_1"),
        ("ce_type", b"\xff\xfe"),
        ("ce_source", None),
        ("ce_time", b"x" * 300),
        ("QQ-canary", b"1900"),
    ]

    assert readable_headers(found) == {"ce_id": "msg_1"}
