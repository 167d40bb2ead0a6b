"""A process that a test starts ends with the test run, however that ends: Linux kills it when its parent dies."""

import ctypes
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
"""`prctl(2)`. It counts from the thread that starts the child, so children are started on the main thread."""


def start_child(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start a process that writes what it prints to the end of `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 one system call, of a library that is loaded already
        )


def _end_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
