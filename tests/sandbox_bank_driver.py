"""A simulated bank under test, driven as a customer drives it, and an outside proof of its books."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from gateway.protocol.canonical import pretty, read_json
from gateway.protocol.clock import VirtualClock
from gateway.protocol.outgoing import Incoming
from gateway.sandbox.bank import create_bank
from settlement.bank_entry import BankEntry
from settlement.channels.iso20022_http import Iso20022Http
from settlement.iso20022.pain001 import write_pain001
from settlement.iso20022.pain002 import References, read_pain002
from settlement.payment import PaymentInstruction
from tests.settlement_builders import (
    the_hospital,
    the_payer,
)

TOKEN = "synthetic-secret"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def a_bank_profile(**changes: object) -> dict[str, Any]:
    payer, hospital = the_payer(), the_hospital()
    accounts = [
        {"account": holder.account, "holder": holder.name, "currency": "CNY", "member_id": holder.agent.member_id}
        | {"opening_minor": opening}
        for holder, opening in ((payer, 1_000_000), (hospital, 0))
    ]
    return {"token": TOKEN, "fee_account": "FEES", "accounts": accounts, "faults": [], **changes}


class Bank:
    """A bank under test with the calls that a customer makes."""

    def __init__(self, folder: Path, profile: Mapping[str, Any]) -> None:
        (folder / "bank.json").write_text(pretty(profile), encoding="utf-8")
        self.clock = VirtualClock()
        self.folder = folder
        self.client = self.restart()

    def restart(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(create_bank(self.folder, self.clock))
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://bank.test", headers=HEADERS)
        return self.client

    async def pay(self, payment: PaymentInstruction) -> tuple[str | None, tuple[str, ...]]:
        return self.said(await self.client.post("/v1/payments", content=write_pain001(payment, None)), payment)

    async def status(self, payment: PaymentInstruction) -> tuple[str | None, tuple[str, ...]]:
        return self.said(await self.client.get(f"/v1/payments/{payment.message_id}"), payment)

    def said(self, answer: httpx2.Response, payment: PaymentInstruction) -> tuple[str | None, tuple[str, ...]]:
        assert answer.status_code == 200
        found = read_pain002(answer.content).of(References.sent_with(payment))
        return found.code, found.reasons

    async def journal(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json((await self.client.get("/v1/journal")).content)
        prove(found)
        return found

    async def movements(self) -> list[tuple[str, str, int]]:
        found = (await self.journal())["movements"]
        return [(row["account"], row["side"], row["amount_minor"]) for row in found]

    async def script(self, **fault: object) -> None:
        assert (await self.client.post("/v1/control/faults", json=fault)).status_code == 204


def prove(journal: Mapping[str, Any]) -> None:
    """Check the books from the outside: every order sums to zero, every balance is its opening plus its lines."""
    orders: Counter[tuple[str, str]] = Counter()
    balances = Counter({row["account"]: row["opening_minor"] for row in journal["accounts"]})
    for row in journal["movements"]:
        signed = row["amount_minor"] if row["side"] == "CRDT" else -row["amount_minor"]
        orders[row["message_id"], row["currency"]] += signed
        balances[row["account"]] += signed
    assert set(orders.values()) <= {0}
    assert {row["account"]: row["balance_minor"] for row in journal["accounts"]} == dict(balances)
    debits = Counter(row["message_id"] for row in journal["movements"] if row["side"] == "DBIT")
    assert set(debits.values()) <= {1}
    assert all(row["balance_minor"] >= 0 for row in journal["accounts"])


def entries_of(answer: httpx2.Response) -> tuple[BankEntry, ...]:
    """Read a page of notifications as settlement does."""
    incoming = Incoming(answer.status_code, dict(answer.headers), answer.content)
    return Iso20022Http().read_notifications(incoming, "0").entries
