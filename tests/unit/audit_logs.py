"""Builds small audit logs for tests (entries, files, signed head, trust) and runs the verifier over them."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit.checkpoint import Checkpoint, cosign, sign_checkpoint
from audit.leaf import read_canonical
from audit.note import ED25519_COSIGNATURE, Ed25519Signer, MLDSA44Signer, Signer
from audit.proof import sign_entry
from audit.tiles import RightEdge
from audit.verify import main
from gateway.protocol.canonical import canonical, compact, read_json_object

COSIGNED_AT_S = 1_790_000_000


def ed25519(name: str, seed: int, kind: int = 1) -> Ed25519Signer:
    return Ed25519Signer(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), kind)


LOG = ed25519("log.example.org/szhk/2026", 1)
WITNESS_SZ = ed25519("witness.sz.example.org/w1", 2, ED25519_COSIGNATURE)
WITNESS_HK = MLDSA44Signer("witness.hk.example.org/w1", MLDSA44PrivateKey.from_seed_bytes(b"\x03" * 32))
WITNESSES: tuple[Signer, ...] = (WITNESS_SZ, WITNESS_HK)
SOURCES = {name: ed25519(name, seed) for seed, name in enumerate(("szhk/sz", "szhk/core", "szhk/hk"), start=4)}


def a_body(src: str = "szhk/sz", sq: int = 1, *, cref: str | None = None, **changes: Any) -> bytes:
    leaf = {
        "v": 1,
        "typ": "claim.submitted",
        "eid": f"{src}-{sq}",
        "src": src,
        "sq": sq,
        "t": "2026-03-02T01:00:00.000Z",
        "cref": cref,
        "pv": None,
        "cm": {},
        "clr": {},
    }
    return canonical(leaf | changes)


def entries_of(count: int, *, claims: int = 7) -> list[bytes]:
    """Write entries by three sources in turn over a few claims, numbered and chained as they should be."""
    names = list(SOURCES)
    numbers, last, entries = dict.fromkeys(names, 0), dict[tuple[str, str], str](), []
    for at in range(count):
        src, cref = names[at % 3], f"claim-{at % claims}"
        numbers[src] += 1
        body = a_body(src, numbers[src], cref=cref, pv=last.get((src, cref)))
        last[src, cref] = f"{src}-{numbers[src]}"
        entries.append(sign_entry(body, SOURCES[src]))
    return entries


@dataclass(frozen=True)
class BuiltLog:
    folder: Path
    entries: Sequence[bytes]

    @property
    def files(self) -> list[str]:
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [path.relative_to(self.folder).as_posix() for path in found]


def a_log(
    folder: Path,
    entries: Sequence[bytes],
    *,
    batches: Iterable[int] = (),
    witnesses: Sequence[Signer] = WITNESSES,
    time_s: int = COSIGNED_AT_S,
) -> BuiltLog:
    """Write a log in batches that end at the given sizes (and at the last entry), with its cosigned checkpoint."""
    edge = RightEdge()
    for size in [*batches, len(entries)]:
        edge, files = edge.append(entries[edge.size : size])
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    head = Checkpoint(LOG.name, edge.size, edge.root())
    note = sign_checkpoint(head, [LOG]).plus(cosign(head, witness, time_s) for witness in witnesses)
    (folder / "checkpoint").write_bytes(bytes(note))
    return BuiltLog(folder, entries)


def a_trust(path: Path, **changes: Any) -> Path:
    """Write the trust file that fits these logs."""
    told = {
        "log": str(LOG.vkey),
        "witnesses": [str(witness.vkey) for witness in WITNESSES],
        "sources": [str(source.vkey) for source in SOURCES.values()],
    }
    told |= changes
    path.write_bytes(compact({key: value for key, value in told.items() if value is not None}))
    return path


@dataclass(frozen=True)
class Told:
    """What one run of the verifier told: exit code, JSON report (empty if none), stderr."""

    code: int
    report: dict[str, Any] = field(default_factory=dict)
    said: str = ""

    @property
    def verdicts(self) -> dict[str, str]:
        return {state["question"]: state["verdict"] for state in self.report["states"]}

    def faults(self, question: str) -> list[dict[str, Any]]:
        states = [state for state in self.report["states"] if state["question"] == question]
        return [fault for state in states for fault in state["faults"]]

    def blamed(self) -> set[str]:
        """Return the files at fault, whatever the question."""
        return {fault["path"] for state in self.report["states"] for fault in state["faults"] if "path" in fault}


def verify(*arguments: object) -> Told:
    """Run the verifier's command line with `--json`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*map(str, arguments), "--json"])
    report = read_json_object(out.getvalue().encode()) if out.getvalue() else {}
    return Told(code, report, err.getvalue())


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Flip one bit of a file for the time of a `with`."""
    before = path.read_bytes()
    changed = bytearray(before)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(before)


def a_restart(last: bytes, epoch: int = 2, **changes: Any) -> bytes:
    """Write the body that begins an epoch of the source whose entry or body `last` is the log's last of it."""
    leaf = read_canonical(last.partition(b"\n")[0])
    clear = {"last_epoch": leaf.get("ep", 1), "last_sq": leaf["sq"], "last_eid": leaf["eid"]} | changes
    src = leaf["src"]
    return a_body(src, 1, eid=f"{src}-restart-{epoch}", ep=epoch, typ=f"{src}.source_restarted", clr=clear)
