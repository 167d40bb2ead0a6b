"""A treasurer: compare a batch of payments with its hash, and approve exactly what was seen.

Serve a sandbox with `make run` and have a claim decided (`hospital.py`, `insurer.py`), then as two different persons:

    .venv/bin/python examples/treasurer.py build/demo ins-lantau-treasurer-1
    .venv/bin/python examples/treasurer.py build/demo ins-lantau-treasurer-2 --sha256 <what the first one read out>

It waits for a batch in draft, prints whom it pays, how much, when and for how many decisions, and the hash of it: the
client computes that hash itself (SHA-256 over the RFC 8785 bytes of the batch as shown) and stops if the server names
another. It signs the hash and ends with 0 once the approval is taken; it approves nothing and ends with 1 if `--sha256`
is another hash, if the same person has approved before, or if no batch came in `--wait` seconds.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from gateway.client import ApiProblem, Profile, ProfileFileError, TreasurerClient
from gateway.client.treasurer import Batch
from gateway.protocol.errors import GatewayError
from gateway.protocol.money import Money


async def next_draft(treasurer: TreasurerClient) -> Batch:
    """Return the newest batch that waits for approvals."""
    while True:
        for batch in await treasurer.batches():
            if batch.state == "draft":
                return batch
        await asyncio.sleep(0.5)


def show(batch: Batch) -> None:
    """Print what is about to be approved, from the bytes that are hashed."""
    body, creditor = batch.body, batch.body["creditor"]
    print(f"batch  {batch.batch_id}")
    print(f"pays   {Money(body['amount_minor'], body['currency'])} {body['currency']} on {body['value_date']}")
    print(f"to     {creditor['name']}, account {creditor['account']}; decisions: {len(body['members'])}")
    print(f"sha256 {batch.sha256}")


async def main() -> int:
    """Walk one treasurer's part; the exit code."""
    parser = argparse.ArgumentParser(description="A treasurer approves the batch that waits.")
    parser.add_argument("data", type=Path, help="folder of the sandbox, e.g. build/demo")
    parser.add_argument("person", help="name of the profile, e.g. ins-lantau-treasurer-1")
    parser.add_argument("--sha256", metavar="HASH", help="the batch's hash as the first treasurer read it out")
    parser.add_argument("--wait", type=float, default=120.0, metavar="SECONDS", help="how long to wait for a batch")
    options = parser.parse_args()

    async with TreasurerClient(Profile.load(options.data / "profiles" / f"{options.person}.json")) as treasurer:
        try:
            batch = await asyncio.wait_for(next_draft(treasurer), options.wait)
        except TimeoutError:
            print(f"no batch in {options.wait:.0f} s", file=sys.stderr)
            return 1
        show(batch)
        if options.sha256 not in (None, batch.sha256):
            print("this is not the batch with the hash you were given: not approved", file=sys.stderr)
            return 1
        try:
            approval = await treasurer.approve(batch)
        except ApiProblem as problem:
            print(f"{problem.code}: {problem.fix}", file=sys.stderr)
            return 1
        print(f"approved by {options.person}; the batch is {approval['state']}")
    return 0


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
