"""One claim from the bill to the cosigned log, driven so that a test may break it off anywhere and walk it again."""

from dataclasses import dataclass, field
from typing import Any

from gateway.client import authoring
from gateway.client.authoring import Authored
from gateway.client.hospital import Receipt
from gateway.client.opened import OpenedClaim
from gateway.client.transport import Retry
from gateway.protocol.canonical import compact
from gateway.protocol.money import Money
from tests.walk import Claimed, Parties, until
from tests.walk_parties import Insurer, a_bill, until_logged

PAYER = "ins-lantau"
QUICK = Retry(attempts_max=2, first_s=0.05)
PATIENCE_S = 90.0
"""A killed process leaves its timers' leases behind; the next one takes them when they have run out."""


@dataclass
class Walk:
    """One claim, driven so that every step may be repeated: what was signed once is sent again as the same bytes."""

    parties: Parties
    receipts: list[Receipt] = field(default_factory=list)
    acknowledged: Authored | None = None
    decided: Authored | None = None
    benefit_minor: int = 0

    async def begin(self) -> None:
        """Hand in the bill; whatever becomes of the gateway afterwards, the receipt stands."""
        bill = compact(a_bill(1, PAYER))
        self.receipts.append(await self.parties.hospital.submit(bill, "the-bill"))

    async def walk(self) -> Claimed:
        """Go from the bill to the cosigned log; raises `UnavailableError` when the gateway is gone."""
        await self.begin()
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
        await until_logged(self.parties, claimed, "payment.reconciled", PATIENCE_S)
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

        [batch] = await until(batches, "the batch", within_s=PATIENCE_S)
        for number in (1, 2):
            treasurer = self.parties.treasurer(PAYER, number)
            if f"{PAYER} treasurer {number}" not in batch["approvals"]:
                await treasurer.approve(await treasurer.batch(batch["batch_id"]))


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
