"""Two operators end what a party's silence would hold, on both databases: one asks, another confirms, both are told."""

from dataclasses import dataclass
from typing import get_args

import pytest

from gateway.claims.actions.closing import CloseClaim, CloseRecoup
from gateway.claims.payment import PaymentState
from gateway.claims.tables import METADATA
from gateway.operator_commands import RECOUP_REASONS
from gateway.protocol.claim_life import CLOSE_REASONS, State
from gateway.protocol.errors import ConflictError, ForbiddenError, IllegalTransitionError, InvalidInputError
from gateway.protocol.messages.outcome import Outcome, OutcomeType
from gateway.protocol.settlements import obligation_id
from gateway.protocol.topics import HOSPITAL_NOTICES, INSURER_DELIVERIES
from gateway.runtime.operator.actions import Ask, Operations
from gateway.runtime.storage.database import Transaction, rows
from gateway.runtime.storage.tables import METADATA as RUNTIME
from gateway.runtime.storage.tables import audit_rows
from gateway.runtime.web.auth import Caller
from gateway.runtime.web.idempotency import Answer
from tests.conftest import MakeDatabase
from tests.core_claims import Core
from tests.parties import CASE, CLAIM, a_decision, a_disputed, a_submitted, an_acknowledged, by_hospital

FIRST = Caller("operator", "op-gateway-1", "operator 1", frozenset({"operate"}))
SECOND = Caller("operator", "op-gateway-2", "operator 2", frozenset({"operate"}))


@dataclass
class Operators:
    core: Core
    operations: Operations

    async def ask(self, action: str, reason: str) -> str:
        asked = Ask(action=action, form={"claim_id": CLAIM, "reason": reason, "ticket": "OPS-17"})

        async def work(tx: Transaction) -> Answer:
            return await self.operations.ask(tx, asked, FIRST)

        return str((await self.core.database.write(work)).body["request_id"])

    async def confirm(self, request_id: str, by: Caller = SECOND) -> Answer:
        async def work(tx: Transaction) -> Answer:
            return await self.operations.confirm(tx, request_id, by)

        return await self.core.database.write(work)

    async def records(self) -> list[str]:
        async def query(tx: Transaction) -> list[str]:
            return [row.type for row in await rows(tx, audit_rows.select())]

        return await self.core.database.read(query)


@pytest.fixture
def operators(make_database: MakeDatabase) -> Operators:
    core = Core.over(make_database(RUNTIME, METADATA))
    deps = core.component.deps
    return Operators(core, Operations(core.database, deps.outbox, deps.clock, components=(core.component,)))


async def approved(core: Core) -> None:
    for message in (a_submitted(), an_acknowledged(), a_decision()):
        await core.take(message)


async def money(core: Core, kind: OutcomeType) -> None:
    await core.take(
        Outcome(
            type=kind,
            obligation_id=obligation_id(CLAIM, 1),
            case_id=CASE,
            claim_id=CLAIM,
            amount_minor=120_000,
            currency="CNY",
            at="2026-03-02T01:00:00.000Z",
        )
    )


def test_the_forms_and_the_command_know_the_reasons_of_the_tables() -> None:
    assert get_args(CloseClaim.model_fields["reason"].annotation) == tuple(CLOSE_REASONS)
    assert get_args(CloseRecoup.model_fields["reason"].annotation) == RECOUP_REASONS


async def test_two_operators_close_a_claim_that_the_insurer_never_answers_and_both_are_told(
    operators: Operators,
) -> None:
    core = operators.core
    await core.take(a_submitted())
    again = a_submitted(
        msg_id="msg_submitted0002",
        case_id="case_synthetic0002",
        claim_id="claim_synthetic0002",
        claim_token="tok_claim_0002",
    )

    request_id = await operators.ask("close-claim", "insurer-silent")
    still = await core.claim(CLAIM)
    answer = await operators.confirm(request_id)
    await core.take(again)

    assert still.state is State.RECEIVED
    assert answer.body == {"count": 1, "claim_id": CLAIM, "state": "closed", "receipts": "released"}
    told = [one for one in await core.sent() if one.key == CASE and one.message.get("event") == "closed"]
    assert {one.topic for one in told} == {HOSPITAL_NOTICES, INSURER_DELIVERIES}
    assert all((one.message["reason"], one.message["receipts"]) == ("insurer-silent", "released") for one in told)
    assert all(one.message["allowed_actions"] == [] for one in told)
    assert {"claim.closed", "core.operator_acted"} <= set(await operators.records())


async def test_receipts_that_a_reason_keeps_are_never_claimed_again(operators: Operators) -> None:
    await operators.core.take(a_submitted())

    answer = await operators.confirm(await operators.ask("close-claim", "settled-elsewhere"))

    assert answer.body["receipts"] == "kept"
    with pytest.raises(ConflictError, match=r"receipt\.live-on-another-claim"):
        await operators.core.take(
            a_submitted(
                msg_id="msg_submitted0002",
                case_id="case_0000002",
                claim_id="claim_000002",
                claim_token="tok_claim_0002",
            )
        )


async def test_one_person_closes_nothing(operators: Operators) -> None:
    await operators.core.take(a_submitted())
    request_id = await operators.ask("close-claim", "insurer-silent")

    with pytest.raises(ForbiddenError, match=r"operator\.two-persons"):
        await operators.confirm(request_id, FIRST)

    assert (await operators.core.claim(CLAIM)).state is State.RECEIVED


async def test_receipts_of_a_claim_whose_money_is_out_are_not_released(operators: Operators) -> None:
    core = operators.core
    await approved(core)
    await core.take(a_disputed(**by_hospital(3) | {"in_reply_to": a_decision().msg_id}))

    with pytest.raises(ConflictError, match=r"claim\.money-out"):
        await operators.ask("close-claim", "insurer-silent")
    await money(core, "voided")
    await operators.confirm(await operators.ask("close-claim", "insurer-silent"))

    assert (await core.claim(CLAIM)).state is State.CLOSED


async def test_a_claim_that_moved_between_the_two_persons_is_looked_at_again(operators: Operators) -> None:
    core = operators.core
    await core.take(a_submitted())
    await core.take(an_acknowledged())
    request_id = await operators.ask("close-claim", "insurer-silent")
    await core.take(a_decision())

    with pytest.raises(IllegalTransitionError, match=r"claim\.illegal-move"):
        await operators.confirm(request_id)

    assert (await core.claim(CLAIM)).state is State.APPROVED


async def test_two_operators_end_a_recoup_and_the_claim_still_ends(operators: Operators) -> None:
    core = operators.core
    await approved(core)
    await money(core, "instructed")
    await core.take(a_disputed(**by_hospital(3) | {"in_reply_to": a_decision().msg_id}))
    with pytest.raises(ConflictError, match=r"claim\.void-pending"):
        await operators.ask("close-recoup", "written-off")
    await money(core, "too_late")

    await operators.confirm(await operators.ask("close-recoup", "written-off"))
    await operators.confirm(await operators.ask("close-claim", "settled-elsewhere"))

    claim = await core.claim(CLAIM)
    assert (claim.state, claim.payment_state) == (State.CLOSED, PaymentState.RECOUP_CLOSED)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("reason", "because"), ("more", "unheard-of")),
        *(("ticket", name) for name in ("no spaces please", "A1234563", "OPS/a123456-3", "13912345678")),
    ],
)
async def test_a_form_that_is_not_an_operators_is_refused_with_its_place(
    operators: Operators, field: str, value: str
) -> None:
    form = {"claim_id": CLAIM, "reason": "test", "ticket": "OPS-1", field: value}

    async def work(tx: Transaction) -> Answer:
        return await operators.operations.ask(tx, Ask(action="close-claim", form=form), FIRST)

    with pytest.raises(InvalidInputError) as refused:
        await operators.core.database.write(work)

    assert value not in str(refused.value.faults)
