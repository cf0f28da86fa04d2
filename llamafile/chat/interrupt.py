"""Ctrl-C: during an answer it stops the answer; while something is asked for it is a KeyboardInterrupt."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Interrupt:
    """Takes SIGINT over, and SIGTERM, which leaves the program as Ctrl-D does."""

    def __init__(self) -> None:
        self._stop: Callable[[], object] | None = None
        self.stopped = False
        self.busy = self._spared = False  # with a turn; whether a Ctrl-C has come meanwhile that nothing was there for
        self.asking: Callable[[BaseException], None] | None = None  # what breaks off the asking for a turn, if any is
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._leave)

    def _handle(self, number: int, frame: object) -> None:
        if self._stop is not None and not self.stopped:
            self.stopped = True
            self._stop()
        elif self._stop is None and self.busy and not self._spared:
            self._spared = True  # meant for an answer that had just ended: the conversation is not to end for that
        else:
            raise KeyboardInterrupt

    def begin(self) -> None:
        """A turn was typed: until `ask`, one Ctrl-C outside of its answer is let go."""
        self.busy, self._spared = True, False

    def ask(self) -> None:
        """The next turn is asked for."""
        self.busy = False

    def during(self, stop: Callable[[], object]) -> None:
        """An answer is under way, which `stop` ends from any thread; one more Ctrl-C raises."""
        self._stop, self.stopped = stop, False

    def after(self) -> None:
        """The answer is done."""
        self._stop = None

    def _leave(self, number: int, frame: object) -> None:
        if self.asking is None:
            raise SystemExit(0)
        self.asking(SystemExit(0))
