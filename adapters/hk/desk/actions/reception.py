"""Claims in: pull the inbox, open and compare, keep, answer; the cursor moves in the commit that keeps the effects.

If we die before that commit, the page is pulled again; after it, the message ids say that it was kept. What cannot be
believed is set aside with a record and the inbox goes on; an unknown key or an edge that is away stops the page where
it is. A dossier that is not what the hospital signed is no such case: it is kept and disputed.
"""

from dataclasses import dataclass, field
from functools import partial

import structlog

from adapters.hk.desk import store
from adapters.hk.desk.actions import Deps
from adapters.hk.desk.actions.answering import ITSELF, authored_record
from adapters.hk.desk.claim import DeskAnswer, DeskClaim
from gateway.client import authoring
from gateway.client.authoring import Authored
from gateway.client.insurer import InboxItem, InboxPage
from gateway.client.opened import HospitalSaid, OpenedClaim, open_submitted, read_outcome, read_said, read_state
from gateway.client.transport import ApiProblem
from gateway.protocol.canonical import sha256_hex
from gateway.protocol.claim_life import FIRST_REVISION
from gateway.protocol.errors import (
    BadSignatureError,
    HeldError,
    InvalidInputError,
    MalformedInputError,
    RefuseError,
    RetryError,
)
from gateway.protocol.exchange import Exchange
from gateway.protocol.identifiers import mint
from gateway.protocol.messages import SPEC_OF_TYPE, types_on
from gateway.protocol.messages.accepted import Accepted
from gateway.protocol.messages.claim_state import ClaimState
from gateway.protocol.messages.disputed import DisputedManifest
from gateway.protocol.messages.rejected import Rejected
from gateway.protocol.records import record
from gateway.protocol.registry import SignedRelease, release_number
from gateway.protocol.topics import INSURER_DELIVERIES
from gateway.runtime.storage.database import Transaction

PAGE_MAX = 50

log = structlog.get_logger("desk")


@dataclass(frozen=True, slots=True)
class TakenClaim:
    opened: OpenedClaim
    answer: Authored


@dataclass(frozen=True, slots=True)
class TakenOutcome:
    told: Accepted | Rejected | ClaimState


@dataclass(frozen=True, slots=True)
class TakenSaid:
    """What the hospital says of a claim; where that leaves it is core's to tell, and follows."""

    said: HospitalSaid


@dataclass(frozen=True, slots=True)
class SetAside:
    """`why` is quarantined (nobody's), refused (somebody's, not ours to take) or held (an operator decides)."""

    item: InboxItem
    why: str
    code: str
    exchange: bytes = field(default=b"", repr=False)


Taken = TakenClaim | TakenOutcome | TakenSaid | SetAside
SAID = frozenset(name for name in types_on(INSURER_DELIVERIES) if issubclass(SPEC_OF_TYPE[name].model, HospitalSaid))


async def install_release(deps: Deps) -> None:
    """Fetch the signed release from the edge and put it in force if it is newer; the one held comes first."""
    await _restore_release(deps)
    signed = await deps.client.release()
    if release_number(signed) <= deps.trust.number:
        return
    directory = deps.trust.verify(signed)
    raw, now = signed.encode().decode(), deps.clock.now()
    await deps.database.write(partial(store.save_release, number=directory.number, raw=raw, at=now))
    deps.trust.install(signed, directory)


async def _restore_release(deps: Deps) -> None:
    held = await deps.database.read(store.load_newest_release) if not deps.trust.number else None
    if held is not None:
        signed = SignedRelease.decode(held.encode())
        deps.trust.install(signed, deps.trust.verify(signed))


async def take_inbox(deps: Deps) -> None:
    """Take everything that has come, page by page."""
    if not deps.trust.number:
        await install_release(deps)
    while await _take_page(deps):
        pass


async def _take_page(deps: Deps) -> bool:
    """Take one page; False when nothing more has come. Raises what stopped it, after keeping what came before."""
    after = await deps.database.read(partial(store.load_cursor, party=deps.party))
    page = await deps.client.inbox(after, limit=PAGE_MAX)
    if not page.items:
        return False
    taken, stop = await _read_page(deps, page)
    cursor = page.next if stop is None else None
    await deps.database.write(partial(_keep, deps=deps, taken=taken, cursor=cursor), key=deps.party)
    if stop is not None:
        raise stop
    await deps.client.acknowledge_inbox(page.next)
    return True


async def _read_page(deps: Deps, page: InboxPage) -> tuple[list[Taken], Exception | None]:
    taken: list[Taken] = []
    for item in page.items:
        try:
            taken.append(await _read_item(deps, item))
        except (RetryError, ApiProblem) as stop:
            return taken, stop
    return taken, None


async def _read_item(deps: Deps, item: InboxItem) -> Taken:
    """Fetch, verify and open one item, outside any transaction. Raises only what time mends."""
    try:
        exchange = await deps.client.exchange(item.msg_id)
    except ApiProblem as problem:
        if not problem.is_final:
            raise
        return SetAside(item, "refused", problem.code)
    except RefuseError as error:
        return SetAside(item, "quarantined", error.code)
    try:
        return _open(deps, item, exchange)
    except RefuseError as error:
        return SetAside(item, _why(error), error.code, exchange.encode())
    except RetryError:
        raise
    except Exception as error:  # noqa: BLE001 our own fault must not stop the inbox for every other claim
        log.error("desk.halt", error=type(error).__name__, msg_id=item.msg_id)
        return SetAside(item, "held", "internal", exchange.encode())


def _why(error: RefuseError) -> str:
    if isinstance(error, HeldError):
        return "held"
    return "quarantined" if isinstance(error, (BadSignatureError, MalformedInputError)) else "refused"


def _open(deps: Deps, item: InboxItem, exchange: Exchange) -> Taken:
    directory, now = deps.trust.directory, deps.clock.now()
    if item.type in ("accepted", "rejected"):
        return TakenOutcome(read_outcome(exchange, directory, party=deps.party, now=now))
    if item.type == "claim_state":
        return TakenOutcome(read_state(exchange, directory, party=deps.party, now=now))
    if item.type in SAID:
        return TakenSaid(read_said(exchange, directory, party=deps.party, now=now))
    if item.type != "submitted":
        raise InvalidInputError("message.type-unexpected")
    opened = open_submitted(exchange, directory, deps.seal_keys, party=deps.party, now=now)
    if opened.msg_id != item.msg_id:
        raise BadSignatureError("exchange.other-message")
    if opened.differences:
        answer = authoring.dispute(deps.author, opened.manifest, opened.differences, at=now)
    else:
        answer = authoring.acknowledge(deps.author, opened.manifest, based_on=FIRST_REVISION, at=now)
    return TakenClaim(opened, answer)


# Keeping: one work for the whole page


async def _keep(tx: Transaction, *, deps: Deps, taken: list[Taken], cursor: str | None) -> None:
    for one in taken:
        if isinstance(one, TakenClaim):
            await _keep_claim(tx, deps, one)
        elif isinstance(one, TakenOutcome):
            await store.follow(tx, one.told)
        elif isinstance(one, TakenSaid):
            places = one.said.differences if isinstance(one.said, DisputedManifest) else ()
            await store.keep_disputed_places(tx, one.said.claim_id, places)
        else:
            await _put_aside(tx, deps, one)
    if cursor is not None:
        await store.save_cursor(tx, deps.party, cursor)


async def _keep_claim(tx: Transaction, deps: Deps, one: TakenClaim) -> None:
    """Keep a claim, its content sealed under the case's secret, the answer to it, and both records."""
    opened, now = one.opened, deps.clock.now()
    if await store.knows_message(tx, opened.msg_id):
        return
    box = None
    if opened.content is not None:
        box = (await deps.vault.of_case(tx, opened.case_id)).box(opened.content, "content")
    if not await store.add_claim(tx, DeskClaim.opened(opened, now), box):
        signed = opened.manifest
        item = InboxItem(signed.type, signed.msg_id, signed.case_id, signed.claim_id, "")
        await _put_aside(tx, deps, SetAside(item, "refused", "claim.version-taken", opened.token.encode()))
        return
    await store.add_answer(tx, DeskAnswer.queued(one.answer, mint("req"), ITSELF, now))
    made = record(
        "dossier.opened",
        at=now,
        case_id=opened.case_id,
        clear={
            "claim_id": opened.claim_id,
            "claim_version": opened.manifest.claim_version,
            "msg_id": opened.msg_id,
            "manifest_sha256": sha256_hex(opened.token.encode()),
            "differences": len(opened.differences),
        },
        cause=opened.cause,
    )
    await deps.outbox.add(tx, made, authored_record(one.answer, now, cause=made.eid))


async def _put_aside(tx: Transaction, deps: Deps, one: SetAside) -> None:
    """Keep what was not taken, once, with a record that names it by its hash alone."""
    now = deps.clock.now()
    kept = await store.put_aside(
        tx,
        msg_id=one.item.msg_id,
        kind=one.item.type,
        why=one.why,
        code=one.code,
        exchange=one.exchange,
        at=now,
    )
    if kept:
        clear = {"topic": INSURER_DELIVERIES, "code": one.code, "sha256": sha256_hex(one.exchange)}
        await deps.outbox.add(tx, record(f"insurer.message_{one.why}", at=now, clear=clear))
