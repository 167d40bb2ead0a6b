"""What a relay holds back because the bus refuses it for good: a key whose next message can never be sent, or a topic.

In memory: a restart tries again, and so does the relay after a while, since an operator may have mended the broker.
Messages of one key stay in order, so what follows a refused one waits with it; other keys go on.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, and_, true, tuple_

from gateway.protocol.clock import Clock
from gateway.runtime.bus.port import RefusedRecordError
from gateway.runtime.signals.observability import RELAY_HELD

KEY_FOR = timedelta(minutes=10)
"""Finding one refused record among others costs two clients; more often would be noise."""
TOPIC_FOR = timedelta(minutes=1)
KEYS_MAX = 500
"""Past so many it is no matter of single records: the whole topic waits."""


@dataclass
class Held:
    """`until` says for each (topic, key) or (topic, None) when it is tried again. Owner: the relay named `relay`."""

    role: str
    relay: str
    clock: Clock
    until: dict[tuple[str, str | None], datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._measure()

    def add(self, topic: str, key: str, refused: RefusedRecordError) -> None:
        now = self.clock.now()
        if refused.whole_topic or len(self.until) >= KEYS_MAX:
            self.until[topic, None] = now + TOPIC_FOR
        else:
            self.until[topic, key] = now + KEY_FOR
        self._measure()

    def let_go(self) -> None:
        """Forget what has waited long enough; it is held again if it is refused again."""
        now = self.clock.now()
        self.until = {place: until for place, until in self.until.items() if until > now}
        self._measure()

    def others(self, topic: Column[str], key: Column[str]) -> ColumnElement[bool]:
        """Write the condition for rows that nothing here holds back."""
        if not self.until:
            return true()
        topics = [name for name, held in self.until if held is None]
        keys = [place for place in self.until if place[1] is not None]
        return and_(topic.not_in(topics), tuple_(topic, key).not_in(keys))

    def _measure(self) -> None:
        RELAY_HELD.labels(self.role, self.relay).set(len(self.until))
