"""What operators may do with messages that wait, by each role's API and with personal keys."""

from pathlib import Path
from typing import Any

import pytest

from gateway.client.transport import ApiProblem
from gateway.protocol.topics import AUDIT_RECORDS, HOSPITAL_REQUESTS, REGISTRY_RELEASES, SETTLEMENT_REQUESTS
from gateway.runtime.bus.embedded import EmbeddedBus
from gateway.runtime.bus.port import Fetched
from gateway.runtime.delivery import inbox
from gateway.runtime.storage.database import Transaction
from tests.operators import LONG_AGO, OPERATOR, SECOND, act, ask, broken, caught_up, confirm, halted
from tests.walk import house, until
from tests.walk_parties import Insurer, hand_in

PAYER = "ins-lantau"
ROOT = Path(__file__).parents[2]


async def test_republished_messages_come_again_and_change_nothing(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)
        before = await found.until_claim(claimed, state="received")
        await found.until_logged()

        again = await act(found, "outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, role="sz")
        replayed = await act(found, "outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, role="sz")
        records = await act(
            found, "outbox/republish", {"topic": AUDIT_RECORDS, "since": LONG_AGO}, role="sz", key="act-2"
        )
        await found.until_logged()

        assert again == replayed == {"count": 1}
        assert records["count"] >= 1
        await until(lambda: caught_up(found, "core"), "the end of the lag")
        assert await found.claim(claimed.claim_id) == before
        acted = await found.log(typ="sz.operator_acted")
        assert [entry["clr"]["topic"] for entry in acted] == [HOSPITAL_REQUESTS, AUDIT_RECORDS]


async def test_a_halted_message_goes_on_when_it_is_tried_again(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with broken(found, "core.claims", HOSPITAL_REQUESTS, "submitted"):
            claimed = await hand_in(found)
            row = await halted(found, HOSPITAL_REQUESTS)

        await act(found, "parked/retry", {"ids": [row["id"]]})

        await found.until_claim(claimed, state="received")
        assert (await ask(found, "parked"))["parked"] == []


async def test_a_dropped_claim_is_answered_and_its_bytes_are_kept(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with broken(found, "core.claims", HOSPITAL_REQUESTS, "submitted"):
            claimed = await hand_in(found)
            row = await halted(found, HOSPITAL_REQUESTS)

        form = {"ids": [row["id"]], "reason": "agreed-with-sender", "ticket": "OPS-17"}
        assert await act(found, "parked/drop", form) == {"count": 1}

        async def told() -> list[str]:
            return [one["code"] for one in await found.hospital.timeline(claimed.claim_id) if "code" in one]

        assert await until(told, "the hospital's notice of the refusal") == ["operator.dropped"]
        [kept] = (await ask(found, "quarantine"))["quarantine"]
        assert (kept["code"], kept["sha256"]) == ("operator.dropped", row["sha256"])
        assert (await ask(found, "parked"))["parked"] == []
        [acted] = await found.log(typ="core.operator_acted")
        assert {"reason": "agreed-with-sender", "ticket": "OPS-17", "client_id": OPERATOR}.items() <= acted[
            "clr"
        ].items()


async def test_money_waits_for_a_second_person(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation") as worker:
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            row = await halted(found, SETTLEMENT_REQUESTS)

        asked = await act(found, "parked/retry", {"ids": [row["id"]]})
        assert worker.stopped == "halted"
        with pytest.raises(ApiProblem, match=r"operator\.two-persons"):
            await confirm(found, asked["request_id"], by=OPERATOR)
        [waiting] = (await ask(found, "requests"))["requests"]
        assert (waiting["action"], waiting["asked_by"]) == ("retry", OPERATOR)

        assert await confirm(found, asked["request_id"]) == {"count": 1}

        await found.until_draft(PAYER)
        assert (await ask(found, "requests"))["requests"] == []
        with pytest.raises(ApiProblem, match=r"operator\.request-over"):
            await confirm(found, asked["request_id"], key="yes-2")
        steps = [
            (entry["clr"]["step"], entry["clr"]["client_id"]) for entry in await found.log(typ="core.operator_acted")
        ]
        assert steps == [("asked", OPERATOR), ("confirmed", SECOND)]


async def test_one_person_cannot_wake_a_consumer_that_stopped_for_money(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        process = found.process("core")
        with broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation") as worker:
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            await halted(found, SETTLEMENT_REQUESTS)
        other = Fetched(HOSPITAL_REQUESTS, 0, 4711, "case_x", b"{}")

        async def wait(tx: Transaction) -> None:
            await inbox.park(tx, worker.group, other, None, why="held", code="key.compromised", now=found.clock.now())

        await process.database.write(wait)
        [row] = [one for one in (await ask(found, "parked"))["parked"] if one["offset"] == 4711]
        await act(found, "parked/retry", {"ids": [row["id"]]})

        assert worker.stopped == "halted"


async def test_settlement_messages_are_sent_again_by_two_persons(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed, insurer = await hand_in(found), Insurer(found)
        await insurer.decide(await insurer.review(claimed))
        await found.until_draft(PAYER)
        before = await found.balances()

        asked = await act(found, "outbox/republish", {"topic": SETTLEMENT_REQUESTS, "since": LONG_AGO})
        assert await confirm(found, asked["request_id"]) == {"count": 1}

        await until(lambda: caught_up(found, "core"), "the end of the lag")
        assert await found.balances() == before


async def test_a_registry_release_is_published_again_for_replicas_that_never_had_it(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        bus = found.gateway.bus
        assert isinstance(bus, EmbeddedBus)
        [before] = await bus.read_from({(REGISTRY_RELEASES, 0): 0}, 10)

        again = await act(found, "outbox/republish", {"topic": REGISTRY_RELEASES, "since": "2099-01-01T00:00:00Z"})

        async def came() -> bool:
            records = await bus.read_from({(REGISTRY_RELEASES, 0): 0}, 10)
            return [one.value for one in records] == [before.value] * 2

        assert again == {"count": 1}
        await until(came, "the release a second time")


@pytest.mark.parametrize(
    ("what", "form", "code"),
    [
        ("parked/retry", {"ids": [4711]}, "parked.unknown"),
        ("parked/retry", {"ids": []}, "message.invalid"),
        ("parked/retry", {"ids": ["1"]}, "message.invalid"),
        ("parked/retry", {"ids": [1 << 63]}, "message.invalid"),
        ("quarantine/retry", {"ids": [4711]}, "quarantine.unknown"),
        ("quarantine/drop", {"ids": [4711], "reason": "test", "ticket": "OPS-1"}, "quarantine.unknown"),
        ("quarantine/drop", {"ids": [4711], "ticket": "OPS-1"}, "message.invalid"),
        ("parked/drop", {"ids": [4711], "reason": "test", "ticket": "OPS-1"}, "parked.unknown"),
        ("parked/drop", {"ids": [4711], "reason": "bored", "ticket": "OPS-1"}, "message.invalid"),
        ("parked/drop", {"ids": [4711], "reason": "test", "ticket": "Chan Tai Man"}, "message.invalid"),
        ("requests/opr_none/confirm", {}, "operator.request-unknown"),
        ("outbox/republish", {"topic": "no.such.topic", "since": LONG_AGO}, "topic.unknown"),
        ("outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO}, "topic.written-elsewhere"),
        ("outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": "yesterday"}, "message.invalid"),
        ("outbox/republish", {"topic": HOSPITAL_REQUESTS, "since": LONG_AGO, "why": "x"}, "message.invalid"),
    ],
)
async def test_a_wrong_wish_is_refused_by_name(tmp_path: Path, what: str, form: dict[str, Any], code: str) -> None:
    async with house(tmp_path / "data") as found:
        with pytest.raises(ApiProblem, match=code.replace(".", r"\.")):
            await act(found, what, form)


async def test_a_hospital_is_no_operator(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        with pytest.raises(ApiProblem) as refused:
            await found.session("hosp-nanshan-his", "sz").get("/v1/operations/parked")

        assert refused.value.status == 403


async def test_the_doctor_finds_what_waits_and_names_the_page(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        assert (await ask(found, "doctor"))["findings"] == []
        with broken(found, "core.settlement", SETTLEMENT_REQUESTS, "obligation"):
            claimed, insurer = await hand_in(found), Insurer(found)
            await insurer.decide(await insurer.review(claimed))
            await halted(found, SETTLEMENT_REQUESTS)

        report = await ask(found, "doctor")

        assert {one["alarm"] for one in report["findings"]} == {"not-ready", "consumer-stopped", "message-halted"}
        assert all((ROOT / one["page"]).is_file() for one in report["findings"])
        assert report["checks"]["worker settlement"] == "halted"
