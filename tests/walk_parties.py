"""The two parties of a claim under test: a hospital that hands bills in, an insurer that reads and answers them.

Both act by `gateway.client`; `authored` gives the insurer's signed bytes, so that a test can also send what no client
would: signed by another key, for another claim, at another time.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import Any

from gateway.client import authoring
from gateway.client.authoring import Author, Authored, Decision, DecisionEntry
from gateway.client.insurer import InboxItem, InsurerClient, RequestStatus
from gateway.client.opened import OpenedClaim
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.jose import PrivateKey
from gateway.runtime.delivery.outbox import Post
from gateway.runtime.storage.database import Transaction
from tests.walk import PATIENCE_S, Claimed, House, Parties, until

HOSPITAL = "hosp-nanshan"
NOT_COVERED = "G003"


def a_bill(number: int, insurer: str, name: str = "inpatient-direct") -> dict[str, Any]:
    """Take a sample bill to an insurer under a claim number and receipt of its own."""
    bill = read_json_object(files("gateway.sandbox").joinpath("bills", f"{name}.json").read_bytes())
    receipt = f"{number:010d}"
    bill["settlement_list"]["setlinfo"]["bill_no"] = receipt
    bill["receipts"][0]["billNumber"] = receipt
    bill["billing"]["claim_number"] = f"SYN-WALK-{number:04d}"
    bill["coverage"] |= {"carrier": insurer, "payer": insurer}
    bill["consent"]["recipients"][0]["party"] = insurer
    return bill


async def hand_in(
    house: Parties, insurer: str = "ins-lantau", name: str = "inpatient-direct", number: int | None = None
) -> Claimed:
    """Hand a sample bill in as the hospital; bills with the same number have the same claim number and receipt."""
    house.bills += 1
    bill = a_bill(house.bills if number is None else number, insurer, name)
    receipt = await house.hospital.submit(compact(bill), f"walk-{house.bills}")
    return Claimed(receipt.claim_id, receipt.case_id, insurer)


async def until_logged(parties: Parties, claimed: Claimed, typ: str, within_s: float = PATIENCE_S) -> None:
    """Wait until an event of the claim is under a checkpoint that both witnesses have cosigned."""
    session = parties.session("aud-one-tools", "audit")

    async def logged() -> bool:
        try:
            events = (await session.get(f"/v1/claims/{claimed.case_id}")).json()["events"]
        except ApiProblem as problem:
            if problem.status != 404:
                raise
            return False
        [head] = (await session.get("/v1/logs")).json()["logs"]
        indexes = [event["index"] for event in events if event["typ"] == typ]
        return bool(indexes) and head["cosigned"] == "yes" and int(head["size"]) > indexes[0]

    await until(logged, f"{typ} in the log", within_s=within_s)


async def send_as(house: House, instance: str, post: Post) -> None:
    """Have a role itself send a message: its stamp and its next `seq` are true, whatever the content."""
    process = house.process(instance)

    async def work(tx: Transaction) -> None:
        await process.outbox.add(tx, post)

    await process.database.write(work)


def entries_of(
    opened: OpenedClaim, *, unpaid: Collection[int] = (), lines: Collection[int] | None = None
) -> tuple[DecisionEntry, ...]:
    """Decide these lines (default: all) one by one: paid whole, or left to the patient as not covered."""
    amounts = opened.manifest.line_amounts_minor
    return tuple(
        DecisionEntry((line,), benefit_minor=0, patient_minor=amounts[line], class_code=NOT_COVERED)
        if line in unpaid
        else DecisionEntry((line,), benefit_minor=amounts[line])
        for line in (range(len(amounts)) if lines is None else lines)
    )


@dataclass
class Insurer:
    """An insurer with a system of its own. `items` is all that its inbox has brought so far."""

    house: Parties
    code: str = "ins-lantau"
    items: list[InboxItem] = field(default_factory=list)
    cursor: str | None = None

    @property
    def client(self) -> InsurerClient:
        return self.house.insurer_client(self.code)

    async def item(self, kind: str, claimed: Claimed) -> InboxItem:
        """Wait until the inbox has brought a message of this type about the claim; return the newest."""

        async def brought() -> InboxItem | None:
            page = await self.client.inbox(self.cursor, wait_s=1)
            self.cursor = page.next
            self.items += page.items
            return next((one for one in self.items if (one.type, one.claim_id) == (kind, claimed.claim_id)), None)

        return await until(brought, f"{kind} in the inbox of {self.code}")

    async def until_brought(self, claim_ids: Collection[str], within_s: float) -> None:
        """Wait until the inbox has brought something about each of these claims."""

        async def brought() -> bool:
            page = await self.client.inbox(self.cursor, wait_s=1, limit=200)
            self.cursor = page.next
            self.items += page.items
            return set(claim_ids) <= {item.claim_id for item in self.items}

        await until(brought, f"{len(claim_ids)} claims in the inbox of {self.code}", within_s)

    def submitted(self) -> list[str]:
        """Return the ids of the claims that the inbox has brought so far, as often and in the order it did."""
        return [item.claim_id for item in self.items if item.type == "submitted"]

    async def open(self, claimed: Claimed) -> OpenedClaim:
        """Fetch and open a claim; it must be what the hospital signed."""
        opened = await self.client.open_claim((await self.item("submitted", claimed)).msg_id)
        assert opened.differences == ()
        return opened

    async def outcome(self, msg_id: str) -> RequestStatus:
        """Wait for what core says of a posted message."""

        async def settled() -> RequestStatus | None:
            found = await self.client.request(msg_id)
            return None if found.status == "pending" else found

        return await until(settled, "core's word on an answer")

    async def review(self, claimed: Claimed) -> OpenedClaim:
        """Open the claim and take it into review."""
        opened = await self.open(claimed)
        sent = await self.client.acknowledge(opened)
        assert (await self.outcome(sent.msg_id)).status == "accepted"
        return opened

    async def decide(
        self,
        opened: OpenedClaim,
        *,
        unpaid: Collection[int] = (),
        lines: Collection[int] | None = None,
        final: bool = True,
        decision_version: int = 1,
    ) -> int:
        """Decide, wait until core has taken it, and return the benefit in minor units."""
        entries = entries_of(opened, unpaid=unpaid, lines=lines)
        standing = await self.client.claim(opened.claim_id)
        sent = await self.client.decide(
            opened, entries, final=final, based_on=standing.revision, decision_version=decision_version
        )
        found = await self.outcome(sent.msg_id)
        assert found.status == "accepted", found
        return sum(entry.benefit_minor for entry in entries)

    async def authored(
        self, opened: OpenedClaim, *, key: PrivateKey | None = None, code: str | None = None, at: datetime | None = None
    ) -> Authored:
        """Sign a final decision that pays everything, by default as this insurer would; nothing is sent."""
        at = at or self.house.clock.now()
        party = code or self.code
        directory = await self.client.releases.directory()
        author = Author(party, key or self.house.key(f"{party}/sign/1"), directory.seal_key(party, at))
        decision = Decision(entries_of(opened), final=True, based_on=2)
        return authoring.decide(author, opened.manifest, directory.seal_key(HOSPITAL, at), decision, at=at)
