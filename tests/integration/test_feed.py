"""Feeds: a cursor never skips, also under concurrent writers; waiting holds no connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import MalformedInputError
from gateway.runtime.storage.database import Database, Transaction, open_database
from gateway.runtime.storage.tables import METADATA
from gateway.runtime.web.feed import FeedSequencer
from tests.conftest import MakeDatabase
from tests.postgres import postgres

TENANT = "ins-harbour"


def a_feed(database: Database) -> FeedSequencer:
    return FeedSequencer(database, VirtualClock(), bytes(range(32)))


@pytest.fixture
def feed(make_database: MakeDatabase) -> FeedSequencer:
    return a_feed(make_database(METADATA))


@pytest.fixture
async def running(feed: FeedSequencer) -> AsyncIterator[FeedSequencer]:
    task = asyncio.create_task(feed.run())
    yield feed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def append(feed: FeedSequencer, *numbers: int, tenant: str = TENANT, writer: str = "") -> None:
    async def work(tx: Transaction) -> None:
        for number in numbers:
            await feed.append(tx, tenant, {"n": number})

    await feed.database.write(work, key=writer)


async def numbers(feed: FeedSequencer, after: str | None = None, limit: int = 100, **options: Any) -> list[int]:
    return [int(item["n"]) for item in (await feed.page(TENANT, after, limit=limit, **options)).items]


async def test_items_come_in_order_page_by_page(feed: FeedSequencer) -> None:
    await append(feed, 1, 2, 3)
    await append(feed, 4)
    await append(feed, 99, tenant="ins-lantau")
    await feed.step()

    first = await feed.page(TENANT, None, limit=3)
    second = await feed.page(TENANT, first.next, limit=3)
    third = await feed.page(TENANT, second.next, limit=3)

    assert [item["n"] for item in first.items] == [1, 2, 3]
    assert [item["n"] for item in second.items] == [4]
    assert list(third.items) == []
    assert third.next == second.next


async def test_an_item_without_a_position_is_not_shown_yet(feed: FeedSequencer) -> None:
    await append(feed, 1)

    assert await numbers(feed) == []
    assert await feed.step() == 1
    assert await numbers(feed) == [1]


async def test_a_work_that_fails_feeds_nothing(feed: FeedSequencer) -> None:
    async def fail(tx: Transaction) -> None:
        await feed.append(tx, TENANT, {"n": 1})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await feed.database.write(fail)

    assert await feed.step() == 0


async def test_without_a_cursor_reading_goes_on_after_the_last_acknowledged(feed: FeedSequencer) -> None:
    await append(feed, 1, 2, 3)
    await feed.step()
    second = (await feed.page(TENANT, None, limit=2)).next

    await feed.acknowledge(TENANT, second)

    assert await numbers(feed) == [3]


async def test_an_acknowledgement_never_moves_back(feed: FeedSequencer) -> None:
    await append(feed, 1, 2)
    await feed.step()
    first = (await feed.page(TENANT, None, limit=1)).next
    both = (await feed.page(TENANT, None, limit=2)).next

    await feed.acknowledge(TENANT, both)
    await feed.acknowledge(TENANT, first)

    assert await numbers(feed) == []


async def test_another_tenants_cursor_is_refused(feed: FeedSequencer) -> None:
    cursor = (await feed.page("ins-lantau", None, limit=1)).next

    with pytest.raises(MalformedInputError):
        await feed.page(TENANT, cursor, limit=1)
    with pytest.raises(MalformedInputError):
        await feed.acknowledge(TENANT, cursor)


async def test_a_waiting_reader_is_woken_by_the_commit(running: FeedSequencer) -> None:
    waiting = asyncio.create_task(numbers(running, wait_s=20))
    await asyncio.sleep(0.05)

    await append(running, 7)

    assert await asyncio.wait_for(waiting, 5) == [7]


async def test_a_reader_that_waited_long_enough_gets_nothing(running: FeedSequencer) -> None:
    assert await numbers(running, wait_s=0.05) == []


async def test_many_waiting_readers_hold_no_connection(running: FeedSequencer) -> None:
    waiting = [asyncio.create_task(numbers(running, wait_s=20)) for _ in range(40)]
    await asyncio.sleep(0.05)

    await append(running, 1)

    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [[1]] * 40


async def test_a_reader_hears_of_what_another_process_numbered(feed: FeedSequencer) -> None:
    other_process = a_feed(feed.database)
    waiting = asyncio.create_task(numbers(feed, wait_s=20))
    await asyncio.sleep(0.05)

    await append(other_process, 3)
    await other_process.step()

    assert await asyncio.wait_for(waiting, 5) == [3]


async def test_a_cursor_never_skips_under_concurrent_writers(running: FeedSequencer) -> None:
    """Eight writers at once, some slow to commit, one reader that follows by cursor from the beginning."""
    total = 400
    seen: list[int] = []

    async def follow() -> None:
        cursor = None
        while len(seen) < total:
            page = await running.page(TENANT, cursor, limit=7, wait_s=5)
            cursor = page.next
            seen.extend(int(item["n"]) for item in page.items)

    following = asyncio.create_task(follow())
    await asyncio.gather(*(append(running, n, writer=str(n)) for n in range(total)))
    await asyncio.wait_for(following, 30)

    assert sorted(seen) == list(range(total))


async def test_a_row_that_commits_late_is_numbered_late() -> None:
    """On PostgreSQL a work may take its id early and commit late: whoever read past it must still see it."""
    database = open_database(postgres().fresh_url())
    database.run_sync(METADATA.create_all)
    feed = a_feed(database)
    inserted, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tx: Transaction) -> None:
        await feed.append(tx, TENANT, {"n": 1})
        inserted.set()
        await go_on.wait()

    early = asyncio.create_task(database.write(slow, key="4"))
    await inserted.wait()
    async with asyncio.timeout(20):  # "1" and the feed's own key share the other one of two writers
        await append(feed, 2, writer="1")
        await feed.step()
    first = await feed.page(TENANT, None, limit=10)
    go_on.set()
    await early
    await feed.step()
    second = await feed.page(TENANT, first.next, limit=10)

    assert [item["n"] for item in first.items] == [2]
    assert [item["n"] for item in second.items] == [1]
    await database.close()


async def test_two_sequencers_number_densely_between_them() -> None:
    url = postgres().fresh_url()
    databases = [open_database(url) for _ in range(2)]
    databases[0].run_sync(METADATA.create_all)
    feeds = [a_feed(database) for database in databases]
    tasks = [asyncio.create_task(feed.run()) for feed in feeds]

    await asyncio.gather(*(append(feeds[n % 2], n, writer=str(n)) for n in range(200)))
    async with asyncio.timeout(20):
        found: list[int] = []
        while len(found) < 200:
            found = await numbers(feeds[0], limit=500, wait_s=1)

    assert sorted(found) == list(range(200))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for database in databases:
        await database.close()


async def test_a_long_poll_answers_at_once_when_the_server_is_about_to_stop(running: FeedSequencer) -> None:
    polling = asyncio.create_task(running.page(TENANT, None, limit=10, wait_s=30))
    await asyncio.sleep(0.05)

    running.answer_waiting()
    page = await asyncio.wait_for(polling, 1)
    later = await asyncio.wait_for(running.page(TENANT, page.next, limit=10, wait_s=30), 1)

    assert (list(page.items), list(later.items)) == ([], [])
    assert later.next == page.next
