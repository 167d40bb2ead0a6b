"""`python -m audit.verify`: check a log, an entry, a claim or a proof file, offline or over HTTP, trusting nobody.

Needs Python and `cryptography`, nothing else of ours than the proof core. What is trusted (keys, quorum) comes from
the auditor, never from the log. Data on stdout, messages on stderr. Exit codes: 0 fine, 1 cannot read, 2 usage,
3 verification failed (file or entry named), 4 inconclusive (asked for, but not shown), 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.leaf import parse_leaf
from audit.merkle import (
    VerificationError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from audit.note import NOTE_BYTES_MAX
from audit.proof import TlogProof, parse_proof, split_entry
from audit.replay import Replay
from audit.report import Report, event_of, opaque_event_of
from audit.served import Folder, Site, open_log
from audit.tiles import TILE_HASHES, TileReader
from audit.trust import Trust, read_trust
from audit.verdict import (
    EXIT_FAILED,
    EXIT_USAGE,
    EntryJudge,
    State,
    Verdict,
    exit_code,
    failed,
    judge_head,
)

EXIT_INTERRUPTED = 130
PROGRESS_AFTER_S = 1.0

EXAMPLES = """examples:
  python -m audit.verify log --log https://audit.example.org/log/2026/ --trust trust.json
  python -m audit.verify claim --log ./evidence --trust trust.json --cref 5f0c...
  python -m audit.verify entry --log ./evidence --trust trust.json --index 42 --save-proof 42.tlog-proof
  python -m audit.verify proof 42.tlog-proof --trust trust.json --json
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code and never raises for what it reads."""
    parser = _parser()
    try:
        options = parser.parse_args(argv)
        report = _COMMANDS[options.command](options, _trust(parser, options))
        _print_report(report, as_json=options.json)
        return exit_code(report.states)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        print(f"audit verify: cannot read: {error}", file=sys.stderr)
        return EXIT_FAILED


def check_log(options: argparse.Namespace, trust: Trust) -> Report:
    """Re-hash every file, and judge every entry: the command `log`."""
    report, walk = _open(options, trust)
    if walk:
        judge = EntryJudge(trust)
        for index, entry in walk.entries():
            if not options.opaque:
                judge.take(index, entry)
        report.states += walk.finish()
        report.states += _entry_states(judge, walk, opaque=options.opaque)
        report.unjudged = walk.replay.unjudged
    return report


def check_claim(options: argparse.Namespace, trust: Trust) -> Report:
    """Read the whole log and show every event of one claim, each with its proof: the command `claim`."""
    report, walk = _open(options, trust)
    if walk:
        judge, proof_faults = EntryJudge(trust), list[VerificationError]()
        for index, entry in walk.entries():
            leaf = judge.take(index, entry)
            if leaf and leaf.cref == options.cref:
                report.events.append(event_of(index, leaf))
                proof_faults += walk.prove(index, entry)
        report.states += walk.finish()
        report.states += _entry_states(judge, walk, opaque=False)
        faults = [*proof_faults, *judge.chain_faults_of(options.cref)]
        report.states.append(_claim_state(report, faults))
    return report


def check_entry(options: argparse.Namespace, trust: Trust) -> Report:
    """Find one entry by index or event id and prove it: the command `entry`."""
    report, walk = _open(options, trust)
    if walk:
        try:
            index, entry = walk.find(options.index, options.eid)
        except VerificationError as error:
            report.states.append(failed("inclusion", [error]))
            return report
        faults = walk.prove(index, entry)
        ok = State("inclusion", Verdict.OK, f"entry {index} of {walk.head.size}, proved to the root")
        report.states.append(failed("inclusion", faults) if faults else ok)
        _judge_single(report, trust, index, entry, opaque=options.opaque)
        if options.save_proof and not faults:
            path = tuple(inclusion_proof(index, walk.head.size, walk.reader.hash_range))
            options.save_proof.write_bytes(bytes(TlogProof(index, path, walk.raw_head, entry)))
    return report


def check_proof(options: argparse.Namespace, trust: Trust) -> Report:
    """Check a tlog-proof file with the entry it carries, or one given beside it: the command `proof`."""
    report = Report("proof")
    try:
        proof = parse_proof(_input(options.file))
    except VerificationError as error:
        report.states.append(failed("proof", [error.located(options.file)]))
        return report
    judged = judge_head(proof.checkpoint, trust, _now_s(), options.max_age)
    report.checkpoint, report.states = judged.checkpoint, judged.states
    entry = _input(options.entry) if options.entry else proof.extra
    if report.checkpoint:
        size = report.checkpoint.size
        try:
            proof.verify(entry, size, report.checkpoint.root)
        except VerificationError as error:
            report.states.append(failed("inclusion", [error.located(options.file, proof.index)]))
        else:
            report.states.append(State("inclusion", Verdict.OK, f"entry {proof.index} of {size}"))
            _judge_single(report, trust, proof.index, entry, opaque=options.opaque)
    return report


_COMMANDS = {"log": check_log, "claim": check_claim, "entry": check_entry, "proof": check_proof}


class _Walk:
    """One log open at one checkpoint that a trusted key has signed."""

    def __init__(self, served: Folder | Site, raw_head: bytes, head: Checkpoint) -> None:
        self.served = served
        self.raw_head = raw_head
        self.head = head
        self.reader = TileReader(head.size, served.fetch)
        self.replay = Replay(self.reader, head.root)

    def entries(self) -> Iterator[tuple[int, bytes]]:
        return _with_progress(self.replay.entries(), self.head.size)

    def finish(self) -> list[State]:
        if isinstance(self.served, Folder):
            self.replay.check_surplus(self.served.paths(), self.served.fetch)
        if self.replay.faults:
            return [failed("inclusion", self.replay.faults)]
        detail = f"{self.head.size} entries hash to the root; {self.replay.files_judged} files re-hashed"
        return [State("inclusion", Verdict.OK, detail)]

    def prove(self, index: int, entry: bytes) -> list[VerificationError]:
        try:
            path = inclusion_proof(index, self.head.size, self.reader.hash_range)
            verify_inclusion(index, self.head.size, leaf_hash(entry), path, self.head.root)
        except VerificationError as error:
            return [error.located(self.reader.path(None, index // TILE_HASHES), index)]
        return []

    def find(self, index: int | None, eid: str | None) -> tuple[int, bytes]:
        if index is not None:
            return index, self.reader.entry(index)
        for bundle in range(-(-self.head.size // TILE_HASHES)):
            for at, entry in enumerate(self.reader.entries(bundle), start=bundle * TILE_HASHES):
                if eid and eid.encode() in entry and _leaf_id(entry) == eid:
                    return at, entry
        raise VerificationError("no entry of this log has the event id")

    def since(self, raw: bytes, trust: Trust) -> State:
        """Check that this head extends one that the auditor saved earlier."""
        try:
            old = open_checkpoint(raw, trust.logs).checkpoint
            if old.origin != self.head.origin:
                raise VerificationError("the saved checkpoint is of another log")  # noqa: TRY301 one state for all
            if old.size:
                path = consistency_proof(old.size, self.head.size, self.reader.hash_range)
                verify_consistency(old.size, self.head.size, old.root, self.head.root, path)
        except VerificationError as error:
            return failed("consistency", [error.located("checkpoint")])
        return State("consistency", Verdict.OK, f"extends the saved checkpoint of size {old.size}")


def _open(options: argparse.Namespace, trust: Trust) -> tuple[Report, _Walk | None]:
    bearer = options.bearer_file.read_text().strip() if options.bearer_file else ""
    served = open_log(options.log, bearer)
    try:
        raw = served.fetch("checkpoint")
    except VerificationError as error:
        return Report(options.command, states=[failed("signature", [error])]), None
    judged = judge_head(raw, trust, _now_s(), options.max_age)
    report = Report(options.command, judged.checkpoint, judged.states)
    if judged.checkpoint is None:
        return report, None
    walk = _Walk(served, raw, judged.checkpoint)
    if options.since:
        report.states.append(walk.since(options.since.read_bytes(), trust))
    return report, walk


def _entry_states(judge: EntryJudge, walk: _Walk, *, opaque: bool) -> list[State]:
    if opaque:
        reason = "entries are taken as opaque bytes"
        return [State(name, Verdict.NOT_ASKED, reason) for name in ("sources", "sequence", "chain")]
    return [judge.signatures(), *judge.promises(whole=not walk.replay.faults)]


def _claim_state(report: Report, faults: list[VerificationError]) -> State:
    others = {state.question: state.verdict for state in report.states}
    if faults:
        return failed("claim", faults)
    if {others["inclusion"], others["sequence"]} != {Verdict.OK}:
        return State("claim", Verdict.INCONCLUSIVE, "events may be missing: the log is damaged or has gaps")
    if not report.events:
        return failed("claim", [VerificationError("no entry of this log names the claim")])
    sources = len({event["src"] for event in report.events})
    detail = f"complete up to this checkpoint: {len(report.events)} events from {sources} sources"
    return State("claim", Verdict.OK, detail)


def _judge_single(report: Report, trust: Trust, index: int, entry: bytes, *, opaque: bool) -> None:
    """Judge one entry's source; numbering and chain need the whole log."""
    if opaque:
        report.events.append(opaque_event_of(index, entry))
        report.states.append(State("sources", Verdict.NOT_ASKED, "entries are taken as opaque bytes"))
        return
    judge = EntryJudge(trust)
    leaf = judge.take(index, entry)
    if leaf:
        report.events.append(event_of(index, leaf))
    report.states.append(judge.signatures())
    report.states.append(State("chain", Verdict.NOT_ASKED, "needs the whole log: see `claim` and `log`"))


def _leaf_id(entry: bytes) -> str | None:
    try:
        return parse_leaf(split_entry(entry)[0]).eid
    except VerificationError:
        return None


def _with_progress(entries: Iterable[tuple[int, bytes]], total: int) -> Iterator[tuple[int, bytes]]:
    started, shown = time.monotonic(), False
    for index, entry in entries:
        if index % TILE_HASHES == 0 and sys.stderr.isatty() and time.monotonic() - started > PROGRESS_AFTER_S:
            print(f"\r{index:,} of {total:,} entries", end="", file=sys.stderr, flush=True)
            shown = True
        yield index, entry
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _now_s() -> float:
    return datetime.now(UTC).timestamp()  # noqa: TID251 the verifier runs alone; only freshness asks for the time


def _input(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(NOTE_BYTES_MAX)
    return Path(name).read_bytes()


def _print_report(report: Report, *, as_json: bool) -> None:
    for complaint in report.complaints():
        print(f"audit verify: {complaint}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))  # noqa: TID251 runs alone
    else:
        print("\n".join(report.lines()))


def _trust(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Trust:
    extra: dict[str, Sequence[str]] = {
        "log": options.vkey,
        "witnesses": options.witness,
        "sources": options.source,
    }
    raw = _input(options.trust) if options.trust else None
    policy = options.policy.read_bytes() if options.policy else None
    try:
        return read_trust(raw, extra, policy)
    except VerificationError as error:
        parser.error(f"what is to be trusted: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audit verify",
        description="Verify the audit log, or a piece of it, trusting only the keys you give.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    trust, place, form = _trust_options(), _place_options(), _form_options()
    commands = parser.add_subparsers(dest="command", required=True, metavar="{log,entry,claim,proof}")
    commands.add_parser("log", parents=[trust, place, form], help="re-hash everything, judge every entry")
    entry = commands.add_parser("entry", parents=[trust, place, form], help="prove one entry")
    wanted = entry.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--index", type=int, help="its place in the log, from 0")
    wanted.add_argument("--eid", help="its event id")
    entry.add_argument("--save-proof", type=Path, metavar="FILE", help="write a .tlog-proof with the entry in it")
    claim = commands.add_parser("claim", parents=[trust, place], help="show and prove all events of a claim")
    claim.add_argument("--cref", required=True, help="the claim's reference in the log")
    proof = commands.add_parser("proof", parents=[trust, form], help="check a .tlog-proof file")
    proof.add_argument("file", help="the proof file, - for stdin")
    proof.add_argument("--entry", metavar="FILE", help="the entry, if the proof does not carry it")
    return parser


def _trust_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("what you trust")
    group.add_argument("--trust", metavar="FILE", help="JSON: log, witnesses, policy, sources; - for stdin")
    group.add_argument("--vkey", action="append", default=[], help="the log's verifier key")
    group.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness that must sign")
    group.add_argument("--source", action="append", default=[], metavar="VKEY", help="a source's key")
    group.add_argument("--policy", type=Path, metavar="FILE", help="a tlog-policy file")
    group.add_argument("--max-age", type=int, metavar="SECONDS", help="ask for cosignatures this fresh")
    options.add_argument("--json", action="store_true", help="print the report as JSON")
    return options


def _form_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--opaque", action="store_true", help="do not read entries (logs that are not ours)")
    return options


def _place_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--log", required=True, metavar="DIR|URL", help="folder or base URL of the log")
    options.add_argument("--since", type=Path, metavar="FILE", help="a checkpoint you saved: must be extended")
    options.add_argument("--bearer-file", type=Path, metavar="FILE", help="bearer token of a private log")
    return options


if __name__ == "__main__":
    sys.exit(main())
