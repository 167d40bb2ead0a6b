from collections.abc import Callable
from datetime import timedelta

import pytest

from gateway.client.opened import open_submitted, read_outcome
from gateway.protocol.canonical import compact
from gateway.protocol.errors import BadSignatureError, HeldError, UnknownKeyError
from gateway.protocol.exchange import Exchange, Stamp, content_hash, pack
from gateway.protocol.jose import PrivateKey, Typ, sign
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.topics import HOSPITAL_REQUESTS
from tests.claims_in_transit import a_claim, an_opened, delivered, told, with_content
from tests.parties import INSURER, NOW, OTHER_INSURER, a_stamp, key_of, signed_by, stamped_by, world

ACCEPTED = Accepted(
    case_id="case_transit0001",
    claim_id="claim_transit0001",
    in_reply_to="msg_answer0001",
    to=INSURER,
    state="in_review",
    revision=2,
    allowed_actions=("decide",),
)


def test_a_claim_opens_with_its_lines_in_order_and_signed_amounts() -> None:
    opened = an_opened()

    assert opened.differences == ()
    assert [line.index for line in opened.lines] == list(range(14))
    assert tuple(line.amount_minor for line in opened.lines) == opened.manifest.line_amounts_minor
    assert opened.lines[0].text == "三人间床位费"
    assert [line.index for line in opened.lines if line.programme] == [8]


def test_what_a_person_has_or_got_never_shows_in_a_repr() -> None:
    opened = an_opened()

    assert opened.content is not None
    assert "床位费" in opened.content.decode()
    assert "床位费" not in repr(opened)
    assert "床位费" not in repr(opened.lines)


def test_content_that_differs_is_opened_and_its_differences_are_named() -> None:
    manifest, packed = with_content(a_claim(), lambda bundle: bundle["entry"][0]["resource"].update(use="claim"))
    changed = manifest.model_copy(update={"asked_minor": 1})

    opened = an_opened(delivered(changed, packed=packed))

    assert opened.differences == ("/asked_minor",)
    assert opened.bundle is not None


def test_a_dossier_that_is_not_the_signed_one_is_a_difference_and_leaves_only_the_signed_amounts() -> None:
    opened = an_opened(delivered(packed=pack(b'{"resourceType":"Bundle"}')))

    assert opened.differences == ("/content_sha256",)
    assert opened.content is None
    assert [line.text for line in opened.lines] == [""] * 14


def test_a_dossier_that_is_sealed_to_somebody_else_is_a_difference() -> None:
    assert an_opened(delivered(reader=OTHER_INSURER)).differences == ("/dossier",)


def test_signed_content_that_is_no_bundle_is_a_difference() -> None:
    packed = pack(b"no json")
    manifest = a_claim(content_sha256=content_hash(packed))

    assert an_opened(delivered(manifest, packed=packed)).differences == ("/content",)


def test_a_claim_opens_with_an_older_key_after_a_new_one_has_been_made() -> None:
    keys = [key_of(f"{INSURER}/seal/1"), PrivateKey.generate(f"{INSURER}/seal/2", "X25519")]

    opened = open_submitted(delivered(), world().directory, keys, party=INSURER, now=NOW)

    assert opened.differences == ()


def _signed_by_another_hospital() -> Exchange:
    return delivered(signer=f"{OTHER_INSURER}/sign/1")


def _stamped_by_the_edge_itself() -> Exchange:
    return delivered(role="hk")


def _from_another_topic() -> Exchange:
    return delivered(topic=HOSPITAL_REQUESTS)


def _for_another_manifest() -> Exchange:
    return delivered(manifest_sha256="0" * 64)


def _in_the_stream_of_another_case() -> Exchange:
    return delivered(key="case_another0001")


def _under_a_receipt_for_another_claim() -> Exchange:
    genuine = delivered()
    other = stamped_by(a_stamp(signed_by(a_claim(number=2)), key="case_transit0002"))
    return Exchange(stamp=genuine.stamp, manifest=genuine.manifest, dossier=genuine.dossier, receipt=other)


def _an_outcome_instead_of_a_claim() -> Exchange:
    return told(ACCEPTED)


@pytest.mark.parametrize(
    "forge",
    [
        _signed_by_another_hospital,
        _stamped_by_the_edge_itself,
        _from_another_topic,
        _for_another_manifest,
        _in_the_stream_of_another_case,
        _under_a_receipt_for_another_claim,
        _an_outcome_instead_of_a_claim,
    ],
    ids=lambda forge: forge.__name__.strip("_"),
)
def test_what_is_not_a_hospitals_claim_delivered_by_core_is_not_believed(forge: Callable[[], Exchange]) -> None:
    with pytest.raises(BadSignatureError):
        an_opened(forge())


def test_a_claim_that_was_addressed_to_somebody_else_is_not_ours() -> None:
    with pytest.raises(BadSignatureError, match=r"exchange\.not-for-us"):
        an_opened(delivered(), party=OTHER_INSURER)


def test_a_claim_that_has_expired_is_held() -> None:
    with pytest.raises(HeldError):
        an_opened(delivered(expires=NOW - timedelta(seconds=1)))


def test_an_unknown_stamp_key_waits_for_the_next_release() -> None:
    stranger = PrivateKey.generate("core/stamp/9", "Ed25519")
    genuine = delivered()
    stamp = a_stamp(genuine.manifest, genuine.dossier, role="core", key="case_transit0001")

    with pytest.raises(UnknownKeyError):
        an_opened(genuine.restamped(_stamped_with(stamp, stranger)))


def _stamped_with(stamp: Stamp, key: PrivateKey) -> str:
    return sign(compact(stamp.model_dump(mode="json", exclude_none=True)), key, Typ.STAMP)


def test_cores_word_on_an_answer_is_read_as_signed() -> None:
    assert read_outcome(told(ACCEPTED), world().directory, party=INSURER, now=NOW) == ACCEPTED


@pytest.mark.parametrize(
    "exchange",
    [
        told(ACCEPTED.model_copy(update={"to": OTHER_INSURER})),
        told(ACCEPTED, role="hk"),
        told(ACCEPTED, key="case_another0001"),
        delivered(),
    ],
    ids=["to somebody else", "not by core", "in another stream", "a claim instead"],
)
def test_a_word_that_is_not_cores_to_us_is_not_believed(exchange: Exchange) -> None:
    with pytest.raises(BadSignatureError):
        read_outcome(exchange, world().directory, party=INSURER, now=NOW)
