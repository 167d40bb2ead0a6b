"""The simulated bank's books: accounts, orders, movements and scripted faults in one SQLite file.

Independent of settlement: it decides on its own what it takes, and its movements sum to zero per order and currency.
An order and its movements are one transaction with `synchronous=FULL`; if we die before it commits nothing happened,
and after it the stored answer is repeated byte for byte to the same message.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from gateway.protocol.canonical import sha256_hex
from gateway.protocol.clock import Clock, business_date, parse_rfc3339, rfc3339
from gateway.protocol.errors import InvalidInputError, NotFoundError
from gateway.protocol.money import Money
from gateway.sandbox.bank_messages import STATUS_FORMS, Movement, Order, Standing, write_status

PAGE_MAX = 100
FAULTS = ("reject", "late", "fail_after_debit", "unavailable", "short_credit")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
  account TEXT PRIMARY KEY, holder TEXT NOT NULL, currency TEXT NOT NULL, member_id TEXT NOT NULL,
  opening_minor INTEGER NOT NULL, internal INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS payment (
  message_id TEXT PRIMARY KEY, body_sha256 TEXT NOT NULL, payment_info_id TEXT NOT NULL, end_to_end_id TEXT NOT NULL,
  uetr TEXT NOT NULL, debtor TEXT NOT NULL, creditor TEXT NOT NULL, amount_minor INTEGER NOT NULL,
  currency TEXT NOT NULL, execution_date TEXT NOT NULL, remittance_id TEXT, short_minor INTEGER NOT NULL,
  status TEXT NOT NULL, reason TEXT, submissions INTEGER NOT NULL, answer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS movement (
  position INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL REFERENCES payment, account TEXT NOT NULL
  REFERENCES account, side TEXT NOT NULL CHECK (side IN ('DBIT', 'CRDT')),
  amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL, booked_at TEXT NOT NULL,
  value_date TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fault (
  fault_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, reason TEXT, amount_minor INTEGER NOT NULL,
  delay_ms INTEGER NOT NULL, remaining INTEGER NOT NULL);
"""

_BALANCE = """
SELECT account.opening_minor + COALESCE(SUM(CASE movement.side WHEN 'CRDT' THEN movement.amount_minor
  ELSE -movement.amount_minor END), 0)
FROM account LEFT JOIN movement USING (account) WHERE account.account = ? GROUP BY account.account
"""

_DUE = "SELECT * FROM payment WHERE status = 'ACCP' AND execution_date <= ? ORDER BY rowid"

_AFTER = """
SELECT movement.*, payment.end_to_end_id, payment.uetr, payment.remittance_id
FROM movement JOIN payment USING (message_id) JOIN account USING (account)
WHERE movement.position > ? AND NOT account.internal ORDER BY movement.position LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account the bank keeps; `member_id` is the clearing id of the branch that keeps it."""

    account: str
    holder: str
    currency: str
    member_id: str
    opening_minor: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A scripted misbehaviour, used up after `times` orders.

    `reject` refuses with `reason`; `late` answers after `delay_ms`, the order already executed; `fail_after_debit`
    answers 500, the order executed; `unavailable` answers 503 and takes nothing; `short_credit` keeps `amount_minor`.
    """

    kind: str
    times: int = 1
    reason: str | None = None
    amount_minor: int = 0
    delay_ms: int = 0

    def __post_init__(self) -> None:
        bounds = ((self.times, 1, 1000), (self.amount_minor, 0, 10**12), (self.delay_ms, 0, 120_000))
        if self.kind not in FAULTS or any(type(n) is not int or not low <= n <= high for n, low, high in bounds):
            raise InvalidInputError("bank.fault")
        if (self.kind == "reject") != isinstance(self.reason, str):
            raise InvalidInputError("bank.fault")


@dataclass(frozen=True, slots=True)
class Receipt:
    """The pain.002 that answers an order, and the fault that is to befall the answer."""

    answer: bytes
    fault: Fault | None = None


class Journal:
    """Every method opens the file, does one transaction and closes it: safe from any thread."""

    def __init__(self, path: Path, clock: Clock, fee_account: str, status_form: str = STATUS_FORMS[0]) -> None:
        self._path = path
        self._status_form = status_form
        self._clock = clock
        self._fee_account = fee_account

    def open(self, accounts: Sequence[BankAccount], faults: Sequence[Fault]) -> None:
        """Create what is missing; accounts and faults of the profile are entered once."""
        self._path.touch(mode=0o600)  # like every database: its owner's only
        self._path.chmod(0o600)
        with self._transaction() as db:
            fresh = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            for found in accounts:
                self._add_account(db, found, internal=False)
            for currency in sorted({found.currency for found in accounts}):
                fees = BankAccount(f"{self._fee_account}-{currency}", "Bank fees", currency, "", 0)
                self._add_account(db, fees, internal=True)
            for fault in faults if fresh else ():
                self._add_fault(db, fault)

    def add_fault(self, fault: Fault) -> None:
        with self._transaction() as db:
            self._add_fault(db, fault)

    def receive(self, order: Order, body: bytes) -> Receipt:
        """Take an order once: the same message again gets the same answer, other bytes under its id are DUPL."""
        now = self._clock.now()
        digest = sha256_hex(body)
        with self._transaction() as db:
            known = db.execute("SELECT * FROM payment WHERE message_id = ?", (order.message_id,)).fetchone()
            if known is not None:
                db.execute("UPDATE payment SET submissions = submissions + 1 WHERE message_id = ?", (order.message_id,))
                same = known["body_sha256"] == digest
                refused = _standing(order, "RJCT", "DUPL")
                return Receipt(known["answer"] if same else write_status(refused, now, self._status_form))
            fault = self._use_fault(db)
            reason = self._reason_against(db, order, fault, business_date(now))
            standing = _standing(order, "ACCP" if reason is None else "RJCT", reason)
            receipt = Receipt(write_status(standing, now, self._status_form), fault)
            self._add_payment(db, order, digest, standing, receipt)
            self._execute_due(db, now)
            return receipt

    def available(self) -> bool:
        """Say whether the bank takes orders now; uses up one `unavailable` fault if there is one."""
        with self._transaction() as db:
            return self._use_fault(db, unavailable=True) is None

    def standing(self, message_id: str) -> Standing:
        """Return what became of an order, after executing what is due; `NotFoundError` for one never taken."""
        with self._transaction() as db:
            self._execute_due(db, self._clock.now())
            row = db.execute("SELECT * FROM payment WHERE message_id = ?", (message_id,)).fetchone()
        if row is None:
            raise NotFoundError("bank.payment-unknown")
        ids = (row["message_id"], row["payment_info_id"], row["end_to_end_id"], row["uetr"])
        return Standing(*ids, row["status"], row["reason"])

    def movements_after(self, position: int) -> list[Movement]:
        """Return the next customers' movements, at most `PAGE_MAX`, after executing what is due."""
        with self._transaction() as db:
            self._execute_due(db, self._clock.now())
            return [_movement(row) for row in db.execute(_AFTER, (position, PAGE_MAX))]

    def report(self) -> Mapping[str, Any]:
        """Return everything, for tests and auditors: accounts with balances, payments, movements. Minor units."""
        with self._transaction() as db:
            self._execute_due(db, self._clock.now())
            accounts = [dict(row) for row in db.execute("SELECT * FROM account ORDER BY account")]
            for found in accounts:
                found["balance_minor"] = self._balance(db, found["account"])
            payments = [dict(row) for row in db.execute("SELECT * FROM payment ORDER BY rowid")]
            movements = [dict(row) for row in db.execute("SELECT * FROM movement ORDER BY position")]
        for payment in payments:
            del payment["answer"]
        return {"accounts": accounts, "payments": payments, "movements": movements}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=30.0)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _add_account(self, db: sqlite3.Connection, found: BankAccount, *, internal: bool) -> None:
        db.execute(
            "INSERT OR IGNORE INTO account VALUES (?, ?, ?, ?, ?, ?)",
            (found.account, found.holder, found.currency, found.member_id, found.opening_minor, internal),
        )

    def _add_fault(self, db: sqlite3.Connection, fault: Fault) -> None:
        db.execute(
            "INSERT INTO fault (kind, reason, amount_minor, delay_ms, remaining) VALUES (?, ?, ?, ?, ?)",
            (fault.kind, fault.reason, fault.amount_minor, fault.delay_ms, fault.times),
        )

    def _use_fault(self, db: sqlite3.Connection, *, unavailable: bool = False) -> Fault | None:
        """Take one use of the oldest fault that applies: `unavailable` before an order is read, the others to it."""
        row = db.execute(
            "SELECT * FROM fault WHERE remaining > 0 AND (kind = 'unavailable') = ? ORDER BY fault_id", (unavailable,)
        ).fetchone()
        if row is None:
            return None
        db.execute("UPDATE fault SET remaining = remaining - 1 WHERE fault_id = ?", (row["fault_id"],))
        return Fault(row["kind"], row["remaining"], row["reason"], row["amount_minor"], row["delay_ms"])

    def _reason_against(self, db: sqlite3.Connection, order: Order, fault: Fault | None, today: date) -> str | None:
        """Return the first reason (ExternalStatusReason1Code) why the order is refused, None if it is taken."""
        accounts = {row["account"]: row for row in db.execute("SELECT * FROM account WHERE NOT internal")}
        debtor, creditor = accounts.get(order.debtor_account), accounts.get(order.creditor_account)
        twin = db.execute(
            "SELECT 1 FROM payment WHERE uetr = ? OR (end_to_end_id = ? AND debtor = ?)",
            (order.uetr, order.end_to_end_id, order.debtor_account),
        ).fetchone()
        if debtor is None:
            return "AC02"
        if creditor is None:
            return "AC03"
        checks = (
            ("AM05", twin is not None),
            ("RC03", order.debtor_bank != debtor["member_id"]),
            ("RC04", order.creditor_bank != creditor["member_id"]),
            ("BE01", order.creditor_name != creditor["holder"]),
            ("BE04", not (order.creditor_town and order.creditor_country)),
            ("AM01", order.amount_minor == 0),
            ("AM10", order.control_sum_minor != order.amount_minor),
            ("AM03", {debtor["currency"], creditor["currency"]} != {order.currency}),
            ("DT01", order.execution_date < today),
            ("AM04", order.execution_date == today and self._balance(db, order.debtor_account) < order.amount_minor),
        )
        found = next((reason for reason, wrong in checks if wrong), None)
        return fault.reason if found is None and fault is not None else found

    def _add_payment(
        self, db: sqlite3.Connection, order: Order, digest: str, standing: Standing, receipt: Receipt
    ) -> None:
        short = min(receipt.fault.amount_minor, order.amount_minor - 1) if receipt.fault is not None else 0
        ids = (order.message_id, digest, order.payment_info_id, order.end_to_end_id, order.uetr)
        money = (order.debtor_account, order.creditor_account, order.amount_minor, order.currency)
        rest = (order.execution_date.isoformat(), order.remittance_id, short, standing.status, standing.reason)
        marks = ", ".join("?" * 16)
        row = (*ids, *money, *rest, 1, receipt.answer)
        db.execute(f"INSERT INTO payment VALUES ({marks})", row)  # noqa: S608 question marks only

    def _execute_due(self, db: sqlite3.Connection, now: datetime) -> None:
        """Debit and credit every accepted order whose day has come; one without cover by then is refused."""
        for row in db.execute(_DUE, (business_date(now).isoformat(),)).fetchall():
            covered = self._balance(db, row["debtor"]) >= row["amount_minor"]
            if covered:
                self._move(db, row, now)
            db.execute(
                "UPDATE payment SET status = ?, reason = ? WHERE message_id = ?",
                ("ACCC" if covered else "RJCT", None if covered else "AM04", row["message_id"]),
            )

    def _move(self, db: sqlite3.Connection, row: sqlite3.Row, now: datetime) -> None:
        legs = [
            (row["debtor"], "DBIT", row["amount_minor"]),
            (row["creditor"], "CRDT", row["amount_minor"] - row["short_minor"]),
            (f"{self._fee_account}-{row['currency']}", "CRDT", row["short_minor"]),
        ]
        for account, side, amount_minor in legs:
            if amount_minor:
                db.execute(
                    "INSERT INTO movement (message_id, account, side, amount_minor, currency, booked_at, value_date) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        row["message_id"],
                        account,
                        side,
                        amount_minor,
                        row["currency"],
                        rfc3339(now),
                        row["execution_date"],
                    ),
                )

    def _balance(self, db: sqlite3.Connection, account: str) -> int:
        return int(db.execute(_BALANCE, (account,)).fetchone()[0])


def _standing(order: Order, status: str, reason: str | None) -> Standing:
    return Standing(order.message_id, order.payment_info_id, order.end_to_end_id, order.uetr, status, reason)


def _movement(row: sqlite3.Row) -> Movement:
    return Movement(
        position=row["position"],
        account=row["account"],
        side=row["side"],
        amount=Money(row["amount_minor"], row["currency"]),
        booked_at=parse_rfc3339(row["booked_at"]),
        value_date=date.fromisoformat(row["value_date"]),
        message_id=row["message_id"],
        end_to_end_id=row["end_to_end_id"],
        uetr=row["uetr"],
        remittance_id=row["remittance_id"],
    )
