"""One request as an endpoint sees it, and the answers it can give: JSON, plain bytes, a stream of events."""

from __future__ import annotations

import json

from llamafile.server.errors import refused
from llamafile.server.exchange import Exchange, Gone
from llamafile.server.schema import take
from llamafile.server.settings import MOST_DEPTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import Any

    from llamafile.server.loading import Served

    Headers = Sequence[tuple[str, str]]

JSON = "application/json; charset=utf-8"


class Call:
    """A request for an endpoint; `body` is what `read` found: checked JSON; `rest` what stands for * in the path."""

    def __init__(self, exchange: Exchange, served: Served, rest: str = "") -> None:
        self.exchange, self.served, self.rest = exchange, served, rest
        self.body: Any = {}

    async def read(self, schema: dict[str, Any]) -> None:
        """Read the body as JSON by a schema; raises Refused 413 and 400."""
        self.body = take(schema, parse(await self.exchange.body()))


def parse(data: bytes) -> Any:
    """Return the JSON value of a body; raises Refused 400 for what is none, or is nested too deeply."""
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as wrong:  # UnicodeDecodeError is one
        raise refused(400, f"the body is not JSON: {wrong}") from None
    level, depth = [value] if isinstance(value, (dict, list)) else [], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise _too_deep()
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for values in inside for each in values if isinstance(each, (dict, list))]
    return value


def _too_deep() -> Exception:
    return refused(400, f"the body has more than {MOST_DEPTH} lists or objects inside each other")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def dumps(value: Any) -> bytes:
    """Return a value as JSON; numbers that JSON does not know become null, broken characters question marks."""
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        written = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return written.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


class Answer:
    """A whole answer."""

    def __init__(self, body: bytes = b"", kind: str = "", status: int = 200, headers: Headers = ()) -> None:
        self.body, self.status = body, status
        self.headers = [*headers]
        if status not in (204, 304):
            self.headers.append(("content-length", str(len(body))))
        if kind:
            self.headers.append(("content-type", kind))

    async def send(self, exchange: Exchange, more: Headers) -> None:
        """Write it, with more headers."""
        exchange.start(self.status, [*self.headers, *more])
        await exchange.send(self.body)
        exchange.end()


class Json(Answer):
    """A JSON answer."""

    def __init__(self, value: Any, status: int = 200, headers: Headers = ()) -> None:
        super().__init__(dumps(value), JSON, status, headers)


class Events:
    """A stream of server-sent events; the generator of its chunks is closed when the client goes."""

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        self.chunks = chunks

    async def send(self, exchange: Exchange, more: Headers) -> None:
        """Write the events as they come, with more headers."""
        headers = [("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
        exchange.start(200, [*headers, *more])
        try:
            async for chunk in self.chunks:
                await exchange.send(chunk)
            exchange.end()
        finally:
            await self.chunks.aclose()


PING = b":\n\n"
DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str = "") -> bytes:
    """Return one server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + dumps(value) + b"\n\n"


__all__ = ["DONE", "PING", "Answer", "Call", "Events", "Gone", "Json", "dumps", "event", "parse"]
