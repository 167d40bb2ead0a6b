"""The banks that this core pays through, one profile file each, and which of them a payment takes.

A profile is `{bank, channel, rail, answer_within_s, options}`, its options as the channel reads them; `cutoff` and
`serves` may be left out. Profiles written before options had a place of their own have them beside the other fields.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Self

from gateway.protocol.clock import SHENZHEN_AND_HONG_KONG
from gateway.protocol.errors import MalformedInputError, NotFoundError
from settlement.batch import Batch
from settlement.channels import CHANNELS
from settlement.payment import AccountHolder
from settlement.ports import BankProfile

_OWN = {"bank", "channel", "rail", "answer_within_s"}
_MAY = {"cutoff", "serves"}
_SECONDS_MAX = 86_400
_CUTOFF = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def read_profile(written: Mapping[str, Any]) -> BankProfile[Any]:
    """Read a profile file's object; `MalformedInputError` for a field missing, unknown or not as described."""
    own = {name: value for name, value in written.items() if name in _OWN | _MAY}
    options = {name: value for name, value in written.items() if name not in own}
    if "options" in options:
        options = options if len(options) > 1 else options["options"]
    texts = ("bank", "channel", "rail")
    if not own.keys() >= _OWN or not isinstance(options, dict):
        raise MalformedInputError("bank-profile.malformed")
    if not all(isinstance(own[name], str) and own[name] for name in texts) or own["channel"] not in CHANNELS:
        raise MalformedInputError("bank-profile.malformed")
    seconds, cutoff, serves = own["answer_within_s"], own.get("cutoff"), own.get("serves", [])
    if type(seconds) is not int or not 0 < seconds <= _SECONDS_MAX:
        raise MalformedInputError("bank-profile.malformed")
    if cutoff is not None and (not isinstance(cutoff, str) or _CUTOFF.fullmatch(cutoff) is None):
        raise MalformedInputError("bank-profile.malformed")
    if not isinstance(serves, list) or not all(isinstance(member, str) and member for member in serves):
        raise MalformedInputError("bank-profile.malformed")
    return BankProfile(
        bank=own["bank"],
        channel=own["channel"],
        rail=own["rail"],
        answer_within_s=seconds,
        options=CHANNELS[own["channel"]].read_options(options),
        cutoff=None if cutoff is None else time.fromisoformat(cutoff),
        serves=frozenset(serves),
    )


def cutoff_passed(profile: BankProfile[Any], now: datetime) -> bool:
    """Tell whether the bank takes nothing more for today; without a cut-off time in its profile it always does."""
    return profile.cutoff is not None and now.astimezone(SHENZHEN_AND_HONG_KONG).time() >= profile.cutoff


@dataclass(frozen=True, slots=True)
class Banks:
    """At least one; names differ, no payer's bank is served twice, and at most one serves all the others."""

    profiles: tuple[BankProfile[Any], ...]

    @classmethod
    def read(cls, files: Sequence[Mapping[str, Any]]) -> Self:
        """Read all profile files of a core; `MalformedInputError` where they contradict each other."""
        profiles = tuple(read_profile(written) for written in files)
        names = Counter(profile.bank for profile in profiles)
        served = Counter(member for profile in profiles for member in profile.serves or {""})
        if not profiles or max(names.values()) > 1 or max(served.values()) > 1:
            raise MalformedInputError("bank-profile.malformed")
        return cls(profiles)

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address that requests may be sent to."""
        return tuple(url for profile in self.profiles for url in CHANNELS[profile.channel].urls(profile.options))

    def of_payer(self, debtor: AccountHolder) -> BankProfile[Any]:
        """Return the bank that serves the account money leaves from; `NotFoundError` where none does."""
        member = debtor.agent.member_id
        named = [profile for profile in self.profiles if member in profile.serves]
        others = [profile for profile in self.profiles if not profile.serves]
        for profile in (*named, *others):
            return profile
        raise NotFoundError("payment.no-bank")

    def of_batch(self, batch: Batch) -> BankProfile[Any]:
        """Return the bank that a batch was made for; `NotFoundError` where its profile is gone.

        A payment whose outcome is unknown must be asked about where it was sent. A batch that was made before there
        could be several banks takes its payer's.
        """
        if not batch.bank:
            return self.of_payer(batch.debtor)
        for profile in self.profiles:
            if profile.bank == batch.bank:
                return profile
        raise NotFoundError("payment.no-bank")
