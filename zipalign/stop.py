"""Turns SIGINT, SIGTERM and SIGHUP into one exception, once, so that a run can undo its work before it ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the program to end; number is the signal's."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise Stopped in the block at the first of the signals; later ones are ignored while the work is undone."""

    def stop(number: int, _: FrameType | None) -> None:
        for later in before:
            signal.signal(later, signal.SIG_IGN)
        raise Stopped(number)

    # a signal that is ignored (nohup) stays so
    before = {s: old for s in SIGNALS if (old := signal.getsignal(s)) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_by(number: int) -> None:
    """End this process by a signal, so that who started it sees why it ended."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
