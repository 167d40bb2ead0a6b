"""`make bench`: a table, and `build/bench.json`. Measures this machine, never asserts a time.

First two processes on two cores, the gateway (`run all`, or the bare peer) and this load generator; then the house as
services with their broker and database, all on the same machine. Every 202 is durable:
signed, sealed, committed with its audit record under `synchronous=FULL` or PostgreSQL's default durability.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from gateway.folder_lock import FolderInUseError, lock_folder
from gateway.protocol.canonical import pretty
from tests.bench.kafka_paths import measure_consumers
from tests.bench.machine import flush_ms
from tests.bench.rows import Row, table
from tests.bench.services import measure_services
from tests.bench.steps import measure_steps
from tests.bench.walks import measure_database

BUILD = Path("build")


async def measure(seconds: float, memory_claims: int) -> list[Row]:
    rows = [Row("flush (write 4 KiB, fsync)", flush_ms(BUILD), "ms", "-", "-", "mean of 300")]
    for database in ("sqlite", "postgresql"):
        print(f"measuring on {database} …", file=sys.stderr)
        rows += await measure_database(BUILD / "bench", database, seconds, memory_claims if database == "sqlite" else 0)
    print("measuring services on PostgreSQL and Kafka …", file=sys.stderr)
    rows += await measure_services(BUILD / "bench", seconds)
    rows += await measure_consumers()
    print("measuring steps …", file=sys.stderr)
    return rows + await measure_steps(BUILD / "bench")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each load, at most 120")
    parser.add_argument("--memory-claims", type=int, default=10_000, help="claims before memory is read; 0 skips it")
    given = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    try:
        lock = lock_folder(BUILD)
    except FolderInUseError as error:
        sys.exit(str(error))
    rows = asyncio.run(measure(min(given.seconds, 120.0), min(given.memory_claims, 20_000)))
    (BUILD / "bench.json").write_text(pretty({"rows": [row.as_dict() for row in rows]}) + "\n", encoding="utf-8")
    print(table(rows))
    lock.release()


if __name__ == "__main__":
    main()
