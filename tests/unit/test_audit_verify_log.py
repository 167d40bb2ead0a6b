"""The verifier over whole logs: sound, damaged, rewritten; its head, its witnesses, its files one by one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.note import parse_note
from audit.verify import main
from tests.unit.audit_logs import (
    LOG,
    WITNESS_SZ,
    WITNESSES,
    BuiltLog,
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


def test_a_sound_log_is_answered_question_by_question(log: BuiltLog, trust: Path) -> None:
    told = verify("log", "--log", log.folder, "--trust", trust)

    assert (told.code, told.said) == (0, "")
    assert told.verdicts == {
        "signature": "ok",
        "witness witness.sz.example.org/w1": "ok",
        "witness witness.hk.example.org/w1": "ok",
        "quorum": "ok",
        "freshness": "not asked",
        "inclusion": "ok",
        "sources": "ok",
        "sequence": "ok",
        "chain": "ok",
    }
    assert told.report["log"]["size"] == SIZE


def test_the_report_for_people_says_the_same(log: BuiltLog, trust: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["log", "--log", str(log.folder), "--trust", str(trust)])

    told = capsys.readouterr().out.splitlines()
    assert code == 0
    assert told[0].startswith(f"{LOG.name}, {SIZE} entries, root ")
    assert len(told) == 10


def test_an_empty_log_verifies(tmp_path: Path, trust: Path) -> None:
    empty = a_log(tmp_path / "log", [])

    told = verify("log", "--log", empty.folder, "--trust", trust)

    assert told.code == 0
    assert told.report["log"]["size"] == 0


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 513])
def test_a_log_of_any_shape_verifies(size: int, tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(size), batches=range(0, size, 100))

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert (told.code, told.report["unjudged"]) == (0, [])


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_flipped_bit_in_any_served_file_is_found_and_the_file_is_named(log: BuiltLog, data: st.DataObject) -> None:
    trust = a_trust(log.folder.parent / "trust.json")
    path = data.draw(st.sampled_from(log.files))
    bit = data.draw(st.integers(0, (log.folder / path).stat().st_size * 8 - 1))

    with flipped(log.folder / path, bit):
        told = verify("log", "--log", log.folder, "--trust", trust)

    details = [state["detail"] for state in told.report["states"] if state["verdict"] != "ok"]
    assert told.code == 3 or (told.code == 4 and path == "checkpoint")
    assert any(f"{path}: " in detail for detail in details)


@pytest.mark.parametrize("at", ["first", "last"])
def test_a_flipped_bit_is_blamed_on_its_file_alone(at: str, log: BuiltLog, trust: Path) -> None:
    for path in log.files:
        if path == "checkpoint":
            continue
        bit = 0 if at == "first" else (log.folder / path).stat().st_size * 8 - 1

        with flipped(log.folder / path, bit):
            told = verify("log", "--log", log.folder, "--trust", trust)

        assert told.code == 3
        assert told.blamed() == {path}


def test_a_changed_entry_is_named_by_its_index(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(SIZE))
    bundle = built.folder / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"eid":"szhk/sz-9"', b'"eid":"szhk/sz-8"'))

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.faults("inclusion")[0]["index"] == 24
    assert "tile/entries/000: entry 24: " in told.said


@pytest.mark.parametrize("size", [300, 513])
def test_a_missing_file_is_named(size: int, tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(size))

    for path in built.files:
        gone = built.folder / path
        kept = gone.read_bytes()
        gone.unlink()
        told = verify("log", "--log", built.folder, "--trust", trust)
        gone.write_bytes(kept)

        if path == "checkpoint":
            assert told.code == 1
            assert "checkpoint" in told.said
        else:
            assert told.code == 3
            assert path in told.blamed()


def test_two_swapped_tiles_are_both_named(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(600))
    first, second = built.folder / "tile/0/000", built.folder / "tile/0/001"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.blamed() == {"tile/0/000", "tile/0/001"}


def test_a_history_rewritten_under_a_signed_head_is_found(tmp_path: Path, trust: Path) -> None:
    entries = entries_of(40)
    built = a_log(tmp_path / "log", entries)
    head = (built.folder / "checkpoint").read_bytes()
    a_log(built.folder, [*entries[:10], entries[11], entries[10], *entries[12:]])
    (built.folder / "checkpoint").write_bytes(head)

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.faults("inclusion")[0]["path"] == "checkpoint"


def test_files_beyond_the_checkpoint_are_told_and_not_judged(tmp_path: Path, trust: Path) -> None:
    entries = entries_of(300)
    built = a_log(tmp_path / "log", entries[:250])
    head = (built.folder / "checkpoint").read_bytes()
    a_log(built.folder, entries, batches=[250])
    (built.folder / "checkpoint").write_bytes(head)
    (built.folder / "index.html").write_text("a page")

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 0
    assert {"index.html", "tile/0/000", "tile/0/001.p/44"} <= set(told.report["unjudged"])
    assert "tile/0/000.p/250" not in told.report["unjudged"]


def test_a_missing_cosignature_is_inconclusive(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(9), witnesses=[WITNESS_SZ])

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 4
    assert told.verdicts["witness witness.sz.example.org/w1"] == "ok"
    assert told.verdicts["witness witness.hk.example.org/w1"] == "absent"
    assert told.verdicts["quorum"] == "inconclusive"


def test_a_policy_decides_which_cosignatures_suffice(tmp_path: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(9), witnesses=[WITNESS_SZ])
    sz, hk = (witness.vkey for witness in WITNESSES)
    policy = f"witness sz {sz}\nwitness hk {hk}\ngroup g any sz hk\nquorum g\n"
    trust = a_trust(tmp_path / "trust.json", policy=policy, witnesses=None)

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 0
    assert told.verdicts["witness witness.hk.example.org/w1"] == "absent"
    assert told.verdicts["quorum"] == "ok"


def test_a_forged_cosignature_fails(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(9))
    other = a_log(tmp_path / "other", entries_of(8))
    head = parse_note((built.folder / "checkpoint").read_bytes())
    foreign = parse_note((other.folder / "checkpoint").read_bytes())
    mixed = type(head)(head.text, (head.lines[0], *foreign.lines[1:]))
    (built.folder / "checkpoint").write_bytes(bytes(mixed))

    told = verify("log", "--log", built.folder, "--trust", trust)

    assert told.code == 3
    assert told.verdicts["signature"] == "ok"
    assert told.verdicts["witness witness.hk.example.org/w1"] == "failed"


def test_a_head_by_another_log_key_fails_and_nothing_else_is_claimed(log: BuiltLog, tmp_path: Path) -> None:
    trust = a_trust(tmp_path / "trust.json", log=str(ed25519(LOG.name, 90).vkey))

    told = verify("log", "--log", log.folder, "--trust", trust)

    assert told.code == 3
    assert told.verdicts["signature"] == "failed"
    assert "inclusion" not in told.verdicts
    assert told.report["log"] is None
