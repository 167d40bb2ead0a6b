"""The verifier over entries: sources, numbering, chains; one claim, one entry, one proof file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.proof import parse_proof, sign_entry, split_entry
from audit.verify import main
from tests.unit.audit_logs import (
    SOURCES,
    BuiltLog,
    a_body,
    a_log,
    a_trust,
    ed25519,
    entries_of,
    flipped,
    verify,
)

SIZE = 300


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> BuiltLog:
    return a_log(tmp_path_factory.mktemp("log") / "served", entries_of(SIZE), batches=[5, 255, 260])


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    return a_trust(tmp_path / "trust.json")


def test_a_forged_source_signature_fails_and_the_entry_is_named(tmp_path: Path, trust: Path) -> None:
    entries = entries_of(9)
    body, line = split_entry(entries[3])
    forged = body.replace(b"claim.submitted", b"claim.withdrawn") + b"\n" + str(line).encode()
    built = a_log(tmp_path / "log", [*entries[:3], forged, *entries[4:]])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.verdicts["inclusion"] == "ok"
    assert told.faults("sources") == [{"index": 3, "reason": "the signature does not verify"}]


def test_a_source_cannot_speak_for_another(tmp_path: Path, trust: Path) -> None:
    spoken = sign_entry(a_body("szhk/sz", 1), SOURCES["szhk/hk"])
    built = a_log(tmp_path / "log", [spoken])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.faults("sources")[0]["index"] == 0


def test_an_entry_by_an_unknown_source_key_is_inconclusive(tmp_path: Path, trust: Path) -> None:
    stranger = ed25519("szhk/stranger", 91)
    built = a_log(tmp_path / "log", [*entries_of(6), sign_entry(a_body(stranger.name, 1), stranger)])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 4
    assert told.faults("sources")[0]["index"] == 6


def test_without_source_keys_nobody_s_signature_is_claimed(log: BuiltLog, tmp_path: Path) -> None:
    trust = a_trust(tmp_path / "trust.json", sources=None)

    told = verify("log", "--log", log.folder, "--trust", trust)

    assert told.code == 4
    assert told.verdicts["sources"] == "inconclusive"


@pytest.mark.parametrize("entry", [b"no entry", a_body() + b"\n", b"\n"])
def test_an_entry_that_is_no_leaf_fails(entry: bytes, tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", [*entries_of(3), entry])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.faults("sources")[0]["index"] == 3


def test_a_log_that_is_not_ours_is_checked_without_reading_its_entries(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", [b"one", b"two"])

    told = verify("log", "--log", built.folder, "--trust", trust, "--opaque")

    assert told.code == 0
    assert told.verdicts["sources"] == "not asked"


def test_a_gap_in_a_source_s_numbers_fails_and_is_named(tmp_path: Path, trust: Path) -> None:
    entries = entries_of(12, claims=12)
    built = a_log(tmp_path / "log", [*entries[:3], *entries[4:]])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert "source szhk/sz: number 2 is missing" in told.faults("sequence")[0]["reason"]


def test_a_broken_chain_of_a_claim_fails(tmp_path: Path, trust: Path) -> None:
    bodies = [a_body(sq=1, cref="c"), a_body(sq=2, cref="c", pv="nothing-known")]
    built = a_log(tmp_path / "log", [sign_entry(body, SOURCES["szhk/sz"]) for body in bodies])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert [fault["index"] for fault in told.faults("chain")] == [1]


def test_every_event_of_a_claim_is_shown_in_order_and_proved(log: BuiltLog, trust: Path) -> None:
    told = verify("claim", "--log", log.folder, "--trust", trust, "--cref", "claim-3")

    assert told.code == 0
    assert [event["index"] for event in told.report["events"]] == list(range(3, SIZE, 7))
    assert all(event["leaf"]["cref"] == "claim-3" for event in told.report["events"])
    assert told.report["states"][-1]["detail"] == "complete up to this checkpoint: 43 events from 3 sources"


def test_a_claim_is_not_called_complete_while_a_number_is_missing(tmp_path: Path, trust: Path) -> None:
    entries = entries_of(30)
    built = a_log(tmp_path / "log", [*entries[:11], *entries[12:]])

    told = verify("claim", "--log", built.folder, "--trust", trust, "--cref", "claim-0")

    assert told.code == 3
    assert told.verdicts["claim"] == "inconclusive"


def test_a_claim_that_lost_an_event_is_not_complete(tmp_path: Path, trust: Path) -> None:
    bodies = [a_body(sq=1, cref="c"), a_body(sq=2, cref="c", pv=None)]
    built = a_log(tmp_path / "log", [sign_entry(body, SOURCES["szhk/sz"]) for body in bodies])

    told = verify("claim", "--log", built.folder, "--trust", trust, "--cref", "c")

    assert told.code == 3
    assert told.faults("claim")[0]["index"] == 1


def test_a_claim_the_log_does_not_know_fails(log: BuiltLog, trust: Path) -> None:
    told = verify("claim", "--log", log.folder, "--trust", trust, "--cref", "unheard-of")

    assert told.code == 3
    assert told.verdicts["claim"] == "failed"


@pytest.mark.parametrize("asked", [("--index", 299), ("--eid", "szhk/hk-100")])
def test_an_entry_is_found_and_proved_alone(asked: tuple[str, object], log: BuiltLog, trust: Path) -> None:
    told = verify("entry", "--log", log.folder, "--trust", trust, *asked)

    assert told.code == 0
    assert [event["index"] for event in told.report["events"]] == [299]
    assert told.verdicts["inclusion"] == "ok"
    assert told.verdicts["sources"] == "ok"


@pytest.mark.parametrize("asked", [("--index", 300), ("--index", -1), ("--eid", "unheard-of")])
def test_an_entry_the_log_does_not_have_fails(asked: tuple[str, object], log: BuiltLog, trust: Path) -> None:
    told = verify("entry", "--log", log.folder, "--trust", trust, *asked)

    assert told.code == 3
    assert told.verdicts["inclusion"] == "failed"


def test_an_entry_under_a_damaged_tile_is_not_proved(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(9))

    with flipped(built.folder / "tile/0/000.p/9", 700):
        told = verify("entry", "--log", built.folder, "--trust", trust, "--index", 0)

    assert told.code == 3
    assert told.faults("inclusion")[0]["index"] == 0


def test_a_saved_proof_stands_alone(log: BuiltLog, trust: Path, tmp_path: Path) -> None:
    file = tmp_path / "7.tlog-proof"
    verify("entry", "--log", log.folder, "--trust", trust, "--index", 7, "--save-proof", file)

    told = verify("proof", file, "--trust", trust)

    assert told.code == 0
    assert told.report["events"][0]["index"] == 7
    assert told.verdicts["inclusion"] == "ok"


def test_a_proof_takes_its_entry_from_beside_it(log: BuiltLog, trust: Path, tmp_path: Path) -> None:
    file, entry = tmp_path / "7.tlog-proof", tmp_path / "entry"
    verify("entry", "--log", log.folder, "--trust", trust, "--index", 7, "--save-proof", file)
    proof = parse_proof(file.read_bytes())
    file.write_bytes(bytes(type(proof)(proof.index, proof.path, proof.checkpoint)))

    entry.write_bytes(log.entries[7])
    good = verify("proof", file, "--trust", trust, "--entry", entry)
    entry.write_bytes(log.entries[8])
    bad = verify("proof", file, "--trust", trust, "--entry", entry)

    assert (good.code, bad.code) == (0, 3)
    assert bad.verdicts["inclusion"] == "failed"


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_proof_with_a_flipped_bit_never_passes(log: BuiltLog, data: st.DataObject) -> None:
    trust = log.folder.parent / "trust-for-proofs.json"
    file = log.folder.parent / "flipped.tlog-proof"
    arguments = ["--log", str(log.folder), "--trust", str(a_trust(trust))]
    main(["entry", *arguments, "--index", "7", "--save-proof", str(file)])

    with flipped(file, data.draw(st.integers(0, file.stat().st_size * 8 - 1))):
        code = main(["proof", str(file), "--trust", str(trust)])

    assert code in {3, 4}
