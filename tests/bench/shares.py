"""Where a claim's processor time goes: a sampling profiler watches `sz`, `core` and `hk` under load.

Samples are taken only while a thread holds the interpreter, so waiting does not count. A sample belongs to the
innermost frame that some step owns; the standard library works for whoever called it. What PostgreSQL, Kafka and the
load generator use is not in it.
"""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.bench.rows import Row

RATE_HZ = 200
WATCHED = ("sz", "core", "hk")
STEPS = {
    "SQL, our side": (
        "asyncpg/",
        "sqlalchemy/",
        *(f"runtime/storage/{name}.py" for name in ("postgres", "postgres_session", "postgres_statements")),
    ),
    "Kafka, our side": ("aiokafka/", "runtime/bus/kafka"),
    "HTTP": ("uvicorn/", "starlette/", "fastapi/", "httpx2/", "anyio/", "runtime/web/"),
    "signatures, seals, hashes": (
        "joserfc/",
        "cryptography/",
        "protocol/jose.py",
        "protocol/commitments.py",
        "runtime/custody/case_secrets.py",
    ),
    "the bill: read, check, minimise": ("adapters/sz/",),
    "messages: parse, validate, serialise": ("pydantic", "rfc8785/", "gateway/protocol/"),
    "event loop": ("uvloop/", "asyncio/runners.py"),
    "the rest of ours": ("gateway/", "adapters/", "settlement/", "audit/"),
}
"""Step → parts of paths that it owns; the first that fits counts."""


class Watch:
    """Profilers over running roles; started before a load, read after it. `seconds` bounds them."""

    def __init__(self, processes: Mapping[str, "subprocess.Popen[bytes]"], folder: Path, seconds: float) -> None:
        spy = str(Path(sys.executable).with_name("py-spy"))
        options = ["--duration", str(max(1, int(seconds))), "--rate", str(RATE_HZ), "--gil", "--nonblocking"]
        self._files = {role: folder / f"{role}.samples" for role in WATCHED}
        self._running = [
            subprocess.Popen(
                [spy, "record", *options, "--format", "raw", "--output", str(path), "--pid", str(processes[role].pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for role, path in self._files.items()
        ]

    async def rows(self) -> list[Row]:
        """Wait for the profilers' end; return each step's share of all samples."""
        for profiler in self._running:
            await asyncio.to_thread(profiler.wait, 60)
        samples: Counter[str] = Counter()
        for path in self._files.values():
            for line in path.read_text(encoding="utf-8").splitlines():
                stack, _, count = line.rpartition(" ")
                samples[_step_of(stack)] += int(count)
        total = sum(samples.values())
        note = f"of {total} samples in {', '.join(WATCHED)}"
        return [
            Row(f"share of processor time: {step}", 100 * count / total, "%", "postgresql", "kafka", note)
            for step, count in samples.most_common()
        ]


def _step_of(stack: str) -> str:
    for frame in reversed(stack.split(";")):
        for step, owned in STEPS.items():
            if any(part in frame for part in owned):
                return step
    return "interpreter"
