"""What operators may do with messages that wait, by each role's API and with personal keys."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_REQUESTS, SETTLEMENT_REQUESTS
from gateway.runtime import inbox
from gateway.runtime.bus import BusRecord, Fetched
from gateway.runtime.database import Transaction
from gateway.runtime.embedded import EmbeddedBus
from gateway.runtime.operations import Operations
from gateway.runtime.worker import Worker
from tests.walk import House, house, until
from tests.walk_parties import Insurer, hand_in

PAYER = "ins-lantau"
ROOT = Path(__file__).parents[2]

OPERATOR = "op-gateway-1"
SECOND = "op-gateway-2"
LONG_AGO = "2026-01-01T00:00:00Z"


async def _ask(found: House, what: str, role: str = "core") -> dict[str, Any]:
    return (await found.session(OPERATOR, role).get(f"/v1/operations/{what}")).json()


async def _act(
    found: House, what: str, form: dict[str, Any], *, role: str = "core", key: str = "act-1", by: str = OPERATOR
) -> dict[str, Any]:
    answer = await found.session(by, role).post(f"/v1/operations/{what}", compact(form), key=key)
    return answer.json()


async def _confirm(found: House, request_id: str, *, key: str = "yes-1", by: str = SECOND) -> dict[str, Any]:
    return await _act(found, f"requests/{request_id}/confirm", {}, key=key, by=by)


@contextlib.contextmanager
def _broken(found: House, group: str, topic: str, message: str) -> Iterator[Worker]:
    """Have the handler of one message fail as a fault of ours would, which halts its key."""
    worker = next(one for process in found.gateway.processes for one in process.workers if one.group == group)
    handlers = next(one.handlers for one in worker.component.subscriptions if one.topic == topic)
    assert isinstance(handlers, dict)

    async def fail(*_: Any) -> None:
        raise RuntimeError

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(handlers, message, fail)
        yield worker


async def _halted(found: House, topic: str) -> dict[str, Any]:
    async def listed() -> list[dict[str, Any]]:
        return [row for row in (await _ask(found, "parked"))["parked"] if (row["topic"], row["why"]) == (topic, "halt")]

    [row] = await until(listed, "the halted message")
    return row


async def _caught_up(found: House, role: str) -> bool:
    return not any(consumer["lag"] for consumer in (await _ask(found, "lag", role))["consumers"])


async def test_republished_messages_come_again_and_change_nothing(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)
        before = await found.until_claim(claimed, state="received")
        await found.until_logged()

        again = await _act(found, "outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, role="sz")
        replayed = await _act(found, "outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, role="sz")
        records = await _act(
            found, "outbox/republish", {"topic": AUDIT_RECORDS, "since": LONG_AGO}, role="sz", key="act-2"
        )
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


async def test_a_halted_message_goes_on_when_it_is_tried_again(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with _broken(found, "core.claims", HOSPITAL_REQUESTS, "submitted"):
            claimed = await hand_in(found)
            row = await _halted(found, HOSPITAL_REQUESTS)

        await _act(found, "parked/retry", {"ids": [row["id"]]})

        await found.until_claim(claimed, state="received")
        assert (await _ask(found, "parked"))["parked"] == []


async def test_a_dropped_claim_is_answered_and_its_bytes_are_kept(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with _broken(found, "core.claims", HOSPITAL_REQUESTS, "submitted"):
            claimed = await hand_in(found)
            row = await _halted(found, HOSPITAL_REQUESTS)

        form = {"ids": [row["id"]], "reason": "agreed-with-sender", "ticket": "OPS-17"}
        assert await _act(found, "parked/drop", form) == {"count": 1}

        async def told() -> list[str]:
            return [one["code"] for one in await found.hospital.timeline(claimed.claim_id) if "code" in one]

        assert await until(told, "the hospital's notice of the refusal") == ["operator.dropped"]
        [kept] = (await _ask(found, "quarantine"))["quarantine"]
        assert (kept["code"], kept["sha256"]) == ("operator.dropped", row["sha256"])
        assert (await _ask(found, "parked"))["parked"] == []
        [acted] = await found.log(typ="core.operator_acted")
        assert {"reason": "agreed-with-sender", "ticket": "OPS-17", "client_id": OPERATOR}.items() <= acted[
            "clr"
        ].items()


async def test_money_waits_for_a_second_person(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with _broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation") as worker:
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            row = await _halted(found, SETTLEMENT_REQUESTS)

        asked = await _act(found, "parked/retry", {"ids": [row["id"]]})
        assert worker.stopped == "halted"
        with pytest.raises(ApiProblem, match=r"operator\.two-persons"):
            await _confirm(found, asked["request_id"], by=OPERATOR)
        [waiting] = (await _ask(found, "requests"))["requests"]
        assert (waiting["action"], waiting["asked_by"]) == ("retry", OPERATOR)

        assert await _confirm(found, asked["request_id"]) == {"count": 1}

        await found.until_draft(PAYER)
        assert (await _ask(found, "requests"))["requests"] == []
        with pytest.raises(ApiProblem, match=r"operator\.request-over"):
            await _confirm(found, asked["request_id"], key="yes-2")
        steps = [
            (entry["clr"]["step"], entry["clr"]["client_id"]) for entry in await found.log(typ="core.operator_acted")
        ]
        assert steps == [("asked", OPERATOR), ("confirmed", SECOND)]


async def test_one_person_cannot_wake_a_consumer_that_stopped_for_money(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        process = found.process("core")
        operations = Operations(process.database, process.outbox, found.clock, process.workers)
        with _broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation") as worker:
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            await _halted(found, SETTLEMENT_REQUESTS)
        other = Fetched(HOSPITAL_REQUESTS, 0, 4711, "case_x", b"{}")

        async def wait(tx: Transaction) -> None:
            await inbox.park(tx, worker.group, other, None, why="held", code="key.compromised", now=found.clock.now())

        await process.database.write(wait)
        [row] = [one for one in await process.database.read(operations.list_parked) if one["offset"] == 4711]
        await _act(found, "parked/retry", {"ids": [row["id"]]})

        assert worker.stopped == "halted"


async def test_settlement_messages_are_sent_again_by_two_persons(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        await insurer.decide(await insurer.review(claimed))
        await found.until_draft(PAYER)
        before = await found.balances()

        asked = await _act(found, "outbox/republish", {"topic": SETTLEMENT_REQUESTS, "since": LONG_AGO})
        assert await _confirm(found, asked["request_id"]) == {"count": 1}

        await until(lambda: _caught_up(found, "core"), "the end of the lag")
        assert await found.balances() == before


@pytest.mark.parametrize(
    ("what", "form", "code"),
    [
        ("parked/retry", {"ids": [4711]}, "parked.unknown"),
        ("parked/retry", {"ids": []}, "message.invalid"),
        ("parked/retry", {"ids": ["1"]}, "message.invalid"),
        ("parked/drop", {"ids": [4711], "reason": "test", "ticket": "OPS-1"}, "parked.unknown"),
        ("parked/drop", {"ids": [4711], "reason": "bored", "ticket": "OPS-1"}, "message.invalid"),
        ("parked/drop", {"ids": [4711], "reason": "test", "ticket": "Chan Tai Man"}, "message.invalid"),
        ("requests/opr_none/confirm", {}, "operator.request-unknown"),
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


async def test_the_doctor_finds_what_waits_and_names_the_page(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        assert (await _ask(found, "doctor"))["findings"] == []
        with _broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation"):
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            await _halted(found, SETTLEMENT_REQUESTS)

        report = await _ask(found, "doctor")

        assert {one["alarm"] for one in report["findings"]} == {"not-ready", "consumer-stopped", "message-halted"}
        assert all((ROOT / one["page"]).is_file() for one in report["findings"])
        assert report["checks"]["worker settlement"] == "halted"
