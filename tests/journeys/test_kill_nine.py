"""kill -9 at every step that could lose or double something: after a restart the walk ends as if nothing had been."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.client import authoring
from gateway.client.authoring import Authored
from gateway.client.hospital import Receipt
from gateway.client.opened import OpenedClaim
from gateway.client.transport import Retry
from gateway.protocol.canonical import compact
from gateway.protocol.errors import UnavailableError
from gateway.protocol.money import Money
from gateway.runtime.failpoints import PLACES
from tests.served import Served, count, served
from tests.walk import Claimed, Parties, until, verify_log
from tests.walk_parties import Insurer, a_bill, until_logged

PAYER = "ins-lantau"
QUICK = Retry(attempts_max=2, first_s=0.05)
KILLED = -9

FIRST_DURING_THE_WALK = {
    "relay.after_select": 20,
    "relay.after_send": 2,
    "relay.after_ack": 3,
    "consumer.after_fetch": 2,
    "consumer.after_inbox": 3,
    "consumer.before_commit": 4,
    "consumer.after_commit": 2,
    "audit.after_tiles": 3,
    "audit.after_sign": 3,
    "audit.after_publish": 3,
}
"""Which time a place is reached: the relays and the sequencer pass theirs before the first claim comes."""

LATER = ("api.before_commit@3", "api.after_commit@5", "consumer.before_commit@11", "relay.after_send@9")
"""The decision, the second approval, and places where money is already on its way."""

CASES = [f"{place}@{FIRST_DURING_THE_WALK.get(place, 1)}" for place in PLACES] + list(LATER)


@dataclass
class Walk:
    """One claim, driven so that every step may be repeated: what was signed once is sent again as the same bytes."""

    parties: Parties
    receipts: list[Receipt] = field(default_factory=list)
    acknowledged: Authored | None = None
    decided: Authored | None = None
    benefit_minor: int = 0

    async def walk(self) -> Claimed:
        """Go from the bill to the cosigned log; raises `UnavailableError` when the gateway is gone."""
        bill = compact(a_bill(1, PAYER))
        self.receipts.append(await self.parties.hospital.submit(bill, "the-bill"))
        claimed = Claimed(self.receipts[0].claim_id, self.receipts[0].case_id, PAYER)
        insurer = Insurer(self.parties, PAYER)
        opened = await insurer.open(claimed)
        if self.acknowledged is None:
            now = self.parties.clock.now()
            author = await insurer.client.author()
            self.acknowledged = authoring.acknowledge(author, opened.manifest, based_on=1, at=now)
        await self.send(insurer, self.acknowledged)
        if self.decided is None:
            self.decided = await insurer.authored(opened)
            self.benefit_minor = self.asked(opened)
        await self.send(insurer, self.decided)
        await self.approve()
        await self.parties.until_claim(claimed, payment_state="reconciled")
        await until_logged(self.parties, claimed, "payment.reconciled")
        return claimed

    def asked(self, opened: OpenedClaim) -> int:
        return opened.manifest.asked_minor

    async def send(self, insurer: Insurer, authored: Authored) -> None:
        await insurer.client.send(authored.posted, authored.msg_id)
        assert (await insurer.outcome(authored.msg_id)).status == "accepted"

    async def approve(self) -> None:
        """Have both treasurers approve the one batch; whoever has done so before does not again."""

        async def batches() -> list[dict[str, Any]]:
            session = self.parties.session(f"{PAYER}-treasurer-1", "settlement")
            return list((await session.get("/v1/batches")).json()["batches"])

        [batch] = await until(batches, "the batch")
        for number in (1, 2):
            treasurer = self.parties.treasurer(PAYER, number)
            if f"{PAYER} treasurer {number}" not in batch["approvals"]:
                await treasurer.approve(await treasurer.batch(batch["batch_id"]))


@pytest.mark.parametrize("failpoint", CASES)
async def test_a_walk_survives_kill_nine(tmp_path: Path, failpoint: str) -> None:
    place, _, nth = failpoint.partition("@")
    async with served(tmp_path / "data", QUICK) as (gateway, parties):
        walk = Walk(parties)

        if await gateway.start(f"{place}=kill@{nth}"):
            with pytest.raises(UnavailableError):
                await until_killed(gateway, walk)
        assert await gateway.until_dead() == KILLED
        await parties.forget()
        assert await gateway.start()
        claimed = await walk.walk()

        await assert_once(walk, claimed)
        await parties.forget()
        assert await gateway.stop() == 0
        await assert_whole(gateway, claimed)


async def until_killed(gateway: Served, walk: Walk) -> None:
    """Walk; if the whole walk went through, the process dies at the next idle round."""
    await walk.walk()
    await gateway.until_dead()
    raise UnavailableError("gateway.killed-after-the-walk")


async def assert_once(walk: Walk, claimed: Claimed) -> None:
    """One claim, one receipt, one payment, and books that balance."""
    assert len({receipt.token for receipt in walk.receipts}) == 1
    listed = (await walk.parties.session("hosp-nanshan-his", "sz").get("/v1/claims")).json()["items"]
    assert [claim["claim_id"] for claim in listed] == [claimed.claim_id]
    journal = await walk.parties.bank_journal()
    debits = [row["amount_minor"] for row in journal["movements"] if row["side"] == "DBIT"]
    assert debits == [walk.benefit_minor]
    assert len(journal["payments"]) == 1
    balances = await walk.parties.balances()
    paid = str(Money(walk.benefit_minor, "CNY"))
    assert {value for name, value in balances.items() if name.startswith("bank-mirror/")} == {paid, f"-{paid}"}
    assert {value for name, value in balances.items() if not name.startswith("bank-mirror/")} <= {"0.00"}


UNREAD = """
SELECT COUNT(*) FROM bus_group JOIN (SELECT topic, partition, MAX("offset") AS head FROM bus_log GROUP BY 1, 2)
USING (topic, partition) WHERE bus_group."offset" != head + 1
"""


async def assert_whole(gateway: Served, claimed: Claimed) -> None:
    """With the gateway stopped: nothing waits anywhere, and the log verifies completely."""
    for name, path in gateway.databases().items():
        for table in ("outbox", "audit_rows"):
            unsent = count(path, f"SELECT COUNT(*) FROM {table} WHERE published_at IS NULL")  # noqa: S608 our tables
            assert (name, table, unsent) == (name, table, 0)
        for table in ("parked", "quarantine"):
            assert (name, table, count(path, f"SELECT COUNT(*) FROM {table}")) == (name, table, 0)  # noqa: S608 same
    assert count(gateway.databases()["core"], "SELECT COUNT(*) FROM claims_claim") == 1
    assert count(gateway.data / "bus.db", UNREAD) == 0
    assert await verify_log(gateway.data, "log") == 0
    assert await verify_log(gateway.data, "claim", "--cref", claimed.case_id) == 0
