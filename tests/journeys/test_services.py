"""The same walk across processes: every role alone, on PostgreSQL and a real Kafka with TLS, SCRAM and ACLs."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.client.hospital import Receipt
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.protocol.errors import UnavailableError
from tests.one_claim import PAYER, Walk, assert_once
from tests.role_processes import RoleProcesses, role_processes
from tests.walk import Parties, until, verify_log
from tests.walk_parties import Insurer, a_bill

KILLED = -9
ARRIVED_S_MAX = 90.0
LAST_STEPS: tuple[Mapping[str, str], ...] = (
    {"sz": "relay.after_send", "core": "consumer.after_fetch", "hk": "consumer.after_inbox"},
    {"sz": "relay.after_ack", "core": "consumer.before_commit", "hk": "consumer.after_commit"},
    {"sz": "relay.after_select@12", "core": "relay.after_send", "hk": "consumer.before_commit"},
)
"""For each claim where the roles on its way die, in the order of its way. A relay selects also when nothing waits."""


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


async def _arm(house: RoleProcesses, steps: Mapping[str, str]) -> None:
    """Start roles again so that each dies at its step."""
    await asyncio.gather(*map(house.stop, steps))
    for role, step in steps.items():
        place, _, nth = step.partition("@")
        house.configure(role, failpoint=f"{place}=kill@{nth or 1}")
        house.start(role)
    for role in steps:
        await house.until_alive_or_dead(role)


async def _until_taken(parties: Parties, number: int) -> Receipt:
    """Hand a bill in, under the same key again where the edge dies before it answers."""
    bill = compact(a_bill(number, PAYER))

    async def taken() -> Receipt | None:
        try:
            return await parties.hospital.submit(bill, f"killed-{number}")
        except (UnavailableError, ApiProblem):
            return None

    return await until(taken, "a receipt", within_s=ARRIVED_S_MAX)


async def test_a_claim_arrives_once_whatever_was_the_last_step_of_relays_and_consumers(tmp_path: Path) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        receipts = []
        for number, steps in enumerate(LAST_STEPS, start=1):
            await _arm(house, steps)
            taking = asyncio.create_task(_until_taken(parties, number))
            for role in steps:
                assert await house.until_dead(role) == KILLED
                house.configure(role, failpoint=None)
                house.start(role)
            receipts.append(await taking)
            await house.until_ready(*steps)

        insurer = Insurer(parties, PAYER)
        await insurer.until_brought([receipt.claim_id for receipt in receipts], ARRIVED_S_MAX)
        assert sorted(insurer.submitted()) == sorted(receipt.claim_id for receipt in receipts)
