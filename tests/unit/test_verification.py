"""What a receiver checks of a delivery: forged, mixed up, late, compromised, unknown, and not meant for it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.protocol.canonical import compact
from gateway.protocol.errors import (
    BadSignatureError,
    HeldError,
    InvalidInputError,
    MalformedInputError,
    UnknownKeyError,
)
from gateway.protocol.exchange import Exchange, unpack
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.void_asked import VoidAsked
from gateway.protocol.opening import open_dossier
from gateway.protocol.registry import Directory
from gateway.protocol.topics import HOSPITAL_NOTICES, HOSPITAL_REQUESTS, INSURER_DELIVERIES, SETTLEMENT_REQUESTS
from gateway.protocol.verification import Verified, check_sent_at, verify_exchange, verify_manifest, verify_stamp
from tests.parties import (
    CASE,
    CLAIM,
    CONTENT,
    HASH,
    HOSPITAL,
    INSURER,
    NOW,
    OTHER_INSURER,
    a_decision,
    a_disputed,
    a_dossier,
    a_role_exchange,
    a_stamp,
    a_submitted,
    an_exchange,
    key_of,
    signed_by,
    stamped_by,
    world,
)

MINUTE = timedelta(minutes=1)


def verified(
    exchange: Exchange,
    *,
    directory: Directory | None = None,
    topic: str = HOSPITAL_REQUESTS,
    key: str = CASE,
    writer: str = "sz",
    now: datetime = NOW,
) -> Verified:
    return verify_exchange(exchange, directory or world().directory, topic=topic, key=key, writer=writer, now=now)


def test_a_true_exchange_gives_the_manifest_and_when_it_was_first_received() -> None:
    found = verified(an_exchange(), now=NOW + MINUTE)

    assert found.manifest == a_submitted()
    assert found.message is None
    assert found.received_at == NOW


def test_the_receipt_s_time_counts_after_another_role_has_stamped() -> None:
    first = an_exchange()
    later = a_stamp(
        first.manifest,
        first.dossier,
        role="core",
        topic=INSURER_DELIVERIES,
        received_at=NOW + MINUTE,
        expires=NOW + timedelta(days=30),
    )

    found = verified(first.restamped(stamped_by(later)), topic=INSURER_DELIVERIES, writer="core", now=NOW + MINUTE)

    assert found.received_at == NOW
    assert found.stamp.received_at == NOW + MINUTE


def test_a_role_s_own_message_is_read_from_its_stamp() -> None:
    message = VoidAsked(obligation_id="obl_1", case_id=CASE, claim_id=CLAIM, reason_code="disputed")
    exchange = a_role_exchange(message, role="core", topic=SETTLEMENT_REQUESTS, key=CLAIM)

    found = verified(exchange, topic=SETTLEMENT_REQUESTS, key=CLAIM, writer="core")

    assert found.message == message
    assert found.manifest is None


def test_a_role_s_message_of_a_newer_minor_version_is_read_without_what_it_added() -> None:
    body = {"type": "void_asked", "obligation_id": "obl_1", "case_id": CASE, "claim_id": CLAIM, "reason_code": "x"}
    stamp = a_stamp(role="core", topic=SETTLEMENT_REQUESTS, type="void_asked", message=body | {"added_later": 1})

    found = verified(Exchange(stamp=stamped_by(stamp)), topic=SETTLEMENT_REQUESTS, writer="core")

    assert found.message == VoidAsked(obligation_id="obl_1", case_id=CASE, claim_id=CLAIM, reason_code="x")


def test_a_stamp_signed_by_another_s_key_under_the_role_s_id_is_forged() -> None:
    exchange = an_exchange()
    false_key = PrivateKey.generate("sz/stamp/1", "Ed25519")
    payload = a_stamp(exchange.manifest, exchange.dossier).model_dump_json(exclude_none=True).encode()

    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        verified(exchange.restamped(sign(payload, false_key, Typ.STAMP)))


@pytest.mark.parametrize("kid", ["core/stamp/1", "hk/stamp/1", "witness-sz/stamp/1"])
def test_a_role_cannot_stamp_in_another_role_s_name(kid: str) -> None:
    exchange = an_exchange()
    stamp = stamped_by(a_stamp(exchange.manifest, exchange.dossier), kid)

    with pytest.raises(BadSignatureError, match=r"stamp\.role"):
        verified(exchange.restamped(stamp))


def test_a_role_cannot_write_to_a_topic_that_is_another_s() -> None:
    exchange = an_exchange()
    stamp = stamped_by(a_stamp(exchange.manifest, exchange.dossier, role="hk"))

    with pytest.raises(BadSignatureError, match=r"stamp\.stream"):
        verified(exchange.restamped(stamp))


@pytest.mark.parametrize(("kid", "code"), [("sz/audit/1", "key.wrong-use"), (f"{HOSPITAL}/sign/1", "key.wrong-use")])
def test_only_a_stamp_key_stamps(kid: str, code: str) -> None:
    exchange = an_exchange()

    with pytest.raises(BadSignatureError, match=code):
        verified(exchange.restamped(stamped_by(a_stamp(exchange.manifest, exchange.dossier), kid)))


def test_a_stamp_from_one_stream_is_not_valid_in_another() -> None:
    with pytest.raises(BadSignatureError, match=r"stamp\.stream"):
        verified(an_exchange(topic=HOSPITAL_NOTICES))
    with pytest.raises(BadSignatureError, match=r"stamp\.stream"):
        verified(an_exchange(key="case_synthetic0002"))


def test_a_manifest_or_dossier_under_another_s_stamp_is_refused() -> None:
    exchange = an_exchange()
    other = signed_by(a_submitted(msg_id="msg_submitted0002"))

    for mixed in (
        replace(exchange, manifest=other),
        replace(exchange, manifest=None),
        replace(exchange, dossier=a_dossier()),
        replace(exchange, dossier=None),
    ):
        with pytest.raises(BadSignatureError, match=r"stamp\.content"):
            verified(mixed)


def stamped_anew(manifest: str, dossier: str | None = None) -> Exchange:
    stamp = stamped_by(a_stamp(manifest, dossier))
    return Exchange(stamp=stamp, manifest=manifest, dossier=dossier, receipt=stamp)


def test_a_role_cannot_forge_a_hospital_s_manifest() -> None:
    false_key = PrivateKey.generate(f"{HOSPITAL}/sign/1", "Ed25519")
    payload = a_submitted().model_dump_json(exclude_none=True).encode()

    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        verified(stamped_anew(sign(payload, false_key, Typ.MANIFEST)))


def test_a_party_cannot_sign_in_another_party_s_name() -> None:
    with pytest.raises(BadSignatureError, match=r"manifest\.sender"):
        verified(stamped_anew(signed_by(a_submitted(), f"{OTHER_INSURER}/sign/1")))


@pytest.mark.parametrize("kid", [f"{INSURER}/approve/1", f"{INSURER}/token/ins-harbour-desk"])
def test_only_a_sign_key_signs_manifests(kid: str) -> None:
    with pytest.raises(BadSignatureError, match=r"key\.wrong-use"):
        verified(stamped_anew(signed_by(a_decision(), kid)))


def test_a_stamp_is_no_manifest_and_a_manifest_no_stamp() -> None:
    exchange = an_exchange()

    with pytest.raises(BadSignatureError, match=r"jws\.algorithm"):
        verified(stamped_anew(exchange.stamp))
    with pytest.raises(BadSignatureError, match=r"jws\.algorithm"):
        verify_stamp(signed_by(a_submitted()), world().directory)


def test_a_receipt_of_another_manifest_is_refused() -> None:
    exchange = an_exchange()
    other = an_exchange(a_submitted(msg_id="msg_submitted0002"))

    with pytest.raises(BadSignatureError, match=r"receipt\.content"):
        verified(replace(exchange, receipt=other.stamp))


def test_a_forged_receipt_is_refused() -> None:
    exchange = an_exchange()
    false_key = PrivateKey.generate("sz/stamp/1", "Ed25519")
    earlier = a_stamp(exchange.manifest, exchange.dossier, received_at=NOW - timedelta(days=1))
    forged = sign(earlier.model_dump_json(exclude_none=True).encode(), false_key, Typ.STAMP)

    with pytest.raises(BadSignatureError, match=r"jws\.signature"):
        verified(replace(exchange, receipt=forged))


def test_an_exchange_without_anything_in_it_is_malformed() -> None:
    with pytest.raises(MalformedInputError, match=r"exchange\.empty"):
        verified(Exchange(stamp=stamped_by(a_stamp())))


def test_a_stamp_s_type_is_the_type_of_what_it_stamps() -> None:
    with pytest.raises(BadSignatureError, match=r"stamp\.type"):
        verified(an_exchange(a_disputed(sender=HOSPITAL)))
    message = VoidAsked(obligation_id="obl_1", case_id=CASE, claim_id=CLAIM, reason_code="disputed")
    body = message.model_dump(mode="json")
    with pytest.raises(BadSignatureError, match=r"stamp\.type"):
        verified(Exchange(stamp=stamped_by(a_stamp(message=body, type="obligation"))))


def test_what_comes_after_its_time_is_held() -> None:
    exchange = an_exchange(expires=NOW + MINUTE)

    assert verified(exchange, now=NOW + MINUTE).manifest == a_submitted()
    with pytest.raises(HeldError, match=r"exchange\.expired"):
        verified(exchange, now=NOW + MINUTE + timedelta(milliseconds=1))


@pytest.mark.parametrize("kid", [f"{HOSPITAL}/sign/1", "sz/stamp/1"])
def test_what_a_key_signed_after_it_was_compromised_is_held_and_before_it_stands(kid: str) -> None:
    exchange = an_exchange()
    before = world().with_key(kid, compromised_at=NOW)
    after = world().with_key(kid, compromised_at=NOW + timedelta(milliseconds=1))

    with pytest.raises(HeldError, match=r"key\.compromised"):
        verified(exchange, directory=before)
    assert verified(exchange, directory=after, now=NOW + MINUTE).manifest == a_submitted()


@pytest.mark.parametrize("kid", [f"{HOSPITAL}/sign/1", "sz/stamp/1"])
def test_a_key_outside_its_validity_is_refused(kid: str) -> None:
    not_yet = world().with_key(kid, valid_from=NOW + MINUTE)
    no_longer = world().with_key(kid, valid_to=NOW)

    for directory in (not_yet, no_longer):
        with pytest.raises(BadSignatureError, match=r"key\.not-valid"):
            verified(an_exchange(), directory=directory)


def test_an_unknown_key_waits_for_the_next_release() -> None:
    unknown = PrivateKey.generate("sz/stamp/2", "Ed25519")
    stamp = sign(b"{}", unknown, Typ.STAMP)
    manifest = sign(b"{}", PrivateKey.generate(f"{HOSPITAL}/sign/2", "Ed25519"), Typ.MANIFEST)

    with pytest.raises(UnknownKeyError, match=r"key\.unknown"):
        verified(an_exchange().restamped(stamp))
    with pytest.raises(UnknownKeyError, match=r"key\.unknown"):
        verified(stamped_anew(manifest))


def test_an_accepting_edge_refuses_what_an_inner_reader_ignores() -> None:
    found = a_submitted().model_dump(mode="json", exclude_none=True) | {"surprise": 1}
    from_a_newer_client = sign(compact(found), key_of(f"{HOSPITAL}/sign/1"), Typ.MANIFEST)

    assert verified(stamped_anew(from_a_newer_client)).manifest == a_submitted()
    with pytest.raises(InvalidInputError, match=r"message\.invalid"):
        verify_manifest(from_a_newer_client, world().directory, NOW, accepting=True)


def test_the_time_that_an_author_names_must_be_near() -> None:
    check_sent_at(a_submitted(), NOW + timedelta(seconds=300), 300)

    with pytest.raises(InvalidInputError, match=r"exchange\.time-window"):
        check_sent_at(a_submitted(), NOW + timedelta(seconds=301), 300)


def test_the_reader_opens_the_dossier_that_the_author_signed() -> None:
    for reader in (INSURER, HOSPITAL):
        assert unpack(open_dossier(a_dossier(), a_submitted(), key_of(f"{reader}/seal/1"))) == CONTENT


def test_another_insurer_cannot_open_the_dossier() -> None:
    with pytest.raises(BadSignatureError, match=r"dossier\.cannot-open"):
        open_dossier(a_dossier(), a_submitted(), key_of(f"{OTHER_INSURER}/seal/1"))


def test_content_other_than_the_author_signed_is_refused_though_it_opens() -> None:
    with pytest.raises(BadSignatureError, match=r"dossier\.content"):
        open_dossier(a_dossier(b'{"nonce":"other"}'), a_submitted(), key_of(f"{INSURER}/seal/1"))
    with pytest.raises(BadSignatureError, match=r"dossier\.content"):
        open_dossier(a_dossier(), a_submitted(content_sha256=HASH), key_of(f"{INSURER}/seal/1"))


def test_a_dossier_that_is_not_there_is_missing() -> None:
    with pytest.raises(MalformedInputError, match=r"dossier\.missing"):
        open_dossier(None, a_submitted(), key_of(f"{INSURER}/seal/1"))
    with pytest.raises(MalformedInputError, match=r"dossier\.missing"):
        open_dossier(a_dossier(), a_decision(), key_of(f"{INSURER}/seal/1"))


def test_core_s_news_reach_the_hospital_in_core_s_name_only() -> None:
    news = ClaimState(
        case_id=CASE,
        claim_id=CLAIM,
        claim_version=1,
        revision=1,
        state="received",
        payment_state="none",
        event="received",
        at="2026-03-02T01:00:00.000Z",
        allowed_actions=(),
    )

    true = a_role_exchange(news, role="core", topic=HOSPITAL_NOTICES)
    false = a_role_exchange(news, role="hk", topic=HOSPITAL_NOTICES)

    assert verified(true, topic=HOSPITAL_NOTICES, writer="core").message == news
    with pytest.raises(BadSignatureError, match=r"stamp\.stream"):
        verified(false, topic=HOSPITAL_NOTICES, writer="core")
