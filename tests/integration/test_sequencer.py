"""The sequencer over a real database and folder: what it refuses to sign."""

import asyncio
import fcntl
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import store
from audit.checkpoint import Checkpoint, Policy, sign_checkpoint
from audit.intake import SourceStop
from audit.leaf import Position
from audit.log_folder import LogFolderError, read_file, remove_leftovers, write_checkpoint, write_files
from audit.note import Ed25519Signer
from audit.proof import sign_entry
from audit.sequencer import Sequencer
from audit.tables import METADATA
from gateway.protocol.clock import VirtualClock
from gateway.protocol.errors import UnavailableError
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.protocol.topics import AUDIT_RECORDS
from gateway.runtime.bus.port import Fetched
from gateway.runtime.storage.database import Transaction
from gateway.runtime.storage.tables import METADATA as RUNTIME
from tests.conftest import MakeDatabase
from tests.unit.audit_logs import SOURCES, a_body, a_restart

ORIGIN = "log.example/szhk-audit/2026"
SIGNER = Ed25519Signer(ORIGIN, Ed25519PrivateKey.generate())
NOTED: list[SourceStop] = []
SZ, CORE = "szhk/sz", "szhk/core"


async def _nobody(_: Outgoing) -> Incoming:
    raise UnavailableError("outgoing.cannot-connect")


async def _noted(_: Transaction, stop: SourceStop) -> None:
    NOTED.append(stop)


def a_sequencer(make_database: MakeDatabase, folder: Path) -> Sequencer:
    NOTED.clear()
    database = make_database(RUNTIME, METADATA)
    keys = [source.vkey for source in SOURCES.values()]
    return Sequencer(database, VirtualClock(), ORIGIN, folder, SIGNER, Policy(), _nobody, lambda: keys, _noted)


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


def an_entry(sq: int, src: str = SZ, **changes: Any) -> bytes:
    return sign_entry(a_body(src, sq, **changes), SOURCES[src])


def restarted(last: bytes, epoch: int = 2, **changes: object) -> bytes:
    return sign_entry(a_restart(last, epoch, **changes), SOURCES[SZ])


def further(sq: int, epoch: int = 2) -> bytes:
    return an_entry(sq, eid=f"{SZ}-{epoch}-{sq}", ep=epoch)


def another(sq: int) -> bytes:
    """An entry under a number that the source has used for something else, as after a restore."""
    return an_entry(sq, eid=f"{SZ}-other-{sq}")


async def take(sequencer: Sequencer, *entries: bytes) -> None:
    """Bring entries as one batch off the bus, each under its source's key."""
    sources = [next(name for name in SOURCES if f'"src":"{name}"'.encode() in raw) for raw in entries]
    await sequencer.take([Fetched(AUDIT_RECORDS, 0, at, sources[at], raw) for at, raw in enumerate(entries)])


async def indexed(sequencer: Sequencer) -> list[bytes]:
    return await sequencer.database.read(partial(store.list_entries, log=ORIGIN, start=0, limit=1000))


async def stops(sequencer: Sequencer) -> list[tuple[str, str, int, int]]:
    return [(row.src, row.reason, row.ep, row.sq) for row in await sequencer.database.read(store.list_stops)]


async def last_of(sequencer: Sequencer, src: str = SZ) -> Position | None:
    return await sequencer.database.read(partial(store.load_last, src=src))


@pytest.fixture
def sequencer(make_database: MakeDatabase, tmp_path: Path) -> Sequencer:
    return a_sequencer(make_database, tmp_path / "log")


async def test_a_source_that_forks_stops_alone_and_every_other_source_goes_on(sequencer: Sequencer) -> None:
    await take(sequencer, an_entry(1), an_entry(2), an_entry(1, CORE))

    await take(sequencer, another(2), an_entry(2, CORE), another(3), an_entry(3, CORE))
    await take(sequencer, another(4), an_entry(4, CORE))

    assert await stops(sequencer) == [(SZ, "forked", 1, 2)]
    assert await last_of(sequencer) == Position(1, 2, f"{SZ}-2")
    assert await last_of(sequencer, CORE) == Position(1, 4, f"{CORE}-4")
    assert await sequencer.database.read(partial(store.count_set_aside, src=SZ)) == 3
    assert [str(stop) for stop in NOTED] == ["szhk/sz forked at number 2"]
    assert sequencer.fork is None


async def test_an_event_that_comes_again_with_other_bytes_stops_its_source(sequencer: Sequencer) -> None:
    await take(sequencer, an_entry(1))

    await take(sequencer, an_entry(1), an_entry(1, typ="claim.other"))

    assert await stops(sequencer) == [(SZ, "forked", 1, 1)]
    assert await indexed(sequencer) == [an_entry(1)]


async def test_entries_behind_a_skipped_number_go_in_once_it_has_come(sequencer: Sequencer) -> None:
    await take(sequencer, an_entry(1), an_entry(3), an_entry(4), an_entry(1, CORE))
    waiting = await stops(sequencer)

    await take(sequencer, an_entry(6), an_entry(2, CORE))
    await take(sequencer, an_entry(2))
    between = await stops(sequencer)
    await take(sequencer, an_entry(5), an_entry(7))

    assert waiting == between == [(SZ, "skipped", 1, 3)]
    assert await stops(sequencer) == []
    assert await last_of(sequencer) == Position(1, 7, f"{SZ}-7")
    assert await sequencer.database.read(partial(store.count_set_aside, src=SZ)) == 0
    assert len(await indexed(sequencer)) == 9


async def test_what_waited_behind_a_gap_and_came_with_other_bytes_is_a_fork(sequencer: Sequencer) -> None:
    await take(sequencer, an_entry(1), another(3))

    await take(sequencer, an_entry(2), an_entry(3))

    assert await stops(sequencer) == [(SZ, "forked", 1, 3)]
    assert await last_of(sequencer) == Position(1, 3, f"{SZ}-3")
    assert [stop.reason for stop in NOTED] == ["skipped", "forked"]


async def test_a_linked_restart_ends_a_fork_and_its_epoch_goes_on(sequencer: Sequencer) -> None:
    await take(sequencer, an_entry(1), an_entry(2), another(2), another(3))

    await take(sequencer, restarted(an_entry(2)), further(2), further(3))

    assert await stops(sequencer) == []
    assert await last_of(sequencer) == Position(2, 3, f"{SZ}-2-3")
    assert await sequencer.database.read(partial(store.count_set_aside, src=SZ)) == 2


@pytest.mark.parametrize(
    "entries",
    [
        (further(1),),
        (further(2),),
        (restarted(an_entry(1)),),
        (restarted(an_entry(2), last_eid="ev_other"),),
        (restarted(an_entry(2)), another(3)),
        (restarted(an_entry(2)), further(2), restarted(an_entry(2), epoch=3)),
    ],
)
async def test_an_epoch_that_is_not_linked_to_the_last_entry_stops_its_source(
    sequencer: Sequencer, entries: Sequence[bytes]
) -> None:
    await take(sequencer, an_entry(1), an_entry(2))

    await take(sequencer, *entries, an_entry(1, CORE))

    [(src, reason, _, _)] = await stops(sequencer)
    assert (src, reason) == (SZ, "forked")
    assert await last_of(sequencer, CORE) == Position(1, 1, f"{CORE}-1")
    assert await indexed(sequencer) == [an_entry(1), an_entry(2), *entries[:-1], an_entry(1, CORE)]


async def test_a_source_that_nobody_knows_cannot_stop_another(sequencer: Sequencer) -> None:
    forged = an_entry(1).replace(b'"sq":1', b'"sq":7')

    await take(sequencer, an_entry(1), forged, an_entry(2))

    assert await stops(sequencer) == []
    assert await last_of(sequencer) == Position(1, 2, f"{SZ}-2")


LEFT = ("checkpoint.tmp", "tile/0/000.p/1.tmp", "tile/entries/000.tmp", "tile/1/x001/000.tmp")
NOT_OURS = ("notes.tmp", "tile/0/000.p/1.tmp.tmp", "tile/0/0.tmp", "tile/0/000.p/999.tmp", "tile/x/000.tmp")


def test_temporary_files_that_a_crash_left_are_removed_and_no_others(tmp_path: Path) -> None:
    for name in (*LEFT, *NOT_OURS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    write_files(tmp_path, {"tile/0/001.p/1": b"a" * 32})

    removed = remove_leftovers(tmp_path)

    assert removed == len(LEFT)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {
        *NOT_OURS,
        "tile/0/001.p/1",
    }


def test_a_temporary_file_that_somebody_is_writing_stays(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.tmp"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert remove_leftovers(tmp_path) == 0
        assert path.exists()

    assert remove_leftovers(tmp_path) == 1


def test_a_writer_and_a_remover_at_once_lose_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            remove_leftovers(tmp_path)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for number in range(200):
            write_checkpoint(tmp_path, b"%d" % number)
            assert read_file(tmp_path, "checkpoint") == b"%d" % number
    finally:
        stop.set()
        remover.join()


def test_a_shorter_checkpoint_over_what_a_crash_left_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.tmp").write_bytes(b"much longer than the note")

    write_checkpoint(tmp_path, b"note")

    assert read_file(tmp_path, "checkpoint") == b"note"
