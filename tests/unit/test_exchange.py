"""The exchange object on the wire: what is read, what is refused, how content is packed, and how big it may be."""

import gzip
import tracemalloc
import zlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.canonical import compact
from gateway.protocol.errors import GatewayError, InvalidInputError, MalformedInputError, TooLargeError
from gateway.protocol.exchange import (
    CONTENT_BYTES_MAX,
    EXCHANGE_BYTES_MAX,
    Exchange,
    Posted,
    Stamp,
    check_sizes,
    content_hash,
    pack,
    parse_message,
    read_payload,
    text_hash,
    unpack,
    within_window,
)
from gateway.protocol.messages import MANIFESTS, MESSAGES, parse_manifest, parse_role_message
from gateway.protocol.messages.submitted import SubmittedManifest
from tests.parties import NOW, a_decision, a_stamp, a_submitted, an_exchange

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PARTS = st.builds(Exchange, TEXT, TEXT | st.none(), TEXT | st.none(), TEXT | st.none())


@given(PARTS)
def test_an_exchange_object_reads_back_as_it_was_written(exchange: Exchange) -> None:
    assert Exchange.decode(exchange.encode()) == exchange


@given(TEXT, TEXT | st.none())
def test_a_posted_object_reads_back_as_it_was_written(manifest: str, dossier: str | None) -> None:
    assert Posted.decode(Posted(manifest, dossier).encode()) == Posted(manifest, dossier)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"manifest": "a"},
        {"stamp": "a", "other": "b"},
        {"stamp": 1},
        {"stamp": None},
        {"stamp": "a", "dossier": {"ciphertext": "x"}},
    ],
)
def test_an_exchange_of_another_form_is_malformed(found: dict[str, Any]) -> None:
    with pytest.raises(MalformedInputError, match=r"exchange\.malformed"):
        Exchange.decode(compact(found))


@pytest.mark.parametrize("found", [{}, {"dossier": "a"}, {"manifest": "a", "stamp": "b"}, {"manifest": 1}])
def test_a_party_posts_a_manifest_and_at_most_a_dossier(found: dict[str, Any]) -> None:
    with pytest.raises(MalformedInputError, match=r"exchange\.malformed"):
        Posted.decode(compact(found))


@given(st.binary(max_size=300))
def test_any_bytes_give_an_exchange_or_the_one_error(raw: bytes) -> None:
    for read in (Exchange.decode, Posted.decode):
        try:
            read(raw)
        except MalformedInputError:
            continue


def test_an_object_over_256_kib_is_refused_whole() -> None:
    over = Exchange(stamp="s" * EXCHANGE_BYTES_MAX)

    with pytest.raises(TooLargeError):
        Exchange.decode(over.encode())
    with pytest.raises(TooLargeError, match=r"exchange\.too-large"):
        Posted.decode(Posted("m" * EXCHANGE_BYTES_MAX).encode())


def test_what_passes_the_size_check_fits_on_the_bus_with_its_stamps() -> None:
    room = EXCHANGE_BYTES_MAX - 16 * 1024
    stamp = an_exchange().stamp

    check_sizes(["m" * (room // 2), "d" * (room // 2), None])
    fitting = Exchange(stamp=stamp, receipt=stamp, manifest="m" * (room // 2), dossier="d" * (room // 2))

    assert len(fitting.encode()) <= EXCHANGE_BYTES_MAX
    with pytest.raises(InvalidInputError, match=r"claim\.too-large"):
        check_sizes(["m" * (room + 1)])


@given(st.binary(max_size=2000))
def test_packing_is_deterministic_and_undone_by_unpacking(content: bytes) -> None:
    packed = pack(content)

    assert pack(content) == packed
    assert content_hash(pack(content)) == content_hash(packed)
    assert unpack(packed) == content
    assert gzip.decompress(packed) == content


@given(st.binary(max_size=300))
def test_any_bytes_unpack_or_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedInputError, match=r"dossier\.malformed"):
        unpack(raw)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_cut_or_lengthened_package_is_malformed(content: bytes, data: st.DataObject) -> None:
    packed = pack(content)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]

    for other in (cut, packed + b"\0", packed + pack(content)):
        with pytest.raises(MalformedInputError, match=r"dossier\.malformed"):
            unpack(other)


def test_a_zip_bomb_is_refused_before_it_takes_memory() -> None:
    deflate = zlib.compressobj(wbits=31)
    mebibyte = bytes(1 << 20)
    bomb = b"".join(deflate.compress(mebibyte) for _ in range(200)) + deflate.flush()
    assert len(bomb) < EXCHANGE_BYTES_MAX

    tracemalloc.start()
    with pytest.raises(TooLargeError, match=r"claim\.too-large"):
        unpack(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3 * CONTENT_BYTES_MAX


def test_content_of_the_largest_size_still_unpacks() -> None:
    largest = bytes(CONTENT_BYTES_MAX)

    assert unpack(pack(largest)) == largest
    with pytest.raises(TooLargeError):
        unpack(pack(largest + b"\0"))


def test_an_accepting_edge_refuses_an_unknown_field_and_an_inner_reader_ignores_it() -> None:
    found = a_submitted().model_dump(mode="json") | {"surprise": "x"}

    with pytest.raises(InvalidInputError, match=r"message\.invalid") as refused:
        parse_manifest(found, accepting=True)

    assert [(fault.code, fault.pointer) for fault in refused.value.faults] == [("field.extra-forbidden", "")]
    assert parse_manifest(found, accepting=False) == a_submitted()


def test_unknown_fields_inside_are_treated_like_those_outside() -> None:
    found = a_submitted().model_dump(mode="json")
    found["programme"]["surprise"] = "x"

    with pytest.raises(InvalidInputError) as refused:
        parse_manifest(found, accepting=True)

    assert [fault.pointer for fault in refused.value.faults] == ["/programme"]
    assert parse_manifest(found, accepting=False) == a_submitted()


@pytest.mark.parametrize("kind", [*sorted(MESSAGES), "", "Submitted", "release"])
def test_a_manifest_of_an_unknown_type_is_refused(kind: str) -> None:
    assert kind not in MANIFESTS
    with pytest.raises(InvalidInputError, match=r"message\.type-unknown"):
        parse_manifest(a_submitted().model_dump(mode="json") | {"type": kind}, accepting=False)


@pytest.mark.parametrize("kind", sorted(MANIFESTS))
def test_a_role_never_speaks_in_a_party_s_type(kind: str) -> None:
    with pytest.raises(InvalidInputError, match=r"message\.type-unknown"):
        parse_role_message(a_decision().model_dump(mode="json") | {"type": kind})


def faults_of_submitted(**changes: Any) -> list[str]:
    found = a_submitted().model_dump(mode="json") | changes
    with pytest.raises(InvalidInputError) as refused:
        parse_manifest(found, accepting=True)
    return sorted(fault.code for fault in refused.value.faults)


def test_a_claim_whose_sums_are_wrong_is_refused() -> None:
    assert faults_of_submitted(unpaid_minor=119_999) == ["field.total-not-paid-plus-unpaid"]
    assert faults_of_submitted(line_amounts_minor=[2**53 - 1, 1]) == ["field.line-amount"]
    assert faults_of_submitted(line_amounts_minor=[120_001, -1]) == ["field.line-amount"]
    assert faults_of_submitted(payee="insured") == ["field.payee-against-billing-mode"]


def test_a_hospital_never_asks_for_what_is_already_paid() -> None:
    paid = [{"kind": "cash", "amount_minor": 20_000, "order": 1}]

    assert faults_of_submitted(paid=paid, unpaid_minor=100_000, asked_minor=100_001) == ["field.asked-over-unpaid"]


def test_every_fault_is_named_at_once_and_no_value_is_repeated() -> None:
    secret = "QQ1234567"
    found = a_submitted().model_dump(mode="json") | {"currency": secret, "payer_rank": 0, "use": secret}

    with pytest.raises(InvalidInputError) as refused:
        parse_manifest(found, accepting=True)

    assert {fault.pointer for fault in refused.value.faults} == {"/currency", "/payer_rank", "/use"}
    assert secret not in str(refused.value.problem("req_1"))


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_an_amount_is_an_integer_and_nothing_like_it(value: object) -> None:
    assert faults_of_submitted(asked_minor=value) != []


@pytest.mark.parametrize("field", ["msg_id", "case_id", "claim_id", "claim_token", "carrier", "payer", "in_reply_to"])
@pytest.mark.parametrize("value", ["nul\0nul-nul", "line\nbreak-1", "名字名字名字名字", "x" * 4000])
def test_an_id_that_no_database_or_log_could_hold_is_refused(field: str, value: str) -> None:
    assert faults_of_submitted(**{field: value}) != []


@pytest.mark.parametrize("version", [0, -1, 2**31, 2**63])
def test_a_claim_version_stays_small(version: int) -> None:
    assert faults_of_submitted(claim_version=version) != []


def test_a_receipt_token_obeys_the_same_rule() -> None:
    assert faults_of_submitted(receipt_tokens=["nul\0"]) != []
    assert faults_of_submitted(receipt_tokens=[]) != []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4), st.data())
def test_any_value_in_any_field_gives_a_manifest_or_a_gateway_error(value: Any, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(SubmittedManifest.model_fields)))
    found = a_submitted().model_dump(mode="json") | {field: value}

    try:
        manifest = parse_manifest(found, accepting=True)
    except GatewayError:
        return

    assert manifest.model_dump(mode="json")[field] is not None or value is None


def test_a_stamp_survives_its_json() -> None:
    stamp = a_stamp("manifest", None)

    assert parse_message(Stamp, stamp.model_dump(mode="json")) == stamp
    assert stamp.manifest_sha256 == text_hash("manifest")
    assert text_hash(None) is None


def test_a_time_without_offset_is_no_time() -> None:
    assert faults_of_submitted(sent_at="2026-03-02T01:00:00") == ["field.timezone-aware"]


def test_the_time_window_is_closed_on_both_sides() -> None:
    window = timedelta(seconds=300)

    assert within_window(NOW - window, NOW, 300)
    assert within_window(NOW + window, NOW, 300)
    assert not within_window(NOW + window + timedelta(milliseconds=1), NOW, 300)


@given(st.text(max_size=60))
def test_any_text_gives_a_payload_or_the_one_error(token: str) -> None:
    with pytest.raises(MalformedInputError):
        read_payload(token)


def test_everything_that_is_wrong_with_a_posted_object_is_named_at_its_place() -> None:
    found = {"dossier": 7, "QQ-canary": "x"}

    with pytest.raises(MalformedInputError) as refused:
        Posted.decode(compact(found))

    named = [(fault.code, fault.pointer) for fault in refused.value.faults]
    assert named == [("field.missing", "/manifest"), ("field.string-type", "/dossier"), ("field.extra-forbidden", "")]
    wrong_manifests: tuple[Any, ...] = (None, 7, {})
    for wrong in wrong_manifests:
        with pytest.raises(MalformedInputError) as refused:
            Posted.decode(compact({"manifest": wrong}))
        assert [(one.code, one.pointer) for one in refused.value.faults] == [("field.string-type", "/manifest")]
