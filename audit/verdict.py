"""What a verifier says, one state a question: signature, each witness, quorum, freshness, inclusion, sources, chain.

States are never summed up in one tick; only the exit code takes the worst of them: 0 nothing failed, 3 something
failed to verify, 4 something that the trust asks for could not be shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from audit.checkpoint import Checkpoint, parse_checkpoint, verify_line
from audit.leaf import Leaf, SourceLedger, parse_leaf
from audit.merkle import VerificationError
from audit.note import Note, VerifierKey, parse_note
from audit.proof import open_entry, split_entry
from audit.trust import Trust

FUTURE_S_MAX = 30
EXIT_FINE, EXIT_FAILED, EXIT_USAGE, EXIT_UNVERIFIED, EXIT_INCONCLUSIVE = range(5)


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ABSENT = "absent"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class State:
    """The answer to one question, with the places at fault."""

    question: str
    verdict: Verdict
    detail: str
    faults: tuple[VerificationError, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the state for JSON: question, verdict, detail, faults [{path?, index?, reason}]."""
        faults = [
            {
                **({"path": fault.path} if fault.path else {}),
                **({} if fault.index is None else {"index": fault.index}),
                "reason": fault.reason,
            }
            for fault in self.faults
        ]
        return {"question": self.question, "verdict": self.verdict.value, "detail": self.detail, "faults": faults}


def failed(question: str, faults: Sequence[VerificationError]) -> State:
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return State(question, Verdict.FAILED, f"{faults[0]}{more}", tuple(faults))


def exit_code(states: Iterable[State]) -> int:
    verdicts = {state.verdict for state in states}
    if Verdict.FAILED in verdicts:
        return EXIT_UNVERIFIED
    return EXIT_INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else EXIT_FINE


@dataclass(slots=True)
class HeadJudgement:
    """A checkpoint and what its lines say; `checkpoint` is None unless a known log key verified."""

    checkpoint: Checkpoint | None = None
    states: list[State] = field(default_factory=list)
    cosigned: dict[VerifierKey, int] = field(default_factory=dict)


def judge_head(raw: bytes, trust: Trust, now_s: float, age_s_max: int | None = None) -> HeadJudgement:
    """Judge a signed checkpoint line by line; `age_s_max` asks that the quorum's cosignatures be that fresh."""
    judged = HeadJudgement()
    try:
        note = parse_note(raw)
        checkpoint = parse_checkpoint(note.text)
    except VerificationError as error:
        judged.states.append(failed("signature", [error.located("checkpoint")]))
        return judged
    signature = _judge_log(note, checkpoint, trust)
    judged.states.append(signature)
    for key in trust.witnesses:
        judged.states.append(_judge_witness(note, checkpoint, key, judged.cosigned))
    judged.states.append(_judge_quorum(judged, trust))
    judged.states.append(_judge_freshness(judged, trust, now_s, age_s_max))
    if signature.verdict is Verdict.OK:
        judged.checkpoint = checkpoint
    return judged


def _check_lines(
    note: Note, checkpoint: Checkpoint, key: VerifierKey
) -> tuple[list[int | None], list[VerificationError]]:
    times, faults = list[int | None](), list[VerificationError]()
    for line in note.lines_by(key):
        try:
            times.append(verify_line(checkpoint, line, key))
        except VerificationError as error:
            faults.append(error.located("checkpoint"))
    return times, faults


def _judge_log(note: Note, checkpoint: Checkpoint, trust: Trust) -> State:
    signers = list[VerifierKey]()
    for key in trust.logs:
        times, faults = _check_lines(note, checkpoint, key)
        if faults:
            return failed("signature", faults)
        signers += [key] * len(times)
    if not signers:
        return failed("signature", [VerificationError("no trusted log key has signed it", path="checkpoint")])
    names = ", ".join(f"{key.name}+{key.key_id.hex()}" for key in dict.fromkeys(signers))
    return State("signature", Verdict.OK, f"signed by {names}")


def _judge_witness(note: Note, checkpoint: Checkpoint, key: VerifierKey, cosigned: dict[VerifierKey, int]) -> State:
    question = f"witness {key.name}"
    times, faults = _check_lines(note, checkpoint, key)
    if faults:
        return failed(question, faults)
    stamps = [time_s for time_s in times if time_s is not None]
    if not stamps:
        return State(question, Verdict.ABSENT, "checkpoint: holds no cosignature by this witness")
    cosigned[key] = max(stamps)
    return State(question, Verdict.OK, f"cosigned at {utc(cosigned[key])}")


def _judge_quorum(judged: HeadJudgement, trust: Trust) -> State:
    if trust.policy.quorum is None:
        return State("quorum", Verdict.NOT_ASKED, "the trust asks for no witness")
    if trust.policy.is_met_by(judged.cosigned.keys()):
        return State("quorum", Verdict.OK, f"met by {len(judged.cosigned)} of {len(trust.witnesses)} witnesses")
    return State("quorum", Verdict.INCONCLUSIVE, "checkpoint: cosignatures that the trust asks for are missing")


def _judge_freshness(judged: HeadJudgement, trust: Trust, now_s: float, age_s_max: int | None) -> State:
    newest = f"newest cosignature {utc(max(judged.cosigned.values()))}" if judged.cosigned else "no cosignature"
    if age_s_max is None:
        return State("freshness", Verdict.NOT_ASKED, newest)
    fresh = {key for key, time_s in judged.cosigned.items() if -FUTURE_S_MAX <= now_s - time_s <= age_s_max}
    if fresh and trust.policy.is_met_by(fresh):
        return State("freshness", Verdict.OK, newest)
    return State("freshness", Verdict.INCONCLUSIVE, f"too old, or from the future: {newest}")


def utc(time_s: int) -> str:
    """Write Unix seconds as RFC 3339; times beyond the calendar as the bare number."""
    try:
        return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return str(time_s)


class EntryJudge:
    """Reads entries in log order: each source's signature, then what the sources promise together."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._ledger = SourceLedger(trust.first_numbers)
        self._faults: list[VerificationError] = []
        self._unknown: list[VerificationError] = []
        self._seen = 0

    def take(self, index: int, entry: bytes) -> Leaf | None:
        """Judge one entry; returns its leaf where it is one, signed or not."""
        self._seen += 1
        try:
            body, line = split_entry(entry)
            leaf = parse_leaf(body)
            if line.name != leaf.src:
                raise VerificationError("it is signed in another name than its source's")  # noqa: TRY301 judged alike
            if not any(line.is_by(key) for key in self._trust.sources):
                self._unknown.append(VerificationError("it is signed by no trusted source key", index=index))
            else:
                open_entry(entry, self._trust.sources)
        except VerificationError as error:
            self._faults.append(error.located("", index))
            return None
        self._ledger.take(index, leaf)
        return leaf

    def signatures(self) -> State:
        if self._faults:
            return failed("sources", self._faults)
        if not self._trust.sources:
            return State("sources", Verdict.INCONCLUSIVE, "the trust holds no source key; signatures unchecked")
        if self._unknown:
            detail = f"{len(self._unknown)} of {self._seen} entries: {self._unknown[0]}"
            return State("sources", Verdict.INCONCLUSIVE, detail, tuple(self._unknown))
        return State("sources", Verdict.OK, f"{self._seen} entries signed by their sources")

    def promises(self, *, whole: bool) -> list[State]:
        """Judge numbering and chains; only a log read whole (`whole`) can be judged. Call once, at the end."""
        if not whole or self._faults:
            reason = "not judged: some entries could not be read"
            return [State(question, Verdict.INCONCLUSIVE, reason) for question in ("sequence", "chain")]
        self._ledger.finish()
        ranges = (f"{name} {first} to {last}" for name, (first, last) in self._ledger.ranges().items())
        sequence = State("sequence", Verdict.OK, "; ".join(ranges) or "no entries")
        chain = State("chain", Verdict.OK, "every event follows the one its source wrote before for the claim")
        if self._ledger.sequence_faults:
            sequence = failed("sequence", self._ledger.sequence_faults)
        if self._ledger.chain_faults:
            chain = failed("chain", [fault for _, fault in self._ledger.chain_faults])
        restarts = "; ".join(
            f"{one.src} began epoch {one.epoch} at entry {one.index}, after its number {one.last.sq}"
            + (f" of epoch {one.last.epoch}" if one.last.epoch > 1 else "")
            for one in self._ledger.restarts
        )
        return [sequence, chain, *([State("restarts", Verdict.OK, restarts)] if restarts else [])]

    def chain_faults_of(self, cref: str) -> list[VerificationError]:
        return [fault for claim, fault in self._ledger.chain_faults if claim == cref]
