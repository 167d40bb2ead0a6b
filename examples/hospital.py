"""A hospital: hand in a bill, keep the signed receipt, follow the claim until it is paid.

Serve a sandbox with `make run`, then in a second terminal:

    .venv/bin/python examples/hospital.py build/demo

It prints the ids of claim and case, who stamped the receipt and when, and each event of the claim as it arrives; run
`insurer.py`, `treasurer.py` and `auditor.py` beside it. It ends with 0 once the money is reconciled (or the claim has
ended without money), and with 1 if that takes longer than `--wait` seconds.
"""

import argparse
import asyncio
import secrets
import sys
from pathlib import Path

from gateway.client import ApiProblem, HospitalClient, Profile, ProfileFileError
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.errors import GatewayError

INSURER = "ins-lantau"
PAID = {"reconciled", "settled_outside", "voided"}
ENDED_UNPAID = {"denied", "returned", "disputed", "refused"}


def bill_for(insurer: str, sample: bytes, number: str) -> bytes:
    """Number and address the sample bill; a hospital's own system would write the whole of it."""
    bill = read_json_object(sample)
    bill["billing"]["claim_number"] = f"SYN-EXAMPLE-{number}"
    bill["receipts"][0]["billNumber"] = bill["settlement_list"]["setlinfo"]["bill_no"] = number
    bill["coverage"] |= {"carrier": insurer, "payer": insurer}
    bill["consent"]["recipients"][0]["party"] = insurer
    return compact(bill)


async def follow(hospital: HospitalClient, claim_id: str) -> None:
    """Print the claim's events until nothing more is due. A real reader stores `page.next` with what it has read."""
    cursor = None
    while True:
        page = await hospital.events(cursor, wait_s=20)
        cursor = page.next
        for event in page.items:
            if event.get("claim_id") != claim_id:
                continue
            state, payment_state = event.get("state", ""), event.get("payment_state", "")
            print(f"{event['at'][11:19]}  {event['type']:<16} {state:<18} {payment_state}", flush=True)
            if payment_state in PAID or state in ENDED_UNPAID:
                return


async def main() -> int:
    """Walk the hospital's part; the exit code."""
    parser = argparse.ArgumentParser(description="A hospital hands in one bill and follows the claim.")
    parser.add_argument("data", type=Path, help="folder of the sandbox, e.g. build/demo")
    parser.add_argument("--wait", type=float, default=600.0, metavar="SECONDS", help="how long to follow the claim")
    options = parser.parse_args()

    sample = (options.data / "bills" / "inpatient-direct.json").read_bytes()
    number = f"{secrets.randbelow(10**10):010d}"
    async with HospitalClient(Profile.load(options.data / "profiles" / "hosp-nanshan-his.json")) as hospital:
        try:
            receipt = await hospital.submit(bill_for(INSURER, sample, number), key=f"example-{number}")
        except ApiProblem as problem:
            for fault in problem.errors:
                print(f"{fault.code:<32} {fault.pointer}  {fault.sentence}", file=sys.stderr)
            print(problem.fix, file=sys.stderr)
            return 1
        print(f"claim {receipt.claim_id}")
        print(f"case  {receipt.case_id}")
        print(f"receipt stamped by {receipt.stamp.role} at {receipt.stamp.received_at:%H:%M:%S}, verified", flush=True)
        try:
            await asyncio.wait_for(follow(hospital, receipt.claim_id), options.wait)
        except TimeoutError:
            print(f"not ended after {options.wait:.0f} s", file=sys.stderr)
            return 1
        claim = await hospital.claim(receipt.claim_id)
        benefit = claim.get("decision", {}).get("benefit", "nothing")
        print(f"{claim['state']}: asked {claim['asked']}, approved {benefit} {claim['currency']}")
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
