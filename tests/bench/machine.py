"""What the machine gives: the time of a flush, the memory of a process."""

import os
import tempfile
import time
from pathlib import Path

FLUSHES = 300


def flush_ms(folder: Path) -> float:
    """Return the mean time of writing 4 KiB and fsync in `folder`, in milliseconds."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        for _ in range(FLUSHES):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / FLUSHES * 1000


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
