"""What comes back to the Shenzhen edge: states, decisions, returns and rejections, as core delivers them."""

from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest

from adapters.sz import tables
from gateway.client import authoring
from gateway.client.authoring import Author, Authored, Decision, DecisionEntry
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.differences import BY_HOSPITAL, is_difference
from gateway.protocol.exchange import Posted, content_hash, pack, read_payload, unpack
from gateway.protocol.jose import PrivateKey, Typ, seal, sign
from gateway.protocol.messages import parse_manifest
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.opening import open_sealed
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.protocol.verification import verify_manifest
from gateway.runtime.storage import tables as runtime_tables
from tests.conftest import MakeDatabase
from tests.hospital_bills import sample
from tests.parties import HOSPITAL, INSURER, NOW, key_of, world
from tests.sz_edge import METADATAS, Edge, an_edge, from_core

TEXTS = {"en": "Companion bed is not covered.", "zh-Hant": "陪護床費不在保障範圍"}


@dataclass
class Claimed:
    """A claim at the edge, and core's stream of notices about it."""

    edge: Edge
    client: httpx2.AsyncClient
    manifest: SubmittedManifest
    sent: int = 0

    @property
    def claim_id(self) -> str:
        return self.manifest.claim_id

    async def notice(self, **parts: Any) -> None:
        self.sent += 1
        exchange = from_core(self.sent, case_id=self.manifest.case_id, **parts)
        await self.edge.deliver(exchange, self.sent)

    async def answer(self, authored: Authored, *, dossier: str | None = None, token: str | None = None) -> None:
        posted = authored.posted
        await self.notice(manifest=authored.manifest, token=token or posted.manifest, dossier=dossier or posted.dossier)

    async def state(self, state: str, revision: int, event: str, **fields: Any) -> None:
        message = ClaimState(
            case_id=self.manifest.case_id,
            claim_id=self.claim_id,
            claim_version=1,
            revision=revision,
            state=state,
            payment_state=fields.pop("payment_state", "none"),
            event=event,
            at="2026-03-02T01:00:00.000Z",
            allowed_actions=fields.pop("allowed_actions", ()),
            **fields,
        )
        await self.notice(message=message)

    async def shown(self) -> dict[str, Any]:
        return read_json_object((await self.client.get(f"/v1/claims/{self.claim_id}")).content)

    async def events(self) -> list[dict[str, Any]]:
        found = await self.client.get(f"/v1/claims/{self.claim_id}/timeline")
        return list(read_json_object(found.content)["events"])

    async def disputes(self) -> list[DisputedManifest]:
        posts = [row for row in await self.edge.all(runtime_tables.outbox) if row.type == "disputed"]
        assert all((row.topic, row.key) == (HOSPITAL_REQUESTS, self.manifest.case_id) for row in posts)
        found = [verify_manifest(row.manifest, world().directory, NOW, accepting=True) for row in posts]
        return [one for one in found if isinstance(one, DisputedManifest)]


@pytest.fixture
async def claimed(make_database: MakeDatabase) -> Claimed:
    edge = an_edge(make_database(*METADATAS), VirtualClock())
    client = edge.http()
    answer = await edge.submit(client, sample(), "key-1")
    assert answer.status_code == 202
    [row] = await edge.all(runtime_tables.outbox)
    manifest = parse_manifest(read_payload(row.manifest), accepting=True)
    assert isinstance(manifest, SubmittedManifest)
    return Claimed(edge, client, manifest)


def the_insurer() -> Author:
    return Author(INSURER, key_of(f"{INSURER}/sign/1"), key_of(f"{INSURER}/seal/1").public)


def a_decision(claimed: Claimed) -> Authored:
    """Pay everything but the last line, which is the patient's."""
    amounts = claimed.manifest.line_amounts_minor
    last = len(amounts) - 1
    entries = (
        DecisionEntry(tuple(range(last)), benefit_minor=sum(amounts[:-1])),
        DecisionEntry((last,), benefit_minor=0, patient_minor=amounts[-1], class_code="G003", texts=TEXTS),
    )
    decision = Decision(entries, final=True, based_on=2, texts={"en": "Decided."})
    return authoring.decide(
        the_insurer(), claimed.manifest, world().directory.seal_key(HOSPITAL, NOW), decision, at=NOW
    )


def retold(authored: Authored, change: tuple[bytes, bytes]) -> Authored:
    """Let the insurer sign the same manifest over content that says something else."""
    content = unpack(open_sealed(authored.posted.dossier or "", key_of(f"{INSURER}/seal/1")))
    assert change[0] in content
    packed = pack(content.replace(*change))
    manifest = authored.manifest.model_copy(update={"content_sha256": content_hash(packed)})
    payload = compact(manifest.model_dump(mode="json", exclude_none=True))
    token = sign(payload, key_of(f"{INSURER}/sign/1"), Typ.MANIFEST)
    dossier = seal(packed, [world().directory.seal_key(HOSPITAL, NOW), key_of(f"{INSURER}/seal/1").public])
    return Authored(manifest, Posted(token, dossier))


async def test_cores_states_move_the_projection_its_timeline_and_the_feed(claimed: Claimed) -> None:
    await claimed.state("received", 1, "received")
    await claimed.state("in_review", 2, "acknowledged", allowed_actions=("dispute",))
    await claimed.edge.deps.feed.step()

    shown = await claimed.shown()
    page = read_json_object((await claimed.client.get("/v1/events")).content)
    assert (shown["state"], shown["allowed_actions"], shown["revision"]) == ("in_review", ["dispute"], 3)
    assert [event["event"] for event in await claimed.events()] == ["submitted", "received", "acknowledged"]
    assert [(item["type"], item["state"]) for item in page["items"]] == [
        ("received", "received"),
        ("acknowledged", "in_review"),
    ]
    assert page["items"][0]["claim_id"] == claimed.claim_id


async def test_an_older_state_of_core_changes_nothing(claimed: Claimed) -> None:
    await claimed.state("in_review", 2, "acknowledged")

    await claimed.state("received", 1, "received")

    assert (await claimed.shown())["state"] == "in_review"


async def test_a_decision_is_opened_compared_and_shown_with_its_texts(claimed: Claimed) -> None:
    await claimed.answer(a_decision(claimed))

    shown = await claimed.shown()
    decision = shown["decision"]
    assert "differences" not in shown
    assert (decision["benefit"], decision["final"], decision["decision_version"]) == ("53798.84", True, 1)
    assert decision["texts"] == [{"text": "Decided.", "language": "en"}]
    refused = decision["entries"][1]
    assert (refused["patient"], refused["class_code"], refused["serials"]) == ("80.00", "G003", ["SYN-0017"])
    assert refused["reason"]["zh-Hant"] == "不屬保障範圍"
    assert {text["text"] for text in refused["texts"]} == set(TEXTS.values())
    assert [row.type for row in await claimed.edge.all(runtime_tables.audit_rows)] == [
        "claim.submitted",
        "answer.opened",
    ]
    assert await claimed.disputes() == []


async def test_texts_of_a_decision_lie_sealed_in_the_database(claimed: Claimed) -> None:
    await claimed.answer(a_decision(claimed))

    [row] = await claimed.edge.all(tables.claims)
    assert row.answer is not None
    for text in TEXTS.values():
        assert text.encode() not in bytes(row.answer)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ((b"53798.84", b"53798.85"), "/entries/0/benefit_minor"),
        ((b'"valueInteger":1', b'"valueInteger":0'), "/entries/0/patient_minor"),
        ((b'"itemSequence":1,', b'"itemSequence":99,'), "/entries"),
        ((b'"currency":"CNY"', b'"currency":"HKD"'), "/entries/0"),
        ((b"ClaimResponse", b"Patient"), "/content"),
    ],
)
async def test_content_that_differs_from_the_manifest_is_disputed_with_the_hospitals_signature(
    claimed: Claimed, change: tuple[bytes, bytes], difference: str
) -> None:
    decided = retold(a_decision(claimed), change)

    await claimed.answer(decided)

    [disputed] = await claimed.disputes()
    shown = await claimed.shown()
    assert difference in disputed.differences
    assert shown["differences"] == list(disputed.differences)
    assert (disputed.in_reply_to, disputed.recipients) == (decided.msg_id, (INSURER,))
    assert shown["decision"]["benefit"] == "53798.84"
    assert [event["event"] for event in await claimed.events()][1:] == ["decided_opened", "disputed_by_hospital"]
    records = [row.type for row in await claimed.edge.all(runtime_tables.audit_rows)]
    assert records == ["claim.submitted", "answer.opened", "hospital.disputed"]


async def test_a_decision_about_another_claim_in_its_content_is_disputed(claimed: Claimed) -> None:
    decided = retold(a_decision(claimed), (claimed.claim_id.encode(), b"claim_of_somebody_else"))

    await claimed.answer(decided)

    [disputed] = await claimed.disputes()
    assert disputed.differences == ("/claim_id",)


@pytest.mark.parametrize(
    ("dossier", "difference"),
    [
        (seal(pack(b"{}"), [world().directory.seal_key(INSURER, NOW)]), "/dossier"),
        ("no json", "/dossier"),
        (seal(pack(b"{}"), [world().directory.seal_key(HOSPITAL, NOW)]), "/content_sha256"),
    ],
    ids=["sealed to another", "no JWE", "other content"],
)
async def test_a_dispute_tells_a_dossier_that_cannot_be_opened_from_one_with_other_content(
    claimed: Claimed, dossier: str, difference: str
) -> None:
    await claimed.answer(a_decision(claimed), dossier=dossier)

    [disputed] = await claimed.disputes()
    assert disputed.differences == (difference,)


async def test_an_answer_sealed_to_the_key_before_a_change_of_keys_opens(claimed: Claimed) -> None:
    keyring = claimed.edge.deps.keyring
    newer = f"{HOSPITAL}/seal/2"
    rotated = replace(keyring, keys={**keyring.keys, newer: PrivateKey.generate(newer, "X25519")})
    claimed.edge = an_edge(claimed.edge.database, VirtualClock(), keyring=rotated)

    await claimed.answer(a_decision(claimed))

    assert await claimed.disputes() == []


@pytest.mark.parametrize("status", [b"cancelled", b"draft", b"entered-in-error"])
async def test_an_answer_whose_content_is_withdrawn_is_disputed(claimed: Claimed, status: bytes) -> None:
    decided = retold(a_decision(claimed), (b'"status":"active"', b'"status":"' + status + b'"'))

    await claimed.answer(decided)

    [disputed] = await claimed.disputes()
    assert disputed.differences == ("/type",)


async def test_every_difference_that_the_edge_finds_is_of_the_closed_set(claimed: Claimed) -> None:
    decided = retold(a_decision(claimed), (b'"valueInteger":1', b'"valueInteger":99999'))

    await claimed.answer(decided)

    [disputed] = await claimed.disputes()
    assert disputed.differences
    assert all(is_difference(difference, BY_HOSPITAL) for difference in disputed.differences)


async def test_the_answer_of_an_insurer_whose_key_is_not_pinned_waits(claimed: Claimed) -> None:
    edge = an_edge(claimed.edge.database, VirtualClock(), pins={})
    claimed.edge = edge

    await claimed.answer(a_decision(claimed))

    [parked] = await edge.all(runtime_tables.parked)
    assert (parked.why, parked.code) == ("retry", "pin.unknown-key")


async def test_a_returned_claim_shows_class_code_and_texts(claimed: Claimed) -> None:
    returned = authoring.return_claim(
        the_insurer(),
        claimed.manifest,
        world().directory.seal_key(HOSPITAL, NOW),
        based_on=1,
        class_code="G001",
        texts=TEXTS,
        at=NOW,
    )

    await claimed.answer(returned)

    shown = await claimed.shown()
    assert (shown["returned"]["class_code"], len(shown["returned"]["texts"])) == ("G001", 2)
    assert "decision" not in shown


async def test_a_rejection_shows_the_code_and_every_fault(claimed: Claimed) -> None:
    rejected = Rejected(
        case_id=claimed.manifest.case_id,
        claim_id=claimed.claim_id,
        in_reply_to=claimed.manifest.msg_id,
        to=HOSPITAL,
        code="claim.receipt-live-elsewhere",
        faults=("claim.receipt-live-elsewhere /receipt_tokens/0",),
        state="refused",
    )

    await claimed.notice(message=rejected)

    assert (await claimed.shown())["state"] == "refused"
    event = (await claimed.events())[-1]
    assert (event["event"], event["code"]) == ("rejected", "claim.receipt-live-elsewhere")
    [fault] = event["faults"]
    assert (fault["code"], fault["pointer"]) == ("claim.receipt-live-elsewhere", "/receipt_tokens/0")
    assert fault.keys() == {"code", "pointer", "detail", "fix"}


async def test_payment_states_show_reference_and_amount(claimed: Claimed) -> None:
    await claimed.state(
        "approved",
        4,
        "reconciled",
        payment_state="reconciled",
        reference="E2E-0001",
        amount_minor=5_379_884,
        currency="CNY",
    )

    event = (await claimed.events())[-1]
    assert (event["payment_state"], event["reference"], event["amount"]) == ("reconciled", "E2E-0001", "53798.84")


async def test_a_message_about_an_unknown_claim_is_refused_and_recorded(claimed: Claimed) -> None:
    claimed.manifest = claimed.manifest.model_copy(update={"claim_id": "claim_nobody_knows"})

    await claimed.state("in_review", 2, "acknowledged")

    [record] = [row for row in await claimed.edge.all(runtime_tables.audit_rows) if row.type == "sz.message_refused"]
    assert read_json_object(record.clear.encode())["code"] == "claim.unknown"


async def test_a_repeated_decision_changes_nothing_twice(claimed: Claimed) -> None:
    decided = a_decision(claimed)
    exchange = from_core(
        1,
        case_id=claimed.manifest.case_id,
        manifest=decided.manifest,
        token=decided.posted.manifest,
        dossier=decided.posted.dossier,
    )

    for offset in (1, 2):
        await claimed.edge.deliver(exchange, offset)

    assert [event["event"] for event in await claimed.events()] == ["submitted", "decided_opened"]


@pytest.mark.parametrize(
    "change",
    [
        (b'"resourceType":"ClaimResponse"', b'"resourceType":"ClaimResponse","payment":{"amount":{"value":1e999}}'),
        (b'"extension":[{', b'"extension":[{"url":"https://insurer.example","valueCoding":{"code":"A"}},{'),
        (b"53798.84", b"5.379884E+4"),
        (b'"entry":[{', b'"entry":[{"resource":{"resourceType":"Provenance"}},{'),
    ],
    ids=["unknown element", "unknown extension", "exponent", "unknown resource"],
)
async def test_a_correct_decision_is_not_disputed_for_what_r4_allows_beside_it(
    claimed: Claimed, change: tuple[bytes, bytes]
) -> None:
    await claimed.answer(retold(a_decision(claimed), change))

    assert await claimed.disputes() == []
    assert (await claimed.shown())["decision"]["benefit"] == "53798.84"
