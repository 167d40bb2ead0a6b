"""What a source's next entry may be: number after number in one epoch, or a linked restart into a later one.

A source that uses a number for other bytes has forked: nothing more of that epoch goes in, since nobody can say which
line is the true one. A source that skips a number waits: what is missing may still come. Other sources go on.
"""

from dataclasses import dataclass
from enum import StrEnum

from audit.leaf import FIRST_EPOCH, Leaf, Position, restart_link


class StopReason(StrEnum):
    FORKED = "forked"
    SKIPPED = "skipped"


@dataclass
class SourceLine:
    """One source as the log has it: its `last` entry, and why its entries no longer go in."""

    last: Position | None = None
    stopped: StopReason | None = None

    def refuse(self, leaf: Leaf) -> StopReason | None:
        """Say why a leaf, whose event the log does not have, cannot go in next; None where it can."""
        epoch, sq = (self.last.epoch, self.last.sq) if self.last else (FIRST_EPOCH, 0)
        if leaf.ep > epoch:
            return None if self.last is not None and restart_link(leaf) == self.last else StopReason.FORKED
        if leaf.ep < epoch or leaf.sq <= sq or self.stopped is StopReason.FORKED:
            return StopReason.FORKED
        return None if leaf.sq == sq + 1 else StopReason.SKIPPED

    def take(self, leaf: Leaf) -> None:
        """Move on to a leaf that `refuse` let in; a restart ends every stop of the epoch before."""
        if self.last is not None and leaf.ep > self.last.epoch:
            self.stopped = None
        self.last = leaf.position

    def stop(self, reason: StopReason) -> bool:
        """Stop the source; a fork outweighs a skipped number. True if it was not stopped for this before."""
        if self.stopped in (reason, StopReason.FORKED):
            return False
        self.stopped = reason
        return True
