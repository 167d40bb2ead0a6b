from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sz.answers import read_answer
from gateway.client import authoring
from gateway.client.authoring import Author, Authored, Decision, DecisionEntry
from gateway.protocol.canonical import parse_b64url
from gateway.protocol.dossier_checks import dossier_faults
from gateway.protocol.errors import InvalidInputError
from gateway.protocol.exchange import Posted, unpack
from gateway.protocol.fhir import systems
from gateway.protocol.fhir.claim_response import ClaimResponse
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.messages.acknowledged import AcknowledgedManifest
from gateway.protocol.messages.decided import DecidedManifest
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.returned import ReturnedManifest
from gateway.protocol.opening import open_dossier
from gateway.protocol.verification import verify_manifest
from tests.claims_in_transit import a_claim
from tests.parties import HOSPITAL, INSURER, NOW, key_of, the_route, world

CLAIM = a_claim(line_amounts_minor=(100_000, 20_000, 5_000), asked_minor=125_000)
HOSPITAL_KEY = world().directory.seal_key(HOSPITAL, NOW)
AUTHOR = Author(INSURER, key_of(f"{INSURER}/sign/1"), key_of(f"{INSURER}/seal/1").public)

PAID_WHOLE = DecisionEntry((0,), benefit_minor=100_000)
REST_DENIED = DecisionEntry((1, 2), benefit_minor=0, patient_minor=25_000, class_code="G003", texts={"en": "No."})


def a_decision(*entries: DecisionEntry, final: bool = True, **changes: Any) -> Authored:
    words: dict[str, Any] = {"based_on": 2, **changes}
    decision = Decision(entries=entries or (PAID_WHOLE, REST_DENIED), final=final, **words)
    return authoring.decide(AUTHOR, CLAIM, HOSPITAL_KEY, decision, at=NOW)


def codes(refused: pytest.ExceptionInfo[InvalidInputError]) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in refused.value.faults]


def content_of(authored: Authored, reader: str = HOSPITAL) -> ClaimResponse:
    packed = open_dossier(authored.posted.dossier, authored.manifest, key_of(f"{reader}/seal/1"))
    return read_bundle(unpack(packed), refuse_unknown=True).one(ClaimResponse)


def test_an_acknowledgement_is_signed_by_the_insurer_and_names_the_claims_message() -> None:
    authored = authoring.acknowledge(AUTHOR, CLAIM, based_on=1, at=NOW)

    manifest = verify_manifest(authored.posted.manifest, world().directory, NOW, accepting=True)

    assert isinstance(manifest, AcknowledgedManifest)
    assert (manifest.in_reply_to, manifest.recipients, manifest.based_on) == (CLAIM.msg_id, (HOSPITAL,), 1)
    assert authored.posted.dossier is None
    assert manifest.content_sha256 == CLAIM.content_sha256


def test_a_dispute_names_at_most_fifty_differences() -> None:
    differences = [f"/line_amounts_minor/{index}" for index in range(60)]

    authored = authoring.dispute(AUTHOR, CLAIM, differences, at=NOW)

    assert isinstance(authored.manifest, DisputedManifest)
    assert authored.manifest.differences == tuple(differences[:50])


def test_a_return_carries_its_code_in_clear_and_its_text_sealed() -> None:
    texts = {"en": "The policy number is of another insurer.", "zh-Hant": "保單號碼屬另一保險公司。"}

    authored = authoring.return_claim(AUTHOR, CLAIM, HOSPITAL_KEY, based_on=1, class_code="G001", texts=texts, at=NOW)

    assert isinstance(authored.manifest, ReturnedManifest)
    assert "another insurer" not in repr(authored)
    response = content_of(authored)
    assert response.outcome == "error"
    assert [note.text for note in response.process_note] == [texts["en"], texts["zh-Hant"]]


def test_a_decision_is_opened_by_the_hospital_and_says_what_was_signed() -> None:
    authored = a_decision(texts={"en": "Paid in part."})

    manifest = verify_manifest(authored.posted.manifest, world().directory, NOW, accepting=True)
    packed = open_dossier(authored.posted.dossier, manifest, key_of(f"{HOSPITAL}/seal/1"))

    assert isinstance(manifest, DecidedManifest)
    shown = read_answer(packed, manifest)
    assert shown.differences == ()
    assert shown.content["benefit"] == "1000.00"


def test_the_author_opens_its_own_archive_copy() -> None:
    authored = a_decision()

    assert content_of(authored, INSURER) == content_of(authored, HOSPITAL)


def test_every_line_is_an_item_that_names_its_entry_and_its_texts() -> None:
    response = content_of(a_decision())

    marks = {item.item_sequence: item.extension[0].value_integer for item in response.item}
    notes = {note.number: note for note in response.process_note}
    assert marks == {1: 0, 2: 1, 3: 1}
    assert [item.note_number for item in response.item] == [(), (1,), (1,)]
    assert notes[1].text == "No."
    assert notes[1].extension[0].value_integer == 1


def test_two_equal_decisions_have_different_nonces_and_so_different_hashes() -> None:
    first, second = a_decision(), a_decision()

    nonces = [
        parse_b64url(extension.value_string or "")
        for authored in (first, second)
        for extension in content_of(authored).extension
        if extension.url == systems.NONCE
    ]
    assert [len(nonce) for nonce in nonces] == [32, 32]
    assert nonces[0] != nonces[1]
    assert first.manifest.content_sha256 != second.manifest.content_sha256


def test_every_entry_that_does_not_balance_is_named_at_once_and_nothing_is_signed() -> None:
    entries = (
        DecisionEntry((0,), benefit_minor=99_999),
        DecisionEntry((1, 1), benefit_minor=0, patient_minor=40_000, class_code="G003"),
        DecisionEntry((7,), benefit_minor=1),
    )

    with pytest.raises(InvalidInputError) as refused:
        a_decision(*entries)

    assert codes(refused) == [
        ("decision.entry-unbalanced", "/entries/0"),
        ("decision.line-twice", "/entries/1/lines"),
        ("decision.line-unknown", "/entries/2/lines"),
    ]


def test_faults_of_form_are_named_entry_by_entry() -> None:
    entries = (
        DecisionEntry((), benefit_minor=0),
        DecisionEntry((1,), benefit_minor=-1),
        DecisionEntry((2,), benefit_minor=0, patient_minor=5_000),
    )

    with pytest.raises(InvalidInputError) as refused:
        a_decision(*entries)

    assert {pointer for _, pointer in codes(refused)} >= {
        "/entries/0/lines",
        "/entries/1/benefit_minor",
        "/entries/2",
    }


def test_a_decision_without_entries_is_refused() -> None:
    with pytest.raises(InvalidInputError) as refused:
        authoring.decide(AUTHOR, CLAIM, HOSPITAL_KEY, Decision((), final=True, based_on=2), at=NOW)

    assert codes(refused) == [("decision.line-missing", "/entries")]


def test_more_than_was_asked_is_refused() -> None:
    little = CLAIM.model_copy(update={"asked_minor": 1})
    decision = Decision((PAID_WHOLE, REST_DENIED), final=True, based_on=2)

    with pytest.raises(InvalidInputError) as refused:
        authoring.decide(AUTHOR, little, HOSPITAL_KEY, decision, at=NOW)

    assert codes(refused) == [("decision.over-asked", "/entries")]


HOSPITAL_BEARS = DecisionEntry((1, 2), benefit_minor=0, adjusted_minor=25_000, bearer="hospital", class_code="G011")


def test_the_hospital_bears_only_what_its_contract_lists() -> None:
    with pytest.raises(InvalidInputError) as refused:
        a_decision(PAID_WHOLE, HOSPITAL_BEARS)

    assert codes(refused) == [("decision.hospital-does-not-bear", "/entries/1/bearer")]
    assert a_decision(PAID_WHOLE, HOSPITAL_BEARS, hospital_bears=frozenset({"G011"}))


def test_what_the_hospital_bears_is_read_from_the_route_of_the_claim() -> None:
    route = the_route().model_copy(update={"hospital_bears": ("G011",)})
    bearing = replace(world().directory, routes=(route,))

    assert authoring.hospital_bears(bearing, CLAIM, NOW) == {"G011"}
    assert authoring.hospital_bears(world().directory, CLAIM.model_copy(update={"payer": "x"}), NOW) == frozenset()


def test_a_part_of_the_lines_may_be_decided_before_the_rest() -> None:
    authored = a_decision(PAID_WHOLE, final=False)

    assert content_of(authored).outcome == "partial"


def test_signed_anew_an_answer_keeps_its_content_and_gets_another_id_and_time() -> None:
    first = a_decision()
    later = NOW + timedelta(minutes=10)

    anew = authoring.reauthor(AUTHOR, first.posted, at=later)

    assert anew.msg_id != first.msg_id
    assert anew.manifest.sent_at == later
    assert anew.posted.dossier == first.posted.dossier
    renamed = {"msg_id": first.msg_id, "sent_at": first.manifest.sent_at}
    assert anew.manifest.model_copy(update=renamed) == first.manifest


def test_an_answer_that_would_not_fit_on_the_bus_is_refused_before_it_is_sent() -> None:
    long = "".join(chr(0x4E00 + index % 20_000) for index in range(400_000))

    with pytest.raises(InvalidInputError, match=r"claim\.too-large"):
        a_decision(texts={"zh-Hans": long})


AMOUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=8)


@given(amounts=AMOUNTS, shares=st.lists(st.integers(0, 100), min_size=8, max_size=8))
def test_any_split_that_explains_every_line_is_taken_and_opens_without_differences(
    amounts: list[int], shares: list[int]
) -> None:
    claim = CLAIM.model_copy(update={"line_amounts_minor": tuple(amounts), "asked_minor": sum(amounts)})
    entries = []
    for line, (amount, share) in enumerate(zip(amounts, shares, strict=False)):
        benefit = amount * share // 100
        rest = amount - benefit
        entries.append(DecisionEntry((line,), benefit, patient_minor=rest, class_code="G007" if rest else None))

    authored = authoring.decide(AUTHOR, claim, HOSPITAL_KEY, Decision(tuple(entries), final=True, based_on=2), at=NOW)

    assert isinstance(authored.manifest, DecidedManifest)
    packed = open_dossier(authored.posted.dossier, authored.manifest, key_of(f"{HOSPITAL}/seal/1"))
    assert read_answer(packed, authored.manifest).differences == ()
    assert Posted.decode(authored.posted.encode()) == authored.posted


@pytest.mark.parametrize("differences", [(), ("dossier.cannot-open",), ("/asked_minor", "Chan Tai Man")])
def test_a_dispute_outside_the_closed_set_is_never_signed(differences: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"message\.invalid"):
        authoring.dispute(AUTHOR, CLAIM, differences, at=NOW)


def test_a_class_code_outside_the_table_is_never_signed() -> None:
    with pytest.raises(InvalidInputError) as refused:
        a_decision(DecisionEntry((0,), benefit_minor=100_000, class_code="G999"), REST_DENIED)
    with pytest.raises(InvalidInputError) as not_returned:
        authoring.return_claim(AUTHOR, CLAIM, HOSPITAL_KEY, based_on=1, class_code="G999", texts={"en": "No."}, at=NOW)

    assert codes(refused) == [("reason.unknown", "/entries/0/class_code")]
    assert codes(not_returned) == [("reason.unknown", "/class_code")]


def test_what_is_sealed_here_passes_the_door() -> None:
    dossier = a_decision().posted.dossier or ""

    assert dossier_faults(dossier, world().directory, (HOSPITAL, INSURER), NOW) == []
