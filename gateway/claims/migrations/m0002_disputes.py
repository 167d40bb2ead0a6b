"""What a dispute needs in order to end, and one message id per claim; claims of before are read from their messages.

A claim that is disputed now did not keep the state it came from: a withdrawal takes it back into review. Its void, if
settlement has not answered it, is still awaited. Money that was voided is no longer obligated.
"""

import sqlalchemy as sa
from alembic import op

revision = "m0002_disputes"
down_revision = "m0001_first"

STATES = (
    "received", "in_review", "returned", "disputed", "partly_decided", "approved", "approved_in_part", "denied",
    "given_up", "closed",
)  # fmt: skip
PAYMENT_STATES = (
    "none", "asked", "instructed", "funds_sent", "funds_received", "reconciled", "voided", "recoup_needed",
    "recoup_closed", "settled_outside",
)  # fmt: skip

_NEWEST_OF_READER = """(
    SELECT m.msg_id FROM claims_message AS m WHERE m.claim_id = claims_claim.claim_id AND m.sender = claims_claim.reader
    ORDER BY m.at DESC LIMIT 1)"""
_DISPUTE_OF_HOSPITAL = """(
    SELECT m.msg_id FROM claims_message AS m WHERE m.claim_id = claims_claim.claim_id
    AND m.sender = claims_claim.hospital AND m.msg_id != claims_claim.msg_id ORDER BY m.at DESC LIMIT 1)"""

FILLED = (
    f"""UPDATE claims_claim SET answer_msg_id = {_NEWEST_OF_READER}
    WHERE state IN ('returned', 'partly_decided', 'approved', 'approved_in_part', 'denied')""",  # noqa: S608 constants of this file
    f"""UPDATE claims_claim SET disputed_from = 'in_review', disputed_by = hospital,
    dispute_msg_id = {_DISPUTE_OF_HOSPITAL}, disputed_msg_id = {_NEWEST_OF_READER}, answer_msg_id = {_NEWEST_OF_READER}
    WHERE state = 'disputed' AND {_DISPUTE_OF_HOSPITAL} IS NOT NULL""",  # noqa: S608 the same
    f"""UPDATE claims_claim SET disputed_from = 'in_review', disputed_by = reader,
    dispute_msg_id = {_NEWEST_OF_READER}, disputed_msg_id = msg_id
    WHERE state = 'disputed' AND disputed_by IS NULL""",  # noqa: S608 the same
    """UPDATE claims_claim SET void_obligation_id = obligation_id WHERE state = 'disputed'
    AND payment_state IN ('asked', 'instructed', 'funds_sent', 'funds_received', 'reconciled')""",
    "UPDATE claims_claim SET obligated_minor = 0 WHERE payment_state = 'voided'",
    """UPDATE claims_message SET on_claim = claim_id WHERE NOT EXISTS (
    SELECT 1 FROM claims_message AS other WHERE other.claim_id = claims_message.claim_id
    AND other.msg_id = claims_message.msg_id AND other.sender < claims_message.sender)""",
)


def upgrade() -> None:
    with op.batch_alter_table("claims_claim") as batch_op:
        for name in (
            "content_sha256", "answer_msg_id", "money_state", "void_obligation_id",
            "disputed_by", "dispute_msg_id", "disputed_msg_id", "disputed_from",
        ):  # fmt: skip
            batch_op.add_column(sa.Column(name, sa.Text(), nullable=True))
        for column, words in (("state", STATES), ("payment_state", PAYMENT_STATES)):
            batch_op.drop_constraint(f"claims_{column}_known", type_="check")
            listed = ", ".join(f"'{word}'" for word in words)
            batch_op.create_check_constraint(f"claims_{column}_known", f"{column} IN ({listed})")
    op.add_column("claims_message", sa.Column("on_claim", sa.Text(), nullable=True))
    for statement in FILLED:
        op.execute(statement)
    op.create_index("claims_message_on_claim", "claims_message", ["on_claim", "msg_id"], unique=True)
