"""Operators' stories as they play them: `gateway …` as a program, a profile for each person, over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from gateway.protocol.topics import HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS
from gateway.runtime.bus.port import BusRecord, Fetched
from gateway.runtime.delivery import inbox
from gateway.runtime.storage.database import Transaction
from tests.operators import OPERATOR, SECOND, Said, ask, broken, command, halted
from tests.served import free_port
from tests.walk import House, house, until
from tests.walk_parties import Insurer, hand_in

PAYER = "ins-lantau"


@dataclass(frozen=True)
class Desk:
    """An operators' desk; for core unless told otherwise."""

    found: House

    async def run(self, *words: str, by: str = OPERATOR, role: str = "core") -> Said:
        return await command(self.found.data, *words, role=role, by=by)


@contextlib.asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    """Open the house behind a real port, so that programs reach it."""
    port = free_port()
    async with house(folder, base_url=f"http://127.0.0.1:{port}") as found:
        config = uvicorn.Config(found.gateway.app, port=port, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        try:
            yield Desk(found)
        finally:
            server.should_exit = True
            await serving


async def test_money_that_halted_goes_on_when_two_persons_say_so(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        found = operators.found
        with broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation"):
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            number = str((await halted(found, SETTLEMENT_REQUESTS))["id"])

        listed = await operators.run("bus", "parked", "list")
        assert {number, "halt", SETTLEMENT_REQUESTS} <= set(listed.out.split())
        shown = (await operators.run("bus", "parked", "show", number, "--json")).json()
        assert (shown["why"], shown["seq"], shown["stream_seq"]) == ("halt", 1, 0)
        lag = await operators.run("bus", "lag")
        assert "halted" in lag.out

        asked = await operators.run("bus", "parked", "retry", number)
        assert (asked.code, asked.out) == (0, "")
        [waiting] = (await operators.run("bus", "requests", "--json", by=SECOND)).json()
        assert f"gateway bus confirm {waiting['request_id']} --role core" in asked.err
        alone = await operators.run("bus", "confirm", waiting["request_id"])
        assert (alone.code, "operator.two-persons" in alone.err) == (1, True)
        confirmed = await operators.run("bus", "confirm", waiting["request_id"], "--json", by=SECOND)

        assert confirmed.json() == {"count": 1, "requests": [], "stay": []}
        await found.until_draft(PAYER)
        empty = await operators.run("bus", "parked", "list")
        assert (empty.out, empty.err) == ("", "core: nothing\n")
        steps = [one["clr"]["step"] for one in await found.log(typ="core.operator_acted")]
        assert steps == ["asked", "confirmed"]


async def test_retrying_everything_leaves_only_money_for_another_person(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        found = operators.found

        async def hold(tx: Transaction) -> None:
            for offset, topic in enumerate([HOSPITAL_REQUESTS, HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS]):
                one = Fetched(topic, 0, offset, "case_x", b"{}")
                await inbox.park(
                    tx, "core.nobody", one, None, why="held", code="key.compromised", now=found.clock.now()
                )

        await found.process("core").database.write(hold)
        both = await operators.run("bus", "parked", "retry", "1", "--all")
        some = await operators.run("bus", "parked", "list", "--limit", "2")

        outcome = (await operators.run("bus", "parked", "retry", "--all", "--json")).json()

        assert both.code == 2
        assert len(some.out.splitlines()) == 1 + 2
        assert "only the first 2" in some.err
        assert (outcome["count"], len(outcome["requests"])) == (2, 1)
        [request] = (await ask(found, "requests"))["requests"]
        assert request["request_id"] in outcome["requests"]
        assert len(request["form"]["ids"]) == 1


async def test_a_claim_that_nobody_answers_is_closed_by_two_persons(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        claimed = await hand_in(operators.found)
        await operators.found.until_claim(claimed, state="received")
        why = ("--reason", "insurer-silent", "--ticket", "OPS-18")

        unheard = await operators.run("claim", "close", claimed.claim_id, "--reason", "bored", "--ticket", "OPS-18")
        asked = await operators.run("claim", "close", claimed.claim_id, *why)
        [waiting] = (await operators.run("bus", "requests", "--json", by=SECOND)).json()
        alone = await operators.run("bus", "confirm", waiting["request_id"])
        confirmed = await operators.run("bus", "confirm", waiting["request_id"], by=SECOND)
        recoup = await operators.run(
            "claim", "close-recoup", claimed.claim_id, "--reason", "ruled", "--ticket", "OPS-19"
        )

        assert unheard.code == 2
        assert (asked.code, waiting["action"]) == (0, "close-claim")
        assert f"gateway bus confirm {waiting['request_id']} --role core" in asked.err
        assert (alone.code, confirmed.code) == (1, 0)
        await operators.found.until_claim(claimed, state="closed")
        assert (recoup.code, "payment.illegal-move" in recoup.err or "state does not allow" in recoup.err) == (1, True)


async def test_forged_bytes_are_looked_at_verified_and_dropped(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        await operators.found.gateway.bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_x", b'{"secret": "PATIENT"}')])

        async def listed() -> list[dict[str, Any]]:
            return list((await ask(operators.found, "quarantine"))["quarantine"])

        [row] = await until(listed, "the quarantined bytes")
        number = str(row["id"])

        shown = await operators.run("bus", "quarantine", "show", number)
        verified = await operators.run("bus", "quarantine", "retry", number)
        why = ("--reason", "forged", "--ticket", "SEC-4")
        dropped = await operators.run("bus", "quarantine", "drop", number, *why)
        again = await operators.run("bus", "quarantine", "retry", number)

        assert row["sha256"] in shown.out
        assert "PATIENT" not in shown.out
        assert (verified.code, f"{number} does not verify" in verified.err) == (3, True)
        assert dropped.code == 0
        assert (again.code, "quarantine.unknown" in again.err) == (1, True)


async def test_a_profile_that_is_missing_or_no_operators_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        nobody = await operators.run("bus", "lag", by="nobody")
        hospital = await operators.run("bus", "lag", by="hosp-nanshan-his", role="sz")

        assert (nobody.code, nobody.err) == (1, "Error: nobody.json is missing\n")
        assert (hospital.code, hospital.err.count("\n")) == (1, 1)
        assert "The profile of hosp-nanshan-his lacks the scope `operate`" in hospital.err


async def test_the_doctor_names_the_scope_that_a_profile_lacks_and_where_it_is_granted(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        said = await operators.run("doctor", by="hosp-nanshan-his", role="sz")
        [report] = (await operators.run("doctor", "--json", by="hosp-nanshan-his", role="sz")).json()
        elsewhere = await operators.run("doctor", by="hosp-nanshan-his", role="core")

        assert said.code == 1
        assert said.out == (
            "sz: cannot be examined: The profile of hosp-nanshan-his lacks the scope `operate`: "
            "take an operator's profile, "
            "or have the registry entry of hosp-nanshan grant the scope (clients, `scopes`).\n"
        )
        assert "does not answer" not in said.out + elsewhere.out
        assert report["refused"] is True
        assert "lacks the scope" in elsewhere.out


async def test_a_short_credit_is_cleared_up_by_two_persons_and_stays_in_the_list(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        found = operators.found
        await found.bank_fault(kind="short_credit", amount_minor=1_000)
        claimed, insurer = await hand_in(found), Insurer(found)
        await insurer.decide(await insurer.review(claimed))
        await found.pay(PAYER)

        async def listed() -> Any:
            return (await operators.run("bank", "breaks", "list", "--json")).json()

        [row] = await until(listed, "the break")
        page = tmp_path / "page.xml"
        table = await operators.run("bank", "breaks", "list")
        details = await operators.run("bank", "breaks", "show", row["break_id"], "--page", str(page))
        why = ("--reason", "bank-fee", "--ticket", "OPS-17")
        asked = await operators.run("bank", "breaks", "resolve", row["break_id"], *why)
        [request] = (await operators.run("bus", "requests", "--json")).json()
        alone = await operators.run("bank", "confirm", request["request_id"])
        confirmed = await operators.run("bank", "confirm", request["request_id"], by=SECOND)

        assert (row["kind"], row["owner"], row["amount"], row["resolved_at"]) == (
            "short",
            "hosp-nanshan",
            "-10.00",
            None,
        )
        assert {row["break_id"], "short", "hosp-nanshan", "-10.00"} <= set(table.out.split())
        assert "end_to_end_id" in details.out
        assert b"BkToCstmrDbtCdtNtfctn" in page.read_bytes()
        assert request["request_id"] in asked.err
        assert (alone.code, "operator.two-persons" in alone.err) == (1, True)
        assert confirmed.code == 0
        assert await listed() == []
        [kept] = (await operators.run("bank", "breaks", "list", "--all", "--json")).json()
        assert (kept["resolution"], kept["ticket"]) == ("bank-fee", "OPS-17")
        assert [kept["asked_by"], kept["confirmed_by"]] == [OPERATOR, SECOND]
        await found.until_claim(claimed, payment_state="reconciled")
        [logged] = await found.log(typ="break.resolved")
        assert (logged["clr"]["break_id"], logged["clr"]["reason"]) == (row["break_id"], "bank-fee")


async def test_what_treasurers_never_approve_is_closed_and_the_claim_hears_of_it(tmp_path: Path) -> None:
    async with desk(tmp_path / "data") as operators:
        found = operators.found
        claimed, insurer = await hand_in(found), Insurer(found)
        await insurer.decide(await insurer.review(claimed))
        await found.until_draft(PAYER)

        [owed] = (await operators.run("bank", "obligations", "list", "--state", "batched", "--json")).json()
        why = ("--reason", "waived", "--ticket", "OPS-18")
        asked = (await operators.run("bank", "obligations", "close", owed["obligation_id"], *why, "--json")).json()
        await operators.run("bank", "confirm", asked["requests"][0], by=SECOND)

        await found.until_claim(claimed, payment_state="voided")
        assert owed["allowed_actions"] == ["close"]
        assert (await found.obligation(owed["obligation_id"]))["state"] == "closed"
        batches = await operators.run("bank", "batches", "list")
        held = await operators.run("bank", "obligations", "list")
        assert (batches.err, held.err) == ("core: nothing\n", "core: nothing\n")
