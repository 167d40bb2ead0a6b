"""Who has a data folder: an exclusive lock in it that names its holder, and the only way to empty or remove a folder.

The kernel releases the lock when its holder ends, however it ends; the process id in the file is for people. Whoever
deletes takes the locks of the folder and of every role in it first. `.lock` itself stays when a folder is emptied, and
a lock on a file that was deleted meanwhile counts for nothing, so that two commands at once never both win.

Standard library only: `make clean` runs this module, `python -m gateway.folder_lock DIR`, without an environment.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOCK = ".lock"
LOCKED_INSIDE = ("roles/*", "bank")
"""What a process may serve by itself below a data folder."""

MARKER = "sandbox.json"
"""Written last: a folder that has it is a whole sandbox."""
UNFINISHED = ".unfinished"
"""Written first and removed last: what lies beside it was written by a `sandbox init` that did not end."""

READ_ATTEMPTS = 20
READ_PAUSE_S = 0.01


class FolderInUseError(Exception):
    """Another process has the folder; `process_id` is None where its holder has not named itself."""

    def __init__(self, folder: Path, process_id: int | None) -> None:
        self.process_id = process_id
        holder = "another process" if process_id is None else f"process {process_id}"
        super().__init__(f"the folder {folder} is in use by {holder}; stop it first")


class NotASandboxError(Exception):
    """The folder holds something else, which nobody asked us to delete."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the folder {folder} is not a sandbox and is left as it is: name an empty or a new folder")


@dataclass(frozen=True)
class FolderLock:
    """An exclusive lock on a folder. A child that inherits `descriptor` has the lock too, until both have ended."""

    descriptor: int

    def name_holder(self) -> None:
        """Write this process's id into the lock file."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self.descriptor)


def lock_folder(path: Path) -> FolderLock:
    """Lock a folder for as long as the process lives; `FolderInUseError` names the process that has it."""
    while True:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process_id = _holder(descriptor)
            os.close(descriptor)
            raise FolderInUseError(path, process_id) from None
        if _is_still_at(path / LOCK, descriptor):
            lock = FolderLock(descriptor)
            lock.name_holder()
            return lock
        # whoever had the lock before has removed the folder; there may be a new one under the same name
        os.close(descriptor)


def empty_sandbox(folder: Path) -> None:
    """Delete what a sandbox holds, all but its lock, which the caller has.

    `FolderInUseError` if a process serves a role or the bank of it alone; `NotASandboxError` if the folder holds
    something else. Nothing is deleted then.
    """
    names = {path.name for path in folder.iterdir()} - {LOCK}
    if names and not names & {MARKER, UNFINISHED}:
        raise NotASandboxError(folder)
    with _locked_inside(folder):
        # the two marks go last: if we die here, the rest is still known as a sandbox
        for name in sorted(names, key=lambda name: (name in (MARKER, UNFINISHED), name)):
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def remove_sandbox(folder: Path) -> None:
    """Delete a sandbox with its folder; one that does not exist is removed already."""
    if not folder.is_dir():
        return
    lock = lock_folder(folder)
    try:
        empty_sandbox(folder)
        (folder / LOCK).unlink()
        folder.rmdir()
    finally:
        lock.release()


def remove_tree(folder: Path) -> None:
    """Delete whatever a folder holds, unless a process has the lock of any folder in it."""
    with contextlib.ExitStack() as locks:
        for path in sorted(folder.rglob(LOCK)):
            locks.callback(lock_folder(path.parent).release)
        if folder.exists():
            shutil.rmtree(folder)


@contextlib.contextmanager
def _locked_inside(folder: Path) -> Iterator[None]:
    locks = []
    try:
        for pattern in LOCKED_INSIDE:
            locks += [lock_folder(path) for path in sorted(folder.glob(pattern)) if path.is_dir()]
        yield
    finally:
        for lock in locks:
            lock.release()


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> int | None:
    """Read who has the lock. A holder that has just taken it may not have written its id yet: read again, briefly."""
    for _ in range(READ_ATTEMPTS):
        text = os.pread(descriptor, 32, 0).strip()
        if text.isdigit() and _is_alive(int(text)):
            return int(text)
        time.sleep(READ_PAUSE_S)
    return None


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> int:
    """Remove the folders named on the command line; exit code 1 and a sentence where one of them is in use."""
    for name in sys.argv[1:]:
        try:
            remove_tree(Path(name))
        except FolderInUseError as error:
            sys.stderr.write(f"Error: {error}\n")
            return 1
        except OSError as error:
            sys.stderr.write(f"Error: {error.filename}: {error.strerror}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
