"""A role's tasks: none of them ends silently."""

import asyncio
from pathlib import Path

from tests.walk import house, until


async def test_a_task_that_a_library_cancels_is_started_again(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found:
        runs = 0

        async def run() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise asyncio.CancelledError
            await asyncio.Event().wait()

        async def ran_again() -> bool:
            return runs > 1

        found.process("hk")._run(run, "cancelled from within")

        await until(ran_again, "the second start of the task")
