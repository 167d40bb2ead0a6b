"""Claims that were stored before disputes had an end: the migration gives them one, on both databases."""

import importlib
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from gateway.claims import store
from gateway.claims.claim import Claim, Dispute
from gateway.claims.payment import PaymentState
from gateway.claims.tables import METADATA
from gateway.protocol.claim_life import State
from gateway.protocol.settlements import obligation_id
from gateway.runtime.storage.database import Database, Transaction
from gateway.runtime.storage.schema import drift, migrate
from tests.conftest import MakeDatabase
from tests.parties import CASE, CLAIM, HOSPITAL, INSURER

OLD = "gateway.claims.migrations.m0001_first"


def stored(claim_id: str, state: str, **changes: Any) -> dict[str, Any]:
    defaults = {
        "claim_id": claim_id,
        "case_id": CASE,
        "claim_version": 1,
        "msg_id": f"msg_of_{claim_id}",
        "hospital": HOSPITAL,
        "reader": INSURER,
        "payer": INSURER,
        "billing_mode": "direct",
        "payee": "hospital",
        "currency": "CNY",
        "line_amounts_minor": "[120000]",
        "asked_minor": 120_000,
        "state": state,
        "payment_state": "none",
        "decision_version": 0,
        "obligated_minor": 0,
        "obligation_id": None,
        "revision": 4,
        "received_at": "2026-03-02T01:00:00.000Z",
    }
    return defaults | changes


def said(claim_id: str, sender: str, msg_id: str, minute: int) -> dict[str, str]:
    return {"claim_id": claim_id, "sender": sender, "msg_id": msg_id, "at": f"2026-03-02T01:{minute:02}:00.000Z"}


MONEY = {"decision_version": 1, "obligated_minor": 120_000, "obligation_id": obligation_id(CLAIM, 1)}
CLAIMS = (
    stored("claim_approved", "approved", payment_state="asked", **MONEY),
    stored("claim_by_hospital", "disputed", payment_state="instructed", **MONEY),
    stored("claim_by_insurer", "disputed"),
    stored("claim_voided", "disputed", payment_state="voided", **MONEY),
)
MESSAGES = (
    *(said(row["claim_id"], HOSPITAL, row["msg_id"], 0) for row in CLAIMS),
    # an acknowledgement that reused the claim's own id, which was taken then
    said("claim_approved", INSURER, "msg_of_claim_approved", 1),
    said("claim_approved", INSURER, "msg_decision", 2),
    said("claim_by_hospital", INSURER, "msg_acknowledged", 1),
    said("claim_by_hospital", INSURER, "msg_decided", 2),
    said("claim_by_hospital", HOSPITAL, "msg_disputed", 3),
    said("claim_by_insurer", INSURER, "msg_disputes", 1),
    said("claim_voided", INSURER, "msg_decided_too", 2),
    said("claim_voided", HOSPITAL, "msg_disputed_too", 3),
)  # fmt: skip


def as_it_was(database: Database) -> None:
    """Build the tables of before, with claims in them."""

    def work(connection: Any) -> None:
        context = MigrationContext.configure(connection, opts={"version_table": "alembic_claims"})
        with Operations.context(context):
            importlib.import_module(OLD).upgrade()
        connection.execute(text("CREATE TABLE alembic_claims (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_claims VALUES ('m0001_first')"))
        for table, rows in (("claims_claim", CLAIMS), ("claims_message", MESSAGES)):
            for row in rows:
                places = ", ".join(f":{name}" for name in row)
                connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})"), row)  # noqa: S608

    database.run_sync(work)


async def load(database: Database, claim_id: str) -> Claim:
    async def query(tx: Transaction) -> Claim:
        return await store.load(tx, claim_id, lock=False)

    return await database.read(query)


async def test_claims_of_before_load_and_have_a_way_out_of_their_dispute(make_database: MakeDatabase) -> None:
    database = make_database()
    as_it_was(database)

    migrate(database, "claims", "gateway.claims.migrations")

    assert drift(database, METADATA) == []
    approved = await load(database, "claim_approved")
    assert (approved.answer_msg_id, approved.dispute, approved.void_obligation_id) == ("msg_decision", None, None)
    by_hospital = await load(database, "claim_by_hospital")
    assert by_hospital.dispute == Dispute(HOSPITAL, "msg_disputed", "msg_decided", State.IN_REVIEW)
    assert by_hospital.void_obligation_id == by_hospital.obligation_id
    by_insurer = await load(database, "claim_by_insurer")
    assert by_insurer.dispute == Dispute(INSURER, "msg_disputes", "msg_of_claim_by_insurer", State.IN_REVIEW)
    voided = await load(database, "claim_voided")
    assert (voided.payment_state, voided.obligated_minor) == (PaymentState.VOIDED, 0)
    assert voided.actions_of(INSURER) == ("decide_partly", "decide")


async def test_a_new_database_gets_exactly_the_tables_of_the_component(make_database: MakeDatabase) -> None:
    database = make_database()

    migrate(database, "claims", "gateway.claims.migrations")

    assert drift(database, METADATA) == []
