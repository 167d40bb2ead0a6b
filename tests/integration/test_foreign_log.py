"""Our witness as logs of others meet it: an unmodified Tessera log in Go, and every answer of C2SP tlog-witness."""

import asyncio
import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.component import build_witness
from audit.merkle import EMPTY_ROOT
from audit.note import ED25519, ED25519_COSIGNATURE, Ed25519Signer, VerifierKey, parse_vkey
from audit.witness import Deps
from audit.witness_tables import METADATA
from gateway.protocol.clock import SystemClock, VirtualClock
from gateway.runtime.web.http import create_app
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from tests.children import start_child
from tests.conftest import MakeDatabase
from tests.served import free_port
from tests.services import missing
from tests.walk import until

ROOT = Path(__file__).parents[2]
ONESHOT = "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot@v1.0.4"
ORIGIN = "foreign.example/log"
SEED = bytes(range(32))


def a_log() -> Ed25519Signer:
    return Ed25519Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(SEED))


def another(name: str) -> Ed25519Signer:
    return Ed25519Signer(name, Ed25519PrivateKey.generate())


def private_note_key() -> str:
    """Write the log's key as Go's note package does: `PRIVATE+KEY+name+id+base64(type || seed)`."""
    encoded = base64.b64encode(bytes([ED25519]) + SEED).decode()
    return f"PRIVATE+KEY+{ORIGIN}+{a_log().vkey.key_id.hex()}+{encoded}"


# The protocol, answer by answer, on both databases


@dataclass
class Witness:
    http: httpx2.AsyncClient
    key: VerifierKey

    async def ask(self, content: bytes, **headers: str) -> httpx2.Response:
        return await self.http.post("/add-checkpoint", content=content, headers=headers)


def submission(old: int, head: Checkpoint, *proof: bytes, log: Ed25519Signer | None = None) -> bytes:
    note = bytes(sign_checkpoint(head, [log or a_log()]))
    lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof), "", ""]
    return "\n".join(lines).encode() + note


def leaf(number: int) -> bytes:
    return hashlib.sha256(b"\x00" + bytes([number])).digest()


ONE = Checkpoint(ORIGIN, 1, leaf(1))
TWO = Checkpoint(ORIGIN, 2, hashlib.sha256(b"\x01" + leaf(1) + leaf(2)).digest())
OTHER = Checkpoint(ORIGIN, 1, leaf(9))


@pytest.fixture
async def witness(make_database: MakeDatabase) -> AsyncIterator[Witness]:
    signer = Ed25519Signer("witness.example", Ed25519PrivateKey.generate(), ED25519_COSIGNATURE)
    clock = VirtualClock()
    app = create_app("witness", clock=clock)
    component = build_witness(Deps(make_database(METADATA), clock, signer, (a_log().vkey,)))
    for router in component.routers:
        app.include_router(router)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://witness") as http:
        yield Witness(http, signer.vkey)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/octet-stream", "", "x", "application/json"])
async def test_a_checkpoint_is_cosigned_whatever_its_content_type_says(
    witness: Witness, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = await witness.ask(submission(0, ONE), **headers)

    assert answer.status_code == 200, answer.text
    note = bytes(sign_checkpoint(ONE, [a_log()])) + answer.content
    assert open_checkpoint(note, [a_log().vkey], [witness.key]).cosigned_by.keys() == {witness.key}


async def test_a_witness_that_is_elsewhere_says_so_in_exactly_the_type_of_the_protocol(witness: Witness) -> None:
    await witness.ask(submission(0, ONE))

    answer = await witness.ask(submission(0, TWO, leaf(2)))

    assert (answer.status_code, answer.content) == (409, b"1\n")
    assert answer.headers["content-type"] == "text/x.tlog.size"
    assert (await witness.ask(submission(1, TWO, leaf(2)))).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (submission(0, Checkpoint("unknown.example", 1, leaf(1)), log=another("unknown.example")), 404),
        (submission(0, ONE, log=another(ORIGIN)), 403),
        (submission(2, ONE), 400),
        (submission(0, ONE, leaf(1)), 422),
        (submission(0, Checkpoint(ORIGIN, 0, leaf(1))), 422),
        (submission(0, Checkpoint(ORIGIN, 0, EMPTY_ROOT)), 200),
        (submission(0, ONE, *[leaf(1)] * 64), 400),
        (submission(0, ONE).replace(b"old 0", b"old 00"), 400),
        (submission(0, ONE).replace(b"old 0", b"old -1"), 400),
        (submission(0, ONE).replace(b"old 0", b"old 0 "), 400),
        (submission(0, ONE).replace(b"old 0\n\n", b"old 0\nno base64\n\n"), 400),
        (submission(0, ONE).replace(b"old 0\n\n", b"old 0\n"), 400),
        (submission(0, ONE) + b"trailing", 400),
        (submission(0, ONE)[:-1], 400),
        (submission(0, ONE).replace(b"\n1\n", b"\n01\n"), 400),
        (b"", 400),
        (b"\x00", 400),
        (b"old 0\n\n", 400),
    ],
)
async def test_every_other_answer_is_the_protocols(witness: Witness, content: bytes, status: int) -> None:
    answer = await witness.ask(content, **{"content-type": "text/plain"})

    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"].startswith("witness.")
        assert answer.json()["fix"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (submission(1, ONE), 200),
        (submission(1, OTHER), 409),
        (submission(1, TWO), 422),
        (submission(1, TWO, leaf(1)), 422),
        (submission(2, TWO), 409),
        (submission(1, TWO, leaf(2)), 200),
    ],
)
async def test_answers_after_a_first_checkpoint_are_the_protocols(
    witness: Witness, content: bytes, status: int
) -> None:
    await witness.ask(submission(0, ONE))

    answer = await witness.ask(content)

    assert answer.status_code == status, answer.text
    if status == 409:
        assert (answer.content, answer.headers["content-type"]) == (b"1\n", "text/x.tlog.size")


# A log that knows nothing of us


@pytest.fixture(scope="module")
def oneshot(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tessera's own program that appends to a log on disk, built into build/bin, or here once a run."""
    built = ROOT / "build" / "bin" / "posix-oneshot"
    if built.is_file():
        return str(built)
    if shutil.which("go") is None:
        pytest.skip("Go and Tessera's posix-oneshot are missing on this machine")
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GOBIN": str(folder)}  # noqa: TID251 the child gets ours and where to put the program
    done = subprocess.run(["go", "install", ONESHOT], env=environment, capture_output=True, timeout=300, check=False)
    if done.returncode:
        missing(f"Tessera's posix-oneshot (go install {ONESHOT})")
    return str(folder / "posix-oneshot")


def append(program: str, folder: Path, policy: Path, entries: int) -> None:
    """Add entries to a Tessera log; it publishes only what the witnesses of the policy have cosigned."""
    (folder / "new").mkdir(parents=True, exist_ok=True)
    for number in range(entries):
        (folder / "new" / f"{os.urandom(8).hex()}").write_bytes(b"entry %d" % number)
    (folder / "key").write_text(private_note_key())
    words = [
        program,
        f"--storage_dir={folder / 'log'}",
        f"--private_key={folder / 'key'}",
        f"--entries={folder / 'new'}/*",
        f"--witness_policy_file={policy}",
    ]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


async def test_an_unmodified_tessera_log_is_cosigned_and_finds_its_place_again(oneshot: str, tmp_path: Path) -> None:
    port = free_port()
    init(tmp_path / "data", layout=Layout(f"http://127.0.0.1:{port}"), clock=SystemClock())
    settings = tmp_path / "data" / "roles" / "witness-sz" / "settings.toml"
    settings.write_text(settings.read_text().replace('"log_vkeys" = "', f'"log_vkeys" = "{a_log().vkey} '))
    assert ORIGIN in settings.read_text()
    words = [sys.executable, "-m", "gateway", "run", "witness", "--data", str(tmp_path / "data")]
    words += ["--instance", "witness-sz", "--port", str(port)]
    process = start_child(words, tmp_path / "witness.log", dict(os.environ))  # noqa: TID251 the child gets ours
    url = f"http://127.0.0.1:{port}/witness/sz"
    try:
        async with httpx2.AsyncClient(trust_env=False) as http:
            vkey = await until(partial(vkey_of, http, url), "the witness", within_s=60)
        policy = tmp_path / "policy"
        policy.write_text(f"witness ours {vkey} {url}\nquorum ours\n")
        sizes = []
        for entries in (3, 300):
            # the second run is a new process that knows no size: it asks with 0 and goes on from our 409
            await asyncio.to_thread(append, oneshot, tmp_path / "tessera", policy, entries)
            published = (tmp_path / "tessera" / "log" / "checkpoint").read_bytes()
            opened = open_checkpoint(published, [a_log().vkey], [parse_vkey(vkey)])
            assert opened.cosigned_by.keys() == {parse_vkey(vkey)}
            sizes.append(opened.checkpoint.size)
    finally:
        process.kill()
        process.wait()

    assert sizes[0] == 3
    assert sizes[1] > 300


async def vkey_of(http: httpx2.AsyncClient, url: str) -> str | None:
    try:
        return (await http.get(f"{url}/vkey")).text.strip()
    except httpx2.TransportError:
        return None
