"""Sends what a plug-in built: HTTP with a deadline, no redirects, bounded answers, only to the hosts it was given.

A time-out or a broken connection after the request left is *unknown*, never a failure: `OutcomeUnknownError`. What
comes back is raw: compressed answers are not inflated, since nobody bounds what comes out.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urlsplit

import httpx2

from gateway.protocol.errors import GatewayError, RetryError, UnavailableError
from gateway.protocol.outgoing import Incoming, Outgoing
from gateway.runtime.signals import tracing

ANSWER_BYTES_MAX = 16 * 1024 * 1024
CONNECT_S_MAX = 10.0
HOP_HEADERS = ("transfer-encoding", "connection", "keep-alive")


class OutcomeUnknownError(RetryError):
    """The request may have arrived: ask, do not repeat it under another reference."""


@cache
def _system_trust() -> ssl.SSLContext:
    """The certificates this machine trusts; loading them takes tens of milliseconds, so once a process."""
    return httpx2.create_ssl_context()


@dataclass(frozen=True)
class Sender:
    """`hosts` is the allow-list of `scheme://host:port`; `inside` maps one of them to an app of this process.

    `tls` holds the client certificate and the authorities for partners that want mutual TLS.
    """

    hosts: frozenset[str]
    inside: Mapping[str, httpx2.AsyncBaseTransport] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    answer_bytes_max: int = ANSWER_BYTES_MAX

    async def send(self, outgoing: Outgoing) -> Incoming:
        """Send once and return the answer, whatever its status.

        Raises `UnavailableError` when nothing was sent, `OutcomeUnknownError` when it may have arrived, and HALT for a
        host outside the allow-list: that is our configuration.
        """
        parts = urlsplit(outgoing.url)
        host = f"{parts.scheme}://{parts.netloc}"
        if host not in self.hosts:
            raise GatewayError("outgoing.host-not-allowed")
        try:
            async with asyncio.timeout(outgoing.timeout_s), self._client(host, outgoing.timeout_s) as client:
                return await self._exchange(client, outgoing)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise UnavailableError("outgoing.cannot-connect") from None
        except (httpx2.HTTPError, TimeoutError):
            raise OutcomeUnknownError("outgoing.unknown") from None

    def _client(self, host: str, timeout_s: float) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=self.inside.get(host),
            verify=self.tls or (_system_trust() if host.startswith("https:") else False),
            timeout=httpx2.Timeout(timeout_s, connect=min(CONNECT_S_MAX, timeout_s)),
            follow_redirects=False,
            trust_env=False,
        )

    async def _exchange(self, client: httpx2.AsyncClient, outgoing: Outgoing) -> Incoming:
        headers = {"accept-encoding": "identity", **{name.lower(): value for name, value in outgoing.headers.items()}}
        if (trace := tracing.current()) is not None:
            headers.setdefault(tracing.TRACEPARENT, trace)
        parts: list[bytes] = []
        size = 0
        async with client.stream(
            outgoing.method, outgoing.url, headers=headers, content=outgoing.body or None
        ) as answer:
            async for part in answer.aiter_raw():
                size += len(part)
                if size > self.answer_bytes_max:
                    raise OutcomeUnknownError("outgoing.answer-too-large")
                parts.append(part)
        found = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS}
        return Incoming(answer.status_code, found, b"".join(parts))
