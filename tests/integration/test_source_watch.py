"""A role asks the log about itself: what stops it, what cannot, and how it goes on in a new epoch."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from audit.leaf import parse_leaf, restart_link
from audit.proof import split_entry
from gateway.protocol.canonical import compact, read_json_object
from gateway.protocol.clock import VirtualClock
from gateway.protocol.commitments import entry
from gateway.protocol.errors import UnavailableError
from gateway.protocol.jose import PrivateKey
from gateway.protocol.outgoing import Incoming
from gateway.protocol.topics import AUDIT_RECORDS, INSURER_DELIVERIES
from gateway.runtime.custody.keys import Keyring
from gateway.runtime.delivery.audit_relay import AuditRelay
from gateway.runtime.delivery.outbox import Outbox
from gateway.runtime.delivery.relay import Relay
from gateway.runtime.delivery.resume import Decision, ResumeError, resume
from gateway.runtime.delivery.source_watch import SourceBehindError, SourceWatch, load_epoch
from gateway.runtime.storage.database import Database, Transaction, rows
from gateway.runtime.storage.tables import METADATA, audit_rows, outbox, source_epochs
from tests.conftest import MakeDatabase
from tests.integration.test_relay import PickyBus
from tests.outboxes import VAULT, a_post, an_outbox
from tests.parties import key_of

AUDIT_KEY = PrivateKey.generate("core/audit/1", "Ed25519")
DECISION = Decision("op-gateway-1", "op-gateway-2", "restored-from-backup", "OPS-17")


@dataclass
class Log:
    """What the audit role would answer about core: its entries by epoch and number; None while it is unreachable."""

    entries: dict[tuple[int, int], bytes] = field(default_factory=dict)
    reachable: bool = True
    stopped: str | None = None

    async def ask(self, path: str) -> Incoming:
        if not self.reachable:
            raise UnavailableError("outgoing.cannot-connect")
        if path == "v1/sources/core":
            last = self.entries[max(self.entries)].decode() if self.entries else None
            return Incoming(200, {}, compact({"entry": last, "stopped": self.stopped}))
        *_, epoch, sq = path.split("/")
        found = self.entries.get((int(epoch), int(sq)))
        return Incoming(404) if found is None else Incoming(200, {}, compact({"entry": found.decode()}))

    def take(self, bus: PickyBus) -> None:
        """Take what lies on the bus; a number that is known keeps its first entry."""
        for topic, record in bus.taken:
            if topic == AUDIT_RECORDS:
                leaf = parse_leaf(split_entry(record.value)[0])
                self.entries.setdefault((leaf.ep, leaf.sq), record.value)


@dataclass
class Role:
    """Core's outbox and relays over one database, with its watch."""

    database: Database
    log: Log = field(default_factory=Log)
    bus: PickyBus = field(default_factory=PickyBus)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.outbox: Outbox = an_outbox(clock=self.clock)
        keys = (AUDIT_KEY.public,)
        self.watch = SourceWatch("core", keys, self.database, self.outbox.admission, self.log.ask)
        self.audit_relay = AuditRelay(
            "core",
            AUDIT_KEY,
            self.database,
            self.bus,
            VAULT,
            self.clock,
            self.outbox,
        )
        keyring = Keyring({"core/stamp/1": key_of("core/stamp/1")}, bytes(32))
        self.relay = Relay(self.database, self.bus, keyring, self.outbox)

    async def post(self, key: str, number: int) -> None:
        async def work(tx: Transaction) -> None:
            await self.outbox.add(tx, a_post(key, number))

        await self.database.write(work)

    async def publish(self) -> None:
        await self.relay.step()
        await self.audit_relay.step()

    async def all(self, table: Any) -> list[Any]:
        return list(await self.database.read(partial(rows, statement=select(table).order_by(*table.primary_key))))

    def sent(self) -> list[Mapping[str, Any]]:
        """Read the stamps of the messages that the bus has."""
        stamps = [read_json_object(record.value)["stamp"] for topic, record in self.bus.taken if topic != AUDIT_RECORDS]
        return [_payload(stamp) for stamp in stamps]


def _payload(stamp: str) -> Mapping[str, Any]:
    part = stamp.split(".")[1]
    return read_json_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.fixture
def role(make_database: MakeDatabase) -> Role:
    return Role(make_database(METADATA))


async def set_back(role: Role, to_sq: int) -> None:
    """Take from the database what was written after a number, as a restore does."""

    async def work(tx: Transaction) -> None:
        await tx.execute(delete(audit_rows).where(audit_rows.c.sq > to_sq))
        await tx.execute(delete(outbox).where(outbox.c.seq > to_sq))
        await tx.execute(update(_streams()).values(seq=to_sq))

    await role.database.write(work)


def _streams() -> Any:
    return METADATA.tables["streams"]


async def grown(role: Role, count: int) -> None:
    for number in range(count):
        await role.post("case_1", number)
    await role.publish()
    role.log.take(role.bus)


async def test_a_role_that_the_log_knows_as_it_knows_itself_starts(role: Role) -> None:
    await role.watch.check_at_start()
    await grown(role, 3)
    await role.post("case_1", 4)

    await role.watch.check_at_start()

    assert role.outbox.admission.behind is None
    assert await role.watch.why_unready() is None


async def test_a_role_whose_database_lacks_an_entry_of_the_log_does_not_start(role: Role) -> None:
    await grown(role, 3)
    await set_back(role, 2)

    with pytest.raises(SourceBehindError, match="the log has core's number 3, which its database does not have"):
        await role.watch.check_at_start()


async def test_a_role_that_used_a_number_for_something_else_does_not_start(role: Role) -> None:
    await grown(role, 3)
    await set_back(role, 2)
    await role.post("case_1", 9)
    await role.audit_relay.step()

    with pytest.raises(SourceBehindError):
        await role.watch.check_at_start()


async def test_a_role_that_gets_no_answer_starts_and_stops_sending_once_it_learns(role: Role) -> None:
    await grown(role, 3)
    await set_back(role, 2)
    role.log.reachable = False
    await role.watch.check_at_start()
    await role.post("case_1", 9)

    role.log.reachable = True
    assert await role.watch.check()
    before = len(role.bus.taken)
    await role.publish()

    assert len(role.bus.taken) == before
    assert "older backup" in str(await role.watch.why_unready())


async def test_that_nobody_answers_is_told_once_and_its_end_too(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    await grown(role, 1)
    role.log.reachable = False
    with capture_logs() as early:
        await role.watch.check()
    monkeypatch.setattr("gateway.runtime.delivery.source_watch.UNANSWERED_TOLD_S", -1.0)
    with capture_logs() as lines:
        for _ in range(3):
            await role.watch.check()
        role.log.reachable = True
        for _ in range(2):
            await role.watch.check()

    assert early == []
    assert [line["event"] for line in lines] == ["source.unanswered", "source.answered"]


async def test_nobody_else_can_stop_a_role(role: Role) -> None:
    await grown(role, 2)
    body = parse_leaf(split_entry(role.log.entries[1, 2])[0]).body
    stranger = PrivateKey.generate("core/audit/9", "Ed25519")
    role.log.entries[1, 7] = entry({**body, "sq": 7, "eid": "ev_forged"}, "core", stranger)

    assert not await role.watch.check()

    assert role.outbox.admission.behind is None


async def test_that_the_log_takes_nothing_more_is_shown_and_not_acted_on(role: Role) -> None:
    await grown(role, 2)
    role.log.stopped = "core skipped at number 9"

    assert await role.watch.check()

    assert await role.watch.why_unready() == "the log takes nothing more: core skipped at number 9"
    assert role.outbox.admission.behind is None


async def test_a_resumed_role_links_its_epoch_to_the_logs_last_entry_and_is_no_longer_behind(role: Role) -> None:
    await grown(role, 5)
    await set_back(role, 2)

    resumed = await resume(role.watch, role.outbox.sender, DECISION)
    restarted = Role(role.database, role.log, role.bus)
    restarted.outbox.sender = _in_epoch(restarted, await role.database.read(load_epoch))
    await restarted.watch.check_at_start()
    await restarted.post("case_1", 7)
    await restarted.publish()
    restarted.log.take(restarted.bus)

    assert (resumed.epoch, resumed.last.sq, resumed.records, resumed.messages) == (2, 5, 0, 0)
    first, second = (parse_leaf(split_entry(restarted.log.entries[2, sq])[0]) for sq in (1, 2))
    link = restart_link(first)
    assert link == parse_leaf(split_entry(role.log.entries[1, 5])[0]).position
    assert first.body["cs"] == resumed.last.eid
    assert first.body["clr"]["second_client_id"] == "op-gateway-2"
    assert (second.typ, second.pv) == ("claim.received", None)
    assert restarted.sent()[-1]["epoch"] == 2
    assert restarted.sent()[-1]["seq"] == 1
    await restarted.watch.check_at_start()


def _in_epoch(role: Role, epoch: int) -> Any:
    return replace(role.outbox.sender, epoch=epoch)


async def test_what_a_restored_role_did_before_it_knew_is_numbered_and_sent_again(role: Role) -> None:
    await grown(role, 5)
    await set_back(role, 3)
    await role.post("case_1", 8)
    await role.post("case_new", 9)
    await role.publish()
    await role.post("case_1", 10)

    resumed = await resume(role.watch, role.outbox.sender, DECISION)

    assert (resumed.epoch, resumed.records, resumed.messages) == (2, 3, 2)
    records = [(row.epoch, row.sq, row.type) for row in await role.all(audit_rows)]
    assert records[3:] == [
        (2, 1, "core.source_restarted"),
        (2, None, "claim.received"),
        (2, None, "claim.received"),
        (2, None, "claim.received"),
    ]
    again = [(row.key, row.epoch, row.seq) for row in await role.all(outbox) if row.published_at is None]
    assert again == [("case_1", 2, 1), ("case_1", 2, 2)]
    restarted = Role(role.database, role.log)
    restarted.outbox.sender = _in_epoch(restarted, 2)
    await restarted.publish()
    assert [(stamp["key"], stamp["epoch"], stamp["seq"]) for stamp in restarted.sent()] == [
        ("case_1", 2, 1),
        ("case_1", 2, 2),
    ]
    restarted.log.take(restarted.bus)
    assert [number for epoch, number in sorted(restarted.log.entries) if epoch == 2] == [1, 2, 3, 4]
    await restarted.watch.check_at_start()


async def test_a_second_restore_begins_the_epoch_after_the_one_that_the_log_has(role: Role) -> None:
    await grown(role, 3)
    await set_back(role, 2)
    await resume(role.watch, role.outbox.sender, DECISION)
    restarted = Role(role.database, role.log, role.bus)
    restarted.outbox.sender = _in_epoch(restarted, 2)
    await restarted.publish()
    restarted.log.take(restarted.bus)

    async def forget(tx: Transaction) -> None:
        await tx.execute(delete(source_epochs))
        await tx.execute(delete(audit_rows).where(audit_rows.c.epoch == 2))

    await role.database.write(forget)
    with pytest.raises(SourceBehindError, match="number 1 of epoch 2"):
        await role.watch.check_at_start()
    role.outbox.admission.behind = None

    assert (await resume(role.watch, role.outbox.sender, DECISION)).epoch == 3


async def test_a_link_that_the_log_has_gone_past_meanwhile_is_noticed(role: Role) -> None:
    await grown(role, 4)
    late = role.log.entries.pop((1, 4))
    await set_back(role, 2)
    await resume(role.watch, role.outbox.sender, DECISION)
    role.log.entries[1, 4] = late

    with pytest.raises(SourceBehindError):
        await role.watch.check_at_start()

    role.outbox.admission.behind = None
    assert (await resume(role.watch, role.outbox.sender, DECISION)).last.sq == 4


async def test_a_role_that_is_not_behind_has_nothing_to_resume(role: Role) -> None:
    await grown(role, 2)

    with pytest.raises(ResumeError, match="knows nothing of core"):
        await resume(role.watch, role.outbox.sender, DECISION)

    assert await role.database.read(load_epoch) == 1
    assert INSURER_DELIVERIES in {topic for topic, _ in role.bus.taken}
