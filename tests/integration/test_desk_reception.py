"""Claims in at the insurer's desk: opened once, kept sealed, answered; nothing skipped, nothing doubled."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Table, delete, func, select

from adapters.hk.desk import store
from adapters.hk.desk.actions import reception
from adapters.hk.desk.tables import METADATA, answers, claims, cursors, set_aside
from gateway.client.transport import ApiProblem
from gateway.protocol.errors import BadSignatureError, UnavailableError, UnknownKeyError
from gateway.protocol.exchange import Exchange, unpack
from gateway.protocol.jose import PrivateKey
from gateway.runtime.storage.database import Database, Transaction
from gateway.runtime.storage.schema import drift, migrate
from gateway.runtime.storage.tables import case_secrets, feed_cursors
from tests.claims_in_transit import a_claim, a_minimised, delivered
from tests.conftest import MakeDatabase
from tests.desk_world import TABLES, DeskWorld, an_accepted, listed
from tests.parties import INSURER, OTHER_INSURER, world

CANARY = "三人间床位费"


@pytest.fixture
async def desk(make_database: MakeDatabase, tmp_path: Path) -> AsyncIterator[DeskWorld]:
    found = DeskWorld.open(make_database(*TABLES), tmp_path)
    yield found
    await found.close()


async def count(desk: DeskWorld, table: Table) -> int:
    [[found]] = await desk.read(select(func.count()).select_from(table))
    return int(found)


def numbered(number: int) -> Exchange:
    return delivered(a_claim(number=number), packed=a_minimised(number=number).packed)


def test_the_migration_makes_exactly_the_tables(make_database: MakeDatabase) -> None:
    database: Database = make_database()

    migrate(database, "desk", "adapters.hk.desk.migrations")

    assert drift(database, METADATA) == []


async def test_a_claim_is_opened_kept_and_acknowledged(desk: DeskWorld) -> None:
    await desk.present(delivered())

    await desk.pull()
    await desk.send()

    [kept] = await desk.read(select(claims))
    assert (kept.claim_id, kept.state, kept.revision, listed(kept.differences)) == (
        "claim_transit0001",
        "received",
        1,
        [],
    )
    [manifest] = await desk.taken()
    assert (manifest.type, manifest.in_reply_to, manifest.based_on) == ("acknowledged", "msg_transit0001", 1)


async def test_opening_and_answering_are_recorded_each_naming_its_cause(desk: DeskWorld) -> None:
    await desk.present(delivered())

    await desk.pull()

    [opened, authored] = await desk.records("dossier.opened", "answer.authored")
    assert opened["cause"] == "ev_delivered0001"
    assert opened["clear"]["differences"] == 0
    assert authored["cause"] == opened["eid"]
    assert authored["clear"]["type"] == "acknowledged"


async def test_content_at_rest_is_sealed_and_opens_with_the_cases_secret_only(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()

    [kept] = await desk.read(select(claims))
    [secret] = await desk.read(select(case_secrets))

    content = desk.deps.vault.unwrap(kept.case_id, secret.wrapped).unbox(kept.content, "content")
    assert content == unpack(a_minimised().packed)
    assert CANARY in content.decode()
    assert CANARY.encode() not in kept.content


async def test_dying_before_the_commit_keeps_nothing_and_the_next_pull_keeps_all_once(desk: DeskWorld) -> None:
    await desk.pull()
    await desk.present(delivered(), numbered(2))

    desk.database.broken = True
    with pytest.raises(ConnectionAbortedError):
        await desk.pull()
    kept_before = [await count(desk, table) for table in (claims, answers, cursors)]
    desk.database.broken = False
    await desk.pull()

    assert kept_before == [0, 0, 0]
    assert [await count(desk, table) for table in (claims, answers, cursors)] == [2, 2, 1]


async def test_a_page_that_comes_again_doubles_nothing(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.pull()
    await desk.database.inner.write(partial(_forget, table=cursors))
    await desk.edge.database.write(partial(_forget, table=feed_cursors))

    await desk.pull()

    assert [await count(desk, table) for table in (claims, answers, cursors)] == [1, 1, 1]
    assert len(await desk.records("dossier.opened", "answer.authored")) == 2


async def _forget(tx: Transaction, table: Table) -> None:
    await tx.execute(delete(table))


async def test_more_claims_than_a_page_are_all_taken_in_one_pull(desk: DeskWorld) -> None:
    await desk.present(*(numbered(number) for number in range(1, reception.PAGE_MAX + 4)))

    await desk.pull()

    assert await count(desk, claims) == reception.PAGE_MAX + 3


async def test_content_that_differs_is_disputed_and_never_acknowledged(desk: DeskWorld) -> None:
    await desk.present(delivered(a_claim(asked_minor=1)))

    await desk.pull()
    await desk.send()

    [manifest] = await desk.taken()
    assert manifest.type == "disputed"
    assert manifest.model_dump()["differences"] == ("/asked_minor",)
    [opened] = await desk.records("dossier.opened")
    assert opened["clear"]["differences"] == 1


async def test_a_dossier_for_somebody_else_is_kept_without_content_and_disputed(desk: DeskWorld) -> None:
    await desk.present(delivered(reader=OTHER_INSURER))

    await desk.pull()

    [kept] = await desk.read(select(claims))
    [answer] = await desk.read(select(answers))
    assert (kept.content, listed(kept.differences)) == (None, ["/dossier"])
    assert answer.type == "disputed"


async def test_what_a_false_edge_makes_up_is_set_aside_recorded_and_stops_nobody(desk: DeskWorld) -> None:
    await desk.put_in_inbox(delivered(a_claim(number=2), signer=f"{OTHER_INSURER}/sign/1"))
    await desk.put_in_inbox(delivered(a_claim(number=3)), kind="surprise")
    await desk.present(delivered())

    await desk.pull()

    aside = {row.msg_id: (row.why, row.code) for row in await desk.read(select(set_aside))}
    assert aside == {
        "msg_transit0002": ("quarantined", "manifest.sender"),
        "msg_transit0003": ("refused", "message.type-unexpected"),
    }
    assert [row.claim_id for row in await desk.read(select(claims))] == ["claim_transit0001"]
    made = await desk.records("insurer.message_quarantined", "insurer.message_refused")
    assert [one["clear"]["code"] for one in made] == ["manifest.sender", "message.type-unexpected"]


async def test_another_message_of_the_same_claim_and_version_is_set_aside(desk: DeskWorld) -> None:
    await desk.present(delivered())
    await desk.put_in_inbox(delivered(a_claim(msg_id="msg_another0001")))

    await desk.pull()

    [aside] = await desk.read(select(set_aside))
    assert (aside.msg_id, aside.code) == ("msg_another0001", "claim.version-taken")
    assert await count(desk, answers) == 1


async def test_an_unknown_key_stops_the_page_there_and_goes_on_with_the_release_that_knows_it(desk: DeskWorld) -> None:
    parties = [party for party in world().directory.parties.values() if party.code != "sz"]
    desk.release = world().sign_release(parties, number=1).encode()
    await desk.present(delivered())

    with pytest.raises(UnknownKeyError):
        await desk.pull()
    kept_before = await count(desk, claims)
    desk.release = world().sign_release(number=2).encode()
    await reception.install_release(desk.deps)
    await desk.pull()

    assert (kept_before, await count(desk, claims), await count(desk, set_aside)) == (0, 1, 0)


async def test_an_edge_that_breaks_off_in_the_middle_keeps_what_came_before(desk: DeskWorld) -> None:
    await desk.present(delivered(), numbered(2))
    desk.line.breaks = lambda request: "after" if request.url.path.endswith("msg_transit0002") else None

    with pytest.raises(UnavailableError):
        await desk.pull()
    kept_before = await count(desk, claims)
    desk.line.breaks = lambda _: None
    await desk.pull()

    assert (kept_before, await count(desk, claims)) == (1, 2)


async def test_a_claim_follows_core_and_hearing_it_twice_or_late_changes_nothing(desk: DeskWorld) -> None:
    await desk.review(delivered())
    [answer] = await desk.read(select(answers))

    await desk.database.inner.write(lambda tx: _follow(tx, answer.msg_id, revision=2, state="in_review"))
    await desk.database.inner.write(lambda tx: _follow(tx, answer.msg_id, revision=1, state="received"))

    [kept] = await desk.read(select(claims))
    [answer] = await desk.read(select(answers))
    assert (kept.state, kept.revision, "decide" in listed(kept.allowed_actions)) == ("in_review", 2, True)
    assert (answer.status, answer.state) == ("accepted", "in_review")


async def _follow(tx: Transaction, msg_id: str, *, revision: int, state: str) -> None:
    manifest = a_claim(msg_id=msg_id, sender=INSURER)
    await store.follow(tx, an_accepted(manifest, revision=revision, state=state))


async def test_a_restart_believes_no_release_older_than_the_one_it_held(desk: DeskWorld) -> None:
    desk.release = world().sign_release(number=2).encode()
    await desk.pull()
    desk.release = world().signed.encode()

    deps = desk.restarted()
    await reception.install_release(deps)

    assert deps.trust.number == 2


async def test_a_release_that_is_not_the_roots_is_not_installed(desk: DeskWorld) -> None:
    stranger = PrivateKey.generate("registry/1", "Ed25519")
    forged = replace(world(), registry_key=stranger, root=stranger)
    desk.release = forged.sign_release(number=9).encode()

    with pytest.raises(BadSignatureError):
        await desk.pull()

    assert desk.deps.trust.number == 0


async def test_an_inbox_that_refuses_the_desk_is_an_error_of_the_job_and_nothing_is_lost(desk: DeskWorld) -> None:
    await desk.present(delivered())
    directory = world().directory
    without = directory.party(INSURER).model_copy(update={"clients": ()})
    parties = [without if party.code == INSURER else party for party in directory.parties.values()]
    signed = world().sign_release(parties, number=3)
    desk.edge.trust.install(signed, desk.edge.trust.verify(signed))

    with pytest.raises(ApiProblem):
        await desk.pull()

    assert await count(desk, cursors) == 0
