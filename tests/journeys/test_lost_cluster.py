"""A broker that loses its disk is made again and filled from the databases, by the operators' own commands."""

import asyncio
from pathlib import Path

import httpx2

from gateway.protocol.topics import (
    AUDIT_RECORDS,
    HOSPITAL_NOTICES,
    HOSPITAL_REQUESTS,
    INSURER_DELIVERIES,
    INSURER_RESPONSES,
    MONEY_TOPICS,
    REGISTRY_RELEASES,
    SETTLEMENT_OUTCOMES,
    SETTLEMENT_REQUESTS,
)
from tests.one_claim import PATIENCE_S, PAYER, Walk, assert_once
from tests.operators import LONG_AGO, SECOND, command
from tests.postgres import postgres
from tests.role_processes import START_S_MAX, RoleProcesses, apply_topics, role_processes
from tests.walk import until, verify_log
from tests.walk_parties import Insurer, hand_in, until_logged

WRITTEN = {
    "sz": (HOSPITAL_REQUESTS, AUDIT_RECORDS),
    "hk": (INSURER_RESPONSES, AUDIT_RECORDS),
    "core": (
        INSURER_DELIVERIES,
        HOSPITAL_NOTICES,
        SETTLEMENT_REQUESTS,
        SETTLEMENT_OUTCOMES,
        AUDIT_RECORDS,
    ),
}


async def _republish(data: Path, role: str, topic: str) -> int:
    """Send a topic again as operators do; what moves money takes two of them."""
    asked = await command(data, "outbox", "republish", "--topic", topic, "--since", LONG_AGO, "--json", role=role)
    assert asked.code == 0, asked.err
    outcome = asked.json()
    for request_id in outcome["requests"]:
        outcome = (await command(data, "bus", "confirm", request_id, "--json", role=role, by=SECOND)).json()
    return int(outcome["count"])


def _forget_releases(house: RoleProcesses, role: str) -> None:
    """Make a role's replica one that has never heard of a release."""
    database = (house.data / "roles" / role / "secrets" / "gateway_database_url").read_text().rpartition("/")[2]
    postgres().execute("DELETE FROM participants_release", database)


async def _knows_nobody(house: RoleProcesses, role: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False) as client:
        try:
            return "no registry release yet" in (await client.get(f"{house.url(role)}/{role}/readyz")).text
        except httpx2.TransportError:
            return False


async def test_a_wiped_cluster_is_filled_again_and_the_next_claim_walks_to_the_end(tmp_path: Path) -> None:
    async with role_processes(tmp_path / "data") as (house, parties):
        walk = Walk(parties)
        claimed = await walk.walk()
        await assert_once(walk, claimed)
        before = await parties.claim(claimed.claim_id)
        house.kill("sz")
        house.broker.kill()
        house.broker.wipe()
        _forget_releases(house, "sz")
        await asyncio.to_thread(house.broker.start)
        await asyncio.to_thread(apply_topics, house)
        house.start("sz")
        await house.until_ready(*(role for role in house.running if role not in ("bank", "sz")))
        await until(lambda: _knows_nobody(house, "sz"), "an edge without a registry release", within_s=START_S_MAX)

        assert await _republish(house.data, "core", REGISTRY_RELEASES) == 1
        await house.until_ready("sz")
        sent = {(role, topic): await _republish(house.data, role, topic) for role in WRITTEN for topic in WRITTEN[role]}

        assert all(sent.values()), sent
        assert {topic for _, topic in sent} >= set(MONEY_TOPICS)
        second = await hand_in(parties, number=2)
        insurer = Insurer(parties, PAYER)
        benefit_minor = await insurer.decide(await insurer.review(second))
        await parties.pay(PAYER)
        await parties.until_claim(second, payment_state="reconciled")
        await until_logged(parties, second, "payment.reconciled", PATIENCE_S)

        assert await parties.claim(claimed.claim_id) == before
        journal = await parties.bank_journal()
        debits = [row["amount_minor"] for row in journal["movements"] if row["side"] == "DBIT"]
        assert debits == [walk.benefit_minor, benefit_minor]
        assert len(journal["payments"]) == 2
        await until(lambda: _nothing_waits(house.data), "the end of what waits", within_s=PATIENCE_S)
        await parties.forget()
        for one in (claimed, second):
            assert await verify_log(house.data, "claim", "--cref", one.case_id) == 0


async def _nothing_waits(data: Path) -> bool:
    parked = [(await command(data, "bus", "parked", "list", "--json", role=role)).json() for role in WRITTEN]
    aside = [(await command(data, "bus", "quarantine", "list", "--json", role=role)).json() for role in WRITTEN]
    return not any(parked + aside)
