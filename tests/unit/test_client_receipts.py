"""Receipts are proof: a client returns none that it has not verified."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from gateway.client.hospital import HospitalClient, Receipt
from gateway.client.insurer import InsurerClient, Sent
from gateway.client.transport import Retry
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import BadSignatureError, MalformedInputError
from gateway.protocol.exchange import Posted, text_hash
from tests.claims_in_transit import a_profile, an_insurers_profile
from tests.parties import CASE, CLAIM, HOSPITAL, INSURER, NOW, a_stamp, an_acknowledged, signed_by, stamped_by, world

POSTED = Posted(signed_by(an_acknowledged()))
ONCE = Retry(attempts_max=1)


def a_transport(answer: Mapping[str, Any]) -> httpx2.MockTransport:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth/token"):
            return httpx2.Response(200, json={"access_token": "token", "expires_in": 300})
        if request.url.path.endswith("/v1/registry/release"):
            return httpx2.Response(200, content=world().signed.encode())
        return httpx2.Response(202, json=dict(answer), headers={"Location": "/sz/v1/claims/x"})

    return httpx2.MockTransport(handle)


async def submit(receipt: str, /, **changes: Any) -> Receipt:
    answer = {
        "claim_id": CLAIM,
        "case_id": CASE,
        "claim_version": 1,
        "msg_id": "msg_submitted0001",
        "state": "received",
        "allowed_actions": [],
        "receipt": receipt,
    }
    profile = a_profile("hosp-nanshan-his", HOSPITAL, "sz", "claims:submit")
    whole = {name: value for name, value in (answer | changes).items() if value is not ...}
    async with HospitalClient(profile, transport=a_transport(whole), clock=VirtualClock(NOW), retry=ONCE) as client:
        return await client.submit(b"{}", "key")


async def send(receipt: str) -> Sent:
    transport = a_transport({"msg_id": "msg_answer0001", "receipt": receipt})
    async with InsurerClient(an_insurers_profile(), transport=transport, clock=VirtualClock(NOW), retry=ONCE) as client:
        return await client.send(POSTED, "msg_answer0001")


async def test_a_receipt_of_the_shenzhen_edge_for_this_case_is_returned_verified() -> None:
    receipt = await submit(stamped_by(a_stamp(POSTED.manifest)))

    assert (receipt.claim_id, receipt.stamp.key, receipt.location) == (CLAIM, CASE, "/sz/v1/claims/x")
    assert receipt.token not in repr(receipt)


FALSE_RECEIPTS = {
    "of another role": stamped_by(a_stamp(role="core")),
    "for another case": stamped_by(a_stamp(key="case_another0001")),
    "for another message": stamped_by(a_stamp(type="disputed")),
    "by another key": stamped_by(a_stamp(), f"{INSURER}/sign/1"),
    "in another role's name": stamped_by(a_stamp(), "core/stamp/1"),
}


@pytest.mark.parametrize("case", FALSE_RECEIPTS)
async def test_a_receipt_that_is_not_the_edges_for_this_claim_is_refused(case: str) -> None:
    with pytest.raises(BadSignatureError):
        await submit(FALSE_RECEIPTS[case])


@pytest.mark.parametrize("changes", [{"receipt": ...}, {"case_id": ...}, {"allowed_actions": None}])
async def test_an_answer_without_what_a_receipt_needs_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedInputError):
        await submit(stamped_by(a_stamp(POSTED.manifest)), **changes)


def of_hk(**changes: Any) -> str:
    words = {"role": "hk", "type": "acknowledged", **changes}
    return stamped_by(a_stamp(POSTED.manifest, **words))


async def test_a_receipt_of_the_hong_kong_edge_is_over_exactly_what_was_posted() -> None:
    sent = await send(of_hk())

    assert sent.stamp.manifest_sha256 == text_hash(POSTED.manifest)


@pytest.mark.parametrize(
    "receipt",
    [of_hk(manifest_sha256="0" * 64), of_hk(dossier_sha256="0" * 64), of_hk(role="sz")],
    ids=["over another manifest", "over a dossier that was not sent", "of another role"],
)
async def test_a_receipt_over_anything_else_is_refused(receipt: str) -> None:
    with pytest.raises(BadSignatureError):
        await send(receipt)
