"""The HTTP server behind the chat: in a thread of its own, over the same scheduler, silent."""

from __future__ import annotations

import asyncio
import signal
import threading

from llamafile.server import late, serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from llamafile.chat.loading import Loading
    from llamafile.server.loading import Served


class Server(serve.Server):
    """A server that leaves signals, the screen and the door to the chat."""

    def __init__(self, served: Served, sockets: list[socket.socket], loading: Loading) -> None:
        super().__init__(served, sockets)
        self._loading = loading
        self.loop: asyncio.AbstractEventLoop | None = None

    def take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take none: only the main thread can."""
        self.loop = loop

    async def announce(self) -> None:
        """Wait until the chat says that all is ready; the chat says what there is to say."""
        while not self._loading.done_within(0):
            if self.ending is not None:  # before all was ready, which it may then never be
                return
            await asyncio.sleep(serve.TICK)
        if self.served.problem is None:
            self.served.ready = True
            late.warm(self.served)


class Behind:
    """Runs the server from `start` until `end`; it answers requests once nothing is waited for any more."""

    def __init__(self, served: Served, sockets: list[socket.socket], loading: Loading) -> None:
        self._arguments = served, sockets, loading
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def start(self) -> None:
        """Start the thread and return at once."""
        self._thread.start()

    def _run(self) -> None:
        from llamafile.server import listen

        self._server = Server(*self._arguments)
        try:
            asyncio.run(self._server.run())
        finally:
            listen.leave(listen.paths(self._arguments[1]))

    def busy(self) -> int:
        """How many requests are being served."""
        return len(self._server.shared.tasks) if self._server is not None else 0

    def end(self) -> None:
        """Let running answers finish for as long as --drain-seconds says; Ctrl-C ends them now."""
        server = self._server
        if server is None or server.loop is None or not self._thread.is_alive():
            return
        try:
            server.loop.call_soon_threadsafe(server.stop, signal.SIGTERM)
            self._thread.join()
        except KeyboardInterrupt:
            server.loop.call_soon_threadsafe(server.stop, signal.SIGINT)
            self._thread.join()
