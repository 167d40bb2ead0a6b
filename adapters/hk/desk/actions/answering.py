"""Use cases of the insurer's people: answer a claim, withdraw a dispute, look at claims and what became of answers.

An answer is balanced, sealed and signed outside any transaction; one work then looks at the claim again, keeps the
signed bytes and the record. If we die before its commit, nothing was decided; after it, the answer goes out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from adapters.hk.desk import store
from adapters.hk.desk.actions import Deps
from adapters.hk.desk.claim import OPEN, QUEUED, DeskAnswer, DeskClaim
from adapters.hk.desk.form import read_decision, read_nothing, read_return
from gateway.client import authoring
from gateway.client.authoring import Authored, Decision
from gateway.client.opened import OpenedLine, lines_of
from gateway.protocol.canonical import read_json_object, sha256_hex
from gateway.protocol.claim_life import Event
from gateway.protocol.errors import NotFoundError, parse_fault
from gateway.protocol.fhir.wire import read_bundle
from gateway.protocol.identifiers import mint
from gateway.protocol.jose import PublicKey
from gateway.protocol.records import Record, record
from gateway.runtime.custody.case_secrets import CaseSecret
from gateway.runtime.signals import failpoints
from gateway.runtime.storage.database import Transaction
from gateway.runtime.web.auth import Caller
from gateway.runtime.web.idempotency import Answer, Scope, Stored, answered_before, once

ITSELF = "desk"
"""Who asked, where no person did."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for an answer to which claim, on which revision, under which idempotency key."""

    caller: Caller
    claim_id: str
    based_on: int
    key: str
    location: str
    """Where requests are shown, with the role's prefix: `/desk/v1/requests/`."""


AnswerAuthor = Callable[[DeskClaim, datetime], tuple[Event, Authored]]
"""Signs an answer to a claim; returns it with the move that it asks for."""


async def decide(deps: Deps, asked: Asked, raw: bytes) -> Stored:
    """Queue a decision, signed; 202 and where to ask for core's word. Names every fault of the entries at once."""

    def author(claim: DeskClaim, at: datetime) -> tuple[Event, Authored]:
        read = read_decision(read_json_object(raw), claim.currency)
        signed = claim.signed
        decision = Decision(
            entries=read.entries,
            final=read.final,
            based_on=asked.based_on,
            decision_version=claim.decision_version + 1,
            texts=read.texts,
            hospital_bears=authoring.hospital_bears(deps.trust.directory, signed, claim.received),
        )
        return read.event, authoring.decide(deps.author, signed, _hospital_key(deps, claim, at), decision, at=at)

    return await _answer(deps, asked, raw, "decision", author)


async def return_claim(deps: Deps, asked: Asked, raw: bytes) -> Stored:
    """Queue the word that the claim cannot be processed; 202 and where to ask for core's word."""

    def author(claim: DeskClaim, at: datetime) -> tuple[Event, Authored]:
        form = read_return(read_json_object(raw))
        authored = authoring.return_claim(
            deps.author,
            claim.signed,
            _hospital_key(deps, claim, at),
            based_on=asked.based_on,
            class_code=form.class_code,
            texts=form.text.by_language(),
            at=at,
        )
        return Event.RETURN, authored

    return await _answer(deps, asked, raw, "return", author)


async def withdraw_dispute(deps: Deps, asked: Asked, raw: bytes) -> Stored:
    """Queue the withdrawal of our own dispute; the body says nothing: `{}`. 202 and where to ask for core's word."""

    def author(claim: DeskClaim, at: datetime) -> tuple[Event, Authored]:
        read_nothing(read_json_object(raw))
        dispute_msg_id = claim.own_dispute(deps.party)
        return Event.WITHDRAW_DISPUTE, authoring.withdraw_dispute(deps.author, claim.signed, dispute_msg_id, at=at)

    return await _answer(deps, asked, raw, "dispute-withdrawal", author)


def _hospital_key(deps: Deps, claim: DeskClaim, at: datetime) -> PublicKey:
    return deps.trust.directory.seal_key(claim.hospital, at)


async def _answer(deps: Deps, asked: Asked, raw: bytes, operation: str, author: AnswerAuthor) -> Stored:
    """Known key → replay; then the form and the signature, then the claim as it stands, in the work that keeps it."""
    scope = Scope(asked.caller.party, f"desk.{operation}/{asked.claim_id}", asked.key, deps.clock)
    before = await answered_before(deps.database, scope, raw)
    if before is not None:
        return before
    now = deps.clock.now()
    event, authored = author(await deps.database.read(partial(store.load_claim, claim_id=asked.claim_id)), now)
    answer = DeskAnswer.queued(authored, mint("req"), asked.caller.client_id, now)

    async def effect(tx: Transaction) -> Answer:
        claim = await store.load_claim(tx, asked.claim_id, lock=True)
        on_its_way = await store.has_open_answer(tx, claim.claim_id, claim.claim_version)
        claim.check(event, asked.based_on, answer_open=on_its_way)
        await store.add_answer(tx, answer)
        await deps.outbox.add(tx, authored_record(authored, now, cause=None))
        failpoints.reach("api.before_commit")
        body = {"request_id": answer.request_id, "msg_id": answer.msg_id, "status": "pending", "allowed_actions": []}
        return Answer(202, body, asked.location + answer.request_id)

    stored = await deps.database.write(partial(once, scope=scope, raw=raw, effect=effect), key=asked.claim_id)
    failpoints.reach("api.after_commit")
    return stored


def authored_record(authored: Authored, at: datetime, *, cause: str | None) -> Record:
    signed = authored.manifest
    clear: dict[str, str | int | None] = {
        "claim_id": signed.claim_id,
        "claim_version": signed.claim_version,
        "msg_id": signed.msg_id,
        "manifest_sha256": sha256_hex(authored.posted.manifest.encode()),
        "type": signed.type,
    }
    return record("answer.authored", at=at, case_id=signed.case_id, clear=clear, cause=cause)


# Showing


@dataclass(frozen=True, slots=True)
class Shown:
    """A claim as its reader sees it; where content and manifest differ, the lines are the signed amounts alone."""

    claim: DeskClaim
    lines: tuple[OpenedLine, ...]
    answers: tuple[DeskAnswer, ...]

    @property
    def allowed_actions(self) -> tuple[str, ...]:
        """Say what core would allow, which is nothing while an answer is on its way."""
        return () if any(answer.status in OPEN for answer in self.answers) else self.claim.allowed_actions


async def show(deps: Deps, claim_id: str) -> Shown:
    async def query(tx: Transaction) -> tuple[_Kept, list[DeskAnswer]]:
        return await _kept(tx, deps, claim_id), await store.list_answers(tx, claim_id)

    kept, answers = await deps.database.read(query)
    content = kept.content()
    bundle = None if content is None or kept.claim.differences else read_bundle(content)
    return Shown(
        claim=kept.claim,
        lines=lines_of(kept.claim.signed, bundle),
        answers=tuple(answers),
    )


async def show_content(deps: Deps, claim_id: str) -> bytes:
    """Return the FHIR Bundle as it was opened; `NotFoundError` if it could not be, or the case has been erased."""

    async def query(tx: Transaction) -> _Kept:
        return await _kept(tx, deps, claim_id)

    content = (await deps.database.read(query)).content()
    if content is None:
        raise NotFoundError("desk.no-content")
    return content


@dataclass(frozen=True, slots=True)
class _Kept:
    """A claim with its sealed content and what opens it; opened outside the transaction that loaded it."""

    claim: DeskClaim
    box: bytes | None
    secret: CaseSecret | None

    def content(self) -> bytes | None:
        return None if self.box is None or self.secret is None else self.secret.unbox(self.box, "content")


async def _kept(tx: Transaction, deps: Deps, claim_id: str) -> _Kept:
    claim = await store.load_claim(tx, claim_id)
    box = await store.load_content(tx, claim)
    return _Kept(claim, box, None if box is None else await deps.vault.existing(tx, claim.case_id))


def answer_body(answer: DeskAnswer, language: str) -> dict[str, Any]:
    """Tell what became of an answer; `pending` until core has spoken, `sent` says whether the edge has it."""
    pending = answer.status in OPEN
    body: dict[str, Any] = {
        "request_id": answer.request_id,
        "msg_id": answer.msg_id,
        "type": answer.type,
        "claim_id": answer.claim_id,
        "status": "pending" if pending else answer.status,
        "sent": answer.status != QUEUED,
        "by": answer.asked_by,
        "at": answer.authored_at,
        "allowed_actions": list(answer.allowed_actions),
    }
    errors = [parse_fault(text).as_dict(language) for text in answer.faults]
    told = {"code": answer.code, "state": answer.state, "errors": errors or None}
    return body | {name: value for name, value in told.items() if value is not None}
