"""Ctrl-C: the first one stops the answer, one more leaves; without an answer under way it leaves at once."""

from __future__ import annotations

import _signal  # `signal` is the same thing wrapped in enumerations, which cost a start 10 ms


class Interrupt:
    """Takes SIGINT over. While `answering`, the first one sets `asked`; any other raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.answering = self.asked = False
        _signal.signal(_signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if not self.answering or self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def begin(self) -> None:
        """An answer is under way from here on; asked again before `end`, it goes on being the same one."""
        if not self.answering:
            self.asked, self.answering = False, True

    def end(self) -> None:
        """The answer is done."""
        self.answering = False
