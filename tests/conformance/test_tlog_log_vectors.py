"""Rebuild Tessera's small test log byte for byte from its key and words, and read it back as a stranger would."""

from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.merkle import VerificationError
from audit.note import Ed25519Signer, parse_vkey
from audit.tiles import RightEdge, TileReader
from audit.verify import main

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "tlog-log"
LOG = VECTORS / "log"
FILES = 46

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="the shared vector folder is not beside this checkout")


def _signer() -> Ed25519Signer:
    """Read the published private key, `PRIVATE+KEY+name+id+base64(01 || seed)`."""
    _, _, name, _, encoded = (VECTORS / "skey.txt").read_text().strip().split("+", 4)
    return Ed25519Signer(name, Ed25519PrivateKey.from_private_bytes(b64decode(encoded)[1:]))


def _rebuilt() -> dict[str, bytes]:
    signer, edge, files = _signer(), RightEdge(), dict[str, bytes]()
    words = (VECTORS / "leaves.txt").read_bytes().split()
    for word in [b"", *words]:
        edge, written = edge.append([word] if word else [])
        files |= written
        head = Checkpoint(signer.name, edge.size, edge.root())
        files[f"checkpoint.{edge.size}"] = files["checkpoint"] = bytes(sign_checkpoint(head, [signer]))
    return files


def test_every_file_of_the_log_is_rebuilt_byte_for_byte() -> None:
    published = {path.relative_to(LOG).as_posix(): path.read_bytes() for path in LOG.rglob("*") if path.is_file()}

    rebuilt = _rebuilt()

    newest = {"checkpoint"}  # a copy of checkpoint.15, counted once
    assert len(published.keys() - newest) == FILES
    assert rebuilt == published


def test_the_published_key_is_read_and_written_alike() -> None:
    text = (VECTORS / "vkey.txt").read_text().strip()

    assert str(parse_vkey(text)) == text
    assert _signer().vkey == parse_vkey(text)


@pytest.mark.parametrize("size", range(16))
def test_each_checkpoint_opens_and_its_tiles_have_its_root(size: int) -> None:
    key = parse_vkey((VECTORS / "vkey.txt").read_text().strip())

    opened = open_checkpoint((LOG / f"checkpoint.{size}").read_bytes(), [key])
    reader = TileReader(size, lambda path: (LOG / path).read_bytes())

    assert opened.checkpoint.size == size
    assert RightEdge.load(reader).root() == opened.checkpoint.root


def test_any_changed_byte_of_a_checkpoint_is_refused() -> None:
    key = parse_vkey((VECTORS / "vkey.txt").read_text().strip())
    raw = (LOG / "checkpoint").read_bytes()

    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(VerificationError):
            open_checkpoint(changed, [key])


def test_the_verifier_accepts_the_published_log() -> None:
    vkey = (VECTORS / "vkey.txt").read_text().strip()

    assert main(["log", "--log", str(LOG), "--vkey", vkey, "--opaque"]) == 0
