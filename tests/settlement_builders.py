"""Builders for settlement's tests: synthetic parties, one good default each."""

from datetime import UTC, date, datetime

from gateway.protocol.identifier_checks import mod_11_10_check, mod_97_10_check
from gateway.protocol.money import Money
from settlement.bank_entry import BankEntry, Seen, Side
from settlement.banks import read_profile
from settlement.batch import Approval, Batch
from settlement.channels.iso20022_http import Iso20022Http, Options
from settlement.obligation import Obligation
from settlement.payment import AccountHolder, Agent, PaymentInstruction
from settlement.ports import BankProfile

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
TODAY = date(2026, 3, 2)
UETR = "0b5a1c1e-7f1a-4c3e-9d5b-2f6a8c0d1e2f"
OTHER_UETR = "1c6b2d2f-8a2b-4d4f-8e6c-3a7b9d1e2f30"
PAYER_ACCOUNT = "QQ-PAYER-001"
HOSPITAL_ACCOUNT = "QQ-HOSPITAL-001"
PARTIES = {PAYER_ACCOUNT: "HKINS-A", HOSPITAL_ACCOUNT: "SZH-1"}


def cny(text: str) -> Money:
    return Money.parse(text, "CNY")


def a_cnaps(body: str = "10258401234") -> str:
    return body + mod_11_10_check(body)


def a_lei(body: str = "QQ00SYNTHETICLEI00") -> str:
    return body + mod_97_10_check(body)


def the_payer() -> AccountHolder:
    return AccountHolder(
        party="HKINS-A",
        name="Synthetic Harbour Insurance Limited",
        town="Hong Kong",
        country="HK",
        account=PAYER_ACCOUNT,
        currency="CNY",
        agent=Agent("HKNCC", "999", "QQBKHKHH"),
        lei=a_lei(),
    )


def the_hospital(name: str = "Shenzhen Synthetic People's Hospital") -> AccountHolder:
    return AccountHolder(
        party="SZH-1",
        name=name,
        town="Shenzhen",
        country="CN",
        account=HOSPITAL_ACCOUNT,
        currency="CNY",
        agent=Agent("CNAPS", a_cnaps()),
    )


def an_obligation(claim_id: str = "claim_1", amount: str = "1200.00", payer: str = "HKINS-A") -> Obligation:
    return Obligation.opened(
        case_id="case_1",
        claim_id=claim_id,
        decision_version=1,
        payer=payer,
        payee="SZH-1",
        amount=cny(amount),
    )


def a_batch(*obligations: Obligation, value_date: date = TODAY, uetr: str = UETR) -> Batch:
    return Batch.draft(
        obligations or (an_obligation(),),
        rail="rmb-chats",
        value_date=value_date,
        debtor=the_payer(),
        creditor=the_hospital(),
        uetr=uetr,
        charge_bearer="SHAR",
    )


def an_approval(batch: Batch, treasurer: str = "treasurer-1", party: str = "HKINS-A") -> Approval:
    return Approval(treasurer, party, batch.batch_hash, NOW, "a.signed.statement")


def an_approved_batch(*obligations: Obligation, uetr: str = UETR) -> Batch:
    batch = a_batch(*obligations, uetr=uetr)
    return batch.approve(an_approval(batch)).approve(an_approval(batch, "treasurer-2"))


def an_instructed_batch(*obligations: Obligation, uetr: str = UETR) -> Batch:
    return an_approved_batch(*obligations, uetr=uetr).instruct(NOW)


def a_payment() -> PaymentInstruction:
    two = (an_obligation(), an_obligation("claim_2", "0.01"))
    return an_instructed_batch(*two).instruction()


def an_entry(
    batch: Batch,
    side: Side = Side.CREDIT,
    *,
    amount: str | None = None,
    account: str | None = None,
    uetr: str | None = UETR,
    end_to_end_id: str | None = None,
    reference: str | None = None,
    entry_ref: str = "REF1",
    reversal: bool = False,
    occurrence: int = 1,
) -> BankEntry:
    own = batch.debtor.account if side is Side.DEBIT else batch.creditor.account
    return BankEntry(
        account=own if account is None else account,
        side=side,
        amount=batch.amount if amount is None else cny(amount),
        booking_date=TODAY,
        value_date=TODAY,
        uetr=uetr,
        end_to_end_id=end_to_end_id,
        reference=reference,
        entry_ref=entry_ref,
        reversal=reversal,
        occurrence=occurrence,
    )


def seen(entry: BankEntry) -> Seen:
    return Seen.of(entry)


def a_profile(rmb_purpose_field: str = "unset") -> BankProfile[Options]:
    return read_profile(
        {
            "bank": "SANDBOX-BANK",
            "channel": "iso20022_http",
            "rail": "rmb-chats",
            "answer_within_s": 60,
            "options": {**Iso20022Http().sample_options(), "rmb_purpose_field": rmb_purpose_field},
        }
    )
