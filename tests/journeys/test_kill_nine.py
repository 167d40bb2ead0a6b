"""kill -9 at every step that could lose or double something: after a restart the walk ends as if nothing had been."""

from pathlib import Path

import pytest

from gateway.protocol.errors import UnavailableError
from gateway.runtime.signals.failpoints import PLACES
from tests.one_claim import QUICK, Walk, assert_once
from tests.served import Served, count, served
from tests.walk import Claimed, verify_log

KILLED = -9

FIRST_DURING_THE_WALK = {
    "relay.after_select": 20,
    "relay.after_send": 2,
    "relay.after_ack": 3,
    "consumer.after_fetch": 2,
    "consumer.after_inbox": 3,
    "consumer.before_commit": 4,
    "consumer.after_commit": 2,
    "audit.after_tiles": 3,
    "audit.after_sign": 3,
    "audit.after_publish": 3,
}
"""Which time a place is reached: the relays and the sequencer pass theirs before the first claim comes."""

LATER = ("api.before_commit@3", "api.after_commit@5", "consumer.before_commit@11", "relay.after_send@9")
"""The decision, the second approval, and places where money is already on its way."""

CASES = [f"{place}@{FIRST_DURING_THE_WALK.get(place, 1)}" for place in PLACES] + list(LATER)


@pytest.mark.parametrize("failpoint", CASES)
async def test_a_walk_survives_kill_nine(tmp_path: Path, failpoint: str) -> None:
    place, _, nth = failpoint.partition("@")
    async with served(tmp_path / "data", QUICK) as (gateway, parties):
        walk = Walk(parties)

        if await gateway.start(f"{place}=kill@{nth}"):
            with pytest.raises(UnavailableError):
                await until_killed(gateway, walk)
        assert await gateway.until_dead() == KILLED
        await parties.forget()
        assert await gateway.start()
        claimed = await walk.walk()

        await assert_once(walk, claimed)
        await parties.forget()
        assert await gateway.stop() == 0
        await assert_whole(gateway, claimed)


async def until_killed(gateway: Served, walk: Walk) -> None:
    """Walk; if the whole walk went through, the process dies at the next idle round."""
    await walk.walk()
    await gateway.until_dead()
    raise UnavailableError("gateway.killed-after-the-walk")


UNREAD = """
SELECT COUNT(*) FROM bus_group JOIN (SELECT topic, partition, MAX("offset") AS head FROM bus_log GROUP BY 1, 2)
USING (topic, partition) WHERE bus_group."offset" != head + 1
"""


async def assert_whole(gateway: Served, claimed: Claimed) -> None:
    """With the gateway stopped: nothing waits anywhere, and the log verifies completely."""
    for name, path in gateway.databases().items():
        for table in ("outbox", "audit_rows"):
            unsent = count(path, f"SELECT COUNT(*) FROM {table} WHERE published_at IS NULL")  # noqa: S608 our tables
            assert (name, table, unsent) == (name, table, 0)
        for table in ("parked", "quarantine"):
            assert (name, table, count(path, f"SELECT COUNT(*) FROM {table}")) == (name, table, 0)  # noqa: S608 same
    assert count(gateway.databases()["core"], "SELECT COUNT(*) FROM claims_claim") == 1
    assert count(gateway.data / "bus.db", UNREAD) == 0
    assert await verify_log(gateway.data, "log") == 0
    assert await verify_log(gateway.data, "claim", "--cref", claimed.case_id) == 0
