"""What a hospital format must offer: one folder in `formats/` and one line in its catalogue make a plug-in.

A format translates and does no I/O. It reads as much as it can and names everything it could not read, so that one
answer tells the hospital all that is wrong with a bill.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from adapters.sz.bill import HospitalBill
from gateway.protocol.errors import Fault

_INDEX = re.compile(r"/[0-9]+(?=/|$)")


@dataclass(frozen=True, slots=True)
class Reading:
    """A bill as far as it could be read. Pointers are RFC 6901 pointers into the hospital's own file.

    `faults` names what could not be read; in its place the bill holds a neutral value, and no check looks at what
    `broken` covers. `normalised` names what was tidied (empty markers, placeholder dates, full-width digits, trailing
    blanks), `left_out` fields that are known and not part of a claim, by name with `*` for any index. Neither says
    a value.
    """

    bill: HospitalBill
    faults: tuple[Fault, ...] = ()
    broken: frozenset[str] = frozenset()
    normalised: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mutation:
    """A sample with one thing wrong, and some of the faults that must be named: (code, pointer into the file)."""

    name: str
    raw: bytes
    faults: frozenset[tuple[str, str]]


class HospitalFormat(Protocol):
    """`places` maps a place of the noun to the file's, `/lines/*/amount` to `/fee_lines/*/det_item_fee_sumamt`."""

    @property
    def name(self) -> str: ...

    @property
    def media_types(self) -> tuple[str, ...]:
        """Return the `Content-Type`s that such a bill may come under."""

    @property
    def places(self) -> Mapping[str, str]: ...

    def read(self, raw: bytes) -> Reading:
        """Read a bill; bytes that are no bill of this format at all are `MalformedInputError`, nothing else is raised.

        The edge has limited the size before. The same bytes give the same reading.
        """

    def sample(self) -> bytes:
        """Return a synthetic bill without faults, of the sandbox's first hospital and insurer."""

    def mutations(self) -> Iterator[Mutation]:
        """Give ways in which such a bill goes wrong; the conformance suite looks for each one's faults."""


def place_in_file(pointer: str, places: Mapping[str, str]) -> str:
    """Translate a pointer into the noun to one into the hospital's file; the longest known part of it is kept."""
    indexes = iter(_INDEX.findall(pointer))
    pattern = _INDEX.sub("/*", pointer)
    while pattern not in places and pattern:
        pattern = pattern.rpartition("/")[0]
    place = places.get(pattern, "")
    return "/".join(next(indexes, "/*")[1:] if step == "*" else step for step in place.split("/"))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Where a file could not be read, ready to be asked often: a broken file may have many such places."""

    at: frozenset[str]
    above: frozenset[str]

    @classmethod
    def of(cls, broken: frozenset[str]) -> "Unreadable":
        at = broken | {_INDEX.sub("/*", pointer) for pointer in broken}
        return cls(at, frozenset(parent for pointer in at for parent in _parents(pointer)))

    def touches(self, place: str) -> bool:
        """Say whether anything at, above or below `place` is unreadable; `*` in it stands for any index."""
        return place in self.above or place in self.at or any(parent in self.at for parent in _parents(place))


def _parents(pointer: str) -> list[str]:
    steps = pointer.split("/")
    return ["/".join(steps[:length]) for length in range(1, len(steps))]
