"""What core, set back to a backup, says again in its next epoch is delivered once by the Hong Kong edge."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from adapters.hk.edge.tables import messages
from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import rfc3339
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.records import record
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.storage.tables import inbox, outbox, parked
from tests.walk import Claimed, House, house, until
from tests.walk_parties import Insurer, hand_in, send_as

SAID = select(outbox).where(outbox.c.topic == INSURER_DELIVERIES).order_by(outbox.c.id)
ITEMS = select(messages.c.msg_id).order_by(messages.c.at, messages.c.msg_id)


def again(found: House, row: Row[Any], message: Accepted | None = None) -> Post:
    """Make core's post of a message that it has sent before, or of other words in its place."""
    clear = {"topic": INSURER_DELIVERIES, "code": "message.replayed", "type": row.type, "msg_id": row.msg_id or None}
    made = record("core.message_refused", at=found.clock.now(), clear=clear)
    if row.manifest is not None:
        return Post(
            row.topic,
            row.key,
            row.type,
            made,
            msg_id=row.msg_id,
            manifest=row.manifest,
            dossier=row.dossier,
            receipt=row.receipt,
        )
    said = Accepted.model_validate(read_json_object(row.stamp)["message"])
    return Post(row.topic, row.key, row.type, made, message=message or said)


async def enter_next_epoch(found: House) -> None:
    core = found.process("core")
    core.outbox.sender = replace(core.outbox.sender, epoch=2)


async def until_taken(found: House, claimed: Claimed, count: int) -> None:
    """Wait until the edge has taken so many messages of core's second epoch about the claim."""
    of_stream = (inbox.c.consumer == "hk.edge", inbox.c.key == claimed.case_id, inbox.c.epoch == 2)

    async def taken() -> bool:
        [*positions] = await found.read("hk", select(inbox.c.last_seq).where(*of_stream))
        return bool(positions) and positions[0].last_seq == count

    await until(taken, "core's second epoch at the edge")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_what_core_says_again_in_its_next_epoch_is_delivered_once_and_halts_nothing(
    tmp_path: Path, database: str
) -> None:
    async with house(tmp_path / "data", database=database) as found:
        claimed = await hand_in(found)
        await Insurer(found).review(claimed)
        said, delivered = await found.read("core", SAID), await found.read("hk", ITEMS)
        await enter_next_epoch(found)

        for row in said:
            await send_as(found, "core", again(found, row))
        await until_taken(found, claimed, len(said))

        assert {row.type for row in said} == {"submitted", "accepted"}
        assert await found.read("hk", ITEMS) == delivered
        assert await found.read("hk", select(parked.c.why)) == []


async def test_other_words_of_core_in_its_next_epoch_reach_the_insurer_beside_the_former_ones(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)
        insurer = Insurer(found)
        await insurer.review(claimed)
        former = await insurer.item("accepted", claimed)
        [row] = [row for row in await found.read("core", SAID) if row.type == "accepted"]
        other = Accepted.model_validate(read_json_object(row.stamp)["message"]).model_copy(update={"revision": 7})
        await enter_next_epoch(found)

        await send_as(found, "core", again(found, row, other))
        await until_taken(found, claimed, 1)
        page = await insurer.client.inbox(insurer.cursor, wait_s=5)

        [item] = page.items
        assert item.msg_id == f"{former.msg_id}-2"
        outcome = await insurer.client.outcome(item.msg_id)
        assert isinstance(outcome, Accepted)
        assert outcome.revision == 7


async def test_another_claim_under_the_id_of_one_that_was_presented_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        claimed = await hand_in(found)
        await Insurer(found).item("submitted", claimed)
        [row] = await found.read("core", SAID)
        at = rfc3339(found.clock.now())
        await enter_next_epoch(found)

        async def forget(tx: Any) -> None:
            await tx.execute(update(messages).values(msg_id="msg_of_a_former_life", at=at))

        await found.process("hk").database.write(forget)
        await send_as(found, "core", again(found, row))
        await until_taken(found, claimed, 1)

        assert await found.read("hk", select(parked.c.why)) == []
        assert [one.msg_id for one in await found.read("hk", ITEMS)] == ["msg_of_a_former_life"]
