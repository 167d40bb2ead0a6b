"""What a plug-in asks the runtime to send, and what came back. Plug-ins translate; they do no I/O.

An `Outgoing` is a value: the same question gives the same bytes, so that a retry after a crash sends what was meant
before it. Headers and bodies may carry secrets; they stay out of `repr` and thus out of logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request: absolute `url`, `timeout_s` for the whole exchange. A time-out means *unknown*, never *no*."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Incoming:
    """One answer, as received; nothing in it has been checked."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return a header by name in any case (RFC 9110 section 5.1), or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)
