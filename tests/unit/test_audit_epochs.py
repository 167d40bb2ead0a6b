"""A source that begins a new epoch: linked to its last entry it is reported openly, anything else is a fault."""

from pathlib import Path
from typing import Any

import pytest

from audit.leaf import Leaf, Position, SourceLedger, parse_leaf, restart_link
from audit.merkle import VerificationError
from audit.proof import sign_entry
from audit.verify import main
from tests.unit.audit_logs import SOURCES, a_body, a_log, a_restart, a_trust, entries_of, verify

SZ = "szhk/sz"
FIRST, SECOND = a_body(sq=1, cref="c"), a_body(sq=2, cref="c", pv=f"{SZ}-1")
RESTART = a_restart(SECOND)


def in_epoch(sq: int, epoch: int = 2, **changes: Any) -> bytes:
    return a_body(SZ, sq, eid=f"{SZ}-{epoch}-{sq}", ep=epoch, **changes)


def ledger_of(*bodies: bytes, first_numbers: dict[str, int] | None = None) -> SourceLedger:
    ledger = SourceLedger(first_numbers)
    for index, body in enumerate(bodies):
        ledger.take(index, parse_leaf(body))
    ledger.finish()
    return ledger


def reasons(ledger: SourceLedger) -> list[str]:
    return [str(fault) for fault in ledger.sequence_faults]


def test_a_linked_epoch_numbers_and_chains_anew_and_is_reported() -> None:
    ledger = ledger_of(FIRST, SECOND, RESTART, in_epoch(2, cref="c"), in_epoch(3, cref="c", pv=f"{SZ}-2-2"))

    assert (reasons(ledger), ledger.chain_faults) == ([], [])
    assert ledger.ranges() == {SZ: (1, 2), f"{SZ} epoch 2": (1, 3)}
    [restart] = ledger.restarts
    assert (restart.src, restart.epoch, restart.index, restart.last) == (SZ, 2, 2, Position(1, 2, f"{SZ}-2"))


def test_an_epoch_may_follow_another_and_need_not_be_the_next_number() -> None:
    third = a_restart(RESTART, epoch=4)

    ledger = ledger_of(FIRST, SECOND, RESTART, third, in_epoch(2, epoch=4))

    assert reasons(ledger) == []
    assert [restart.epoch for restart in ledger.restarts] == [2, 4]


@pytest.mark.parametrize(
    ("bodies", "reason"),
    [
        ((FIRST, SECOND, in_epoch(1)), "does not begin with an entry that says so"),
        ((FIRST, SECOND, in_epoch(2)), "does not begin with an entry that says so"),
        ((FIRST, SECOND, a_restart(FIRST)), "not linked to the last entry of epoch 1"),
        ((FIRST, SECOND, a_restart(SECOND, last_eid="ev_other")), "not linked to the last entry of epoch 1"),
        ((FIRST, SECOND, a_restart(SECOND, last_epoch=2)), "not linked to the last entry of epoch 1"),
        ((FIRST, SECOND, a_restart(SECOND, last_sq="2")), "does not begin with an entry that says so"),
        ((RESTART,), "not linked to the last entry of epoch 1"),
        ((FIRST, SECOND, RESTART, a_body(sq=3)), "it is of epoch 1, which its source has left for epoch 2"),
    ],
)
def test_an_epoch_that_is_not_linked_to_the_last_entry_is_a_fault(bodies: tuple[bytes, ...], reason: str) -> None:
    ledger = ledger_of(*bodies)

    assert any(reason in fault for fault in reasons(ledger)), reasons(ledger)


def test_a_gap_before_a_restart_is_still_named() -> None:
    ledger = ledger_of(FIRST, a_body(sq=3), a_restart(a_body(sq=3)))

    assert any("number 2 is missing" in fault for fault in reasons(ledger))


def test_a_chain_does_not_reach_over_a_restart() -> None:
    ledger = ledger_of(FIRST, SECOND, RESTART, in_epoch(2, cref="c", pv=f"{SZ}-2"))

    assert [cref for cref, _ in ledger.chain_faults] == ["c"]


def test_a_log_of_the_next_year_goes_on_in_the_epoch_of_the_year_before() -> None:
    going_on = ledger_of(in_epoch(7), in_epoch(8), first_numbers={SZ: 7})
    restarting = ledger_of(a_restart(in_epoch(6), epoch=3), in_epoch(2, epoch=3), first_numbers={SZ: 7})

    assert reasons(going_on) == reasons(restarting) == []
    assert going_on.ranges() == {f"{SZ} epoch 2": (7, 8)}


@pytest.mark.parametrize("epoch", [1, 0, -1, True, "2", None])
def test_an_epoch_is_left_out_in_the_first_and_a_whole_number_afterwards(epoch: object) -> None:
    with pytest.raises(VerificationError):
        parse_leaf(a_body(ep=epoch))


def test_an_entry_without_an_epoch_is_of_the_first_and_links_nothing() -> None:
    leaf: Leaf = parse_leaf(FIRST)

    assert leaf.ep == 1
    assert restart_link(leaf) is None
    assert restart_link(parse_leaf(RESTART)) == parse_leaf(SECOND).position


def test_the_verifier_reports_a_restart_openly_and_fails_for_one_that_is_not_linked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [*entries_of(9)]
    last = next(entry for entry in reversed(entries) if f'"src":"{SZ}"'.encode() in entry)
    restart = sign_entry(a_restart(last), SOURCES[SZ])
    further = sign_entry(in_epoch(2), SOURCES[SZ])
    linked = a_log(tmp_path / "linked", [*entries, restart, further])
    torn = a_log(tmp_path / "torn", [*entries, further])
    trust = a_trust(tmp_path / "trust.json")

    sound, broken = (verify("log", "--log", log.folder, "--trust", trust) for log in (linked, torn))
    main(["log", "--log", str(linked.folder), "--trust", str(trust)])

    assert (sound.code, sound.verdicts["restarts"]) == (0, "ok")
    assert "szhk/sz began epoch 2 at entry 9, after its number 3" in capsys.readouterr().out
    assert (broken.code, broken.verdicts["sequence"]) == (3, "failed")
    shown = verify("entry", "--log", linked.folder, "--trust", trust, "--index", "10")
    assert shown.report["events"][0]["ep"] == 2
