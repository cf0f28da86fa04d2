"""One client's connection: HTTP/1.1 by h11 over asyncio, with a deadline for all that a client may leave undone.

uvicorn and starlette would do this too; with anyio and ssl they are a tenth of a second of imports, which is more than
all the rest of the server's start, and they know no deadlines for headers and bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct

import h11

from llamafile.server import errors
from llamafile.server.exchange import REASONS, Exchange
from llamafile.server.settings import HEADERS_SECONDS, IDLE_SECONDS, MOST_CONNECTIONS, MOST_HEADERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

LEFTOVER_SECONDS = 5  # for a body that nobody wants to end after its request has been answered
MOST_AHEAD = 64 << 10  # bytes of further requests that are read before the answer to the first is sent
_AT_ONCE = struct.pack("ii", 1, 0)
MESSAGES = {
    400: "this is not HTTP/1.1 as RFC 9112 has it",
    431: "the request's headers are too long",
    501: "this transfer encoding is not supported",
    505: "only HTTP/1.0 and HTTP/1.1 are spoken here",
}


class Shared:
    """What all connections of a server have in common; `serve` answers an Exchange, `timeout` is in seconds."""

    def __init__(self, serve: Callable[[Exchange], Awaitable[None]], timeout: float) -> None:
        self.serve, self.timeout = serve, timeout
        self.headers_timeout = min(timeout, HEADERS_SECONDS)
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()


class Connection(asyncio.Protocol):
    """Reads requests one after the other and has each answered by a task."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.loop = asyncio.get_running_loop()
        self.http = h11.Connection(h11.SERVER, MOST_HEADERS)
        self.transport: Any = None
        self.exchange: Exchange | None = None
        self.closing = False  # whether this answer is the last
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_for = ""
        self._reader_timer: asyncio.TimerHandle | None = None
        self._may_write: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or turn it away where there are too many."""
        self.transport = transport
        self.shared.connections.add(self)
        if len(self.shared.connections) > MOST_CONNECTIONS:
            self._hang_up_with(503, "there are too many connections")
        else:
            self._expect("headers", self.shared.headers_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever writes an answer that nobody reads it."""
        self.shared.connections.discard(self)
        self._expect("", 0)
        self.resume_writing()
        if self.exchange is not None and not self.exchange.complete:
            self.exchange.lost()

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        if self._waiting_for == "idle":
            self._expect("headers", self.shared.headers_timeout)
        self.http.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        """Act on what has been received so far."""
        while not self.transport.is_closing():
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as problem:
                status = problem.error_status_hint if problem.error_status_hint in MESSAGES else 400
                self._hang_up_with(status, MESSAGES[status])
                return
            if event is h11.NEED_DATA:
                return
            if event is h11.PAUSED:  # a further request has begun to come in
                if len(self.http.trailing_data[0]) > MOST_AHEAD:
                    self.transport.pause_reading()
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data) and self.exchange is not None:
                self.exchange.take(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and self.exchange is not None:
                self._expect("", 0)
                self.exchange.take_end()
                self._go_on()

    def _begin(self, request: h11.Request) -> None:
        if request.http_version not in (b"1.0", b"1.1"):
            self._hang_up_with(505, MESSAGES[505])
            return
        # h11 itself bounds only what comes in pieces.
        if len(request.target) + sum(len(name) + len(value) for name, value in request.headers) > MOST_HEADERS:
            self._hang_up_with(431, MESSAGES[431])
            return
        self._expect("body", self.shared.timeout)
        self.exchange = Exchange(self, request)
        task = self.loop.create_task(self._answered(self.exchange))
        self.shared.tasks.add(task)
        task.add_done_callback(self.shared.tasks.discard)

    async def _answered(self, exchange: Exchange) -> None:
        try:
            await self.shared.serve(exchange)
        finally:
            if not exchange.complete:  # it broke off in the middle
                self.transport.abort()

    def let_continue(self) -> None:
        """Tell a client that asked first that its body is wanted."""
        if self.http.they_are_waiting_for_100_continue:
            self.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))

    def send(self, *events: Any) -> None:
        """Write events of the answer at once, if there is still somebody to read them."""
        if not self.transport.is_closing():
            self.transport.write(b"".join(self.http.send(event) or b"" for event in events))

    def finished(self) -> None:
        """An answer is complete: go on with the next request when this one's body has ended."""
        if self.http.their_state is h11.SEND_BODY:
            self._expect("leftover", LEFTOVER_SECONDS)
        self._go_on()

    def _go_on(self) -> None:
        if self.exchange is None or not self.exchange.complete or self.http.their_state is h11.SEND_BODY:
            return
        self.exchange = None
        if self.closing or self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            self.transport.close()
            return
        self.http.start_next_cycle()
        self._expect("headers" if self.http.trailing_data[0] else "idle", IDLE_SECONDS)
        self.transport.resume_reading()
        self.loop.call_soon(self._advance)

    def _expect(self, what: str, seconds: float) -> None:
        """Set the one clock that runs while the client owes something."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting_for = what
        self._timer = self.loop.call_later(seconds, self._too_slow) if what else None

    def _too_slow(self) -> None:
        self._timer = None
        if self._waiting_for == "idle":
            self.transport.close()
        elif self._waiting_for == "headers":
            self._hang_up_with(408, "the request did not come to its end in time")
        else:
            self.transport.abort()

    def _hang_up_with(self, status: int, message: str) -> None:
        """Send an error that belongs to no request, where none is being answered, and close."""
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE) and self.exchange is None:
            body = json.dumps(errors.body(errors.refused(status, message))).encode()
            headers = [("content-type", "application/json"), ("content-length", str(len(body))),
                       ("connection", "close")]
            reply = h11.Response(status_code=status, headers=headers, reason=REASONS[status])
            self.send(reply, h11.Data(data=body), h11.EndOfMessage())
            self.transport.close()
        else:
            self.transport.abort()

    def close_if_idle(self) -> None:
        """Close a connection on which nothing is being answered."""
        self.closing = True
        if self.exchange is None:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read; it has so long to begin."""
        self._may_write = self.loop.create_future()
        self._reader_timer = self.loop.call_later(self.shared.timeout, self._reset)

    def _reset(self) -> None:
        """Hang up so that the kernel forgets what it holds for this client, too: it may be megabytes for minutes."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def resume_writing(self) -> None:
        """The client reads again, or will never."""
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
        if self._may_write is not None and not self._may_write.done():
            self._may_write.set_result(None)
        self._may_write = None

    async def writable(self) -> None:
        """Wait until the client has read enough."""
        if self._may_write is not None:
            await self._may_write
