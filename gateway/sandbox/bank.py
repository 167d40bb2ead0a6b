"""A simulated bank as an HTTP server of its own: ISO 20022 in and out, its own books, scripted faults.

    POST /v1/payments              pain.001.001.09 → pain.002.001.10 (ACCP, or RJCT with a reason), always 200
    GET  /v1/payments/{MsgId}      pain.002.001.10 as of now (ACCP, ACCC once credited, RJCT), 404 if never taken
    GET  /v1/notifications?after=  camt.054.001.08 of the next movements with `Next-Cursor`, 204 if there is none
    GET  /v1/journal               JSON for tests and auditors: accounts with balances, payments, movements
    POST /v1/control/faults        JSON {kind, times?, reason?, amount_minor?, delay_ms?}: scripts a fault

Every request carries `Authorization: Bearer <token>`. The folder holds `bank.json`, the profile; the books are
`bank.db` beside it. Profile: {"token", "fee_account", "accounts": [{"account", "holder", "currency", "member_id",
"opening_minor"}], "faults": [...], "status_form"?, "notification_form"?}; the two say how this bank fills its messages
(`bank_messages.STATUS_FORMS`, `NOTIFICATION_FORMS`). Orders are executed on their execution date by the clock given,
without any timer of their own: whatever is asked first executes what is due.
"""

import asyncio
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from gateway.protocol.canonical import read_json_object
from gateway.protocol.clock import Clock
from gateway.protocol.errors import (
    GatewayError,
    InvalidInputError,
    MalformedInputError,
    TooLargeError,
    UnauthenticatedError,
)
from gateway.sandbox.bank_journal import BankAccount, Fault, Journal
from gateway.sandbox.bank_messages import (
    NOTIFICATION_FORMS,
    STATUS_FORMS,
    read_order,
    write_notification,
    write_status,
)

BODY_BYTES_MAX = 1 << 20
PROFILE_FILE = "bank.json"
JOURNAL_FILE = "bank.db"

_XML = "application/xml"
_CURSOR_DIGITS_MAX = 15


def create_bank(folder: Path, clock: Clock) -> FastAPI:
    """Build the server over `folder`; `InvalidInputError` (`bank.profile`) where the profile is not as described."""
    profile = read_json_object((folder / PROFILE_FILE).read_bytes())
    token, journal = _open(profile, folder / JOURNAL_FILE, clock)
    status_form, notification_form = _forms(profile)
    app = FastAPI(
        title="Simulated bank",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_exception_handler(GatewayError, _problem)

    @app.post("/v1/payments")
    async def instruct(request: Request) -> Response:
        _check_token(request, token)
        body = await _body(request)
        if not await run_in_threadpool(journal.available):
            return Response(status_code=503)
        receipt = await run_in_threadpool(journal.receive, read_order(body), body)
        if receipt.fault is not None:
            await asyncio.sleep(receipt.fault.delay_ms / 1000)
            if receipt.fault.kind == "fail_after_debit":
                return Response(status_code=500)
        return Response(receipt.answer, media_type=_XML)

    @app.get("/v1/payments/{message_id}")
    def status(request: Request, message_id: str) -> Response:
        _check_token(request, token)
        return Response(write_status(journal.standing(message_id), clock.now(), status_form), media_type=_XML)

    @app.get("/v1/notifications")
    def notifications(request: Request) -> Response:
        _check_token(request, token)
        movements = journal.movements_after(_cursor(request.query_params.get("after", "0")))
        if not movements:
            return Response(status_code=204)
        following = {"Next-Cursor": str(movements[-1].position)}
        return Response(write_notification(movements, notification_form), media_type=_XML, headers=following)

    @app.get("/v1/journal")
    def report(request: Request) -> Response:
        _check_token(request, token)
        return JSONResponse(journal.report())

    @app.post("/v1/control/faults", status_code=204)
    async def script(request: Request) -> None:
        _check_token(request, token)
        fault = _fault(read_json_object(await _body(request)))
        await run_in_threadpool(journal.add_fault, fault)

    return app


def _open(profile: Mapping[str, Any], path: Path, clock: Clock) -> tuple[str, Journal]:
    try:
        journal = Journal(path, clock, str(profile["fee_account"]), _forms(profile)[0])
        accounts = [BankAccount(**found) for found in profile["accounts"]]
        journal.open(accounts, [_fault(found) for found in profile["faults"]])
        return str(profile["token"]), journal
    except (KeyError, TypeError):
        raise InvalidInputError("bank.profile") from None


def _forms(profile: Mapping[str, Any]) -> tuple[str, str]:
    """Return how this bank fills reports and notifications."""
    status_form = profile.get("status_form", STATUS_FORMS[0])
    notification_form = profile.get("notification_form", NOTIFICATION_FORMS[0])
    if status_form not in STATUS_FORMS or notification_form not in NOTIFICATION_FORMS:
        raise InvalidInputError("bank.profile")
    return status_form, notification_form


def _fault(found: Mapping[str, Any]) -> Fault:
    try:
        return Fault(**found)
    except TypeError:
        raise InvalidInputError("bank.fault") from None


def _check_token(request: Request, token: str) -> None:
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise UnauthenticatedError("bank.token")


async def _body(request: Request) -> bytes:
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > BODY_BYTES_MAX:
            raise TooLargeError("bank.too-large")
    return found


def _cursor(written: str) -> int:
    if not (written.isascii() and written.isdigit() and len(written) <= _CURSOR_DIGITS_MAX):
        raise MalformedInputError("bank.cursor")
    return int(written)


async def _problem(request: Request, error: Exception) -> Response:
    found = error if isinstance(error, GatewayError) else GatewayError()
    body = found.problem(request.headers.get("X-Request-Id", "bank"))
    return JSONResponse(body, status_code=found.status, media_type="application/problem+json")
