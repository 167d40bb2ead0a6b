"""Roles as processes while what they depend on is away: they take what they can, say no in time, and lose nothing.

`make outage` plays the broker's absence for five minutes at the usual limits; here it is seconds at quick ones.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.client.hospital import Receipt
from gateway.client.opened import OpenedClaim
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.runtime.bus.kafka_admin import ON_KAFKA
from tests.postgres import PostgresServer, binaries
from tests.role_processes import QUICK_KAFKA, ROLES, RoleProcesses, role_processes
from tests.services import missing
from tests.walk import Claimed, Parties, until
from tests.walk_parties import Insurer, a_bill, entries_of

OUTAGE_S = float(os.environ.get("OUTAGE_S", "16"))  # noqa: TID251 a switch of the test run
"""Longer than every time limit of `QUICK_KAFKA`, and than a client is given to start."""
UNREADY_S_MAX = 15.0
HEALED_S_MAX = 90.0
CLAIMS_MAX = 60
PAYER = "ins-lantau"
FIVE_ROWS = {"outbox_rows_max": 5}
A_FEW_MORE = 100_000
"""Bytes of some claims."""


async def _until_full(parties: Parties, first: int) -> list[Receipt]:
    """Hand in bill after bill until the edge says 503; what it took before stands."""
    receipts = []
    for number in range(first, first + CLAIMS_MAX):
        try:
            receipts.append(await parties.hospital.submit(compact(a_bill(number, PAYER)), f"outage-{number}"))
        except ApiProblem as refused:
            if (refused.status, refused.code) != (503, "admission.outbox-full"):
                raise
            return receipts
    raise AssertionError("the outbox was never full")


async def _until_unready(house: RoleProcesses, role: str) -> None:
    """Wait until a role that is alive says that it cannot do its work."""

    async def unready() -> bool:
        return await house.status(role) == 503

    await until(unready, f"{role} saying that it is not ready", within_s=UNREADY_S_MAX)


async def _decide_twice(insurer: Insurer, opened: OpenedClaim) -> list[str]:
    """Decide a part and then all of it, without waiting for core's word; the second is good only after the first."""
    parts = entries_of(opened, lines=(0,))
    part = await insurer.client.decide(opened, parts, final=False, based_on=2, decision_version=1)
    rest = await insurer.client.decide(opened, entries_of(opened), final=True, based_on=3, decision_version=2)
    return [part.msg_id, rest.msg_id]


async def _limit_bytes_instead(house: RoleProcesses) -> None:
    """Have the edge count bytes: as many as wait, and a few more."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        metrics = (await client.get(f"{house.url('sz')}/sz/metrics")).text
    [waiting] = re.findall(r'gateway_outbox_unpublished_bytes{role="sz"} ([0-9.e+]+)', metrics)
    house.configure("sz", outbox_rows_max=None, outbox_bytes_max=int(float(waiting)) + A_FEW_MORE)
    assert await house.stop("sz") == 0
    house.start("sz")
    await house.until_alive_or_dead("sz")


async def test_an_outage_of_the_broker_stops_intake_at_the_limits_and_loses_nothing(tmp_path: Path) -> None:
    limits = {} if OUTAGE_S >= 300 else QUICK_KAFKA
    async with role_processes(tmp_path / "data", limits, own={"sz": FIVE_ROWS}) as (house, parties):
        insurer = Insurer(parties, PAYER)
        before = await parties.hospital.submit(compact(a_bill(0, PAYER)), "outage-0")
        opened = await insurer.review(Claimed(before.claim_id, before.case_id, PAYER))
        house.broker.kill()
        away_since = time.monotonic()
        await asyncio.gather(*(_until_unready(house, role) for role in ON_KAFKA))

        by_rows = await _until_full(parties, 1)
        decided = await _decide_twice(insurer, opened)
        await _limit_bytes_instead(house)
        by_bytes = await _until_full(parties, 1 + len(by_rows))
        await asyncio.sleep(max(0.0, away_since + OUTAGE_S - time.monotonic()))
        with pytest.raises(ApiProblem, match=r"outbox-full"):
            await parties.hospital.submit(compact(a_bill(CLAIMS_MAX * 3, PAYER)), "outage-late")
        await asyncio.to_thread(house.broker.start)
        taken = [before, *by_rows, *by_bytes]
        await insurer.until_brought([receipt.claim_id for receipt in taken], HEALED_S_MAX)
        words = [await insurer.outcome(msg_id) for msg_id in decided]
        await house.until_ready()
        late = await parties.hospital.submit(compact(a_bill(CLAIMS_MAX * 3, PAYER)), "outage-late")
        await insurer.until_brought([late.claim_id], HEALED_S_MAX)

        assert len(by_rows) > FIVE_ROWS["outbox_rows_max"]
        assert by_bytes
        assert sorted(insurer.submitted()) == sorted(receipt.claim_id for receipt in (*taken, late))
        assert [word.status for word in words] == ["accepted", "accepted"]
        about = [item for item in insurer.items if item.claim_id == before.claim_id]
        assert [item.type for item in about] == ["submitted", "accepted", "accepted", "accepted"]
        told = [(await insurer.client.outcome(item.msg_id)).in_reply_to for item in about[2:]]
        assert told == decided


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

        assert await house.stop("sz") == 0

        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        house.start("sz")
        await house.until_ready("sz")
        receipt = await parties.hospital.submit(compact(a_bill(1, PAYER)), "after")
        await _until_received(parties, Claimed(receipt.claim_id, receipt.case_id, PAYER))


class Recording(httpx2.AsyncHTTPTransport):
    """HTTP that remembers what the last answer's headers were."""

    headers = httpx2.Headers()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        self.headers = response.headers
        return response


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")
    started = PostgresServer.start(programs)
    yield started
    started.stop()


@pytest.mark.parametrize(
    ("away", "back"), [(PostgresServer.crash, PostgresServer.revive), (PostgresServer.freeze, PostgresServer.thaw)]
)
async def test_a_role_whose_database_is_away_says_so_and_goes_on_when_it_is_back(
    tmp_path: Path,
    server: PostgresServer,
    away: Callable[[PostgresServer], None],
    back: Callable[[PostgresServer], None],
) -> None:
    async with role_processes(tmp_path / "data", server=server) as (house, parties):
        parties.transport = recording = Recording()
        first = await parties.hospital.submit(compact(a_bill(1, PAYER)), "before")
        await asyncio.to_thread(away, server)
        await asyncio.gather(*(_until_unready(house, role) for role in ROLES))
        with pytest.raises(ApiProblem) as refused:
            await parties.hospital.submit(compact(a_bill(2, PAYER)), "meanwhile")
        retry_after = recording.headers.get("retry-after")
        await asyncio.to_thread(back, server)

        await house.until_ready()
        second = await parties.hospital.submit(compact(a_bill(2, PAYER)), "meanwhile")
        insurer = Insurer(parties, PAYER)
        await insurer.until_brought([first.claim_id, second.claim_id], HEALED_S_MAX)
        assert (refused.value.status, refused.value.code) == (503, "database.unavailable")
        assert retry_after is not None
        assert int(retry_after) > 0
