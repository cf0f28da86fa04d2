"""One call's requests on their way through the scheduler: pieces as they come, and an end where the client goes."""

from __future__ import annotations

from llamafile.server.exchange import Gone
from llamafile.server.mailbox import Mailbox
from llamafile.serving import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any

    from llamafile.server.call import Call
    from llamafile.serving import Delta, Request


class Work:
    """Requests of one call, submitted together; raises Refused where the scheduler does not take them all."""

    def __init__(self, call: Call, requests: Sequence[Request]) -> None:
        self.box = Mailbox()
        self.left = len(requests)
        interval = call.served.options.sse_ping_interval
        self.silence = float(interval) if interval > 0 else None
        self.tickets: list[Any] = []
        try:
            for index, request in enumerate(requests):
                self.tickets.append(call.served.scheduler.submit(request, self._receiver(index)))
        except BaseException:
            self.cancel()
            raise
        call.exchange.on_gone = lambda: self.box.put((-1, Gone()))
        if call.exchange.gone:
            self.box.put((-1, Gone()))

    def _receiver(self, index: int) -> Any:
        return lambda item: self.box.put((index, item))

    async def pieces(self) -> AsyncIterator[tuple[int, Delta | Result | None]]:
        """Yield (number of the request, Delta or its one Result), and (-1, None) after long silence.

        Raises Refused where an answer breaks off, and Gone where nobody waits for it any more.
        """
        try:
            while self.left:
                try:
                    index, item = await self.box.get(self.silence)
                except TimeoutError:
                    yield -1, None
                    continue
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, Result):
                    self.left -= 1
                yield index, item
        finally:
            self.cancel()

    async def results(self) -> list[Result]:
        """Wait for all the ends, in the order of the requests."""
        found: dict[int, Result] = {}
        async for index, item in self.pieces():
            if isinstance(item, Result):
                found[index] = item
        return [found[index] for index in sorted(found)]

    def cancel(self) -> None:
        """Stop what still runs."""
        for ticket in self.tickets:
            ticket.cancel()
