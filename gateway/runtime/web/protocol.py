"""HTTP/1.1 on a connection, bounded: uvicorn's fast protocol with limits on heads, bodies, time and connections.

uvicorn with httptools limits nothing by itself: one header may be as long as memory, and a connection that sends a
byte a minute is never closed. Here a request head has a size, a number of fields and a time; a body has a time; a
connection that does nothing, or whose peer does not read, is closed. An answer may take as long as it takes: a long
poll is a request that has been received whole. A request that arrives in one piece costs no timer.
"""

import asyncio
from typing import Any, ClassVar

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.protocol.canonical import compact
from gateway.protocol.errors import GatewayError, MalformedInputError, RefuseError, UnavailableError
from gateway.protocol.identifiers import mint
from gateway.runtime.signals.observability import HTTP_REQUESTS

HEAD_BYTES_MAX = 32 * 1024
"""Request line and fields together; an access token is under 1 KiB."""
TARGET_BYTES_MAX = 8 * 1024
FIELDS_MAX = 100
HEAD_S_MAX = 10.0
"""From the first byte of a head, or from the connection, to its end."""
BODY_S_MAX = 120.0
"""For the largest bill, 8 MiB, that is 70 KB/s."""
BODY_PAUSE_S_MAX = 20.0
READER_PAUSE_S_MAX = 30.0
"""How long a peer may leave an answer unread."""
FRAMING_BYTES_MAX = 256 * 1024
"""What chunk sizes, extensions and trailers of one body may take beside four times the body itself."""
LEFTOVER_BYTES_MAX = 64 * 1024 * 1024
"""How much of a body is read on and thrown away after the answer, so that the sender sees the answer."""
PIPELINE_MAX = 16
CONNECTIONS_MAX = 800
"""Below the 1,024 files that a process may open by default."""
LINGER_S = 2.0
"""How long what a refused peer still sends is read and thrown away, so that it can read why."""

_IDLE, _HEAD, _BODY = range(3)
_HOP_BY_HOP = (b"connection", b"http2-settings", b"upgrade")


class _SlowRequestError(RefuseError):
    status = 408


class _TargetTooLongError(RefuseError):
    status = 414


class _HeadTooLargeError(RefuseError):
    status = 431


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Every field of ours is owned by the event loop; `_timer` is the one timer of what is awaited."""

    connections_max: ClassVar[int] = CONNECTIONS_MAX

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._phase = _IDLE
        self._since = 0.0
        self._last_data = 0.0
        self._head_raw = 0
        self._begun = 0
        self._head_bytes = 0
        self._fields = 0
        self._body_raw = 0
        self._body_bytes = 0
        self._refusal: GatewayError | None = None
        self._closing = False
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None
        self._answered_now: RequestResponseCycle | None = None

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_S_MAX, self._on_timer)
        if len(self.connections) > self.connections_max:
            self._refuse(UnavailableError("http.too-many-connections", retry_after_s=5), linger_s=0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._cancel_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._unset_keepalive_if_required()
        self._last_data = self.loop.time()
        begins = self._phase == _IDLE
        if begins:
            self._head_raw = 0
            self._begin_head()
        head_raw = self._head_raw + len(data)
        self._begun = 0
        if self._phase == _BODY:
            self._body_raw += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or MalformedInputError("http.malformed"))
        # of a head that begins behind another request its bytes are not known; they are fewer than one read
        self._head_raw = head_raw if self._begun <= begins else 0
        if not self._closing:
            self._check_sizes()
        if not self._closing:
            self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reader_timer is None:
            self._reader_timer = self.loop.call_later(READER_PAUSE_S_MAX, self._abort)

    def resume_writing(self) -> None:
        self._stop_reader_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(READER_PAUSE_S_MAX, self._abort)

    # Parser callbacks; what they raise ends the parsing, and `data_received` answers

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINE_MAX:
            self._stop(MalformedInputError("http.malformed"))
        self._begun += 1
        self._begin_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        if len(self.url) + len(url) > TARGET_BYTES_MAX:
            self._stop(_TargetTooLongError("http.target-too-long", facts={"bytes_max": TARGET_BYTES_MAX}))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == _BODY:
            return  # a trailer: never a header of the request (RFC 9110 section 6.5.1)
        self._head_bytes += len(name) + len(value) + 4
        self._fields += 1
        if self._fields > FIELDS_MAX:
            self._stop(_head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_bytes > HEAD_BYTES_MAX:
            self._stop(_head_too_large())
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(MalformedInputError("http.malformed"))
            return
        self._phase = _BODY
        self._since = self._last_data
        self._body_raw = self._body_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._phase = _IDLE
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered_now = cycle
        super()._start_asgi_task(cycle, app)

    # Ours

    def _parse(self, data: bytes) -> None:
        """Feed the parser; where it stops at an offer of another protocol, begin the request again without the offer.

        Java's HTTP client offers h2c with its first request. We answer in HTTP/1.1 (RFC 9110 section 7.8); the parser
        would take the body for the other protocol.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            rest = data[stopped.args[0] :]
            fields = [b"%s: %s" % found for found in self.headers if found[0] not in _HOP_BY_HOP]
            line = b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)
            head = b"\r\n".join((line, *fields, b"connection: close", b"", b""))
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head + rest)

    def _begin_head(self) -> None:
        self._phase = _HEAD
        self._since = self._last_data
        self._head_bytes = self._fields = 0

    def _stop(self, refusal: GatewayError) -> None:
        """End the parsing with this answer: httptools turns what a callback raises into an error of its own."""
        self._refusal = refusal
        raise refusal

    def _check_sizes(self) -> None:
        """Bound what has not yet come whole, which the parser keeps to itself."""
        if self._phase == _HEAD and self._head_raw > HEAD_BYTES_MAX:
            self._refuse(_head_too_large())
        elif self._phase == _BODY and self._body_raw > FRAMING_BYTES_MAX + 5 * self._body_bytes:
            self._refuse(MalformedInputError("http.malformed"))
        elif self._phase == _BODY and self.cycle.response_complete and self._body_raw > LEFTOVER_BYTES_MAX:
            self._abort()

    def _watch(self) -> None:
        """Have a timer while something is awaited from the peer, and none otherwise."""
        if self._phase == _IDLE:
            self._cancel_timer()
            if self.cycle is not None and self.cycle.response_complete and self.timeout_keep_alive_task is None:
                # the answer was there before the end of the body: what is awaited now is the next request
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        elif self._timer is None:
            self._timer = self.loop.call_later(self._left_s(), self._on_timer)

    def _left_s(self) -> float:
        """Say how long the peer has left, at most one pause of a body."""
        now = self.loop.time()
        if self._phase != _BODY:
            return self._since + HEAD_S_MAX - now
        pause_from = now if self.flow.read_paused else self._last_data
        return min(self._since + BODY_S_MAX, pause_from + BODY_PAUSE_S_MAX) - now

    def _on_timer(self) -> None:
        self._timer = None
        left_s = self._left_s()
        if left_s > 0:
            self._timer = self.loop.call_later(left_s, self._on_timer)
        elif self._phase == _IDLE:
            self.transport.close()
        else:
            self._refuse(_SlowRequestError("http.too-slow"))

    def _refuse(self, refusal: GatewayError, linger_s: float = LINGER_S) -> None:
        """Answer once and close; where another answer is on its way, only close. The application hears of it."""
        self._closing = True
        self._cancel_timer()
        self.connections.discard(self)
        answering = self.cycle is not None and not self.cycle.response_complete
        own_turn = not answering or (self._phase == _BODY and not self.pipeline and not self.cycle.response_started)
        self.pipeline.clear()
        for cycle in filter(None, (self._answered_now, self.cycle)):
            # the one that is answered is not the newest where requests are pipelined: neither may write from here on
            cycle.disconnected = True
            cycle.message_event.set()
        if own_turn:
            self.transport.write(_answer(refusal))
        HTTP_REQUESTS.labels("unknown", "other", str(refusal.status)).inc()
        if linger_s:
            self.flow.resume_reading()
            self.transport.write_eof()
            self.loop.call_later(linger_s, self._abort)
        else:
            self.transport.close()

    def _abort(self) -> None:
        if not self._lost:
            self.transport.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None


def _head_too_large() -> GatewayError:
    facts = {"bytes_max": HEAD_BYTES_MAX, "maxItems": FIELDS_MAX}
    return _HeadTooLargeError("http.head-too-large", facts=facts)


def _answer(refusal: GatewayError) -> bytes:
    body = compact(refusal.problem(mint("req")))
    retry = b"" if refusal.retry_after_s is None else b"retry-after: %d\r\n" % refusal.retry_after_s
    return (
        STATUS_LINE[refusal.status]
        + b"content-type: application/problem+json\r\ncontent-length: %d\r\n" % len(body)
        + b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        + retry
        + b"\r\n"
        + body
    )


def server_config(app: Any, host: str, port: int, **words: Any) -> Config:
    """Configure a server of ours: these limits, no WebSockets, no logging of its own."""
    return Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        **words,
    )
