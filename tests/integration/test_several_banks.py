"""A core that pays through several banks: each payment by the bank of its payer, each bank's news by itself."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.protocol.errors import UnavailableError
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.runtime.storage.database import Transaction
from settlement import store
from settlement.actions.booking import take_notifications
from settlement.actions.sending import make_batches, send_batches
from settlement.banks import Banks, read_profile
from settlement.batch import Batch, State
from settlement.channels.iso20022_http import Iso20022Http
from settlement.component import build
from settlement.health import measure, why_not_ready
from settlement.obligation import State as ObligationState
from tests.conftest import MakeDatabase
from tests.settlement_builders import TODAY, an_approval, an_obligation
from tests.treasury import Treasury

HARBOUR, OTHERS = "BANK-HARBOUR", "BANK-OTHERS"
URLS = {HARBOUR: "http://harbour.test", OTHERS: "http://others.test"}


def banks(*names: str, serves: str = "999", cutoff: str | None = None) -> Banks:
    """Return profiles of which Harbour serves one clearing member and the other whom nobody else serves."""
    general = {"channel": "iso20022_http", "rail": "rmb-chats", "answer_within_s": 60, "cutoff": cutoff}
    return Banks(
        tuple(
            read_profile(
                general
                | {"bank": name, "serves": [serves] if name == HARBOUR else []}
                | {"options": {**Iso20022Http().sample_options(), "base_url": URLS[name]}}
            )
            for name in names
        )
    )


@pytest.fixture
async def treasury(make_database: MakeDatabase) -> Treasury:
    return with_banks(Treasury.over(make_database()), banks(HARBOUR, OTHERS))


def with_banks(treasury: Treasury, known: Banks) -> Treasury:
    treasury.deps = replace(treasury.deps, banks=known)
    treasury.component = build(treasury.deps)
    return treasury


async def approved(treasury: Treasury) -> Batch:
    drafted = await treasury.draft(an_obligation())

    async def work(tx: Transaction) -> None:
        signed = drafted.approve(an_approval(drafted)).approve(an_approval(drafted, "treasurer-2"))
        await store.save_batch(tx, signed, seen=drafted.state)

    await treasury.database.write(work)
    return await treasury.batch(drafted.batch_id)


async def test_a_payment_goes_out_and_is_asked_about_at_the_bank_of_its_payer(treasury: Treasury) -> None:
    batch = await approved(treasury)

    await send_batches(treasury.deps)
    await send_batches(treasury.deps)

    assert (await treasury.batch(batch.batch_id)).bank == HARBOUR
    assert len(treasury.bank.asked) > 1
    assert all(url.startswith(URLS[HARBOUR]) for url in treasury.bank.asked)


async def test_a_payment_on_its_way_stays_with_its_bank_when_another_comes_to_serve_the_payer(
    treasury: Treasury,
) -> None:
    with_banks(treasury, banks(OTHERS))
    await approved(treasury)
    await send_batches(treasury.deps)

    with_banks(treasury, banks(HARBOUR, OTHERS))
    await send_batches(treasury.deps)

    assert {url.partition("/v1/")[0] for url in treasury.bank.asked} == {URLS[OTHERS]}


async def test_a_payment_whose_bank_has_no_profile_any_more_is_not_sent_and_readiness_says_so(
    treasury: Treasury,
) -> None:
    batch = await approved(treasury)
    with_banks(treasury, banks(OTHERS))

    await send_batches(treasury.deps)

    assert treasury.bank.asked == []
    assert (await treasury.batch(batch.batch_id)).state is State.APPROVED
    assert HARBOUR in str(await why_not_ready(treasury.deps))


async def test_an_obligation_whose_payer_no_bank_serves_is_held_until_an_operator_releases_it(
    treasury: Treasury,
) -> None:
    with_banks(treasury, banks(HARBOUR, serves="024"))
    owed = an_obligation()
    await treasury.open(owed)

    await make_batches(treasury.deps)

    held = await treasury.obligation(owed)
    assert (held.state, held.reason_code) == (ObligationState.HELD, "payment.no-bank")


async def test_a_bank_that_cannot_be_read_keeps_no_other_waiting(treasury: Treasury) -> None:
    asked = []

    async def send(outgoing: Outgoing) -> Incoming:
        asked.append(outgoing.url)
        if outgoing.url.startswith(URLS[HARBOUR]):
            raise UnavailableError("client.unreachable")
        return Incoming(204)

    treasury.deps = replace(treasury.deps, send=send)

    with pytest.raises(UnavailableError):
        await take_notifications(treasury.deps)

    assert [url.partition("/v1/")[0] for url in asked] == [URLS[HARBOUR], URLS[OTHERS]]
    treasury.later(seconds=5)
    ages = {found.labels["bank"]: found.value for found in await measure(treasury.deps) if found.labels}
    assert ages == {HARBOUR: 5.0, OTHERS: 0.0}


async def test_what_is_made_after_a_banks_cut_off_is_for_the_next_day(treasury: Treasury) -> None:
    # the clock stands at 09:00 in Shenzhen and Hong Kong
    before = await with_banks(treasury, banks(OTHERS, cutoff="09:01")).draft(an_obligation())
    assert before.value_date == TODAY

    treasury.later(minutes=1)
    await treasury.two_persons(
        "close-obligation", obligation_id=an_obligation().obligation_id, reason="test", ticket="T-1"
    )
    after = await treasury.draft(an_obligation("claim_2"))

    assert after.value_date == TODAY + timedelta(days=1)


async def test_a_batch_for_today_that_is_approved_after_the_cut_off_takes_a_new_day_and_new_approvals(
    treasury: Treasury,
) -> None:
    with_banks(treasury, banks(OTHERS, cutoff="09:01"))
    batch = await approved(treasury)
    treasury.later(minutes=1)

    await send_batches(treasury.deps)

    moved = await treasury.batch(batch.batch_id)
    assert treasury.bank.asked == []
    assert (moved.state, moved.approvals, moved.value_date) == (State.DRAFT, (), TODAY + timedelta(days=1))
