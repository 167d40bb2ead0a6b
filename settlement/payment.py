"""What a bank is told: who pays whom how much, when, under which references. No patient's name, number or bill.

Names are the *registered* Latin ones (pinyin is never made up here), town and country always go with them whatever
the address policy of the rail. `PaymentInstruction` is everything a channel may write into a bank-facing byte
(SET-17); it has no free text. Fields are checked once, here, against the limits of ISO 20022 and of SWIFT's Latin
character set.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from gateway.protocol.errors import InvalidInputError
from gateway.protocol.identifiers import parse_bic, parse_cnaps, parse_lei, parse_uetr
from gateway.protocol.money import Money, total

ChargeBearer = Literal["DEBT", "SHAR", "CRED", "SLEV"]
"""ISO 20022 ChargeBearerType1Code; DEBT is SWIFT's OUR, SHAR is SHA."""

ClearingSystem = Literal["CNAPS", "HKNCC", "CNCIP"]
"""Codes of the external set ExternalClearingSystemIdentification1Code: mainland, Hong Kong, CIPS."""

_LATIN = re.compile(r"[!-~]+(?: [!-~]+)*")
"""Printable ASCII, single blanks inside: the set that CBPR+ allows in names, addresses and remittance."""

_REFERENCE = re.compile(r"[A-Za-z0-9]{1,35}")
_ACCOUNT = re.compile(r"[A-Za-z0-9-]{1,34}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_MEMBER: Mapping[ClearingSystem, re.Pattern[str]] = {
    "CNAPS": re.compile(r"[0-9]{12}"),
    "HKNCC": re.compile(r"[0-9]{3}(?:[0-9]{3})?"),
    "CNCIP": re.compile(r"[A-Z0-9]{1,35}"),
}


@dataclass(frozen=True, slots=True)
class Agent:
    """A bank by its clearing member id; the CNAPS check digit is ISO 7064 MOD 11,10."""

    clearing_system: ClearingSystem
    member_id: str
    bic: str | None = None

    def __post_init__(self) -> None:
        if _MEMBER[self.clearing_system].fullmatch(self.member_id) is None:
            raise InvalidInputError("payment.bank-id")
        if self.clearing_system == "CNAPS":
            parse_cnaps(self.member_id)
        if self.bic is not None:
            parse_bic(self.bic)


@dataclass(frozen=True, slots=True)
class AccountHolder:
    """One party's bank account as registered with its bank: name in Latin (≤ 140), town (≤ 35), ISO country."""

    party: str
    """The party's code in the registry; never sent."""
    name: str
    town: str
    country: str
    account: str
    currency: str
    agent: Agent
    lei: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= 140 or _LATIN.fullmatch(self.name) is None:
            raise InvalidInputError("payment.name-not-latin")
        if not 0 < len(self.town) <= 35 or _LATIN.fullmatch(self.town) is None:
            raise InvalidInputError("payment.address")
        if _COUNTRY.fullmatch(self.country) is None:
            raise InvalidInputError("payment.address")
        if _ACCOUNT.fullmatch(self.account) is None:
            raise InvalidInputError("payment.account")
        if self.lei is not None:
            parse_lei(self.lei)


@dataclass(frozen=True, slots=True)
class RemittanceLine:
    """One obligation within a payment. `reference` is the obligation's, fit for a bank: letters and digits, ≤ 35."""

    reference: str
    amount: Money


@dataclass(frozen=True, slots=True)
class PaymentInstruction:
    """One credit transfer. Equal instructions give equal bytes; `created_at` is part of it for that reason."""

    message_id: str
    end_to_end_id: str
    uetr: str
    remittance_id: str
    created_at: datetime
    value_date: date
    debtor: AccountHolder
    creditor: AccountHolder
    amount: Money
    lines: tuple[RemittanceLine, ...]
    charge_bearer: ChargeBearer
    purpose: str
    """ExternalPurpose1Code; HSPC is hospital care."""

    def __post_init__(self) -> None:
        references = (self.message_id, self.end_to_end_id, self.remittance_id, *(x.reference for x in self.lines))
        if any(_REFERENCE.fullmatch(reference) is None for reference in references):
            raise InvalidInputError("payment.reference")
        parse_uetr(self.uetr)
        if self.amount.amount_minor <= 0:
            raise InvalidInputError("payment.amount")
        if total((line.amount for line in self.lines), self.amount.currency) != self.amount:
            raise InvalidInputError("payment.lines-differ")
        if {self.debtor.currency, self.creditor.currency} != {self.amount.currency}:
            raise InvalidInputError("payment.currency")
