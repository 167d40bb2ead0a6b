"""What operators may do with messages that wait, by each role's API and with personal keys."""

from pathlib import Path
from typing import Any

import pytest

from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS
from gateway.runtime.bus import BusRecord
from gateway.runtime.embedded import EmbeddedBus
from tests.walk import House, house, until
from tests.walk_parties import hand_in

OPERATOR = "op-gateway-1"
LONG_AGO = "2026-01-01T00:00:00Z"


async def _ask(found: House, what: str, role: str = "core") -> dict[str, Any]:
    return (await found.session(OPERATOR, role).get(f"/v1/operations/{what}")).json()


async def _act(found: House, what: str, form: dict[str, Any], role: str = "core", key: str = "act-1") -> dict[str, Any]:
    answer = await found.session(OPERATOR, role).post(f"/v1/operations/{what}", compact(form), key=key)
    return answer.json()


async def _caught_up(found: House, role: str) -> bool:
    return not any(consumer["lag"] for consumer in (await _ask(found, "lag", role))["consumers"])


async def test_republished_messages_come_again_and_change_nothing(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)
        before = await found.until_claim(claimed, state="received")
        await found.until_logged()

        again = await _act(found, "outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, role="sz")
        replayed = await _act(found, "outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, role="sz")
        records = await _act(found, "outbox/republish", {"topic": AUDIT_RECORDS, "since": LONG_AGO}, "sz", "act-2")
        await found.until_logged()

        assert again == replayed == {"count": 1}
        assert records["count"] >= 1
        await until(lambda: _caught_up(found, "core"), "the end of the lag")
        assert await found.claim(claimed.claim_id) == before
        acted = await found.log(typ="sz.operator_acted")
        assert [entry["clr"]["topic"] for entry in acted] == [HOSPITAL_REQUESTS, AUDIT_RECORDS]


async def test_quarantined_bytes_are_listed_without_their_content(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        bus = found.gateway.bus
        assert isinstance(bus, EmbeddedBus)
        await bus.publish(HOSPITAL_REQUESTS, [BusRecord("case_x", b'{"secret": "PATIENT"}')])

        async def listed() -> list[dict[str, Any]]:
            return list((await _ask(found, "quarantine"))["quarantine"])

        [row] = await until(listed, "the quarantined bytes")
        assert (row["topic"], row["bytes"]) == (HOSPITAL_REQUESTS, 21)
        assert "PATIENT" not in str(row)


async def test_money_is_not_for_one_person(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with pytest.raises(ApiProblem, match=r"operator\.two-persons") as refused:
            await _act(found, "outbox/republish", {"topic": SETTLEMENT_REQUESTS, "since": LONG_AGO})

        assert refused.value.status == 403
        assert await found.log(typ="core.operator_acted") == []


@pytest.mark.parametrize(
    ("what", "form", "code"),
    [
        ("parked/retry", {"ids": [4711]}, "parked.unknown"),
        ("parked/retry", {"ids": []}, "message.invalid"),
        ("parked/retry", {"ids": ["1"]}, "message.invalid"),
        ("outbox/republish", {"topic": "no.such.topic", "since": LONG_AGO}, "topic.unknown"),
        ("outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": "yesterday"}, "message.invalid"),
        ("outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO, "why": "x"}, "message.invalid"),
    ],
)
async def test_a_wrong_wish_is_refused_by_name(tmp_path: Path, what: str, form: dict[str, Any], code: str) -> None:
    async with house(tmp_path / "data") as found:
        with pytest.raises(ApiProblem, match=code.replace(".", r"\.")):
            await _act(found, what, form)


async def test_a_hospital_is_no_operator(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with pytest.raises(ApiProblem) as refused:
            await found.session("hosp-nanshan-his", "sz").get("/v1/operations/parked")

        assert refused.value.status == 403
