"""What a claim says of a person stands in no file of core, hk, settlement, audit, bus, bank or log, however written."""

import base64
import contextlib
import gzip
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.client.authoring import DecisionEntry
from gateway.client.transport import ApiProblem, Session
from gateway.protocol.canonical import compact
from tests.canary import Search
from tests.served import served
from tests.walk import Claimed, House, Parties, house, until
from tests.walk_parties import Insurer, a_bill, until_logged

DESK_INSURER = "ins-harbour"
HKID = "QQ123456(9)"
CANARIES = {
    "name": "测试金丝雀甲",
    "insured": "TEST KANARIENVOGEL",
    "insured_hant": "測試金絲雀甲",
    "certificate": "H98765432",
    "hkid": "QQ123456",
    "policy": "SYN-POL-KANARIE-77",
    "claim_number": "SYN-CLAIM-KANARIE-77",
    "receipt": "7700770077",
    "diagnosis": "合成金丝雀综合征",
    "diagnosis_code": "I49.511",
    "product": "金丝雀起搏器（合成型号）",
    "lot": "KANARIELOT9",
    "trace": "SYN-TRACE-KANARIE",
    "reason": "a canary is not covered",
}


def a_bill_with_canaries(insurer: str, suffix: str) -> dict[str, Any]:
    bill = a_bill(7_700_770_077, insurer)
    listed = bill["settlement_list"]
    listed["setlinfo"] |= {"psn_name": CANARIES["name"], "certno": CANARIES["certificate"]}
    listed["setlinfo"]["bill_no"] = bill["receipts"][0]["billNumber"] = CANARIES["receipt"][:-1] + suffix
    listed["diseinfo"][0] |= {"diag_name": CANARIES["diagnosis"], "diag_code": CANARIES["diagnosis_code"]}
    bill["fee_lines"][7]["medins_list_name"] = CANARIES["product"]
    bill["fee_lines"][8]["programme"] |= {
        "lot": CANARIES["lot"],
        "trace_code": CANARIES["trace"],
        "indication_code": CANARIES["diagnosis_code"],
    }
    bill["fee_lines"][8]["programme"].pop("udi")
    bill["billing"]["claim_number"] = CANARIES["claim_number"] + suffix
    bill["coverage"] |= {
        "insured_name_en": CANARIES["insured"],
        "insured_name_hant": CANARIES["insured_hant"],
        "hkid": HKID,
        "policy_number": CANARIES["policy"],
    }
    bill["consent"]["grantor"] = CANARIES["name"]
    return bill


async def hand_in(parties: Parties, insurer: str, suffix: str) -> Claimed:
    receipt = await parties.hospital.submit(compact(a_bill_with_canaries(insurer, suffix)), f"canary-{suffix}")
    return Claimed(receipt.claim_id, receipt.case_id, insurer)


async def decide_by_client(parties: Parties) -> Claimed:
    """Walk a claim to the insurer that runs its own system; the decision says why, in words."""
    claimed, insurer = await hand_in(parties, "ins-lantau", "7"), Insurer(parties)
    opened = await insurer.review(claimed)
    assert opened.content is not None
    assert CANARIES["product"].encode() in opened.content
    texts = {"en": CANARIES["reason"]}
    amounts = opened.manifest.line_amounts_minor
    entries = [DecisionEntry((0,), 0, amounts[0], class_code="G003", texts=texts)]
    entries += [DecisionEntry((line,), amounts[line]) for line in range(1, len(amounts))]
    sent = await insurer.client.decide(opened, entries, final=True, based_on=2, texts=texts)
    assert (await insurer.outcome(sent.msg_id)).status == "accepted"
    return claimed


async def decide_at_the_desk(parties: Parties) -> Claimed:
    claimed = await hand_in(parties, DESK_INSURER, "8")
    assessor = parties.session(f"{DESK_INSURER}-assessor", "insurer")
    shown = await until(lambda: _decidable(assessor, claimed), "the claim at the desk")
    zeros = dict.fromkeys(("patient", "other_payer", "adjusted"), "0.00")
    entries = [{"lines": [at], "benefit": line["amount"], **zeros} for at, line in enumerate(shown["lines"])]
    body = compact({"final": True, "entries": entries})
    await assessor.post(f"/v1/claims/{claimed.claim_id}/decision", body, key="one", if_match=shown["revision"])
    return claimed


async def _decidable(assessor: Session, claimed: Claimed) -> dict[str, Any] | None:
    try:
        found = (await assessor.get(f"/v1/claims/{claimed.claim_id}")).json()
    except ApiProblem:
        return None
    return found if "decide" in found["allowed_actions"] else None


async def test_what_a_claim_says_is_in_no_file_outside_the_two_rooms_that_may_read_it(tmp_path: Path) -> None:
    search = Search([*CANARIES.values(), CANARIES["receipt"][:-1], "金丝雀"])
    async with served(tmp_path / "data") as (gateway, parties):
        assert await gateway.start()
        walked = [await decide_by_client(parties), await decide_at_the_desk(parties)]
        for payer in ("ins-lantau", DESK_INSURER):
            await parties.pay(payer)
        for claimed in walked:
            await parties.until_claim(claimed, payment_state="reconciled")
            await until_logged(parties, claimed, "payment.reconciled")

        readers = [gateway.data / "roles" / name for name in ("sz", "insurer")]
        while_running = search.files(gateway.data, but=readers)
        decision = (await parties.hospital.claim(walked[0].claim_id))["decision"]
        await parties.forget()
        assert await gateway.stop() == 0

        assert CANARIES["reason"] in compact(decision).decode()
        assert while_running == []
        assert search.files(gateway.data) == [], "content at rest is encrypted in the two rooms that read it, too"
        assert not search.in_file(gateway.log)
        searched = {path.name for path in gateway.data.rglob("*.db")}
        assert {"core.db", "hk.db", "audit.db", "bus.db", "bank.db"} <= searched


def _aligned(encode: Callable[[bytes], bytes]) -> Iterator[bytes]:
    for before in range(3):
        yield encode(b"x" * before + CANARIES["name"].encode() + b"tail")


PLANTED = {
    "clear": CANARIES["name"].encode(),
    "json escapes": b'"' + CANARIES["name"].encode("ascii", "backslashreplace") + b'"',
    "utf-16": CANARIES["name"].encode("utf-16-le"),
    "hex": CANARIES["name"].encode().hex().encode(),
    "upper hex": CANARIES["name"].encode().hex().upper().encode(),
    "gzip": b"before" + gzip.compress(b"{" + CANARIES["name"].encode() + b"}") + b"after",
    "zlib": b"before" + zlib.compress(b"{" + CANARIES["name"].encode() + b"}") + b"after",
    "base64 of gzip": base64.b64encode(gzip.compress(CANARIES["name"].encode())),
    "base64url of gzip after letters": b"abc" + base64.urlsafe_b64encode(gzip.compress(CANARIES["name"].encode())),
    "gzip of base64": gzip.compress(base64.b64encode(CANARIES["name"].encode())),
    **{f"base64 at {at}": one for at, one in enumerate(_aligned(base64.b64encode))},
    **{f"base64url at {at}": one for at, one in enumerate(_aligned(base64.urlsafe_b64encode))},
}


@pytest.mark.parametrize("encoding", PLANTED)
def test_the_search_finds_a_canary_in_every_encoding(encoding: str) -> None:
    search = Search(CANARIES.values())

    assert search.holds(b"\x00\xff noise " + PLANTED[encoding] + b" noise")
    assert not search.holds(b"\x00\xff noise " + PLANTED[encoding][:6] + b" noise")


@pytest.mark.parametrize("encoding", PLANTED)
def test_the_search_finds_a_canary_in_sqlite_pages_and_in_the_write_ahead_log(tmp_path: Path, encoding: str) -> None:
    path, search = tmp_path / "planted.db", Search(CANARIES.values())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE planted (value BLOB)")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("INSERT INTO planted VALUES (?)", [PLANTED[encoding]])

        in_the_log = search.in_file(tmp_path / "planted.db-wal")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        assert in_the_log
        assert search.files(tmp_path) == [path]


def test_the_search_finds_a_canary_that_a_page_end_cuts_in_two(tmp_path: Path) -> None:
    path, search = tmp_path / "planted.db", Search(CANARIES.values())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 4096")
        database.execute("CREATE TABLE planted (value TEXT)")
        value = "x" * 600 + CANARIES["insured"] + "y" * 4083  # nine of its letters fit on the first page
        database.execute("INSERT INTO planted VALUES (?)", [value])

    assert not search.holds(path.read_bytes())
    assert search.in_file(path)


# What error answers say

SENT = "KANARIENVOGEL"


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*path, index))
    else:
        yield path


def _with(bill: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    inner: Any = bill
    for step in path[:-1]:
        inner = inner[step]
    former, inner[path[-1]] = inner[path[-1]], value
    changed = compact(bill)
    inner[path[-1]] = former
    return {"content": changed}


def assert_silent(answer: httpx2.Response, what: object) -> None:
    said = answer.text + str(answer.headers)
    assert answer.status_code < 500, what
    assert answer.status_code < 300 or SENT not in said, what


async def bearer(found: House, client_id: str, role: str) -> dict[str, str]:
    token = await found.session(client_id, role)._access()
    return {"Authorization": f"Bearer {token.text}", "Content-Type": "application/json"}


async def test_a_fault_of_a_bill_names_its_place_and_never_its_value(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found, found.http() as client:
        headers = await bearer(found, "hosp-nanshan-his", "sz")
        bill, refused = a_bill(1, DESK_INSURER), 0

        for path in _places(bill):
            for value in (SENT, {SENT: SENT}):
                answer = await client.post("/sz/v1/validate", headers=headers, **_with(bill, path, value))
                assert_silent(answer, path)
                refused += answer.status_code == 422

        assert refused > len(list(_places(bill)))


BROKEN = {
    "broken json": b'{"a": "' + SENT.encode(),
    "a key twice": compact({SENT: 1})[:-1] + b',"' + SENT.encode() + b'": 2}',
    "not a number": b'{"a": NaN, "b": "' + SENT.encode() + b'"}',
    "no object": compact([SENT]),
    "a strange member": compact({"settlement_list": SENT, SENT: SENT}),
    "strange strings": compact({"manifest": SENT, "dossier": SENT}),
    "three parts": compact({"manifest": f"{SENT}.{SENT}.{SENT}", "approval": f"{SENT}.{SENT}.{SENT}"}),
    "an approval": compact({"approval": SENT}),
    "no utf-8": b"\xff" + SENT.encode(),
}

POSTS = [
    ("hosp-nanshan-his", "sz", "/sz/v1/claims"),
    ("hosp-nanshan-his", "sz", "/sz/v1/validate"),
    ("ins-lantau-system", "hk", "/hk/v1/messages"),
    ("ins-lantau-system", "hk", "/hk/v1/inbox/ack"),
    ("ins-lantau-treasurer-1", "settlement", f"/settlement/v1/batches/{SENT}/approvals"),
    ("ins-harbour-assessor", "insurer", f"/desk/v1/claims/{SENT}/decision"),
    ("ins-harbour-assessor", "insurer", f"/desk/v1/claims/{SENT}/return"),
]

GETS = [
    ("hosp-nanshan-his", "sz", f"/sz/v1/claims/{SENT}"),
    ("hosp-nanshan-his", "sz", f"/sz/v1/claims/{SENT}/timeline"),
    ("hosp-nanshan-his", "sz", f"/sz/v1/claims?after={SENT}"),
    ("hosp-nanshan-his", "sz", f"/sz/v1/claims?limit={SENT}"),
    ("hosp-nanshan-his", "sz", f"/sz/v1/events?after={SENT}"),
    ("ins-lantau-system", "hk", f"/hk/v1/inbox?after={SENT}"),
    ("ins-lantau-system", "hk", f"/hk/v1/inbox?limit={SENT}&wait={SENT}"),
    ("ins-lantau-system", "hk", f"/hk/v1/messages/{SENT}"),
    ("ins-lantau-system", "hk", f"/hk/v1/requests/{SENT}"),
    ("ins-lantau-system", "hk", f"/hk/v1/claims/{SENT}"),
    ("op-gateway-1", "core", f"/core/v1/claims/{SENT}"),
    ("ins-lantau-treasurer-1", "settlement", f"/settlement/v1/batches/{SENT}"),
    ("ins-lantau-treasurer-1", "settlement", f"/settlement/v1/obligations/{SENT}"),
    ("ins-harbour-assessor", "insurer", f"/desk/v1/claims/{SENT}"),
    ("ins-harbour-assessor", "insurer", f"/desk/v1/claims?after={SENT}"),
    ("aud-one-tools", "audit", f"/audit/v1/claims/{SENT}"),
    ("aud-one-tools", "audit", f"/log/{SENT}/checkpoint"),
    ("aud-one-tools", "audit", f"/log/2026/tile/{SENT}"),
    ("aud-one-tools", "audit", f"/witness/sz/{SENT}/checkpoint"),
    ("aud-one-tools", "audit", f"/{SENT}"),
]


async def test_an_error_answer_never_repeats_what_was_sent(tmp_path: Path) -> None:
    async with house(tmp_path / "data") as found, found.http() as client:
        for client_id, role, path in POSTS:
            headers = await bearer(found, client_id, role) | {"Idempotency-Key": "one", "If-Match": '"1"'}
            for what, body in BROKEN.items():
                answer = await client.post(path, content=body, headers=headers)
                assert_silent(answer, (path, what))
                assert answer.status_code >= 400, (path, what)
            answer = await client.post(path, content=b"{}", headers=headers | {"Idempotency-Key": SENT + "\x7f"})
            assert_silent(answer, (path, "key"))
        for client_id, role, path in GETS:
            answer = await client.get(path, headers=await bearer(found, client_id, role))
            assert_silent(answer, path)
            assert answer.status_code >= 400 or answer.json() in ({"events": []}, {"cref": SENT, "events": []}), path


async def test_a_refused_token_request_never_repeats_what_was_sent(tmp_path: Path) -> None:
    form = "grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    bodies = [
        SENT,
        f"grant_type={SENT}",
        f"{form}&client_assertion={SENT}",
        f"{form}&client_assertion={SENT}.{SENT}.{SENT}&scope={SENT}",
    ]
    async with house(tmp_path / "data") as found, found.http() as client:
        for prefix in ("/sz", "/hk", "/core", "/settlement", "/audit", "/desk"):
            for body in bodies:
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                answer = await client.post(f"{prefix}/oauth/token", content=body, headers=headers)
                assert_silent(answer, (prefix, body))
                assert answer.status_code >= 400
            answer = await client.get(f"{prefix}/v1/claims/x", headers={"Authorization": f"Bearer {SENT}"})
            assert_silent(answer, (prefix, "bearer"))
            assert answer.status_code in (401, 404)
