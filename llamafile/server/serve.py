"""Runs the event loop: listens, tells when the model is ready, and comes to an orderly end."""

from __future__ import annotations

import asyncio
import signal

from llamafile import sandbox, times
from llamafile.server import app, connection, late, listen, notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from llamafile.server.loading import Served

CUT_OFF_SECONDS = 2  # for answers that were cut off to be sent
TICK = 0.02
INTERRUPTED = 130


class Server:
    """Ends in two steps: running answers first finish while new requests are refused; a second Ctrl-C cuts them off."""

    def __init__(self, served: Served, sockets: list[socket.socket]) -> None:
        self.served, self.sockets = served, sockets
        handler = app.App(served, listen.only_this_machine(sockets))
        self.shared = connection.Shared(handler.serve, float(served.options.timeout))
        self.ending: asyncio.Task[None] | None = None
        self.forced = False

    async def run(self) -> None:
        """Serve until somebody stops the server, or the model cannot be had."""
        loop = asyncio.get_running_loop()
        self.take_signals(loop)
        tls = self.served.settings.tls
        more = {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": self.shared.headers_timeout}
        listeners = [await loop.create_server(self._connection, sock=each, **more) for each in self.sockets]
        times.mark("server")
        announced = loop.create_task(self.announce())
        while self.ending is None and self.served.problem is None:
            await asyncio.sleep(TICK if not self.served.ready else 0.2)
        if self.ending is not None:
            await self.ending
        for listener in listeners:
            listener.close()
        for each in list(self.shared.connections):
            each.close_if_idle()
        await asyncio.sleep(0)
        for each in list(self.shared.connections):
            each.transport.abort()
        if not self.forced:
            await announced

    def take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop at SIGINT and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop, number)

    def _connection(self) -> connection.Connection:
        return connection.Connection(self.shared)

    def stop(self, number: int) -> None:
        """Begin to end; a second Ctrl-C ends at once."""
        if self.ending is None:
            self.ending = asyncio.get_running_loop().create_task(self._drain())
        elif number == signal.SIGINT:
            self.forced = True

    async def _drain(self) -> None:
        notify.tell("STOPPING=1")
        served, tasks = self.served, self.shared.tasks
        served.draining = True
        for each in list(self.shared.connections):
            each.close_if_idle()
        if tasks:
            limit = served.options.drain_seconds
            served.note(f"finishing {len(tasks)} requests, for at most {limit} s; Ctrl-C ends now")
            await self._tasks_end(limit)
        if tasks and served.scheduler is not None:
            served.scheduler.close(0)  # what still runs gets its end, which is sent
            await self._tasks_end(CUT_OFF_SECONDS)

    async def _tasks_end(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.shared.tasks and not self.forced and loop.time() < deadline:
            await asyncio.sleep(TICK)

    async def announce(self) -> None:
        """Wait for the model, then say where the server is."""
        served = self.served
        while served.thread.is_alive():
            await asyncio.sleep(0.002)
        if served.problem is not None:
            return
        try:
            _close_door(served)
        except BaseException as problem:  # which run() raises when all is closed
            served.problem = problem
            return
        served.ready = True
        times.mark("ready")
        scheme = "http" if served.settings.tls is None else "https"
        for each in self.sockets:
            served.note(f"{served.name} is served at {listen.url(each, scheme, served.settings.prefix)}")
        notify.tell("READY=1")
        late.warm(served)
        if served.options.verbose:
            served.note(times.text())


def _close_door(served: Served) -> None:
    """From here on the process reaches no file and connects to nobody."""
    detail = served.note if served.options.verbose else None
    sandbox.preload("server", *late.modules())
    sandbox.close_door("server", served.options, gpu=served.model.gpu, note=served.note, detail=detail)


def run(served: Served, sockets: list[socket.socket]) -> int:
    """Serve until a signal comes; raises what kept the model from being loaded."""
    paths = listen.paths(sockets)
    server = Server(served, sockets)
    try:
        asyncio.run(server.run())
    finally:
        served.close()
        listen.leave(paths)
    if served.problem is not None:
        raise served.problem
    return INTERRUPTED if server.forced else 0
