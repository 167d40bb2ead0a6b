"""What is forged, replayed, expired, re-addressed or altered on the bus never moves a claim, and leaves a record."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from gateway.protocol.canonical import compact
from gateway.protocol.exchange import Exchange
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, sign
from gateway.protocol.records import record
from gateway.protocol.topics import HOSPITAL_REQUESTS, INSURER_RESPONSES
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.delivery.relay import signed_exchange
from gateway.runtime.storage.tables import inbox, outbox, parked, quarantine, streams
from tests.forging import (
    CORE,
    answered,
    http_refusal,
    on_the_bus,
    publish,
    release_two,
    reviewed,
    stamped,
    stranger,
    until_read,
    until_waiting,
    waiting,
)
from tests.walk import house, until
from tests.walk_parties import HOSPITAL, send_as


async def test_a_forged_manifest_that_got_onto_the_bus_is_quarantined(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        forged = await case.decision(key=stranger("ins-lantau/sign/1"))

        await publish(found, case.claimed.case_id, stamped(found, forged.posted, case.claimed.case_id))

        row = await until_waiting(found, quarantine)
        assert row.code == "jws.signature"
        await case.decide_truly()
        [entry] = await found.log(typ="core.message_quarantined")
        assert (entry["clr"]["code"], entry["clr"]["topic"]) == ("jws.signature", INSURER_RESPONSES)


async def test_a_forged_stamp_with_the_next_seq_does_not_push_out_the_true_message(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        denial = await case.decision()
        forged = stamped(found, denial.posted, case.claimed.case_id, key=stranger("hk/stamp/1"), seq=2)

        await publish(found, case.claimed.case_id, forged)
        row = await until_waiting(found, quarantine)
        state_after_forgery = await case.state()
        await case.decide_truly()

        assert (row.code, state_after_forgery) == ("jws.signature", "in_review")
        [stream] = await found.read("hk", select(streams).where(streams.c.key == case.claimed.case_id))
        here = (inbox.c.consumer == CORE, inbox.c.role == "hk", inbox.c.key == case.claimed.case_id)
        [taken] = await found.read("core", select(inbox).where(*here))
        assert stream.seq == taken.last_seq == 2
        assert len(await found.log(typ="core.message_quarantined")) == 1


async def test_an_exchange_replayed_on_the_bus_is_dropped(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        before = await found.claim(case.claimed.claim_id)
        [acknowledged] = await on_the_bus(found, INSURER_RESPONSES, case.claimed.case_id)

        await publish(found, acknowledged.key, Exchange.decode(acknowledged.value))
        await until_read(found)

        assert len(await on_the_bus(found, INSURER_RESPONSES, case.claimed.case_id)) == 2
        assert await found.claim(case.claimed.claim_id) == before
        assert await waiting(found, parked) == await waiting(found, quarantine) == []
        assert len(await found.log(typ="claim.in_review")) == 1


async def test_a_claim_replayed_under_a_new_stamp_is_refused_and_the_true_one_stays(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        row = (await found.read("sz", select(outbox).where(outbox.c.topic == HOSPITAL_REQUESTS)))[0]
        again = signed_exchange(row, found.key("sz/stamp/1"))
        made = record("claim.submitted", at=found.clock.now(), case_id=row.key)

        await send_as(
            found,
            "sz",
            Post(HOSPITAL_REQUESTS, row.key, "submitted", made, "", again.manifest, again.dossier, again.receipt),
        )

        [entry] = await until(lambda: found.log(code="message.replayed"), "the refusal in the log")
        assert entry["typ"] == "core.message_refused"
        assert await case.state() == "in_review"
        assert (await found.hospital.claim(case.claimed.claim_id))["state"] == "in_review"
        await case.decide_truly()


async def test_an_expired_stamp_is_held_for_an_operator_and_never_lost(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision, now = await case.decision(), found.clock.now()
        received_at, expires = now - timedelta(days=2), now - timedelta(days=1)
        late = stamped(found, decision.posted, case.claimed.case_id, received_at=received_at, expires=expires)

        await publish(found, case.claimed.case_id, late)

        row = await until_waiting(found, parked)
        assert (row.why, row.code, row.next_at) == ("held", "exchange.expired", None)
        assert bytes(row.value) == late.encode()
        [entry] = await found.log(typ="core.message_held")
        assert entry["clr"]["code"] == "exchange.expired"
        assert await case.state() == "in_review"


async def test_an_answer_of_another_insurer_that_the_edge_let_through_is_refused_by_core(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        foreign = await case.decision(code="ins-harbour")

        await send_as(found, "hk", await answered(foreign, found))

        [entry] = await until(lambda: found.log(typ="core.message_refused"), "the refusal in the log")
        assert entry["clr"]["code"] == "claim.unknown"
        assert await case.state() == "in_review"
        await case.decide_truly()


async def test_an_exchange_moved_to_another_case_is_quarantined(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case, other = await reviewed(found), await reviewed(found)
        decision = await case.decision()
        exchange = stamped(found, decision.posted, case.claimed.case_id)

        await publish(found, other.claimed.case_id, exchange)

        assert (await until_waiting(found, quarantine)).code == "stamp.stream"
        assert await case.state() == await other.state() == "in_review"
        assert len(await found.log(typ="core.message_quarantined")) == 1


async def test_a_claim_for_another_reader_than_its_route_names_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        claim = case.opened.manifest.model_copy(
            update={
                "msg_id": mint("msg"),
                "case_id": mint("case"),
                "claim_id": mint("claim"),
                "claim_token": "re-addressed",
                "receipt_tokens": ("re-addressed",),
                "recipients": ("ins-harbour",),
            }
        )
        payload = compact(claim.model_dump(mode="json", exclude_none=True))
        token = sign(payload, found.key(f"{HOSPITAL}/sign/1"), Typ.MANIFEST)
        made = record("claim.submitted", at=found.clock.now(), case_id=claim.case_id)

        await send_as(found, "sz", Post(HOSPITAL_REQUESTS, claim.case_id, "submitted", made, claim.msg_id, token))

        [entry] = await until(lambda: found.log(typ="claim.refused"), "the refusal in the log")
        assert entry["clr"]["code"] == "claim.refused"
        assert await http_refusal(lambda: found.claim(claim.claim_id)) == (404, "claim.unknown")


async def test_a_dossier_swapped_under_a_true_stamp_is_quarantined(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        decision, other = await case.decision(), await case.decision()
        exchange = stamped(found, decision.posted, case.claimed.case_id)

        await publish(found, case.claimed.case_id, replace(exchange, dossier=other.posted.dossier))

        assert (await until_waiting(found, quarantine)).code == "stamp.content"
        await case.decide_truly()
        [entry] = await found.log(typ="core.message_quarantined")
        assert entry["clr"]["code"] == "stamp.content"


async def test_a_new_key_waits_for_the_registry_release_that_names_it(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        case = await reviewed(found)
        new_key = stranger("ins-lantau/sign/2")
        decision = await case.decision(key=new_key)

        await send_as(found, "hk", await answered(decision, found))
        row = await until_waiting(found, parked)
        state_while_unknown = await case.state()
        await release_two(found, new_key)

        await found.until_claim(case.claimed, state="approved")
        assert (row.why, row.code, state_while_unknown) == ("retry", "key.unknown", "in_review")
        assert await waiting(found, parked) == await waiting(found, quarantine) == []
