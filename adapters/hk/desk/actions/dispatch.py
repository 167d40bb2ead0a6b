"""Answers out: the stored, signed bytes are posted under their message id until the edge says what it did with them.

If we die after the edge has taken one and before that is noted, the same bytes go out again under the same key and
the edge gives its first receipt. An answer is signed anew, under a new message id, only when the edge refuses it for
its age: it looks for a known key first, so it has never taken that one.
"""

from datetime import timedelta
from functools import partial

from adapters.hk.desk import store
from adapters.hk.desk.actions import Deps
from adapters.hk.desk.actions.answering import authored_record
from adapters.hk.desk.claim import DeskAnswer
from gateway.client import authoring
from gateway.client.transport import ApiProblem
from gateway.protocol.errors import BadSignatureError, RetryError
from gateway.protocol.exchange import Posted
from gateway.runtime.storage.database import Transaction

BATCH_MAX = 50
PAUSE_MAX_S = 60
TOO_OLD = "exchange.time-window"
TAKEN_LONG_AGO = "message.replayed"
"""The edge has this message id, but no longer the key's answer."""


async def send_answers(deps: Deps) -> None:
    """Post every answer that is due; one that cannot be posted now waits, and the others go on."""
    due = partial(store.list_due, now=deps.clock.now(), limit=BATCH_MAX)
    for answer in await deps.database.read(due):
        await _send(deps, answer)


async def _send(deps: Deps, answer: DeskAnswer) -> None:
    try:
        sent = await deps.client.send(Posted.decode(answer.posted), answer.msg_id)
    except ApiProblem as problem:
        await _refused(deps, answer, problem)
    except (RetryError, BadSignatureError):  # away, or a receipt that is not the edge's: the bytes stay good
        await _postpone(deps, answer)
    else:
        await deps.database.write(partial(store.mark_sent, msg_id=answer.msg_id, receipt=sent.receipt))


async def _refused(deps: Deps, answer: DeskAnswer, problem: ApiProblem) -> None:
    if problem.code == TOO_OLD:
        await _sign_anew(deps, answer)
    elif problem.code == TAKEN_LONG_AGO:
        await deps.database.write(partial(store.mark_sent, msg_id=answer.msg_id, receipt=None))
    elif problem.is_final:
        await _settle(deps, answer, problem)
    else:
        await _postpone(deps, answer)


async def _settle(deps: Deps, answer: DeskAnswer, problem: ApiProblem) -> None:
    """Note that the edge itself has refused an answer for good."""
    faults = tuple(f"{fault.code} {fault.pointer}".strip() for fault in problem.errors)

    async def work(tx: Transaction) -> None:
        await store.reject(tx, answer.msg_id, code=problem.code, faults=faults, allowed_actions=problem.allowed_actions)
        await store.allow(tx, answer.claim_id, problem.allowed_actions)

    await deps.database.write(work, key=answer.claim_id)


async def _postpone(deps: Deps, answer: DeskAnswer) -> None:
    pause = timedelta(seconds=min(2**answer.attempts, PAUSE_MAX_S))
    await deps.database.write(partial(store.postpone, answer=answer, next_at=deps.clock.now() + pause))


async def _sign_anew(deps: Deps, answer: DeskAnswer) -> None:
    now = deps.clock.now()
    authored = authoring.reauthor(deps.author, Posted.decode(answer.posted), at=now)
    anew = DeskAnswer.queued(authored, answer.request_id, answer.asked_by, now)

    async def work(tx: Transaction) -> None:
        if await store.sign_anew(tx, answer, anew):
            await deps.outbox.add(tx, authored_record(authored, now, cause=None))

    await deps.database.write(work, key=answer.claim_id)
