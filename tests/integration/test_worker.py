"""The worker on a settlement topic: faults of ours halt, what passes is waited out, nothing is lost or doubled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Executable, Row, text

from gateway.protocol.errors import InvalidInputError, RetryError
from gateway.protocol.exchange import Exchange
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.registry import Directory
from gateway.protocol.topics import SETTLEMENT_REQUESTS
from gateway.runtime.bus.port import BusRecord, Consumer, Fetched, Offsets
from gateway.runtime.component import Delivery
from gateway.runtime.custody.keys import TrustHolder
from gateway.runtime.delivery.offsets import Progress
from gateway.runtime.delivery.worker import RECORDS_MAX
from gateway.runtime.lifecycle import Stopping
from gateway.runtime.storage import tables
from gateway.runtime.storage.database import Database, DatabaseAwayError, Parameters, Work, open_database
from tests.conftest import MakeDatabase
from tests.parties import world
from tests.postgres import postgres
from tests.streams import METADATAS, Handle, Prepare, Stream, a_component, a_record, a_stream, nothing
from tests.walk import until

T = TypeVar("T")
KEYS = ("claim_a", "claim_b", "claim_c")
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"

MakeStream = Callable[..., "contextlib.AbstractAsyncContextManager[Stream]"]


@pytest.fixture
def make_stream(make_database: MakeDatabase, tmp_path: Path) -> MakeStream:
    """`async with make_stream(handle)`: a worker that is not running yet, on either database."""

    @contextlib.asynccontextmanager
    async def make(
        handle: Handle = nothing, trust: TrustHolder | None = None, prepare: Prepare | None = None
    ) -> AsyncIterator[Stream]:
        stream = await a_stream(make_database(*METADATAS), tmp_path, a_component(handle, prepare), trust)
        yield stream
        await stream.bus.close()

    return make


async def _until_applied(stream: Stream, *wanted: tuple[str, int], within_s: float = 15) -> None:
    """Let time go on until these are applied."""

    async def applied() -> bool:
        stream.clock.advance(timedelta(seconds=0.1))
        return set(wanted) <= set(await stream.applied())

    await until(applied, f"{len(wanted)} messages applied", within_s)


async def _until_none_parked(stream: Stream) -> None:
    """What overtook its predecessor while that was tried again waits for a moment."""

    async def none() -> bool:
        return await stream.parked() == set()

    await until(none, "the end of waiting")


def _blocked(blocked: set[tuple[str, int]]) -> Handle:
    """Handle messages, but say of these that their time has not come."""

    async def handle(delivery: Delivery) -> None:
        if (delivery.stamp.key, delivery.stamp.seq) in blocked:
            raise RetryError("claim.moved-meanwhile")

    return handle


@dataclass
class Failing:
    """A database that is away for its next `writes`: half of them before anything happened, half of them after."""

    real: Database
    writes: int

    async def write(self, work: Work[T], *, key: str = "") -> T:
        if self.writes <= 0:
            return await self.real.write(work, key=key)
        self.writes -= 1
        if self.writes % 2:
            await self.real.write(work, key=key)
        raise DatabaseAwayError

    async def read(self, query: Work[T]) -> T:
        return await self.real.read(query)

    async def fetch(self, statement: Executable, parameters: Parameters = None) -> Sequence[Row[Any]]:
        return await self.real.fetch(statement, parameters)

    def run_sync(self, call: Callable[[Connection], T]) -> T:
        return self.real.run_sync(call)

    async def close(self) -> None:
        await self.real.close()


async def test_a_database_that_is_away_parks_nothing_and_each_message_is_applied_once(make_stream: MakeStream) -> None:
    async with make_stream() as stream:
        stream.worker.database = Failing(stream.worker.database, writes=9)
        wanted = [(key, seq) for key in KEYS for seq in (1, 2, 3)]
        await stream.publish(*(a_record(*one) for one in wanted))

        async with stream.running():

            async def told() -> bool:
                return await stream.worker.why_stopped() == "database.unavailable"

            await until(told, "readiness saying that the database is away")
            await _until_applied(stream, *wanted)

            async def ready() -> bool:
                return await stream.worker.why_stopped() is None

            await until(ready, "readiness saying that it is back")
            stream.clock.advance(timedelta(minutes=1))
            await _until_none_parked(stream)

        assert sorted(await stream.applied()) == wanted
        assert stream.worker.stopped is None


async def test_sessions_that_are_ended_halt_no_message_that_moves_money(tmp_path: Path) -> None:
    server = postgres()
    database = open_database(server.fresh_url())
    for metadata in METADATAS:
        database.run_sync(metadata.create_all)
    name = database.run_sync(lambda connection: str(connection.scalar(text("SELECT current_database()"))))
    stream = await a_stream(database, tmp_path)
    wanted = [(f"claim_{number}", seq) for number in range(60) for seq in range(1, 6)]
    await stream.publish(*(a_record(*one) for one in wanted))

    async with stream.running():
        for _ in range(10):
            await asyncio.to_thread(server.execute, END_SESSIONS.format(name))
        await _until_applied(stream, *wanted, within_s=30)
        stream.clock.advance(timedelta(minutes=1))
        await _until_none_parked(stream)

    assert sorted(await stream.applied()) == sorted(wanted)
    assert stream.worker.stopped is None
    await database.close()
    await stream.bus.close()


class Broken(TrustHolder):
    """A registry replica with a fault of ours, for as long as `broken`."""

    broken = True

    @property
    def directory(self) -> Directory:
        if self.broken:
            raise ZeroDivisionError
        return super().directory


async def test_a_message_that_cannot_be_read_by_our_fault_halts_and_the_next_one_is_taken(
    make_stream: MakeStream,
) -> None:
    trust = Broken(world().trust)
    trust.install(world().signed, world().directory)
    async with make_stream(trust=trust) as stream, stream.running():
        await stream.publish(a_record("claim_a", 1))

        async def stopped() -> bool:
            return await stream.worker.why_stopped() == "halted"

        await until(stopped, "the halt")
        trust.broken = False
        stream.worker.resume()
        await stream.publish(a_record("claim_b", 1))
        await _until_applied(stream, ("claim_b", 1))

        [row] = await stream.all(tables.parked)
        assert (row.key, row.why, row.code, row.next_at) == ("claim_a", "halt", "ZeroDivisionError", None)


async def test_a_message_that_must_wait_holds_up_its_own_key_only(make_stream: MakeStream) -> None:
    blocked = {("claim_a", 1)}
    async with make_stream(_blocked(blocked)) as stream, stream.running():
        await stream.publish(a_record("claim_a", 1))

        async def parked() -> bool:
            return await stream.parked() == {("claim_a", 1, "retry")}

        await until(parked, "the first message waiting")
        await stream.publish(a_record("claim_a", 2), a_record("claim_b", 1))
        await _until_applied(stream, ("claim_b", 1))

        async def behind() -> bool:
            return await stream.parked() == {("claim_a", 1, "retry"), ("claim_a", 2, "gap")}

        await until(behind, "the second message waiting behind the first")
        blocked.clear()
        stream.clock.advance(timedelta(minutes=1))
        await _until_applied(stream, ("claim_a", 2))

        assert await stream.applied() == [("claim_b", 1), ("claim_a", 1), ("claim_a", 2)]
        assert await stream.parked() == set()


async def test_a_message_that_preparing_refuses_waits_for_its_predecessor_and_is_not_lost(
    make_stream: MakeStream,
) -> None:
    async def refuse_the_second(_deps: None, delivery: Delivery, _message: VoidAsked) -> None:
        if delivery.stamp.seq == 2:
            raise InvalidInputError("claim.refused")

    async with make_stream(prepare=refuse_the_second) as stream, stream.running():
        await stream.publish(a_record("claim_a", 2))
        await until(lambda: _parked(stream, {("claim_a", 2, "gap")}), "the gap")

        await stream.publish(a_record("claim_a", 1))

        await _until_applied(stream, ("claim_a", 1))
        stream.clock.advance(timedelta(minutes=1))
        # nobody can be answered on this topic, so what is refused in its turn halts
        await until(lambda: _parked(stream, {("claim_a", 2, "halt")}), "the halt")
        assert await stream.applied() == [("claim_a", 1)]


async def test_what_waits_behind_a_blocked_head_does_not_crowd_out_other_keys(make_stream: MakeStream) -> None:
    blocked = {("claim_a", 1), ("claim_b", 1)}
    async with make_stream(_blocked(blocked)) as stream:
        wanted = [("claim_a", seq) for seq in range(1, 151)] + [("claim_b", 1)]
        await stream.publish(*(a_record(*one) for one in wanted))
        async with stream.running():

            async def all_parked() -> bool:
                return len(await stream.parked()) == len(wanted)

            await until(all_parked, "all messages waiting")

        stream.clock.advance(timedelta(minutes=1))
        due = await stream.worker._due()
        blocked.clear()
        async with stream.running():
            await _until_applied(stream, *wanted)

        assert [one.key for one in due] == ["claim_a", "claim_b"]
        assert [seq for key, seq in await stream.applied() if key == "claim_a"] == list(range(1, 151))


async def test_what_a_restored_sender_left_behind_is_quarantined_and_its_new_epoch_goes_on(
    make_stream: MakeStream,
) -> None:
    async with make_stream() as stream, stream.running():
        await stream.publish(a_record("claim_a", 1), a_record("claim_a", 3))
        await _until_applied(stream, ("claim_a", 1))
        await until(lambda: _parked(stream, {("claim_a", 3, "gap")}), "the gap")

        await stream.publish(*(a_record("claim_a", seq, epoch=2) for seq in (1, 2)), a_record("claim_a", 2))

        async def set_aside() -> bool:
            stream.clock.advance(timedelta(seconds=0.1))
            codes = [row.code for row in await stream.all(tables.quarantine)]
            return codes == ["stream.epoch-left"] * 2

        await until(set_aside, "both messages of the epoch before in the quarantine")
        assert await stream.applied() == [("claim_a", 1), ("claim_a", 1), ("claim_a", 2)]
        assert await stream.parked() == set()
        records = [row.type for row in await stream.all(tables.audit_rows)]
        assert records == ["core.message_quarantined"] * 2
        assert stream.worker.stopped is None


async def test_a_forged_stamp_cannot_begin_an_epoch(make_stream: MakeStream) -> None:
    genuine, begun = a_record("claim_a", 1), a_record("claim_a", 1, epoch=7)
    head, _, signature = Exchange.decode(begun.value).stamp.rpartition(".")
    forged = BusRecord("claim_a", Exchange(f"{head}.{signature[:-4]}AAAA").encode())

    async with make_stream() as stream, stream.running():
        await stream.publish(forged, genuine, a_record("claim_a", 2))
        await _until_applied(stream, ("claim_a", 1), ("claim_a", 2))

        assert {row.epoch for row in await stream.all(tables.inbox)} == {1}
        assert len(await stream.all(tables.quarantine)) == 1


async def _parked(stream: Stream, wanted: set[tuple[str, int, str]]) -> bool:
    return await stream.parked() == wanted


async def test_no_more_is_fetched_while_as_many_messages_wait_as_may(make_stream: MakeStream) -> None:
    blocked = {(f"claim_{number}", 1) for number in range(1, 601)}
    wanted = sorted(blocked)
    async with make_stream(_blocked(blocked)) as stream, stream.running():
        stream.worker.retries_max = 50
        await stream.publish(*(a_record(*one) for one in wanted))

        async def full() -> bool:
            return await stream.worker.why_stopped() == "retries-max"

        await until(full, "the worker saying that too many wait")
        waiting = len(await stream.parked())

        async def committed() -> bool:
            return await stream.lag() == len(wanted) - waiting

        await until(committed, "the rest left on the bus")
        blocked.clear()
        stream.clock.advance(timedelta(minutes=1))
        await _until_applied(stream, *wanted)

        assert 50 <= waiting < 50 + RECORDS_MAX
        assert sorted(await stream.applied()) == wanted


async def test_nothing_is_fetched_before_the_first_registry_release(make_stream: MakeStream) -> None:
    trust = TrustHolder(world().trust)
    async with make_stream(trust=trust) as stream:
        await stream.publish(a_record("claim_a", 1))
        async with stream.running():

            async def waits() -> bool:
                return await stream.worker.why_stopped() == "registry.none-yet"

            await until(waits, "the worker saying that it waits for a release")
            trust.install(world().signed, world().directory)
            await _until_applied(stream, ("claim_a", 1))

        assert await stream.parked() == set()


@dataclass
class Counting:
    """A consumer that counts its commits."""

    real: Consumer
    commits: int = 0

    async def fetch(self, records_max: int, timeout_s: float) -> Sequence[Fetched]:
        return await self.real.fetch(min(1, records_max), timeout_s)

    async def commit(self, offsets: Offsets) -> None:
        self.commits += 1
        await self.real.commit(offsets)

    async def lag(self) -> Mapping[tuple[str, int], int]:
        return await self.real.lag()

    async def close(self) -> None:
        await self.real.close()


async def test_offsets_are_committed_together_never_early_and_to_the_end_when_idle(make_stream: MakeStream) -> None:
    async with make_stream() as stream:
        await stream.publish(*(a_record("claim_a", seq) for seq in range(1, 41)))
        consumer = Counting(await stream.bus.subscribe("together", [SETTLEMENT_REQUESTS]))
        progress = Progress(consumer, Stopping())

        fetched: list[int] = []
        while record := await progress.fetch(1):
            fetched.append(sum((await consumer.lag()).values()))
            progress.done(record)

        assert len(fetched) == 40
        assert all(lag >= 40 - number for number, lag in enumerate(fetched))
        assert consumer.commits < 40
        assert sum((await consumer.lag()).values()) == 0


async def test_a_worker_that_is_asked_to_end_finishes_its_round_and_commits_it(make_stream: MakeStream) -> None:
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def slow(deps: None, delivery: Delivery, message: VoidAsked) -> None:
        del deps, delivery, message
        begun.set()
        await going_on.wait()

    async with make_stream(prepare=slow) as stream:
        await stream.publish(*(a_record("claim_a", seq) for seq in (1, 2, 3)))
        running = asyncio.create_task(stream.worker.run())
        await begun.wait()

        stream.worker.stopping.set()
        going_on.set()
        await asyncio.wait_for(running, 5)

        assert await stream.applied() == [("claim_a", seq) for seq in (1, 2, 3)]
        assert await stream.lag() == 0
