"""An auditor: list what the log says of one case, and have a program that believes no server prove it.

Serve a sandbox with `make run`, walk a claim (`hospital.py` prints its case), then:

    .venv/bin/python examples/auditor.py build/demo case_…

It prints each event of the case with its place in the log and the role that wrote it, and then the report of
`python -m audit.verify`: the log's signature, both witnesses, every hash up to the signed root, the signatures of the
sources, and that no event of the case is missing. What is trusted stands in `profiles/log-trust.json`, which an
auditor gets by another way than from the log. Its exit code is the verifier's: 0 if nothing failed, 3 if something
did; 1 if the case is not in a checkpoint signed by the witnesses after `--wait` seconds.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.client import ApiProblem, AuditorClient, Profile, ProfileFileError
from gateway.protocol.clock import SystemClock
from gateway.protocol.errors import GatewayError


async def logged_events(auditor: AuditorClient, case_id: str, year: int) -> Sequence[Mapping[str, Any]]:
    """Wait until the newest checkpoint covers all that is indexed of the case; its events in the order of the log."""
    while True:
        try:
            events: Sequence[Mapping[str, Any]] = (await auditor.events(case_id))["events"]
            # a signed note (C2SP signed-note, tlog-checkpoint): line 1 the log's name, line 2 its size
            size = int((await auditor.checkpoint(year)).split(b"\n")[1])
        except ApiProblem as problem:
            if problem.status != 404:
                raise
        else:
            if events and max(event["index"] for event in events) < size:
                return sorted(events, key=lambda event: int(event["index"]))
        await asyncio.sleep(0.5)


def prove(case_id: str, log_url: str, trust: Path) -> int:
    """Run the stand-alone verifier over the public log; its exit code."""
    command = ["audit.verify", "claim", "--cref", case_id, "--log", log_url, "--trust", str(trust)]
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode  # noqa: S603 our own command


async def main() -> int:
    """Walk the auditor's part; the exit code."""
    parser = argparse.ArgumentParser(description="An auditor verifies the log's entries of one case.")
    parser.add_argument("data", type=Path, help="folder of the sandbox, e.g. build/demo")
    parser.add_argument("case_id", help="the case as the hospital's receipt names it")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="how long to wait for the log")
    options = parser.parse_args()

    profiles = options.data / "profiles"
    year = SystemClock().now().year
    async with AuditorClient(Profile.load(profiles / "aud-one-tools.json")) as auditor:
        try:
            events = await asyncio.wait_for(logged_events(auditor, options.case_id, year), options.wait)
        except TimeoutError:
            print(f"the case is not in a signed checkpoint after {options.wait:.0f} s", file=sys.stderr)
            return 1
        for event in events:
            print(f"entry {event['index']:>4}  {event['typ']:<24} by {event['src']}", flush=True)
        return prove(options.case_id, f"{auditor.log_url(year)}/", profiles / "log-trust.json")


def end() -> int:
    """Run it; what stops it (nobody listens, a refusal, a wrong folder) is one sentence on stderr and exit code 1."""
    try:
        return asyncio.run(main())
    except GatewayError as error:
        print(f"{error.code}: {error.sentence}", file=sys.stderr)
    except (ApiProblem, ProfileFileError, OSError) as error:
        print(f"{error} {error.fix}" if isinstance(error, ApiProblem) else error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(end())
