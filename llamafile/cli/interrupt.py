"""Ctrl-C: the first one stops the answer, one more leaves; without an answer under way it leaves at once."""

from __future__ import annotations

import _signal  # `signal` is the same thing wrapped in enumerations, which cost a start 10 ms
import os


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

    def listen(self) -> None:
        """Make `read` possible; on the main thread, before the sandbox takes pipes away."""
        from select import POLLIN, poll

        self._woken, waker = os.pipe()
        for end in (self._woken, waker):
            os.set_blocking(end, False)
        _signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._poll = poll()
        for watched in (0, self._woken):
            self._poll.register(watched, POLLIN)

    def read(self, count: int) -> bytes:
        """Read the standard input as os.read does; KeyboardInterrupt also where Ctrl-C came just before the wait.

        Python runs a signal's handler between two instructions: a signal after the last of them and before the system
        call would be slept through until a line is typed. So the wait is for two things, the second ready by a signal.
        """
        while True:
            ready = [fd for fd, _ in self._poll.poll()]
            if self._woken in ready:
                os.read(self._woken, count)
            if 0 in ready:
                return os.read(0, count)
