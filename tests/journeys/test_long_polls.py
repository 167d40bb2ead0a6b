"""Long polls of hospitals and insurers while the gateway is asked to end: they are answered and not cut off."""

import asyncio
import time
from pathlib import Path

from tests.served import served

POLL_S = 30


async def test_open_long_polls_are_answered_with_what_they_have_when_the_gateway_ends(tmp_path: Path) -> None:
    async with served(tmp_path / "trial") as (gateway, parties):
        assert await gateway.start()
        hospital = asyncio.create_task(parties.hospital.events(wait_s=POLL_S))
        insurer = asyncio.create_task(parties.insurer_client("ins-lantau").inbox(wait_s=POLL_S))
        await asyncio.sleep(1)

        asked_at = time.monotonic()
        ending = asyncio.create_task(gateway.stop())
        events, inbox = await asyncio.gather(hospital, insurer)

        assert time.monotonic() - asked_at < 4
        assert (list(events.items), list(inbox.items)) == ([], [])
        assert await ending == 0
        log = gateway.log.read_text()
        assert "CancelledError" not in log
        assert "job.failed" not in log
