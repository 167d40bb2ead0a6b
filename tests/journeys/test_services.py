"""The same walk across processes: every role alone, on PostgreSQL and a real Kafka with TLS, SCRAM and ACLs."""

import asyncio
from pathlib import Path

import pytest

from tests.one_claim import Walk, assert_once
from tests.role_processes import role_processes
from tests.walk import verify_log


async def test_one_claim_walks_across_processes_and_they_end_in_order(tmp_path: Path) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        walk = Walk(parties)
        claimed = await walk.walk()

        await assert_once(walk, claimed)
        await parties.forget()
        assert {await house.stop(role) for role in list(house.running) if role != "bank"} == {0}
        assert await verify_log(tmp_path / "data", "claim", "--cref", claimed.case_id) == 0


@pytest.mark.parametrize("role", ["core", "sz"])
async def test_a_role_killed_in_the_walk_goes_on_where_it_was(tmp_path: Path, role: str) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        walk = Walk(parties)
        await walk.begin()
        house.kill(role)
        house.start(role)
        await house.until_ready(role)

        claimed = await walk.walk()

        await assert_once(walk, claimed)


async def test_a_broker_that_loses_power_in_the_walk_loses_nothing(tmp_path: Path) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        walk = Walk(parties)
        await walk.begin()
        house.broker.kill()
        await asyncio.to_thread(house.broker.start)

        claimed = await walk.walk()

        await assert_once(walk, claimed)
