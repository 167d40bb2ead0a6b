"""Use cases of intake: take a bill in, or check one without keeping it.

Intake, write by write: known key → replay; read, check, minimise, seal and sign outside any transaction; then one work
that takes the claim number, stores the sealed bill and puts message and record into the outbox. If we die before its
commit, nothing happened; after it, the relay sends what is there and the same request gives the same receipt.
"""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.sz import store
from adapters.sz.actions import Deps
from adapters.sz.bill import HospitalBill
from adapters.sz.checks import check, read_rules
from adapters.sz.dossier import Submission
from adapters.sz.findings import Circumstances, Findings
from adapters.sz.formats import FORMATS
from adapters.sz.minimise import CLAIM_VERSION, Minimised, minimise
from adapters.sz.pins import check_pinned
from adapters.sz.ports import HospitalFormat, Reading
from adapters.sz.store import ClaimRow
from gateway.protocol.canonical import compact, sha256_hex
from gateway.protocol.claim_life import FIRST_STATE
from gateway.protocol.clock import business_date, rfc3339
from gateway.protocol.errors import ConflictError, GatewayError, InvalidInputError, NotFoundError
from gateway.protocol.exchange import check_sizes, pack, unpack
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import Typ, seal, sign
from gateway.protocol.messages.submitted import SubmittedManifest
from gateway.protocol.records import record
from gateway.protocol.topics import HOSPITAL_REQUESTS
from gateway.runtime.custody.case_secrets import CaseSecret
from gateway.runtime.delivery.outbox import Post, Stamped
from gateway.runtime.signals import failpoints
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once

RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Accepted:
    """A bill that may cross, with everything made of it that the work will store."""

    reading: Reading
    findings: Findings
    format: HospitalFormat
    minimised: Minimised
    manifest: str
    dossier: str
    secret: CaseSecret
    summary: bytes
    bill: bytes


class NumberTakenError(Exception):
    """The claim number is in use: whether by the same bill is found out outside the work."""


async def submit(deps: Deps, hospital: str, key: str, raw: bytes, language: str = "en") -> Stored:
    """Take a bill in; 202 and a receipt once it is durable. Every fault of it is `InvalidInputError` at once.

    Warnings of a receipt are in `language`, that of the request which was taken.
    """
    scope = Scope(hospital, "claims", key, deps.clock)
    before = await answered_before(deps.database, scope, raw)
    if before is not None:
        return before
    deps.outbox.admission.check()
    accepted = accept(deps, hospital, raw)
    try:
        stored = await deps.database.write(
            partial(once, scope=scope, raw=raw, effect=partial(_keep, deps=deps, accepted=accepted, language=language)),
            key=accepted.minimised.manifest.claim_token,
        )
    except NumberTakenError:
        return await _answer_as_before(deps, scope, raw, accepted, language)
    failpoints.reach("api.after_commit")
    return stored


def validate(deps: Deps, hospital: str, raw: bytes, language: str = "en") -> dict[str, Any]:
    """Check a bill as `submit` would and keep nothing; also tells what would stay behind."""
    _, findings = _checked(deps, hospital, raw)
    body: dict[str, Any] = {"valid": True} | _remarks(findings, language)
    return body | {"left_out": list(findings.reading.left_out)}


def accept(deps: Deps, hospital: str, raw: bytes) -> Accepted:
    """Read, check, minimise, seal and sign: all of it outside any transaction."""
    form, findings = _checked(deps, hospital, raw)
    route = findings.route
    if route is None:
        raise GatewayError("internal")  # a bill without faults has a route
    now = findings.around.now
    submission = Submission(
        bill=findings.bill,
        netted=findings.netted,
        hospital=hospital,
        route=route,
        msg_id=mint("msg"),
        case_id=mint("case"),
        claim_id=mint("claim"),
        claim_version=CLAIM_VERSION,
        nonce=os.urandom(RANDOM_BYTES),
        salt=os.urandom(RANDOM_BYTES),
        at=now,
    )
    directory = findings.around.directory
    minimised = minimise(submission, deps.keyring.tokens[hospital], directory.catalogue_sha256)
    reader_key = directory.seal_key(route.reader, now)
    check_pinned(deps.pins, route.reader, reader_key)
    dossier = seal(minimised.packed, [reader_key, deps.keyring.named(f"{hospital}/seal/").public])
    payload = compact(minimised.manifest.model_dump(mode="json", exclude_none=True))
    manifest = sign(payload, deps.keyring.named(f"{hospital}/sign/"), Typ.MANIFEST)
    check_sizes((manifest, dossier))
    secret = CaseSecret.mint(submission.case_id)
    summary = {
        "claim_number": findings.bill.billing.claim_number,
        "serials": [line.serial for line in findings.netted.lines],
    }
    return Accepted(
        reading=findings.reading,
        findings=findings,
        format=form,
        minimised=minimised,
        manifest=manifest,
        dossier=dossier,
        secret=secret,
        summary=secret.box(compact(summary), "content"),
        bill=secret.box(pack(raw), "content"),
    )


def _checked(deps: Deps, hospital: str, raw: bytes) -> tuple[HospitalFormat, Findings]:
    site = deps.site(hospital)
    form = FORMATS[site.format]
    reading = form.read(raw)
    now = deps.clock.now()
    around = Circumstances(hospital, site, deps.trust.directory, read_rules(deps.rules, business_date(now)), now)
    findings = check(reading, reading.bill.net_refunds(), form.places, around)
    if findings.faults:
        raise InvalidInputError("bill.invalid", faults=findings.faults)
    return form, findings


def _remarks(findings: Findings, language: str) -> dict[str, Any]:
    """Tell what was tidied, by place, and what only warns, in the form that faults have."""
    remarks: dict[str, Any] = {}
    if findings.reading.normalised:
        remarks["normalised"] = list(findings.reading.normalised)
    if findings.warnings:
        remarks["warnings"] = [warning.as_dict(language) for warning in findings.warnings]
    return remarks


async def _keep(tx: Transaction, *, deps: Deps, accepted: Accepted, language: str) -> Answer:
    """Store claim, sealed bill, message and record in one work."""
    manifest = accepted.minimised.manifest
    at = rfc3339(manifest.sent_at)
    earlier = accepted.minimised.earlier_claim_token
    if earlier is not None and await store.number_taken(tx, manifest.sender, earlier, manifest.claim_version):
        raise NumberTakenError
    await deps.vault.keep(tx, accepted.secret)
    [stamped] = await deps.outbox.add(tx, _post(accepted), secret=accepted.secret)
    if not await store.take_number(tx, _row(accepted, stamped, at)):
        raise NumberTakenError
    await store.add_event(tx, manifest.claim_id, "submitted", at, {"state": FIRST_STATE, "payment_state": "none"})
    failpoints.reach("api.before_commit")
    return _answer(manifest, accepted.findings, stamped, language)


def _post(accepted: Accepted) -> Post:
    manifest = accepted.minimised.manifest
    made = record(
        "claim.submitted",
        at=manifest.sent_at,
        case_id=manifest.case_id,
        clear={
            "claim_id": manifest.claim_id,
            "claim_version": manifest.claim_version,
            "msg_id": manifest.msg_id,
            "manifest_sha256": sha256_hex(accepted.manifest.encode()),
            "carrier": manifest.carrier,
            "use": str(manifest.use),
            "billing_mode": str(manifest.billing_mode),
            "programme_count": manifest.programme.count,
            "programme_worst": str(manifest.programme.worst) if manifest.programme.worst else None,
            "catalogue_sha256": manifest.programme.release_sha256,
        },
        facts=accepted.minimised.facts,
    )
    return Post(
        HOSPITAL_REQUESTS,
        manifest.case_id,
        manifest.type,
        made,
        msg_id=manifest.msg_id,
        manifest=accepted.manifest,
        dossier=accepted.dossier,
        opens_stream=True,
    )


def _row(accepted: Accepted, stamped: Stamped, at: str) -> dict[str, Any]:
    manifest = accepted.minimised.manifest
    return {
        "claim_id": manifest.claim_id,
        "case_id": manifest.case_id,
        "hospital": manifest.sender,
        "claim_token": manifest.claim_token,
        "claim_version": manifest.claim_version,
        "msg_id": manifest.msg_id,
        "format": accepted.format.name,
        "currency": manifest.currency,
        "total_minor": manifest.total_minor,
        "asked_minor": manifest.asked_minor,
        "state": FIRST_STATE,
        "payment_state": "none",
        "core_revision": 0,
        "revision": 1,
        "allowed_actions": "[]",
        "differences": "[]",
        "stamp": stamped.payload,
        "kid": stamped.kid,
        "summary": accepted.summary,
        "bill": accepted.bill,
        "at": at,
    }


def _answer(claim: SubmittedManifest | ClaimRow, findings: Findings, stamped: Stamped, language: str) -> Answer:
    body = {
        "claim_id": claim.claim_id,
        "case_id": claim.case_id,
        "claim_version": claim.claim_version,
        "state": FIRST_STATE,
        "msg_id": claim.msg_id,
        "allowed_actions": [],
    }
    body |= _remarks(findings, language)
    told = language if findings.warnings else None
    return Answer(202, body, f"/sz/v1/claims/{claim.claim_id}", stamped, told)


async def _answer_as_before(deps: Deps, scope: Scope, raw: bytes, accepted: Accepted, language: str) -> Stored:
    """Answer a bill whose claim number is in use: the first receipt for the same bill, 409 for another one.

    The 409 names the claim, which is the caller's own: a number is taken within one hospital only.
    """
    token = accepted.minimised.manifest.claim_token
    tokens = (token, accepted.minimised.earlier_claim_token or token)

    async def query(tx: Transaction) -> tuple[ClaimRow, CaseSecret | None]:
        first = await store.load_by_number(tx, scope.tenant, tokens, CLAIM_VERSION)
        try:
            return first, await deps.vault.existing(tx, first.case_id)
        except NotFoundError:
            return first, None

    first, secret = await deps.database.read(query)
    if secret is None or _bill(first, secret) != accepted.reading.bill:
        members = {"claim_id": first.claim_id, "href": f"/sz/v1/claims/{first.claim_id}"}
        raise ConflictError("claim.number-taken", allowed_actions=(), members=members)

    async def repeat(tx: Transaction) -> Answer:
        del tx
        return _answer(first, accepted.findings, Stamped(first.stamp, first.kid), language)

    stored = await deps.database.write(partial(once, scope=scope, raw=raw, effect=repeat), key=token)
    return Stored(stored.answer, replayed=True)


def _bill(row: ClaimRow, secret: CaseSecret) -> HospitalBill:
    """Read a stored bill again, as the format reads it today."""
    return FORMATS[row.format].read(unpack(secret.unbox(row.bill, "content"))).bill
