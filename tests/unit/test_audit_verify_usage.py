"""The verifier as a program: usage, trust files, what cannot be read, saved heads, freshness, HTTP, standing alone."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from audit.checkpoint import open_checkpoint
from audit.merkle import VerificationError
from audit.verify import main
from gateway.protocol.canonical import canonical
from gateway.protocol.clock import SystemClock
from tests.unit.audit_logs import (
    LOG,
    WITNESS_SZ,
    WITNESSES,
    BuiltLog,
    a_log,
    a_trust,
    entries_of,
    verify,
)

SIZE = 300


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> BuiltLog:
    return a_log(tmp_path_factory.mktemp("log") / "served", entries_of(SIZE), batches=[5, 255, 260])


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    return a_trust(tmp_path / "trust.json")


def test_a_head_that_extends_the_saved_one_is_consistent(log: BuiltLog, trust: Path, tmp_path: Path) -> None:
    older = a_log(tmp_path / "older", log.entries[:200])
    other = a_log(tmp_path / "other", log.entries[1:200])
    longer = a_log(tmp_path / "longer", entries_of(SIZE + 1))
    saved = [built.folder / "checkpoint" for built in (older, other, longer)]

    runs = [verify("log", "--log", log.folder, "--trust", trust, "--since", file) for file in saved]

    assert [told.code for told in runs] == [0, 3, 3]
    assert [told.verdicts["consistency"] for told in runs] == ["ok", "failed", "failed"]


def test_freshness_is_asked_for_and_answered_apart(tmp_path: Path, trust: Path) -> None:
    now = SystemClock().now()
    ages = {"fresh": timedelta(minutes=1), "stale": timedelta(hours=2), "future": timedelta(minutes=-5)}

    found = {}
    for name, age in ages.items():
        built = a_log(tmp_path / name, entries_of(3), time_s=int((now - age).timestamp()))
        told = verify("log", "--log", built.folder, "--trust", trust, "--max-age", 3600)
        found[name] = (told.code, told.verdicts["freshness"])

    assert found == {"fresh": (0, "ok"), "stale": (4, "inconclusive"), "future": (4, "inconclusive")}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["log"],
        ["log", "--log", "."],
        ["log", "--log", ".", "--vkey", "nonsense"],
        ["log", "--log", ".", "--vkey", str(WITNESS_SZ.vkey)],
        ["claim", "--log", ".", "--vkey", str(LOG.vkey)],
        ["entry", "--log", ".", "--vkey", str(LOG.vkey), "--index", "1", "--eid", "e"],
        ["unknown"],
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "written",
    [
        b"[]",
        b"{",
        b"{}",
        b'{"log": 1}',
        b'{"logs": []}',
        canonical({"log": str(LOG.vkey), "policy": 1}),
        canonical({"log": str(LOG.vkey), "policy": "quorum nobody"}),
        canonical({"log": str(LOG.vkey), "first_sq": {"szhk/sz": 0}}),
        canonical({"log": str(LOG.vkey), "witnesses": [str(LOG.vkey)]}),
    ],
)
def test_a_malformed_trust_file_is_wrong_usage(written: bytes, log: BuiltLog, tmp_path: Path) -> None:
    trust = tmp_path / "trust.json"
    trust.write_bytes(written)

    told = verify("log", "--log", log.folder, "--trust", trust)

    assert told.code == 2
    assert "what is to be trusted" in told.said


def test_what_cannot_be_read_is_a_failure_of_its_own(tmp_path: Path, trust: Path) -> None:
    assert verify("log", "--log", tmp_path / "nowhere", "--trust", trust).code == 1
    assert verify("log", "--log", tmp_path, "--trust", tmp_path / "no-trust.json").code == 1
    assert verify("log", "--log", "http://127.0.0.1:9/", "--trust", trust).code == 1
    assert verify("proof", tmp_path / "no.tlog-proof", "--trust", trust).code == 1


@pytest.mark.parametrize("raw", [b"", b"garbage", b"\xff\n\n", b"a\n1\nAA==\n\n\xe2\x80\x94 a AAAAAAA=\n"])
def test_a_garbage_checkpoint_fails(raw: bytes, tmp_path: Path, trust: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(raw)

    told = verify("log", "--log", tmp_path, "--trust", trust)

    assert told.code == 3
    assert told.verdicts["signature"] == "failed"
    assert "checkpoint" in told.said


def test_a_garbage_proof_fails(tmp_path: Path, trust: Path) -> None:
    file = tmp_path / "garbage.tlog-proof"
    file.write_bytes(b"garbage")

    told = verify("proof", file, "--trust", trust)

    assert told.code == 3
    assert told.verdicts == {"proof": "failed"}


class _QuietHandler(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *_arguments: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_log_is_verified_over_http(log: BuiltLog, trust: Path) -> None:
    with _served(log.folder) as base:
        whole = verify("log", "--log", base, "--trust", trust)
        claim = verify("claim", "--log", base.rstrip("/"), "--trust", trust, "--cref", "claim-1")
        nothing = verify("log", "--log", base + "elsewhere/", "--trust", trust)

    assert (whole.code, claim.code, nothing.code) == (0, 0, 1)
    assert whole.report["log"]["size"] == SIZE


def test_a_file_missing_over_http_is_named(tmp_path: Path, trust: Path) -> None:
    built = a_log(tmp_path / "log", entries_of(9))
    (built.folder / "tile/entries/000.p/9").unlink()

    with _served(built.folder) as base:
        told = verify("log", "--log", base, "--trust", trust)

    assert told.code == 3
    assert told.blamed() == {"tile/entries/000.p/9"}


def test_the_verifier_runs_alone_and_imports_nothing_else_of_ours(log: BuiltLog, trust: Path) -> None:
    program = (
        "import sys; from audit.verify import main; "
        f"code = main(['log', '--log', {str(log.folder)!r}, '--trust', {str(trust)!r}]); "
        "print(sorted(name for name in sys.modules if name.split('.')[0] in "
        "{'gateway', 'adapters', 'settlement', 'audit', 'pydantic', 'sqlalchemy', 'rfc8785', 'joserfc'})); "
        "sys.exit(code)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    core = [
        "checkpoint",
        "leaf",
        "merkle",
        "note",
        "proof",
        "replay",
        "report",
        "served",
        "tiles",
        "trust",
        "verdict",
        "verify",
    ]
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(["audit", *(f"audit.{name}" for name in core)])


def test_the_head_that_was_verified_is_the_one_that_opens_in_code(log: BuiltLog) -> None:
    raw = (log.folder / "checkpoint").read_bytes()

    opened = open_checkpoint(raw, [LOG.vkey], [witness.vkey for witness in WITNESSES])

    assert opened.checkpoint.size == SIZE
    with pytest.raises(VerificationError):
        open_checkpoint(raw.replace(b"300", b"301"), [LOG.vkey])
