from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from gateway.client.transport import Retry
from gateway.client.treasurer import TreasurerClient
from gateway.protocol.canonical import canonical, read_json_object, sha256_hex
from gateway.protocol.clock import VirtualClock, rfc3339
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.jose import Typ, verify
from tests.claims_in_transit import a_profile
from tests.parties import INSURER, NOW, key_of

BODY = {"batch_id": "bat_synthetic", "payer": INSURER, "amount_minor": 120_000, "currency": "CNY"}
PERSON_KEY = key_of(f"{INSURER}/approve/1")


def a_batch(**changes: Any) -> dict[str, Any]:
    return {
        "batch_id": "bat_synthetic",
        "batch_sha256": sha256_hex(canonical(BODY)),
        "state": "draft",
        "body": BODY,
    } | changes


@dataclass
class Settlement:
    batch: Any
    approvals: list[httpx2.Request] = field(default_factory=list)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth/token"):
            return httpx2.Response(200, json={"access_token": "token", "expires_in": 300})
        if request.method == "POST":
            self.approvals.append(request)
            return httpx2.Response(200, json={"approvals": 1})
        listing = request.url.path.endswith("/batches")
        return httpx2.Response(200, json={"batches": [self.batch]} if listing else self.batch)

    def client(self) -> TreasurerClient:
        profile = a_profile(
            f"{INSURER}-treasurer-1",
            INSURER,
            "settlement",
            "batches:read batches:approve",
            sign_key=PERSON_KEY,
        )
        transport = httpx2.MockTransport(self.handle)
        return TreasurerClient(profile, transport=transport, clock=VirtualClock(NOW), retry=Retry(attempts_max=1))


async def test_an_approval_is_over_the_hash_of_the_body_as_it_was_shown() -> None:
    settlement = Settlement(a_batch())
    client = settlement.client()
    [batch] = await client.batches()

    await client.approve(batch)

    [request] = settlement.approvals
    said = read_json_object(verify(read_json_object(request.content)["approval"], PERSON_KEY.public, Typ.APPROVAL))
    assert request.url.path == "/settlement/v1/batches/bat_synthetic/approvals"
    assert said == {
        "batch_id": "bat_synthetic",
        "batch_sha256": sha256_hex(canonical(BODY)),
        "decision": "approve",
        "person": f"{INSURER} treasurer 1",
        "at": rfc3339(NOW),
    }
    assert request.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    "batch",
    [
        a_batch(body=BODY | {"amount_minor": 1}),
        a_batch(batch_sha256="0" * 64),
        a_batch(body=BODY | {"batch_id": "bat_another"}),
        a_batch(batch_id="bat_another"),
    ],
    ids=["another amount", "another hash", "another batch inside", "another batch outside"],
)
async def test_a_server_whose_hash_is_not_that_of_the_body_it_shows_is_not_believed(batch: dict[str, Any]) -> None:
    settlement = Settlement(batch)

    with pytest.raises(BadSignatureError):
        await settlement.client().batch("bat_synthetic")

    assert settlement.approvals == []


@pytest.mark.parametrize("batch", [{}, {"body": 1, "batch_id": "b", "state": "draft"}, "text", None])
async def test_an_answer_that_is_no_batch_is_malformed(batch: Any) -> None:
    with pytest.raises(MalformedInputError):
        await Settlement(batch).client().batches()
