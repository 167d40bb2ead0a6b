"""Witness policies: two witnesses a side, one of each needed; files that are ambiguous or malformed are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.checkpoint import Policy, parse_policy
from audit.merkle import VerificationError
from audit.note import ED25519_COSIGNATURE, VerifierKey
from tests.unit.audit_logs import LOG, ed25519

KEYS = {
    name: ed25519(f"witness.{name}.example.org", seed, ED25519_COSIGNATURE).vkey
    for seed, name in enumerate(("sz1", "sz2", "hk1", "hk2"), start=20)
}
TWO_SIDES = f"""
# two witnesses a side: one may be away
log {LOG.vkey} https://audit.example.org/log/2026/
witness sz1 {KEYS["sz1"]} https://witness.example.org/sz1
\twitness  sz2\t{KEYS["sz2"]}
witness hk1 {KEYS["hk1"]}
witness hk2 {KEYS["hk2"]}
group sz any sz1 sz2
group hk 1 hk1 hk2
group both all sz hk
quorum both
"""


@pytest.mark.parametrize(
    ("cosigners", "met"),
    [
        ({"sz1", "hk1"}, True),
        ({"sz2", "hk2"}, True),
        ({"sz1", "sz2", "hk1", "hk2"}, True),
        ({"sz1", "sz2"}, False),
        ({"hk1", "hk2"}, False),
        (set(), False),
    ],
)
def test_a_checkpoint_needs_a_witness_from_each_side(cosigners: set[str], met: bool) -> None:
    policy = parse_policy(TWO_SIDES.encode())

    assert policy.is_met_by({KEYS[name] for name in cosigners}) is met


def test_a_policy_tells_keys_and_urls() -> None:
    policy = parse_policy(TWO_SIDES.encode())

    assert policy.witness_keys == tuple(KEYS.values())
    assert policy.witnesses["sz1"].url == "https://witness.example.org/sz1"
    assert policy.witnesses["sz2"].url == ""
    assert [(party.key, party.url) for party in policy.logs] == [(LOG.vkey, "https://audit.example.org/log/2026/")]


def test_a_policy_may_ask_for_no_witness() -> None:
    assert parse_policy(b"quorum none\n").is_met_by(set())
    assert Policy.all_of([]).is_met_by(set())


def test_all_of_some_keys_means_every_one_of_them() -> None:
    keys = list(KEYS.values())
    policy = Policy.all_of(keys)

    assert policy.is_met_by(set(keys))
    assert not policy.is_met_by(set(keys[1:]))


@given(st.sets(st.sampled_from(sorted(KEYS))), st.integers(1, 4))
def test_a_threshold_counts_members(cosigners: set[str], threshold: int) -> None:
    witnesses = "".join(f"witness {name} {key}\n" for name, key in KEYS.items())
    policy = parse_policy(f"{witnesses}group g {threshold} {' '.join(KEYS)}\nquorum g\n".encode())

    assert policy.is_met_by({KEYS[name] for name in cosigners}) is (len(cosigners) >= threshold)


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "quorum sz1",
        "quorum none\nquorum none",
        "witness none {sz1}\nquorum none",
        "witness a {sz1}\nwitness a {sz2}\nquorum a",
        "witness a {sz1}\nwitness b {sz1}\nquorum a",
        "witness a {log}\nquorum a",
        "log {sz1}\nquorum none",
        "witness a {sz1} url more\nquorum a",
        "group g any a\nquorum g",
        "group g any\nquorum none",
        "witness a {sz1}\ngroup g 0 a\nquorum g",
        "witness a {sz1}\ngroup g 2 a\nquorum g",
        "witness a {sz1}\ngroup g 01 a\nquorum g",
        "witness a {sz1}\ngroup g any a a\nquorum g",
        "witness a {sz1}\ngroup g any a\ngroup h any a\nquorum g",
        "witness a {sz1}\ngroup g any g\nquorum g",
        "unknown line\nquorum none",
        "quorum none\x00",
        "quorum none\r",
        "\n" * 1001 + "quorum none",
    ],
)
def test_what_is_no_policy_is_refused(lines: str) -> None:
    text = lines.format(log=LOG.vkey, **KEYS)

    with pytest.raises(VerificationError):
        parse_policy(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_give_a_policy_or_the_one_error(raw: bytes) -> None:
    try:
        policy = parse_policy(raw)
    except VerificationError:
        return

    assert policy.quorum is None


def test_a_policy_names_every_key_by_its_own_type() -> None:
    assert {key.kind for key in parse_policy(TWO_SIDES.encode()).witness_keys} == {ED25519_COSIGNATURE}
    assert all(isinstance(key, VerifierKey) for key in KEYS.values())
