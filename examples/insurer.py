"""An insurer with a system of its own: read the inbox, open a claim, acknowledge it, decide it.

Serve a sandbox with `make run` and hand in a bill with `hospital.py`, then:

    .venv/bin/python examples/insurer.py build/demo

It waits for the next claim to `ins-lantau`, opens it with the insurer's own key, prints what signatures and comparison
say and the lines of the bill, takes the claim into review, and pays every line except the last, which the policy does
not cover. It ends with 0 once the gateway has accepted the decision, and with 1 if no claim came in `--wait` seconds.
`insurer-node/` does the same with nothing but a JOSE library.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from gateway.client import ApiProblem, DecisionEntry, InsurerClient, OpenedClaim, Profile, ProfileFileError
from gateway.protocol.errors import GatewayError
from gateway.protocol.money import Money

NOT_COVERED = "G003"


def decide(claim: OpenedClaim) -> list[DecisionEntry]:
    """Explain every fen of the bill: benefit, patient's share, other payer and adjustment sum to the lines covered."""
    *covered, last = claim.lines
    entries = [DecisionEntry(lines=(line.index,), benefit_minor=line.amount_minor) for line in covered]
    texts = {"en": "Not covered by the policy.", "zh-Hant": "不屬保單承保範圍。"}
    left = DecisionEntry(
        lines=(last.index,), benefit_minor=0, patient_minor=last.amount_minor, class_code=NOT_COVERED, texts=texts
    )
    return [*entries, left]


async def accepted(insurer: InsurerClient, msg_id: str) -> int:
    """Wait for what core makes of an answer; the claim's new revision, on which the next answer is based."""
    while True:
        request = await insurer.request(msg_id)
        if request.revision is not None:
            return request.revision
        if request.status == "rejected":
            raise SystemExit(f"{msg_id} is rejected: {request.code}")
        await asyncio.sleep(0.5)


async def answer(insurer: InsurerClient, msg_id: str) -> bool:
    """Open, compare, acknowledge and decide one claim; one that was answered before is left alone."""
    claim = await insurer.open_claim(msg_id)
    if "acknowledge" not in (await insurer.claim(claim.claim_id)).allowed_actions:
        return False
    print(f"claim {claim.claim_id} from {claim.manifest.sender}: stamp, receipt and signature verified")
    print(f"differences between content and manifest: {len(claim.differences)}")
    if claim.differences:
        await insurer.dispute(claim)
        return True
    currency = claim.manifest.currency
    for line in claim.lines:
        print(f"  {line.index:>3}  {Money(line.amount_minor, currency)!s:>12} {currency}  {line.text}")
    acknowledgement = await insurer.acknowledge(claim)
    revision = await accepted(insurer, acknowledgement.msg_id)
    print(f"in review, revision {revision}")
    decision = await insurer.decide(claim, decide(claim), final=True, based_on=revision)
    print(f"decided, revision {await accepted(insurer, decision.msg_id)}", flush=True)
    return True


async def next_claim(insurer: InsurerClient) -> None:
    """Answer the claims of the first page that has any; the cursor is acknowledged once the page is dealt with."""
    answered = 0
    while not answered:
        page = await insurer.inbox(wait_s=20)
        for item in page.items:
            if item.type == "submitted":
                answered += await answer(insurer, item.msg_id)
        await insurer.acknowledge_inbox(page.next)


async def main() -> int:
    """Walk the insurer's part; the exit code."""
    parser = argparse.ArgumentParser(description="An insurer's own system answers the next claim.")
    parser.add_argument("data", type=Path, help="folder of the sandbox, e.g. build/demo")
    parser.add_argument("--wait", type=float, default=120.0, metavar="SECONDS", help="how long to wait for a claim")
    options = parser.parse_args()

    async with InsurerClient(Profile.load(options.data / "profiles" / "ins-lantau-system.json")) as insurer:
        try:
            await asyncio.wait_for(next_claim(insurer), options.wait)
        except TimeoutError:
            print(f"no claim in {options.wait:.0f} s", file=sys.stderr)
            return 1
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
