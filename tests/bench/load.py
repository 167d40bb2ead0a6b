"""A small HTTP/1.1 load generator over raw sockets: cheap enough not to be what is measured. Loopback only, bounded."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BEYOND_MIN = 4
"""A percentile with fewer samples beyond it is decided by single ones: p99 needs 400 samples."""


@dataclass
class Measured:
    """Latencies in seconds of answers with the wanted status; anything else is a failure and named."""

    seconds: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.elapsed_s

    def percentile_ms(self, share: float) -> float:
        """Return the latency that `share` of the samples stay below; `ValueError` where too few lie beyond it."""
        ordered = sorted(self.seconds)
        if len(ordered) * min(share, 1 - share) < BEYOND_MIN:
            raise ValueError(f"{len(ordered)} samples do not show this percentile")
        return ordered[int(len(ordered) * share)] * 1000

    def latencies(self) -> str:
        """Write the median and the highest of p99, p95, p90 that so many samples show, else the maximum."""
        if not self.seconds:
            return "no samples"
        ordered = sorted(self.seconds)
        shown = [share for share in (0.99, 0.95, 0.9) if len(ordered) * (1 - share) >= BEYOND_MIN]
        highest = (
            f"p{shown[0] * 100:.0f} {self.percentile_ms(shown[0]):.1f}"
            if shown
            else f"maximum {ordered[-1] * 1000:.1f}"
        )
        return f"p50 {ordered[len(ordered) // 2] * 1000:.1f} ms, {highest} ms of {len(ordered)} samples"


class Connection:
    """One keep-alive connection; requests go one after the other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname in ("127.0.0.1", "localhost"), "load goes to loopback only"
        self._host, self._port = parts.hostname, parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        if self._streams is None or self._streams[0].at_eof():  # an idle connection was closed by the server
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        return status, await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def drive(
    url: str,
    path: str,
    *,
    clients: int,
    seconds: float,
    make: Callable[[int], tuple[dict[str, str], bytes]],
    wanted: int,
    requests_max: int = 1_000_000,
) -> Measured:
    """Have `clients` post as fast as they are answered for `seconds`, at most `requests_max` requests in all."""
    measured = Measured()
    numbers = iter(range(requests_max))
    started = time.perf_counter()

    async def client() -> None:
        connection = Connection(url)
        for number in numbers:
            before = time.perf_counter()
            if before - started > seconds:
                break
            headers, body = make(number)
            status, _ = await connection.request("POST", path, headers, body)
            if status == wanted:
                measured.seconds.append(time.perf_counter() - before)
            else:
                measured.failures[status] = measured.failures.get(status, 0) + 1
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    measured.elapsed_s = time.perf_counter() - started
    return measured
