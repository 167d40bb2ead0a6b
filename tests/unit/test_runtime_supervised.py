"""A client that does not let go, cannot be built or does not answer: supervision goes on."""

import asyncio

import pytest

from gateway.protocol.errors import UnavailableError
from gateway.runtime.bus.kafka_client import KafkaLimits, Supervised, within

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
    supervised = Supervised("clinging", Clinging, LIMITS)
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


class Quiet:
    """Starts and stops without a word."""

    async def start(self) -> None:
        """Start."""

    async def stop(self) -> None:
        """Stop."""


async def test_a_client_that_cannot_be_built_is_a_failure_like_a_dead_broker_and_the_next_one_is_used() -> None:
    attempts = 0

    def build() -> Quiet:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ValueError("a password file that is just being replaced")
        return Quiet()

    supervised = Supervised("unreadable", build, LIMITS)

    with pytest.raises(UnavailableError, match=r"bus\.unavailable"):
        await supervised.client()

    assert isinstance(await supervised.client(), Quiet)


async def test_a_probe_that_raises_what_nobody_expects_is_no_success_and_no_end() -> None:
    supervised = Supervised("odd", Quiet, KafkaLimits(rebuild_after=-1, back_off=(0.0, 0.0)))
    client = await supervised.client()

    async def ask() -> None:
        raise LookupError

    await supervised.probe(client, ask)

    assert supervised.running() is None
    assert await supervised.client() is not client


async def test_a_client_that_never_reached_a_broker_has_been_silent_for_ever() -> None:
    supervised = Supervised("new", Quiet, LIMITS)
    before = supervised.silent_s()

    await supervised.client()

    assert before > LIMITS.unready_after
    assert supervised.silent_s() < LIMITS.unready_after
