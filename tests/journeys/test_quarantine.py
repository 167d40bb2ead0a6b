"""Bytes that were set aside: shown without content, verified again, dropped; and lists that go on page by page."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.client.transport import ApiProblem
from gateway.protocol.registry import Directory
from gateway.protocol.topics import HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS
from gateway.runtime.bus.port import BusRecord, Fetched
from gateway.runtime.delivery import inbox
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.tables import quarantine
from tests.operators import OPERATOR, SECOND, act, ask, confirm
from tests.walk import House, house, until
from tests.walk_parties import hand_in


async def _hold(tx: Transaction, found: House, group: str, one: Fetched) -> None:
    await inbox.park(tx, group, one, None, why="held", code="key.compromised", now=found.clock.now())


async def _quarantined(found: House) -> dict[str, Any]:
    async def listed() -> list[dict[str, Any]]:
        return list((await ask(found, "quarantine"))["quarantine"])

    [row] = await until(listed, "the quarantined bytes")
    return row


async def _forge(found: House, topic: str = HOSPITAL_REQUESTS, key: str = "case_x") -> dict[str, Any]:
    """Put bytes on a topic that no role has stamped; returns the row that they become in core."""
    await found.gateway.bus.publish(topic, [BusRecord(key, b'{"secret": "PATIENT"}')])
    return await _quarantined(found)


def _with_stamp_key_of_sz(directory: Directory, number: int, valid_from: datetime) -> Directory:
    """Copy a release with another begin of the key that the Shenzhen edge stamps with."""
    holders = {
        kid: replace(holder, row=holder.row.model_copy(update={"valid_from": valid_from}))
        for kid, holder in directory._holders.items()
        if kid.startswith("sz/stamp/")
    }
    return replace(directory, number=number, _holders={**directory._holders, **holders})


async def test_quarantined_bytes_are_shown_without_their_content(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        row = await _forge(found, key="PATIENT\x1b[2J")

        shown = await ask(found, f"quarantine/{row['id']}")

        assert (row["topic"], row["bytes"]) == (HOSPITAL_REQUESTS, 21)
        assert {**row, "dropped_at": None}.items() <= shown.items()
        assert shown["says"]
        assert "PATIENT" not in str(row) + str(shown)


async def test_a_claim_that_a_wrong_registry_row_set_aside_goes_on_once_the_row_is_mended(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        trust = found.process("core").trust
        signed, true = trust.signed, trust.directory
        valid_from = next(one.row.valid_from for kid, one in true._holders.items() if kid.startswith("sz/stamp/"))
        trust.install(signed, _with_stamp_key_of_sz(true, 2, found.clock.now() + timedelta(days=1)))
        claimed = await hand_in(found)
        row = await _quarantined(found)
        early = await act(found, "quarantine/retry", {"ids": [row["id"]]})
        trust.install(signed, _with_stamp_key_of_sz(true, 3, valid_from))

        mended = await act(found, "quarantine/retry", {"ids": [row["id"]]}, key="act-2")

        stays = {"id": row["id"], "topic": HOSPITAL_REQUESTS, "code": "key.not-valid"}
        assert early == {"count": 0, "stay": [stays]}
        assert mended == {"count": 1, "stay": []}
        await found.until_claim(claimed, state="received")
        assert (await ask(found, "quarantine"))["quarantine"] == []
        assert (await ask(found, "parked"))["parked"] == []
        acted = [(one["clr"]["action"], one["clr"]["count"]) for one in await found.log(typ="core.operator_acted")]
        assert acted == [("quarantine-retry", 0), ("quarantine-retry", 1)]


async def test_forged_bytes_stay_forged_however_often_they_are_verified(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        row = await _forge(found)

        answer = await act(found, "quarantine/retry", {"ids": [row["id"]]})

        assert answer["count"] == 0
        again = await ask(found, f"quarantine/{row['id']}")
        assert (again["attempts"], again["sha256"]) == (2, row["sha256"])
        assert (await ask(found, "parked"))["parked"] == []


async def test_dropped_bytes_are_forgotten_and_the_decision_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        row = await _forge(found)

        form = {"ids": [row["id"]], "reason": "forged", "ticket": "SEC-4"}
        assert await act(found, "quarantine/drop", form) == {"count": 1}

        assert (await ask(found, "quarantine"))["quarantine"] == []
        kept = await ask(found, f"quarantine/{row['id']}")
        assert (kept["reason"], kept["ticket"], kept["dropped_by"]) == ("forged", "SEC-4", OPERATOR)
        assert kept["sha256"] == row["sha256"]
        [stored] = await found.read("core", select(quarantine.c.value))
        assert stored.value == b""
        with pytest.raises(ApiProblem, match=r"quarantine\.unknown"):
            await act(found, "quarantine/retry", {"ids": [row["id"]]}, key="act-2")


async def test_quarantined_bytes_about_money_take_two_persons(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        row = await _forge(found, SETTLEMENT_REQUESTS)

        form = {"ids": [row["id"]], "reason": "forged", "ticket": "SEC-4"}
        asked = await act(found, "quarantine/drop", form)

        assert [one["id"] for one in (await ask(found, "quarantine"))["quarantine"]] == [row["id"]]
        assert await confirm(found, asked["request_id"]) == {"count": 1}
        assert (await ask(found, f"quarantine/{row['id']}"))["dropped_by"] == SECOND


@pytest.mark.parametrize("what", ["parked", "quarantine"])
async def test_a_list_goes_on_from_page_to_page_until_its_end(tmp_path: Path, what: str) -> None:
    async with house(tmp_path / "data") as found:
        process, group = found.process("core"), "core.elsewhere"

        async def fill(tx: Transaction) -> None:
            for offset in range(5):
                one = Fetched(HOSPITAL_REQUESTS, 0, offset, "case_x", b"{}")
                if what == "parked":
                    await _hold(tx, found, group, one)
                else:
                    await inbox.put_in_quarantine(tx, group, one, "stamp.role", found.clock.now())

        await process.database.write(fill)
        session, pages, query = found.session(OPERATOR, "core"), [], {"limit": "2"}
        while True:
            answer = await session.get(f"/v1/operations/{what}", query=query)
            pages.append([row["offset"] for row in answer.json()[what]])
            if "next" not in answer.json():
                break
            query["after"] = answer.json()["next"]
            assert query["after"] in answer.headers["link"]

        assert pages == ([[0, 1], [2, 3], [4]] if what == "parked" else [[4, 3], [2, 1], [0]])
        with pytest.raises(ApiProblem, match=r"cursor\.malformed"):
            await session.get("/v1/operations/requests", query={"after": query["after"]})


async def test_a_message_at_the_place_of_another_of_a_lost_cluster_is_a_row_of_its_own(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        before = Fetched(HOSPITAL_REQUESTS, 0, 7, "case_x", b"before the disk was lost")
        after = Fetched(HOSPITAL_REQUESTS, 0, 7, "case_y", b"after it")

        async def keep(tx: Transaction) -> None:
            for one in (before, after, after):
                await _hold(tx, found, "core.claims", one)
                await inbox.put_in_quarantine(tx, "core.claims", one, "stamp.role", found.clock.now())
            await inbox.unpark(tx, "core.claims", after)

        await found.process("core").database.write(keep)

        assert [row["key"] for row in (await ask(found, "parked"))["parked"]] == ["case_x"]
        assert [row["key"] for row in (await ask(found, "quarantine"))["quarantine"]] == ["case_y", "case_x"]
