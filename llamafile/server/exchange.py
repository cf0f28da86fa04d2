"""A request and its answer on a connection: what was asked, the body as it comes in, the answer as it goes out."""

from __future__ import annotations

import asyncio
import time

import h11

from llamafile.server.errors import refused
from llamafile.server.settings import MOST_BODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from llamafile.server.connection import Connection

REASONS = {
    200: b"OK", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    503: b"Service Unavailable", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_now = (0, b"")


class Gone(Exception):
    """The client has hung up; nobody waits for an answer."""


class Exchange:
    """`method`, `path` (decoded), `query`, `headers` (lower-case names) of a request, and the way to answer it."""

    def __init__(self, connection: Connection, request: h11.Request) -> None:
        self.connection = connection
        self.method = request.method.decode("ascii")
        self.target = request.target.decode("ascii", "replace")
        path, _, self.query_string = self.target.partition("?")
        self.path = _unquoted(path) if "%" in path else path
        self.headers: dict[str, str] = {}
        for name, value in request.headers:  # the first of several counts
            self.headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        self.gone = self.started = self.complete = False
        self.on_gone: Callable[[], None] = _nothing
        self._head: list[Any] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._whole = False
        self._arrived: asyncio.Future[None] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The parameters behind the question mark."""
        if not self.query_string:
            return {}
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.query_string, keep_blank_values=True, max_num_fields=100))

    async def body(self) -> bytes:
        """Return the whole body; raises Refused 413 where it is too long, and Gone."""
        length = self.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > MOST_BODY):
            raise _too_long()
        self.connection.let_continue()
        while not self._whole and self._size <= MOST_BODY:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
            if self.gone:
                raise Gone
        if self._size > MOST_BODY:
            raise _too_long()
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def take(self, data: bytes) -> None:
        """Note a part of the body; what is beyond the bound is dropped."""
        self._size += len(data)
        if self._size <= MOST_BODY and not self.complete:
            self._parts.append(data)
        elif not self.complete:
            self._parts.clear()
            self._wake()

    def take_end(self) -> None:
        """Note that the body has come to its end."""
        self._whole = True
        self._wake()

    def lost(self) -> None:
        """Note that the client has gone."""
        self.gone = True
        self._wake()
        self.on_gone()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Say the status and the headers; without a content-length what follows is sent in chunks."""
        self.started = True
        raw: list[Any] = [(b"date", _date())]
        raw += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        if self.connection.closing:
            raw.append((b"connection", b"close"))
        self._head = [h11.Response(status_code=status, headers=raw, reason=REASONS.get(status, b""))]

    async def send(self, data: bytes) -> None:
        """Send a part of the answer, when the client has read enough of what was sent before; raises Gone."""
        await self.connection.writable()
        if self.gone:
            raise Gone
        self._write(*([h11.Data(data=data)] if data and self.method != "HEAD" else []))

    def end(self) -> None:
        """Send the end of the answer."""
        if not self.gone:
            self.complete = True
            self._write(h11.EndOfMessage())
            self.connection.finished()

    def _write(self, *events: Any) -> None:
        """Write the headers, if they are still to come, together with what follows."""
        head, self._head = self._head, []
        self.connection.send(*head, *events)


def _too_long() -> Exception:
    return refused(413, f"the body is longer than {MOST_BODY >> 20} MiB")


def _unquoted(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path, errors="replace")


def _date() -> bytes:
    """The time as HTTP wants it; written once a second."""
    global _now
    second = int(time.time())
    if _now[0] != second:
        _now = second, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)).encode()
    return _now[1]


def _nothing() -> None:
    pass
