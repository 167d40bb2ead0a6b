"""Entries, leaves, commitments and proof files; and what a source promises over the whole log."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.leaf import Leaf, SourceLedger, parse_leaf, read_canonical
from audit.merkle import VerificationError
from audit.note import parse_note
from audit.proof import (
    TlogProof,
    check_disclosure,
    commit,
    field_key,
    open_entry,
    parse_proof,
    sign_entry,
    split_entry,
)
from gateway.protocol.canonical import canonical
from tests.unit.audit_logs import LOG, SOURCES, a_body, entries_of

SOURCE = SOURCES["szhk/sz"]
SECRET = b"\x07" * 32
FIELD_KEY_HEX = "7a590efdd8610e5d10d638f9e92d75e9b4906da4a89ca4be57962194708fefea"  # worked by hand from RFC 5869
COMMITMENT = "tT3wj2VudaoTmugMDiFsU9ZLgkGBrNn2e2zPPO6Lj/A="
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_read_back_and_equals_an_outside_writer_s(value: Any) -> None:
    assert read_canonical(canonical(value)) == value


@given(st.text(max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_give_canonical_json_or_the_one_error(raw: bytes) -> None:
    try:
        value = read_canonical(raw)
    except VerificationError:
        return

    assert canonical(value) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":NaN}',
        b'{"a":-0}',
        b'{"a":9007199254740992}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
        b"\xef\xbb\xbf{}",
        b"{}\n",
    ],
)
def test_json_in_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        read_canonical(raw)


def test_an_entry_opens_with_its_source_s_key() -> None:
    entry = sign_entry(a_body(), SOURCE)

    assert open_entry(entry, [key.vkey for key in SOURCES.values()]) == (a_body(), SOURCE.name)


def test_an_entry_is_a_signed_note_without_its_first_and_its_empty_line() -> None:
    body, line = split_entry(sign_entry(a_body(), SOURCE))

    note = parse_note(b"szhk-leaf/1\n" + body + b"\n\n" + str(line).encode())

    SOURCE.vkey.verify(note.text, note.lines[0].payload)


@given(st.data())
def test_an_entry_with_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    entry = bytearray(sign_entry(a_body(), SOURCE))
    at = data.draw(st.integers(0, len(entry) * 8 - 1))

    entry[at // 8] ^= 1 << at % 8

    with pytest.raises(VerificationError):
        open_entry(bytes(entry), [SOURCE.vkey])


def test_an_entry_by_an_unknown_source_is_refused() -> None:
    with pytest.raises(VerificationError, match="no known source"):
        open_entry(sign_entry(a_body(), SOURCE), [SOURCES["szhk/hk"].vkey, LOG.vkey])


@pytest.mark.parametrize("body", [b"", b"two\nlines"])
def test_a_body_that_is_not_one_line_is_not_signed(body: bytes) -> None:
    with pytest.raises(VerificationError):
        sign_entry(body, SOURCE)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_an_entry_or_the_one_error(raw: bytes) -> None:
    try:
        body, line = split_entry(raw)
    except VerificationError:
        return

    assert body + b"\n" + str(line).encode() == raw


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"typ": ""},
        {"eid": 7},
        {"src": None},
        {"sq": 0},
        {"sq": "1"},
        {"sq": True},
        {"t": None},
        {"cref": ""},
        {"pv": 1},
        {"cm": []},
        {"cm": {"amount": 1}},
    ],
)
def test_a_leaf_with_a_wrong_value_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        parse_leaf(a_body(**change))


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'{"v":1}'])
def test_what_is_no_leaf_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_leaf(raw)


def test_a_disclosed_value_opens_its_commitment_and_no_other() -> None:
    key = field_key(SECRET, "e1", "amount")
    leaf = parse_leaf(a_body(eid="e1", cm={"amount": commit(key, "e1", "amount", b"12345")}))

    check_disclosure(leaf, "amount", key, b"12345")

    with pytest.raises(VerificationError, match="does not open"):
        check_disclosure(leaf, "amount", key, b"12346")
    with pytest.raises(VerificationError, match="does not open"):
        check_disclosure(leaf, "amount", field_key(SECRET, "e2", "amount"), b"12345")
    with pytest.raises(VerificationError, match="no commitment"):
        check_disclosure(leaf, "diagnosis", key, b"12345")


def test_a_field_s_key_is_its_own_for_every_case_event_and_field() -> None:
    keys = {
        field_key(SECRET, "e1", "amount"),
        field_key(SECRET, "e1", "diagnosis"),
        field_key(SECRET, "e2", "amount"),
        field_key(b"\x08" * 32, "e1", "amount"),
    }

    assert len(keys) == 4


def test_the_derivation_of_a_field_s_key_does_not_change_unseen() -> None:
    assert field_key(SECRET, "e1", "amount").hex() == FIELD_KEY_HEX
    assert commit(field_key(SECRET, "e1", "amount"), "e1", "amount", b"12345") == COMMITMENT


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(VerificationError):
        field_key(SECRET[:-1], "e1", "amount")


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    st.binary(max_size=100),
)
def test_a_proof_file_is_read_back(index: int, path: tuple[bytes, ...], extra: bytes) -> None:
    proof = TlogProof(index, path, b"any checkpoint\n\nwith lines\n", extra)

    assert parse_proof(bytes(proof)) == proof


@given(st.binary(max_size=100).map(lambda tail: b"c2sp.org/tlog-proof@v1\n" + tail) | st.binary(max_size=100))
def test_any_bytes_give_a_proof_or_the_one_error(raw: bytes) -> None:
    try:
        proof = parse_proof(raw)
    except VerificationError:
        return

    assert bytes(proof) == raw


@pytest.mark.parametrize(
    "lines",
    [
        ["c2sp.org/tlog-proof@v2", "index 0"],
        ["c2sp.org/tlog-proof@v1"],
        ["c2sp.org/tlog-proof@v1", "index 00"],
        ["c2sp.org/tlog-proof@v1", "index -1"],
        ["c2sp.org/tlog-proof@v1", "extra AB==", "index 0"],
        ["c2sp.org/tlog-proof@v1", "index 0", "extra AAAA"],
        ["c2sp.org/tlog-proof@v1", "index 0", *(["A" * 43 + "="] * 64)],
    ],
)
def test_a_malformed_proof_is_refused(lines: list[str]) -> None:
    with pytest.raises(VerificationError):
        parse_proof("\n".join([*lines, "", "checkpoint\n"]).encode())


def _leaves(count: int) -> list[Leaf]:
    return [parse_leaf(split_entry(entry)[0]) for entry in entries_of(count)]


def _ledger(leaves: list[Leaf], first_numbers: dict[str, int] | None = None) -> SourceLedger:
    ledger = SourceLedger(first_numbers)
    for index, leaf in enumerate(leaves):
        ledger.take(index, leaf)
    ledger.finish()
    return ledger


def test_sources_that_keep_their_word_have_no_faults() -> None:
    ledger = _ledger(_leaves(100))

    assert not ledger.sequence_faults
    assert not ledger.chain_faults
    assert ledger.ranges() == {"szhk/core": (1, 33), "szhk/hk": (1, 33), "szhk/sz": (1, 34)}


@given(st.permutations(range(30)))
def test_the_order_in_which_sources_meet_in_the_log_does_not_matter(order: list[int]) -> None:
    leaves = _leaves(30)

    ledger = _ledger([leaves[at] for at in order])

    assert not ledger.sequence_faults
    assert not ledger.chain_faults


@given(st.integers(0, 29))
def test_a_left_out_event_shows_as_a_gap_unless_it_was_its_source_s_last(left_out: int) -> None:
    leaves = _leaves(30)

    ledger = _ledger([*leaves[:left_out], *leaves[left_out + 1 :]])

    is_last = left_out >= 27
    assert len(ledger.sequence_faults) == (0 if is_last else 1)
    if not is_last:
        name, number = leaves[left_out].src, leaves[left_out].sq
        assert f"source {name}: number {number} is missing" in str(ledger.sequence_faults[0])


def test_an_event_that_stands_twice_is_named() -> None:
    leaves = _leaves(6)

    ledger = _ledger([*leaves, leaves[2]])

    assert [fault.index for fault in ledger.sequence_faults] == [6, 6]
    assert "event id" in str(ledger.sequence_faults[0])
    assert "used twice" in str(ledger.sequence_faults[1])


def test_a_claim_whose_chain_is_broken_is_named() -> None:
    first = parse_leaf(a_body(sq=1, cref="c"))
    forked = parse_leaf(a_body(sq=2, cref="c", pv=None))

    ledger = _ledger([first, forked])

    assert [(cref, fault.index) for cref, fault in ledger.chain_faults] == [("c", 1)]


def test_a_log_that_goes_on_from_last_year_s_starts_where_the_trust_says() -> None:
    first = parse_leaf(a_body(sq=41, cref="c", pv="of-last-year"))
    second = parse_leaf(a_body(sq=42, cref="c", pv=first.eid))

    continued, unexpected = _ledger([first, second], {first.src: 41}), _ledger([first, second])

    assert not continued.sequence_faults
    assert not continued.chain_faults
    assert "number 1 to 40 is missing" in str(unexpected.sequence_faults[0])
