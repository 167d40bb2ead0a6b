"""`make demo`: one claim walks the whole house, through public HTTP only; every line printed is what came back.

The gateway runs as a process of its own; this program acts as hospital, assessor, insurer's system, treasurers and
auditor, each with nothing but its profile file. It prints ids, states, amounts and files, and ends with the proof.
"""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gateway.client import (
    ApiProblem,
    DecisionEntry,
    HospitalClient,
    InsurerClient,
    OpenedClaim,
    Profile,
    Session,
    TreasurerClient,
)
from gateway.folder_lock import FolderLock, empty_sandbox, lock_folder
from gateway.protocol.canonical import compact
from gateway.protocol.clock import SystemClock
from gateway.protocol.errors import UnavailableError
from gateway.protocol.money import Money
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout

T = TypeVar("T")

USUAL_PORT = 8080
PATIENCE_S = 20.0
STOP_S = 25.0


class DemoError(Exception):
    """The walk did not come to its end; the sentence says where."""


def run_demo(data: Path, port: int | None) -> int:
    """Make a sandbox in `data` anew, serve it, walk, stop serving; 0 if every step held.

    `port` None is the usual one, or any where that is taken; 0 is any. The folder's lock is held from before its old
    content is deleted until the end, by this process and by the server, its child. Raises `FolderInUseError` and
    `NotASandboxError`; nothing was deleted then.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # ends as ctrl-C does: the server, our child, is stopped too
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = lock_folder(data)
    try:
        port = _free_port(port)
        empty_sandbox(data)
        return _make_and_walk(data, port, lock)
    finally:
        lock.release()


def _make_and_walk(data: Path, port: int, lock: FolderLock) -> int:
    started = time.monotonic()
    print(f"A new sandbox in {data}: every party, person and key in it is SYNTHETIC.", flush=True)
    init(data, layout=Layout(f"http://127.0.0.1:{port}"), clock=SystemClock())
    server = _serve(data, port, lock)
    try:
        asyncio.run(_Walk(data, server).walk())
    except (DemoError, ApiProblem, UnavailableError) as error:
        print(f"\nThe walk stopped: {error}\nThe server's log is {data}/server.log", flush=True)
        return 1
    finally:
        _stop(server)
        lock.name_holder()
    proven = _prove(data)
    print(f"\nDone in {time.monotonic() - started:.1f} s. What the demo made stays in {data}:")
    print(f"  {data}/roles/*/*.db        one database a role; none but sz and insurer can read the claim")
    print(f"  {data}/roles/audit/log/    the log as static files (tlog-tiles)")
    print(f"  {data}/profiles/           act as any party yourself")
    run = "make run" if data == Path("build/demo") else f"gateway run all --data {data}"
    print(f"Next: `{run}`, then open http://127.0.0.1:{port}/ ; README.md says who reads what.")
    return proven


def run_served_demo(data: Path) -> int:
    """Walk through services that already run, by the profiles in `data`; 0 if every step held."""
    started = time.monotonic()
    try:
        asyncio.run(_Walk(data).walk())
    except (DemoError, ApiProblem, UnavailableError) as error:
        print(f"\nThe walk stopped: {error}", flush=True)
        return 1
    proven = _prove(data)
    print(f"\nDone in {time.monotonic() - started:.1f} s.")
    return proven


def _free_port(port: int | None) -> int:
    """Find out where to serve, before anything is deleted; `OSError` if the port asked for is taken."""
    for candidate in (USUAL_PORT, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError as error:
                if port is not None:
                    raise OSError(error.errno, error.strerror, f"127.0.0.1:{port}") from None
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no port is free")


def _serve(data: Path, port: int, lock: FolderLock) -> "subprocess.Popen[bytes]":
    """Start the server; it inherits the folder's lock, so that there is no moment at which nobody has it."""
    command = [sys.executable, "-m", "gateway", "run", "all", "--data", str(data), "--port", str(port)]
    command += ["--lock-descriptor", str(lock.descriptor)]
    with (data / "server.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 our own command
            command, stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock.descriptor,)
        )


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()


def _prove(data: Path) -> int:
    """Verify the claim's events off line, with the server stopped, by the auditor's stand-alone program."""
    case_id = (data / "demo-case-id").read_text(encoding="utf-8").strip()
    log = next((data / "roles" / "audit" / "log").iterdir())
    command = ["audit.verify", "claim", "--cref", case_id, "--log", str(log)]
    command += ["--trust", str(data / "profiles" / "log-trust.json")]
    print(f"\n7. Auditor, off line: {_interpreter()} -m {' '.join(command)}", flush=True)
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode  # noqa: S603 our own command


def _interpreter() -> str:
    """Name the running Python as somebody in this folder types it: `.venv/bin/python` has what the verifier needs."""
    running = Path(sys.executable)
    return str(running.relative_to(Path.cwd())) if running.is_relative_to(Path.cwd()) else "python"


@dataclass
class _Walk:
    data: Path
    server: "subprocess.Popen[bytes] | None" = None
    """The process that this program started; without one the services run already."""
    sessions: list[Any] = field(default_factory=list)

    def profile(self, client_id: str) -> Profile:
        return Profile.load(self.data / "profiles" / f"{client_id}.json")

    def bill(self, name: str) -> bytes:
        return (self.data / "bills" / f"{name}.json").read_bytes()

    async def walk(self) -> None:
        hospital = HospitalClient(self.profile("hosp-nanshan-his"))
        lantau = InsurerClient(self.profile("ins-lantau-system"))
        assessor = Session(self.profile("ins-harbour-assessor"), "insurer")
        self.sessions = [hospital, lantau, assessor]
        try:
            await self._wait_until_ready(hospital)
            await self._hand_in_a_wrong_bill(hospital)
            claim_id, case_id = await self._hand_in(hospital)
            (self.data / "demo-case-id").write_text(case_id, encoding="utf-8")
            await self._decide_at_the_desk(assessor, claim_id)
            await self._hospital_sees(hospital, claim_id)
            await self._pay(hospital, claim_id)
            await self._pay_and_claim(hospital, lantau)
            await self._wait_for_the_log(case_id)
        finally:
            for session in self.sessions:
                await session.aclose()

    async def _wait_until_ready(self, hospital: HospitalClient) -> None:
        async def ready() -> bool:
            if self.server is not None and self.server.poll() is not None:
                lines = (self.data / "server.log").read_text(encoding="utf-8").splitlines()
                raise DemoError(f"the server did not start: {lines[-1] if lines else 'it printed nothing'}")
            try:
                await hospital.validate(self.bill("inpatient-direct"))
            except (UnavailableError, ApiProblem) as problem:
                return isinstance(problem, ApiProblem) and problem.status == 422
            return True

        await _until(ready, "the gateway to answer")
        print("All six roles answer.\n")

    async def _hand_in_a_wrong_bill(self, hospital: HospitalClient) -> None:
        print("1. Hospital: a bill with mistakes. Every fault is named at once, no value is echoed:")
        try:
            await hospital.submit(self.bill("wrong"), "demo-wrong")
        except ApiProblem as problem:
            for fault in problem.errors[:6]:
                print(f"   {fault.code:<34} {fault.pointer}")
            more = len(problem.errors) - 6
            print(f"   … and {more} more; HTTP {problem.status}, nothing stored" if more > 0 else "")
        else:
            raise DemoError("a bill with mistakes was taken")

    async def _hand_in(self, hospital: HospitalClient) -> tuple[str, str]:
        receipt = await hospital.submit(self.bill("inpatient-direct"), "demo-1")
        again = await hospital.submit(self.bill("inpatient-direct"), "demo-1")
        print(
            "\n2. Hospital: an inpatient bill, with a refund pair and one 港澳药械通 line. 202, and a signed receipt:"
        )
        print(f"   claim {receipt.claim_id}")
        print(f"   case  {receipt.case_id}")
        print(f"   receipt stamped by role {receipt.stamp.role}, seq {receipt.stamp.seq}; the signature verifies")
        same = "byte for byte the same receipt" if again.token == receipt.token else "ANOTHER RECEIPT"
        print(f"   handed in again under the same key: {same}")
        return receipt.claim_id, receipt.case_id

    async def _decide_at_the_desk(self, assessor: Session, claim_id: str) -> None:
        async def in_review() -> Mapping[str, Any] | None:
            try:
                found = (await assessor.get(f"/v1/claims/{claim_id}")).json()
            except ApiProblem:
                return None
            return found if "decide" in found["allowed_actions"] else None

        found = await _until(in_review, "the desk to open and acknowledge the claim")
        lines = found["lines"]
        print("\n3. Insurer's desk: opened, hospital's signature verified, content compared with what was signed:")
        print(f"   differences: {len(found['differences'])}; state {found['state']}; {len(lines)} lines, e.g.")
        for line in lines[:3]:
            print(f"   {line['text']:<24} {line['amount']:>12} {found['currency']}")
        entries = [_covered(line, index) for index, line in enumerate(lines[:-1])]
        entries.append(_left_to_the_patient(lines[-1], len(lines) - 1))
        body = {"final": True, "entries": entries}
        await assessor.post(
            f"/v1/claims/{claim_id}/decision", compact(body), key="demo-decision", if_match=int(found["revision"])
        )
        print(f"   decided: the last line is not covered (G003), the other {len(lines) - 1} are paid")

    async def _hospital_sees(self, hospital: HospitalClient, claim_id: str) -> None:
        async def decided() -> Mapping[str, Any] | None:
            found = await hospital.claim(claim_id)
            # the insurer's answer is opened before core's word about the state has come
            return found if found.get("decision") and found["state"] != "in_review" else None

        found = await _until(decided, "the decision to come back")
        benefit = found["decision"]["benefit"]
        print("\n4. Hospital: the answer has come back, opened with the hospital's key:")
        print(f"   state {found['state']}; asked {found['asked']}, approved {benefit} {found['currency']}")
        print(f"   allowed now: {', '.join(found['allowed_actions']) or 'nothing'}")

    async def _pay(self, hospital: HospitalClient, claim_id: str) -> None:
        print("\n5. Money: one obligation, one batch, two different treasurers sign its hash, then ISO 20022:")
        for number in ("1", "2"):
            async with TreasurerClient(self.profile(f"ins-harbour-treasurer-{number}")) as treasurer:
                batch = await _until(_first_batch(treasurer), "the batch")
                await treasurer.approve(batch)
                amount = Money(batch.body["amount_minor"], batch.body["currency"])
                print(f"   batch {batch.batch_id}: {amount} {amount.currency}, approved by treasurer {number}")

        async def paid() -> Mapping[str, Any] | None:
            found = await hospital.claim(claim_id)
            return found if found["payment_state"] == "reconciled" else None

        await _until(paid, "the credit")
        for event in await hospital.timeline(claim_id):
            print(f"   {event['at'][11:19]}  {event['event']:<18} {event.get('payment_state', '')}")
        async with Session(self.profile("aud-one-tools"), "settlement") as auditor:
            books = (await auditor.get("/v1/ledger/trial-balance")).json()
        for account in books["accounts"]:
            print(f"   {account['account']:<48} {account['balance']:>12}")
        print(f"   the books sum to {books['sums_minor']} (minor units per currency)")

    async def _pay_and_claim(self, hospital: HospitalClient, lantau: InsurerClient) -> None:
        print(
            "\n6. Another bill, paid in cash by the patient, to an insurer that uses its own system (gateway.client):"
        )
        receipt = await hospital.submit(self.bill("outpatient-pay-and-claim"), "demo-2")
        opened = await _until(_opened(lantau, receipt.claim_id), "the claim in the other insurer's inbox")
        await lantau.acknowledge(opened)
        revision = await _until(_revision(lantau, receipt.claim_id), "the acknowledgement")
        entries = tuple(DecisionEntry(lines=(line.index,), benefit_minor=line.amount_minor) for line in opened.lines)
        await lantau.decide(opened, entries, final=True, based_on=revision)

        async def settled() -> Mapping[str, Any] | None:
            found = await hospital.claim(receipt.claim_id)
            return found if found["payment_state"] == "settled_outside" else None

        found = await _until(settled, "the second decision")
        print(f"   claim {receipt.claim_id}: {found['state']}")
        print(f"   payment {found['payment_state']}: the insurer pays the insured; no obligation, no batch")

    async def _wait_for_the_log(self, case_id: str) -> None:
        async def logged() -> bool:
            async with Session(self.profile("aud-one-tools"), "audit") as auditor:
                try:
                    events = (await auditor.get(f"/v1/claims/{case_id}")).json()["events"]
                    logs = (await auditor.get("/v1/logs")).json()["logs"]
                except ApiProblem:
                    return False
            states = [event["clr"].get("payment_state") for event in events]
            cosigned = logs[0].get("cosigned") == "yes" and int(logs[0]["size"]) > events[-1]["index"]
            return "reconciled" in states and cosigned

        await _until(logged, "the log")


def _covered(line: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Pay a line in full."""
    zero = "0.00"
    return {
        "lines": [index],
        "benefit": line["amount"],
        "patient": zero,
        "other_payer": zero,
        "adjusted": zero,
    }


def _left_to_the_patient(line: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Pay nothing for a line, with the class code in clear and the words sealed."""
    texts = {"en": "not covered by the plan", "zh_hant": "不屬計劃保障範圍"}
    amounts = {"benefit": "0.00", "patient": line["amount"]}
    return _covered(line, index) | amounts | {"class_code": "G003", "text": texts}


def _opened(insurer: InsurerClient, claim_id: str) -> Callable[[], Awaitable[OpenedClaim | None]]:
    async def opened() -> OpenedClaim | None:
        page = await insurer.inbox(wait_s=5)
        found = [item for item in page.items if item.claim_id == claim_id and item.type == "submitted"]
        return await insurer.open_claim(found[0].msg_id) if found else None

    return opened


def _revision(insurer: InsurerClient, claim_id: str) -> Callable[[], Awaitable[int | None]]:
    async def revision() -> int | None:
        found = await insurer.claim(claim_id)
        return found.revision if "decide" in found.allowed_actions else None

    return revision


def _first_batch(treasurer: TreasurerClient) -> Callable[[], Awaitable[Any]]:
    async def first() -> Any:
        batches = await treasurer.batches()
        return batches[0] if batches else None

    return first


async def _until(ask: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Ask again and again, at most for `PATIENCE_S`; `DemoError` names what did not come."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = await ask()
        if found:
            return found
        await asyncio.sleep(0.1)
    raise DemoError(f"{what} did not come within {PATIENCE_S:.0f} s")
