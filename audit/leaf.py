"""The body of a log entry: canonical JSON (RFC 8785) that a source has signed, and the promises a source keeps.

Keys: `v` 1 · `typ` event type · `eid` event id · `src` organisation that says it · `sq` its own number, from 1
without a gap · `t` its time · `cref` random claim reference · `pv` the `eid` this source wrote before for the same
claim · `cm` field → commitment (base64) · `clr` clear values · `hk` programme facts · `ep` the source's epoch, from 2
on. Keys beyond these are ignored.

A source whose store was set back to an older backup begins a new *epoch*: numbers and claims' chains start anew, with
an entry `<role>.source_restarted` as number 1 that names the last entry the log had of the epoch before.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from audit.merkle import VerificationError

JSON_INTEGER_MAX = 2**53 - 1
LEAF_VERSION = 1
FIRST_EPOCH = 1
RESTART_SUFFIX = ".source_restarted"


def read_canonical(raw: bytes) -> Any:
    """Read JSON that stands in its RFC 8785 form and holds no number but integers within ±(2^53 - 1)."""
    try:
        value = json.loads(  # noqa: TID251 the proof core imports nothing of ours
            raw.decode(),
            object_pairs_hook=_sorted_object,
            parse_float=_refuse,
            parse_constant=_refuse,
            parse_int=_integer,
        )
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))  # noqa: TID251 same
        is_canonical = written.encode() == raw
    except VerificationError:
        raise
    except (ValueError, RecursionError):
        raise VerificationError("the JSON is malformed") from None
    if not is_canonical:
        raise VerificationError("the JSON is not canonical (RFC 8785)")
    return value


def _sorted_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key.encode("utf-16-be", "surrogatepass") for key, _ in pairs]
    if any(left >= right for left, right in itertools.pairwise(keys)):
        raise VerificationError("the JSON has a key twice, or keys out of order")
    return dict(pairs)


def _refuse(_: str) -> NoReturn:
    raise VerificationError("the JSON holds a number that is no integer")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > JSON_INTEGER_MAX:
        raise VerificationError("the JSON holds an integer out of range")
    return int(text)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf body, read; `body` holds all of it."""

    typ: str
    eid: str
    src: str
    sq: int
    t: str
    cref: str | None
    pv: str | None
    commitments: Mapping[str, str]
    body: Mapping[str, Any]
    ep: int = FIRST_EPOCH

    @property
    def position(self) -> "Position":
        return Position(self.ep, self.sq, self.eid)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a source's numbering: its epoch, its number there, and the event that stands at it."""

    epoch: int
    sq: int
    eid: str


def restart_link(leaf: Leaf) -> Position | None:
    """Return the last entry before this restart, as the entry names it; None where this leaf begins no epoch."""
    clear = leaf.body.get("clr")
    if leaf.ep == FIRST_EPOCH or leaf.sq != 1 or not leaf.typ.endswith(RESTART_SUFFIX) or not isinstance(clear, dict):
        return None
    epoch, sq, eid = (clear.get(name) for name in ("last_epoch", "last_sq", "last_eid"))
    if type(epoch) is not int or type(sq) is not int or not isinstance(eid, str):
        return None
    return Position(epoch, sq, eid)


def parse_leaf(raw: bytes) -> Leaf:
    """Read a leaf body; `VerificationError` for anything that is not one of version 1."""
    body = read_canonical(raw)
    if not isinstance(body, dict) or body.get("v") != LEAF_VERSION or body["v"] is True:
        raise VerificationError("the entry is no leaf of version 1")
    texts: dict[str, Any] = {key: body.get(key) for key in ("typ", "eid", "src", "t")}
    links: dict[str, Any] = {key: body.get(key) for key in ("cref", "pv")}
    number, commitments = body.get("sq"), body.get("cm", {})
    epoch = body.get("ep", FIRST_EPOCH)
    if (
        not all(isinstance(text, str) and text for text in texts.values())
        or not all(link is None or (isinstance(link, str) and link) for link in links.values())
        or not (isinstance(number, int) and number is not True and number >= 1)
        or not (type(epoch) is int and epoch >= FIRST_EPOCH + ("ep" in body))
        or not (isinstance(commitments, dict) and all(isinstance(item, str) for item in commitments.values()))
    ):
        raise VerificationError("the leaf lacks a key, or a key has the wrong type")
    return Leaf(**texts, **links, sq=number, commitments=commitments, body=body, ep=epoch)


@dataclass(frozen=True, slots=True)
class Restart:
    """A source began an epoch at the entry `index`, after the entry `last` of the epoch before."""

    src: str
    epoch: int
    index: int
    last: Position


@dataclass(slots=True)
class _Source:
    """One source in one epoch as seen so far: the next number it owes, what came early, its last events."""

    epoch: int
    first: int
    expected: int
    newest: str | None = None
    """The event at `expected - 1`; None where this log does not hold it."""
    early: dict[int, tuple[int, Leaf]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)


class SourceLedger:
    """Holds every source to its word over a whole log: numbers without gap, ids once, a chain for each claim.

    Numbers and chains run per source and epoch; a new epoch must be linked to the last entry of the one before.

    Fed with leaves in log order; a source's leaves are judged in the order of their numbers. `first_numbers` tells
    the number a source starts with where that is not 1 (a log that goes on from last year's).
    """

    def __init__(self, first_numbers: Mapping[str, int] | None = None) -> None:
        self._first_numbers = dict(first_numbers or {})
        self._sources: dict[tuple[str, int], _Source] = {}
        self._current: dict[str, _Source] = {}
        self._ids: dict[str, int] = {}
        self.restarts: list[Restart] = []
        self.sequence_faults: list[VerificationError] = []
        self.chain_faults: list[tuple[str, VerificationError]] = []

    def take(self, index: int, leaf: Leaf) -> None:
        twin = self._ids.setdefault(leaf.eid, index)
        if twin != index:
            self._fault(index, f"its event id is already that of entry {twin}")
        source = self._source_of(index, leaf)
        if source is None:
            return
        if leaf.sq < source.expected or leaf.sq in source.early:
            self._fault(index, f"number {leaf.sq} of this source is used twice or before its start")
            return
        source.early[leaf.sq] = (index, leaf)
        while source.expected in source.early:
            self._follow(source, *source.early.pop(source.expected))
            source.expected += 1

    def _source_of(self, index: int, leaf: Leaf) -> _Source | None:
        """Find the source in the epoch of a leaf, or begin that epoch; None where it may not write in it any more."""
        current = self._current.get(leaf.src)
        if current is None:
            first = self._first_numbers.get(leaf.src, 1)
            link = restart_link(leaf)
            continues_last_year = first > 1 and link is None
            current = self._begin(leaf.src, leaf.ep if continues_last_year else link.epoch if link else 1, first)
        if leaf.ep < current.epoch:
            self._fault(index, f"it is of epoch {leaf.ep}, which its source has left for epoch {current.epoch}")
            return None
        if leaf.ep > current.epoch:
            self._check_restart(index, leaf, current)
            current = self._begin(leaf.src, leaf.ep, 1)
        return current

    def _begin(self, src: str, epoch: int, first: int) -> _Source:
        source = _Source(epoch, first, first)
        self._sources[src, epoch] = self._current[src] = source
        return source

    def _check_restart(self, index: int, leaf: Leaf, former: _Source) -> None:
        link = restart_link(leaf)
        if link is None:
            self._fault(index, f"epoch {leaf.ep} of this source does not begin with an entry that says so")
        elif (link.epoch, link.sq) != (former.epoch, former.expected - 1) or former.newest not in (None, link.eid):
            self._fault(index, f"its epoch {leaf.ep} is not linked to the last entry of epoch {former.epoch}")
        else:
            self.restarts.append(Restart(leaf.src, leaf.ep, index, link))

    def finish(self) -> None:
        """Report what is missing; call once, after the last leaf."""
        for (name, _), source in sorted(self._sources.items()):
            for start, end, (index, _) in _gaps(source):
                numbers = f"{start}" if start == end else f"{start} to {end}"
                self._fault(index, f"source {name}: number {numbers} is missing before this entry")

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return for each source the first and last number of its unbroken run (last < first if there is none).

        Epochs after the first have a name of their own: `sz epoch 2`.
        """
        return {
            name if epoch == FIRST_EPOCH else f"{name} epoch {epoch}": (source.first, source.expected - 1)
            for (name, epoch), source in sorted(self._sources.items())
        }

    def _fault(self, index: int, reason: str) -> None:
        self.sequence_faults.append(VerificationError(reason, index=index))

    def _follow(self, source: _Source, index: int, leaf: Leaf) -> None:
        source.newest = leaf.eid
        if leaf.cref is None:
            return
        last = source.last.get(leaf.cref)
        continues_last_year = last is None and source.first > 1
        if leaf.pv != last and not continues_last_year:
            reason = "its predecessor is not the event that this source wrote before for the claim"
            self.chain_faults.append((leaf.cref, VerificationError(reason, index=index)))
        source.last[leaf.cref] = leaf.eid


def _gaps(source: _Source) -> Iterator[tuple[int, int, tuple[int, Leaf]]]:
    expected = source.expected
    for number in sorted(source.early):
        if number > expected:
            yield expected, number - 1, source.early[number]
        expected = number + 1
