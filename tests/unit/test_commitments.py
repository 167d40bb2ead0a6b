"""What a role authors and what an auditor verifies are written apart: entries, commitments, verifier keys agree."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.leaf import parse_leaf
from audit.merkle import VerificationError
from audit.note import ED25519_COSIGNATURE, VerifierKey, parse_vkey
from audit.proof import check_disclosure, commit, open_entry
from audit.proof import field_key as auditors_field_key
from gateway.protocol.canonical import canonical
from gateway.protocol.commitments import commitments, entry, field_key, note_key_id, verifier_key
from gateway.protocol.jose import PrivateKey

KEY = PrivateKey.generate("core/audit/1", "Ed25519")
OTHER = PrivateKey.generate("core/audit/1", "Ed25519")
SECRETS = st.binary(min_size=32, max_size=32)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def vkey(key: PrivateKey = KEY, name: str = "core") -> VerifierKey:
    return parse_vkey(verifier_key(name, key.public))


def a_body(**changes: Any) -> dict[str, Any]:
    body = {
        "v": 1,
        "typ": "claim.received",
        "eid": "ev_synthetic0001",
        "src": "core",
        "sq": 1,
        "t": "2026-03-02T01:00:00.000Z",
        "cref": "case_synthetic0001",
        "pv": None,
        "cm": {},
        "clr": {"state": "received"},
    }
    return body | changes


@given(SECRETS, st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))
def test_an_auditor_opens_every_commitment_that_a_role_authored(secret: bytes, facts: dict[str, Any]) -> None:
    raw = entry(a_body(cm=commitments(secret, "ev_synthetic0001", facts)), "core", KEY)

    body, source = open_entry(raw, [vkey()])
    leaf = parse_leaf(body)

    assert source == "core"
    assert set(leaf.commitments) == set(facts)
    for name, value in facts.items():
        check_disclosure(leaf, name, field_key(secret, leaf.eid, name), canonical(value))


@given(SECRETS, NAMES, VALUES)
def test_both_halves_derive_the_same_key_and_commitment(secret: bytes, name: str, value: Any) -> None:
    key = field_key(secret, "ev_1", name)

    assert key == auditors_field_key(secret, "ev_1", name)
    assert commitments(secret, "ev_1", {name: value}) == {name: commit(key, "ev_1", name, canonical(value))}


def test_a_commitment_opens_to_its_own_value_field_and_event_only() -> None:
    secret = b"\x07" * 32
    made = commitments(secret, "ev_1", {"asked_minor": 120_000, "total_minor": 120_000})
    leaf = parse_leaf(canonical(a_body(eid="ev_1", cm=made)))
    key = field_key(secret, "ev_1", "asked_minor")

    assert made["asked_minor"] != made["total_minor"]
    assert made != commitments(secret, "ev_2", {"asked_minor": 120_000, "total_minor": 120_000})
    check_disclosure(leaf, "asked_minor", key, b"120000")
    for name, field, value in (
        ("asked_minor", key, b"120001"),
        ("total_minor", key, b"120000"),
        ("currency", key, b"120000"),
        ("asked_minor", field_key(bytes(32), "ev_1", "asked_minor"), b"120000"),
    ):
        with pytest.raises(VerificationError):
            check_disclosure(leaf, name, field, value)


@given(VALUES)
def test_an_entry_of_another_key_or_name_is_nobody_s(value: Any) -> None:
    raw = entry(a_body(clr={"value": value}), "core", KEY)

    assert open_entry(raw, [vkey(OTHER), vkey()])[1] == "core"
    for wrong in (vkey(OTHER), vkey(name="hk")):
        with pytest.raises(VerificationError):
            open_entry(raw, [wrong])


def test_a_changed_entry_does_not_verify() -> None:
    raw = entry(a_body(), "core", KEY)

    with pytest.raises(VerificationError):
        open_entry(raw.replace(b'"received"', b'"returned"'), [vkey()])


def test_a_signature_of_another_domain_is_no_entry() -> None:
    body = canonical(a_body())
    token = entry(a_body(), "core", KEY)
    assert token.startswith(body + b"\n")

    with pytest.raises(VerificationError):
        open_entry(token.replace("— core".encode(), "— hk".encode()), [vkey(name="hk")])


@pytest.mark.parametrize("name", ["core", "witness-hk", "log.example/szhk-audit/2026"])
def test_a_verifier_key_is_read_by_the_auditor_as_it_was_written(name: str) -> None:
    signing = parse_vkey(verifier_key(name, KEY.public))
    cosigning = parse_vkey(verifier_key(name, KEY.public, b"\x04"))

    assert str(signing) == verifier_key(name, KEY.public)
    assert signing.name == cosigning.name == name
    assert str(cosigning) != str(signing)
    assert ED25519_COSIGNATURE == 4  # C2SP tlog-cosignature
    assert len(note_key_id(name, b"key")) == 4
