"""A client that does not let go: supervision goes on without it."""

import asyncio

import pytest

from gateway.runtime.supervised import KafkaLimits, Supervised, within

LIMITS = KafkaLimits(start=0.05, stop=0.05, back_off=(0.0, 0.0))


class Clinging:
    """Swallows the first cancellation of its `stop`, as aiokafka does while it waits for its own tasks."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def start(self) -> None:
        self.begun.set()

    async def stop(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()


async def test_a_client_that_swallows_its_cancellation_is_left_behind_and_replaced() -> None:
    supervised = Supervised("clinging", Clinging, (OSError, TimeoutError), LIMITS, lambda _: None)
    first = await supervised.client()

    async with asyncio.timeout(2):
        await supervised.throw_away(first, TimeoutError())
        second = await supervised.client()

    assert second is not first
    assert second.begun.is_set()


async def test_what_ends_in_time_gives_its_result() -> None:
    assert await within(1, asyncio.sleep(0, "done")) == "done"


async def test_a_call_that_is_cancelled_under_us_is_a_lost_connection_and_not_our_own_end() -> None:
    async def cut_off() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectionError):
        await within(1, cut_off())
