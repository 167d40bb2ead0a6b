"""Roles that are asked to end while messages are on their way, or while nobody answers them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.client.hospital import Receipt
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from tests.postgres import PostgresServer, binaries
from tests.role_processes import role_processes
from tests.services import missing
from tests.walk import Parties, until
from tests.walk_parties import Insurer, a_bill

PAYER = "ins-lantau"
IN_FLIGHT = 200
TOGETHER = 8
ARRIVED_S_MAX = 90.0


async def _hand_in(parties: Parties, count: int) -> list[Receipt]:
    places = asyncio.Semaphore(TOGETHER)

    async def submit(number: int) -> Receipt:
        async with places:
            return await parties.hospital.submit(compact(a_bill(number, PAYER)), f"ending-{number}")

    return list(await asyncio.gather(*map(submit, range(1, count + 1))))


async def _until_at_core(parties: Parties, receipt: Receipt) -> None:
    async def there() -> bool:
        try:
            return bool((await parties.claim(receipt.claim_id))["state"] == "received")
        except ApiProblem as problem:
            if problem.status != 404:
                raise
            return False

    await until(there, f"{receipt.claim_id} at core", within_s=ARRIVED_S_MAX)


async def _arrived(parties: Parties, receipts: Sequence[Receipt]) -> list[str]:
    """Wait until the insurer's inbox has brought every claim; return what it brought."""
    insurer = Insurer(parties, PAYER)
    await insurer.until_brought([receipt.claim_id for receipt in receipts], ARRIVED_S_MAX)
    return sorted(insurer.submitted())


async def _until_caught_up(parties: Parties, *roles: str) -> None:
    async def caught_up() -> bool:
        sessions = [parties.session("op-gateway-1", role) for role in roles]
        found = [(await session.get("/v1/operations/lag")).json()["consumers"] for session in sessions]
        return all(consumer["lag"] == 0 for consumers in found for consumer in consumers)

    await until(caught_up, f"lag 0 at {', '.join(roles)}")


async def test_a_role_that_is_asked_to_end_with_messages_on_their_way_loses_and_doubles_none(tmp_path: Path) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        assert await house.stop("core") == 0
        receipts = await _hand_in(parties, IN_FLIGHT)
        house.start("core")
        await house.until_ready("core")
        await _until_at_core(parties, receipts[0])

        assert await house.stop("core") == 0
        house.start("core")
        await house.until_ready("core")

        assert await _arrived(parties, receipts) == sorted(receipt.claim_id for receipt in receipts)
        await _until_caught_up(parties, "core", "hk")


async def test_a_role_ends_by_itself_while_the_broker_or_the_database_is_frozen(tmp_path: Path) -> None:
    programs = binaries()
    if programs is None:
        missing("PostgreSQL (initdb, postgres)")
    server = PostgresServer.start(programs)
    try:
        async with role_processes(tmp_path / "data", server=server) as (house, parties):
            receipts = await _hand_in(parties, TOGETHER)
            house.broker.signal("STOP")
            broker_frozen = await house.stop("core")
            house.broker.signal("CONT")
            await asyncio.to_thread(server.freeze)
            database_frozen = await house.stop("hk")
            await asyncio.to_thread(server.thaw)
            for role in ("core", "hk"):
                house.start(role)
            await house.until_ready()

            assert (broker_frozen, database_frozen) == (0, 0)
            assert await _arrived(parties, receipts) == sorted(receipt.claim_id for receipt in receipts)
    finally:
        server.stop()
