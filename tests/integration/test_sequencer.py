"""The sequencer over a real database and folder: what it refuses to sign."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Checkpoint, Policy, sign_checkpoint
from audit.log_folder import LogFolderError, read_file, write_checkpoint, write_files
from audit.note import Ed25519Signer
from audit.sequencer import Sequencer
from audit.tables import METADATA
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import UnavailableError
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.runtime.tables import METADATA as RUNTIME
from tests.conftest import MakeDatabase

ORIGIN = "log.example/szhk-audit/2026"
SIGNER = Ed25519Signer(ORIGIN, Ed25519PrivateKey.generate())


async def _nobody(_: Outgoing) -> Incoming:
    raise UnavailableError("outgoing.cannot-connect")


def a_sequencer(make_database: MakeDatabase, folder: Path) -> Sequencer:
    database = make_database(RUNTIME, METADATA)
    return Sequencer(database, VirtualClock(), ORIGIN, folder, SIGNER, Policy(), _nobody, list)


async def test_an_empty_log_is_signed_and_published(make_database: MakeDatabase, tmp_path: Path) -> None:
    sequencer = a_sequencer(make_database, tmp_path / "log")

    assert await sequencer.step()
    assert await sequencer.publish()

    assert read_file(tmp_path / "log", "checkpoint").startswith(f"{ORIGIN}\n0\n".encode())


async def test_a_published_head_that_was_never_signed_stops_the_sequencer_for_good(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    sequencer = a_sequencer(make_database, tmp_path / "log")
    note = sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), [SIGNER])
    write_checkpoint(tmp_path / "log", bytes(note))

    running = asyncio.create_task(sequencer.run())
    await asyncio.sleep(0.6)

    assert sequencer.fork is not None
    assert not running.done()
    assert read_file(tmp_path / "log", "checkpoint") == bytes(note)
    running.cancel()


def test_a_file_of_the_log_never_gets_other_bytes(tmp_path: Path) -> None:
    write_files(tmp_path, {"tile/0/000.p/1": b"a" * 32})
    write_files(tmp_path, {"tile/0/000.p/1": b"a" * 32})

    with pytest.raises(LogFolderError):
        write_files(tmp_path, {"tile/0/000.p/1": b"b" * 32})
