"""What the checks of a bill are told, and where they write what they found."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

from adapters.sz.bill import HospitalBill, Netted
from adapters.sz.ports import Reading, Unreadable, place_in_file
from gateway.protocol.claim_terms import PaidKind
from gateway.protocol.clock import business_date
from gateway.protocol.errors import Fault
from gateway.protocol.registry import Directory, Route

FAULTS_MAX = 500
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator has set for one hospital: its format and the national codes of its institutions.

    A bill of any other institution is refused, since the money would go to this hospital.
    """

    format: str
    institution_codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class RuleValues:
    """The rule rows that the checks read, and `versions`, which names the rows for whoever asks later."""

    third_party_kinds: frozenset[PaidKind]
    tolerance_minor: int
    guardian_below_age: int
    days_outside_stay: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Who hands the bill in, when, and what holds then. `now` is aware."""

    hospital: str
    site: Site
    directory: Directory
    rules: RuleValues
    now: datetime

    @property
    def today(self) -> date:
        return business_date(self.now)


@dataclass
class Findings:
    """Faults refuse a bill, warnings never do. Both are written with pointers into the noun, read with the file's."""

    reading: Reading
    places: Mapping[str, str]
    netted: Netted
    around: Circumstances
    route: Route | None = None
    _faults: list[Fault] = field(default_factory=list)
    _warnings: list[Fault] = field(default_factory=list)

    @property
    def bill(self) -> HospitalBill:
        return self.reading.bill

    def fault(self, code: str, pointer: str) -> None:
        if len(self._faults) < FAULTS_MAX:
            self._faults.append(Fault(code, place_in_file(pointer, self.places)))

    def warn(self, code: str, pointer: str) -> None:
        if len(self._warnings) < FAULTS_MAX:
            self._warnings.append(Fault(code, place_in_file(pointer, self.places)))

    def sound(self, *places: str) -> bool:
        """Say whether everything at these places could be read; a check of something unreadable would mislead.

        Places are pointers into the noun, with an index or with `*` for any.
        """
        if not self.reading.broken:
            return True
        return not any(self._unreadable.touches(place_in_file(place, self.places)) for place in places)

    @cached_property
    def _unreadable(self) -> Unreadable:
        return Unreadable.of(self.reading.broken)

    @property
    def faults(self) -> tuple[Fault, ...]:
        return (*self.reading.faults, *self._faults)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return tuple(self._warnings)
