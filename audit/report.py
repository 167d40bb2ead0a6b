"""What the verifier tells: the head, the entries asked for, and the states one by one; as lines and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from audit.checkpoint import Checkpoint
from audit.leaf import FIRST_EPOCH, Leaf
from audit.note import to_base64
from audit.verdict import State, exit_code

FAULTS_SHOWN_MAX = 20


@dataclass(slots=True)
class Report:
    """One run of a command; `unjudged` names files that the checkpoint says nothing about."""

    command: str
    checkpoint: Checkpoint | None = None
    states: list[State] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give it for JSON: command, log {origin, size, root}, states, events, unjudged, exit."""
        head = self.checkpoint
        return {
            "command": self.command,
            "log": head and {"origin": head.origin, "size": head.size, "root": to_base64(head.root)},
            "states": [state.as_dict() for state in self.states],
            "events": self.events,
            "unjudged": self.unjudged,
            "exit": exit_code(self.states),
        }

    def lines(self) -> Iterator[str]:
        """Write it for people."""
        if self.checkpoint:
            yield f"{self.checkpoint.origin}, {self.checkpoint.size} entries, root {self.checkpoint.root.hex()}"
        for event in self.events:
            yield _event_line(event)
        width = max((len(state.question) for state in self.states), default=0)
        for state in self.states:
            yield f"{state.question:{width}}  {state.verdict.value:12}  {state.detail}"
        for path in self.unjudged:
            yield f"not of this checkpoint, not judged: {path}"

    def complaints(self) -> Iterator[str]:
        """Name what is at fault, at most 20 places a state."""
        for state in self.states:
            for fault in state.faults[:FAULTS_SHOWN_MAX]:
                yield f"{state.question}: {fault}"
            if len(state.faults) > FAULTS_SHOWN_MAX:
                yield f"{state.question}: {len(state.faults)} in all"


def event_of(index: int, leaf: Leaf) -> dict[str, Any]:
    """Show one entry: its place, whose it is, and its whole leaf; `ep` where the source is past its first epoch."""
    epoch = {"ep": leaf.ep} if leaf.ep > FIRST_EPOCH else {}
    event = {"index": index, "src": leaf.src, "sq": leaf.sq, "typ": leaf.typ, "eid": leaf.eid, "leaf": leaf.body}
    return event | epoch


def opaque_event_of(index: int, entry: bytes) -> dict[str, Any]:
    """Show one entry of a log that is not ours, unread."""
    return {"index": index, "bytes": len(entry), "entry": to_base64(entry)}


def _event_line(event: dict[str, Any]) -> str:
    if "leaf" not in event:
        return f"  entry {event['index']:>8}  {event['bytes']} bytes"
    number = f"no. {event['sq']}" + (f" of epoch {event['ep']}" if "ep" in event else "")
    told = f"{event['leaf']['t']}  {event['typ']:24}  {event['src']} {number}  {event['eid']}"
    return f"  entry {event['index']:>8}  {told}"
