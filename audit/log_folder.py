"""The log's files on disk: written so that what a checkpoint names is durable before the checkpoint is (LOG-1).

Each file: temporary name, write, fsync, rename; then every touched folder is fsynced once. A path's bytes are
determined by the entries, so writing one again after a crash writes the same; other bytes stop the sequencer. A
temporary file is locked while it is written, so that what a crash left can be told from another process's work.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from audit.merkle import VerificationError
from audit.tiles import parse_path

CHECKPOINT = "checkpoint"
TEMPORARY = ".tmp"


class LogFolderError(Exception):
    """A file of the log already has other bytes: somebody else wrote here, or a disk lies. Nothing is signed."""


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write tiles and bundles durably; an existing file must have the same bytes."""
    touched = set()
    for name, content in files.items():
        path = folder / name
        if path.exists():
            if path.read_bytes() != content:
                raise LogFolderError(f"{name} has other bytes")
            continue
        touched |= _make_parents(folder, path.parent)
        _replace(path, content)
        touched.add(path.parent)
    for parent in touched:
        _sync_folder(parent)


def write_checkpoint(folder: Path, note: bytes) -> None:
    """Publish: the one file that is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / CHECKPOINT, note)
    _sync_folder(folder)


def read_file(folder: Path, name: str) -> bytes:
    """Read a file of the log; `FileNotFoundError` where there is none."""
    return (folder / name).read_bytes()


def _make_parents(folder: Path, parent: Path) -> set[Path]:
    made = set()
    while not parent.is_dir():
        made.add(parent)
        made.add(parent.parent)
        if parent == folder:
            break
        parent = parent.parent
    for path in sorted(made, key=lambda path: len(path.parts)):
        path.mkdir(parents=True, exist_ok=True)
    return made


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files that writers left when they died; return how many.

    Only names of ours, and none that a living process is writing.
    """
    removed = 0
    for path in folder.rglob(f"*{TEMPORARY}"):
        if _is_of_a_log(path.relative_to(folder).as_posix().removesuffix(TEMPORARY)):
            removed += _remove_unless_locked(path)
    return removed


def _is_of_a_log(name: str) -> bool:
    try:
        return name == CHECKPOINT or parse_path(name).path == name
    except VerificationError:
        return False


def _remove_unless_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(path, file):
                return False
            path.unlink()
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Say whether the path still names this open file; whoever holds its lock keeps it so."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _open_locked(path: Path) -> BinaryIO:
    """Open a temporary file for ourselves; one that is removed or renamed before we hold its lock is made again."""
    while True:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(path, file):
            return file
        file.close()


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + TEMPORARY)
    with _open_locked(beside) as file:
        file.truncate(0)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        beside.replace(path)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
