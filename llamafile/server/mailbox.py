"""Hands items from the engine's thread to a task of the event loop, with at most one wake-up for all that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Mailbox:
    """`put` may be called from any thread and never blocks; `get` belongs to one task."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.items: deque[Any] = deque()
        self.waiting: asyncio.Future[None] | None = None

    def put(self, item: Any) -> None:
        """Leave an item; after the loop's end nobody is told."""
        self.items.append(item)
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it all that waited
                self.loop.call_soon_threadsafe(_wake, waiting)

    async def get(self, timeout: float | None = None) -> Any:
        """Return the next item; raises TimeoutError after so many seconds without one."""
        while not self.items:
            self.waiting = waiting = self.loop.create_future()
            if self.items:  # it came between the look and the note that somebody waits
                break
            timer = None if timeout is None else self.loop.call_later(timeout, _wake, waiting)
            await waiting
            if timer is not None:
                timer.cancel()
                if not self.items:
                    raise TimeoutError
        return self.items.popleft()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
