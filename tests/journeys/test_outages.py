"""Roles as processes while what they depend on is away: they take what they can, say no in time, and lose nothing.

`make outage` plays the broker's absence for five minutes at the usual limits; here it is seconds at quick ones.
"""

import asyncio
import os
import time
from pathlib import Path

import pytest

from gateway.client.hospital import Receipt
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.protocol.errors import UnavailableError
from tests.postgres import PostgresServer, binaries
from tests.role_processes import QUICK_KAFKA, ROLES, RoleProcesses, role_processes
from tests.services import missing
from tests.walk import Claimed, Parties, until
from tests.walk_parties import a_bill

OUTAGE_S = float(os.environ.get("OUTAGE_S", "10"))  # noqa: TID251 a switch of the test run
UNREADY_S_MAX = 15.0
DRAIN_S_MAX = 25.0
HEALED_S_MAX = 90.0
CLAIMS_MAX = 40
PAYER = "ins-lantau"


async def _until_full(parties: Parties) -> list[Receipt]:
    """Hand in bill after bill until the edge says 503; what it took before stands."""
    receipts = []
    for number in range(1, CLAIMS_MAX):
        try:
            receipts.append(await parties.hospital.submit(compact(a_bill(number, PAYER)), f"outage-{number}"))
        except (ApiProblem, UnavailableError) as refused:
            if "admission.outbox-full" not in str(refused):
                raise
            return receipts
    raise AssertionError("the outbox was never full")


async def _unready_within(house: RoleProcesses, role: str) -> float:
    begun = time.monotonic()

    async def unready() -> bool:
        return not await house.ready(role)

    await until(unready, f"{role} saying that it is not ready", within_s=UNREADY_S_MAX)
    return time.monotonic() - begun


async def test_claims_are_taken_while_the_broker_is_away_until_the_outbox_is_full(tmp_path: Path) -> None:
    limits = {} if OUTAGE_S >= 300 else QUICK_KAFKA
    async with role_processes(tmp_path / "data", {**limits, "GATEWAY_OUTBOX_ROWS_MAX": "5"}) as (house, parties):
        house.broker.kill()
        away_since = time.monotonic()
        await asyncio.gather(*(_unready_within(house, role) for role in ("sz", "core", "hk", "audit")))

        receipts = await _until_full(parties)
        await asyncio.sleep(max(0.0, away_since + OUTAGE_S - time.monotonic()))
        with pytest.raises((ApiProblem, UnavailableError), match=r"outbox-full"):
            await parties.hospital.submit(compact(a_bill(CLAIMS_MAX, PAYER)), "outage-late")
        await asyncio.to_thread(house.broker.start)

        assert len(receipts) > 5
        async with asyncio.timeout(HEALED_S_MAX):
            for receipt in receipts:
                await _until_received(parties, Claimed(receipt.claim_id, receipt.case_id, PAYER))
            await house.until_ready()
        late = await parties.hospital.submit(compact(a_bill(CLAIMS_MAX, PAYER)), "outage-late")
        await _until_received(parties, Claimed(late.claim_id, late.case_id, PAYER))


async def _until_received(parties: Parties, claimed: Claimed) -> None:
    async def received() -> bool:
        try:
            return bool((await parties.claim(claimed.claim_id))["state"] == "received")
        except ApiProblem as problem:
            if problem.status != 404:
                raise
            return False

    await until(received, f"{claimed.claim_id} at core", within_s=HEALED_S_MAX)


async def test_a_role_that_is_asked_to_end_ends_in_time_with_a_request_open(tmp_path: Path) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        waiting = asyncio.create_task(parties.hospital.events(wait_s=30))
        await asyncio.sleep(1)
        begun = time.monotonic()

        assert await house.stop("sz") == 0

        assert time.monotonic() - begun < DRAIN_S_MAX
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        house.start("sz")
        await house.until_ready("sz")
        receipt = await parties.hospital.submit(compact(a_bill(1, PAYER)), "after")
        await _until_received(parties, Claimed(receipt.claim_id, receipt.case_id, PAYER))


async def test_a_role_whose_database_is_away_says_so_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")
    server = PostgresServer.start(programs)
    try:
        async with role_processes(tmp_path / "data", server=server) as (house, parties):
            first = await parties.hospital.submit(compact(a_bill(1, PAYER)), "before")
            await asyncio.to_thread(server.crash)
            await asyncio.gather(*(_unready_within(house, role) for role in ROLES))
            with pytest.raises((ApiProblem, UnavailableError)):
                await parties.hospital.submit(compact(a_bill(2, PAYER)), "meanwhile")
            await asyncio.to_thread(server.revive)

            await house.until_ready()
            second = await parties.hospital.submit(compact(a_bill(2, PAYER)), "meanwhile")
            for receipt in (first, second):
                await _until_received(parties, Claimed(receipt.claim_id, receipt.case_id, PAYER))
    finally:
        server.stop()
