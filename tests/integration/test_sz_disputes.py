"""Disputes and refusals at the hospital's edge: what is shown, and the hospital's two ways out, over its API."""

from typing import Any

import httpx2
import pytest

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.exchange import Manifest, read_payload
from gateway.protocol.messages import parse_manifest
from gateway.protocol.messages.claim_state import DisputeStanding
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.verification import verify_manifest
from gateway.runtime.storage import tables as runtime_tables
from tests.conftest import MakeDatabase
from tests.hospital_bills import sample
from tests.integration.test_sz_answers import Claimed
from tests.parties import HOSPITAL, INSURER, NOW, signed_by, world
from tests.sz_edge import METADATAS, an_edge

WAYS = {
    "dispute-withdrawal": ("withdraw_dispute", "dispute_withdrawn", HOSPITAL),
    "give-up": ("give_up", "given_up", INSURER),
}


@pytest.fixture
async def claimed(make_database: MakeDatabase) -> Claimed:
    edge = an_edge(make_database(*METADATAS), VirtualClock())
    client = edge.http()
    assert (await edge.submit(client, sample(), "key-1")).status_code == 202
    [row] = await edge.all(runtime_tables.outbox)
    manifest = parse_manifest(read_payload(row.manifest), accepting=True)
    assert isinstance(manifest, SubmittedManifest)
    return Claimed(edge, client, manifest)


async def disputed(claimed: Claimed, by: str, *allowed: str) -> dict[str, Any]:
    """Have core say that the claim is disputed, and what the hospital may do; return the claim as shown."""
    against = INSURER if by == HOSPITAL else HOSPITAL
    raised = DisputeStanding(by=by, against=against, msg_id="msg_dispute0001", in_reply_to=claimed.manifest.msg_id)
    await claimed.state("disputed", 3, "disputed", allowed_actions=allowed, dispute=raised)
    return await claimed.shown()


async def post(claimed: Claimed, way: str, revision: int | None, *, key: str = "key-of-the-way") -> httpx2.Response:
    headers = {"idempotency-key": key} | ({} if revision is None else {"if-match": f'"{revision}"'})
    return await claimed.client.post(f"/v1/claims/{claimed.claim_id}/{way}", content=b"{}", headers=headers)


async def said(claimed: Claimed) -> list[Manifest]:
    posts = [row for row in await claimed.edge.all(runtime_tables.outbox) if row.type != "submitted"]
    return [verify_manifest(row.manifest, world().directory, NOW, accepting=True) for row in posts]


@pytest.mark.parametrize("way", WAYS)
async def test_a_way_out_is_signed_sent_once_and_offers_nothing_until_core_has_spoken(
    claimed: Claimed, way: str
) -> None:
    action, kind, by = WAYS[way]
    shown = await disputed(claimed, by, action)

    answer = await post(claimed, way, shown["revision"])
    again = await post(claimed, way, shown["revision"])
    another = await post(claimed, way, shown["revision"] + 1, key="another-key")

    assert (answer.status_code, again.content) == (202, answer.content)
    assert {"receipt", "msg_id", "status"} <= read_json_object(answer.content).keys()
    [manifest] = await said(claimed)
    assert (manifest.type, manifest.in_reply_to) == (kind, "msg_dispute0001")
    assert (manifest.sender, manifest.recipients) == (HOSPITAL, (INSURER,))
    assert (await claimed.shown())["allowed_actions"] == []
    problem = read_json_object(another.content)
    assert (another.status_code, problem["code"], problem["allowed_actions"]) == (409, "claim.illegal-move", [])


@pytest.mark.parametrize("way", WAYS)
async def test_a_way_out_needs_the_revision_that_was_seen_and_the_move_to_be_allowed(
    claimed: Claimed, way: str
) -> None:
    action, _, by = WAYS[way]
    undisputed = await post(claimed, way, 1)
    shown = await disputed(claimed, by, action)

    answers = [await post(claimed, way, revision, key=f"key-{revision}") for revision in (None, shown["revision"] - 1)]

    assert (undisputed.status_code, read_json_object(undisputed.content)["code"]) == (409, "claim.illegal-move")
    codes = [(one.status_code, read_json_object(one.content)["code"]) for one in answers]
    assert codes == [(428, "http.if-match-missing"), (412, "claim.stale")]
    assert await said(claimed) == []


async def test_an_insurer_s_dispute_is_shown_with_its_places(claimed: Claimed) -> None:
    manifest = DisputedManifest(
        msg_id="msg_dispute0001",
        case_id=claimed.manifest.case_id,
        claim_id=claimed.claim_id,
        claim_version=1,
        in_reply_to=claimed.manifest.msg_id,
        sender=INSURER,
        recipients=(HOSPITAL,),
        sent_at=NOW,
        differences=("/content_sha256",),
    )

    await claimed.notice(manifest=manifest, token=signed_by(manifest))
    shown = await disputed(claimed, INSURER, "give_up")

    assert (shown["dispute"]["by"], shown["dispute"]["differences"]) == (INSURER, ["/content_sha256"])
    assert [one["event"] for one in await claimed.events()] == ["submitted", "disputed_by_insurer", "disputed"]


async def test_a_refused_claim_says_why_in_the_form_of_every_fault_and_in_the_caller_s_language(
    claimed: Claimed,
) -> None:
    message = Rejected(
        case_id=claimed.manifest.case_id,
        claim_id=claimed.claim_id,
        in_reply_to=claimed.manifest.msg_id,
        to=HOSPITAL,
        code="claim.refused",
        faults=("claim.asked-over-rest /asked_minor", "claim.currency-not-on-route /currency"),
        state="refused",
    )

    await claimed.notice(message=message)
    answer = await claimed.client.get(f"/v1/claims/{claimed.claim_id}", headers={"accept-language": "zh-HK"})

    refusal = read_json_object(answer.content)["refusal"]
    assert refusal["code"] == "claim.refused"
    assert [(one["code"], one["pointer"]) for one in refusal["errors"]] == [
        ("claim.asked-over-rest", "/asked_minor"),
        ("claim.currency-not-on-route", "/currency"),
    ]
    assert all(set(one) == {"code", "pointer", "detail", "fix"} and one["fix"] for one in refusal["errors"])
    assert "refusal" in await claimed.shown()


async def test_a_claim_refused_without_faults_names_its_code_as_the_fault(claimed: Claimed) -> None:
    message = Rejected(
        case_id=claimed.manifest.case_id,
        claim_id=claimed.claim_id,
        in_reply_to=claimed.manifest.msg_id,
        to=HOSPITAL,
        code="receipt.live-on-another-claim",
        state="refused",
    )

    await claimed.notice(message=message)

    [fault] = (await claimed.shown())["refusal"]["errors"]
    assert (fault["code"], fault["pointer"]) == ("receipt.live-on-another-claim", "")
